//! Creates links to choose a password, and access tokens for support and tests.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::{ManageUsersError, find, flows, with_database};
use crate::accounts::{self, User};
use crate::admin::keys::existing_secret;
use crate::config::Settings;
use crate::db::Tx;
use crate::events::{self, EventKind, NewEvent};
use crate::flows::{Delivery, NewFlow, Purpose};
use crate::operators::{self, Action};
use crate::tokens::{BY_OPERATOR, Minted, Scope, Scopes, Subject, Tokens};

/// A link that lets a user choose a password.
#[derive(Clone)]
pub struct ResetLink {
    /// The user.
    pub user: Uuid,
    /// The link, which works once.
    pub link: String,
    /// When the link expires.
    pub expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for ResetLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResetLink").field("user", &self.user).finish_non_exhaustive()
    }
}

/// An access token that an operator has minted.
#[derive(Clone)]
pub struct MintedToken {
    /// The user that the token acts for.
    pub user: Uuid,
    /// The token.
    pub minted: Minted,
    /// The scopes of the token.
    pub scopes: Scopes,
}

impl std::fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintedToken").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Creates a link that lets the user choose a password. The link invalidates an earlier link. Using the link
/// does not prove access to a mailbox, so the link does not confirm the email address. The link does not
/// replace the second factor.
///
/// # Errors
///
/// [`ManageUsersError::NoSuchUser`].
pub async fn create_reset_link(
    settings: &Settings,
    name: &str,
    lifetime: TimeDelta,
) -> Result<ResetLink, ManageUsersError> {
    with_database(settings, async |context| {
        let user = find(&context.db, name).await?;
        let flows = flows(settings, context)?;
        let new =
            NewFlow { lifetime: Some(lifetime), ..NewFlow::new(Purpose::ResetPassword, Some(user.id), "") };
        let flow = flows.begin(new);
        let (link, expires_at) = (flow.link().unwrap_or_default(), flow.expires_at);
        let event = NewEvent::new(&context.clock, user.id, EventKind::PasswordResetCreated);
        let action = Action::new(&context.clock, "users reset-password").on(&user.id);
        let input = (flows, flow, event, action.clone());
        context
            .db
            .write(input, |tx, (flows, flow, event, action)| {
                async move {
                    flows.send(tx, flow, &Delivery::Nothing).await?;
                    events::record(tx, event).await?;
                    Ok::<_, ManageUsersError>(operators::record(tx, action).await?)
                }
                .boxed()
            })
            .await?;
        action.log();
        let link = format!("{}{link}", settings.public_url(settings.listen));
        Ok(ResetLink { user: user.id, link, expires_at })
    })
    .await
}

/// Mints an access token that acts for a user. Its `amr` is [`BY_OPERATOR`], and its `auth_time` is 1970: the
/// user has not authenticated, so the token never satisfies step-up.
///
/// # Errors
///
/// [`ManageUsersError::NoSuchUser`], [`ManageUsersError::Disabled`] or [`ManageUsersError::InvalidScope`].
pub async fn mint_token(
    settings: &Settings,
    name: &str,
    scope: Option<&str>,
    ttl_secs: Option<u32>,
) -> Result<MintedToken, ManageUsersError> {
    let default = || [Scope::TripsRead, Scope::TripsWrite].into_iter().collect();
    let scopes = match scope {
        Some(text) => Scopes::parse(text).ok_or_else(|| ManageUsersError::InvalidScope(text.to_owned()))?,
        None => default(),
    };
    with_database(settings, async |context| {
        let user = find(&context.db, name).await?;
        let (issuer, audience) = (settings.public_url(settings.listen), settings.audience.clone());
        let (secret, ttl) = (existing_secret(settings)?, ttl_secs.unwrap_or(settings.access_ttl_secs));
        let clock = context.clock.clone();
        let tokens = Tokens::attach(&context.db, clock, &secret, issuer, audience, ttl).await?;
        let minted = tokens.mint(Subject {
            user: user.id,
            session: None,
            generation: None,
            scopes,
            amr: vec![BY_OPERATOR.to_owned()],
            authenticated_at: DateTime::UNIX_EPOCH,
            until: None,
        })?;
        let event = NewEvent::new(&context.clock, user.id, EventKind::OperatorTokenCreated);
        let action = Action::new(&context.clock, "users mint").on(&user.id);
        let input = (user.clone(), event, action.clone());
        context
            .db
            .write(input, |tx, (user, event, action)| record_minted(tx, user, event, action).boxed())
            .await?;
        action.log();
        Ok(MintedToken { user: user.id, minted, scopes })
    })
    .await
}

/// Records a token, unless the account was disabled or its credentials were changed since `user` was read.
async fn record_minted(
    tx: &Tx,
    user: &User,
    event: &NewEvent,
    action: &Action,
) -> Result<(), ManageUsersError> {
    if !accounts::lock_unchanged(tx, user.id, user.credentials_version).await? {
        return Err(ManageUsersError::Disabled);
    }
    events::record(tx, event).await?;
    Ok(operators::record(tx, action).await?)
}
