//! Creates an account.

use std::slice;
use std::time::Duration;

use futures_util::FutureExt;

use super::{Context, ManageUsersError, flows, with_database};
use crate::accounts::{self, Email, HashedUser, NewAccount, PasswordPolicy, User, Username};
use crate::config::Settings;
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};
use crate::flows::Flows;
use crate::operators::{self, Action};
use crate::passwords::Passwords;

/// An account to create, as the operator wrote it.
#[derive(Clone)]
pub struct NewUser {
    /// The email address.
    pub email: Option<String>,
    /// The username.
    pub username: Option<String>,
    /// The display name.
    pub display_name: Option<String>,
    /// Whether the email address is confirmed.
    pub is_confirmed: bool,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewUser(..)")
    }
}

/// Creates an account, even if sign-up is closed.
///
/// # Errors
///
/// The first [`ManageUsersError`] that applies.
pub async fn add_user(settings: &Settings, new: NewUser) -> Result<User, ManageUsersError> {
    with_database(settings, async |context| {
        let hashed = hash(settings, context, new).await?;
        let flows = flows(settings, context)?;
        let user = hashed.user().clone();
        let event = NewEvent::new(&context.clock, user.id, EventKind::Signup);
        let action = Action::new(&context.clock, "users add").on(&user.id);
        let input = (hashed, flows, event, action.clone());
        context
            .db
            .write(input, |tx, (hashed, flows, event, action)| {
                insert(tx, hashed, flows, event, action).boxed()
            })
            .await?;
        action.log();
        Ok(user)
    })
    .await
}

async fn hash(settings: &Settings, context: &Context, new: NewUser) -> Result<HashedUser, ManageUsersError> {
    let NewUser { email, username, display_name, is_confirmed, password } = new;
    if email.is_none() && (username.is_none() || is_confirmed) {
        return Err(if is_confirmed { ManageUsersError::NoAddress } else { ManageUsersError::NoIdentifier });
    }
    let identifiers: Vec<&str> = [&email, &username].into_iter().flatten().map(String::as_str).collect();
    let password = PasswordPolicy { min_chars: settings.password_min }.check(&password, &identifiers)?;
    let email = email.map(|text| text.parse::<Email>().map_err(|_| ManageUsersError::InvalidEmail(text)));
    let username =
        username.map(|text| text.parse::<Username>().map_err(|_| ManageUsersError::InvalidUsername(text)));
    if display_name.as_deref().is_some_and(|name| !accounts::is_display_name(name)) {
        return Err(ManageUsersError::InvalidDisplayName);
    }
    let now = context.clock.now();
    let account = NewAccount {
        email: email.transpose()?,
        email_verified: is_confirmed,
        username: username.transpose()?,
        display_name,
        locale: None,
        created_at: now,
    };
    let max_wait = Duration::from_secs(settings.hash_wait_secs.into());
    let hash = Passwords::new(settings.bcrypt_cost, max_wait).hash(password).await?;
    Ok(HashedUser::new(context.clock.new_id(), account, hash, now))
}

async fn insert(
    tx: &Tx,
    hashed: &HashedUser,
    flows: &Flows,
    event: &NewEvent,
    action: &Action,
) -> Result<(), ManageUsersError> {
    match accounts::insert_all(tx, slice::from_ref(hashed)).await {
        Err(StoreError::UniqueViolation(_)) => return Err(ManageUsersError::IdentifierTaken),
        other => other?,
    }
    // Check the reserved addresses after the insert, because the insert waits until a concurrent change of
    // address is committed.
    if let Some(key) = hashed.email_key()
        && flows.is_reserved(tx, key, None).await?
    {
        return Err(ManageUsersError::IdentifierTaken);
    }
    events::record(tx, event).await?;
    Ok(operators::record(tx, action).await?)
}
