//! Lists and shows accounts and sessions.

use futures_util::FutureExt;
use uuid::Uuid;

use super::{ManageUsersError, find, with_database};
use crate::accounts::{self, User, UserFilter};
use crate::admin::actions::record;
use crate::config::Settings;
use crate::db::StoreError;
use crate::operators::Action;
use crate::personal_tokens;
use crate::sessions::{self, SessionSummary};

/// A page of accounts, in the order of their ids, which is the order of their creation.
#[derive(Debug, Clone)]
pub struct UserPage {
    /// The accounts.
    pub items: Vec<User>,
    /// Whether more accounts follow.
    pub has_more: bool,
}

/// An account, with the number of its sessions and of its personal access tokens.
#[derive(Debug, Clone)]
pub struct UserDetails {
    /// The account.
    pub user: User,
    /// The number of active sessions.
    pub sessions: usize,
    /// The number of personal access tokens.
    pub personal_tokens: u64,
}

/// Returns up to `limit` accounts that match `filter`, beginning after the id `after`.
///
/// # Errors
///
/// [`ManageUsersError`].
pub async fn list_users(
    settings: &Settings,
    filter: UserFilter,
    after: Uuid,
    limit: u32,
) -> Result<UserPage, ManageUsersError> {
    with_database(settings, async |context| {
        let input = (filter, after, u64::from(limit) + 1);
        let found: Result<Vec<User>, StoreError> = context
            .db
            .read(input, |tx, (filter, after, limit)| accounts::search(tx, filter, *after, *limit).boxed())
            .await;
        let mut items = found?;
        let has_more = items.len() > limit as usize;
        items.truncate(limit as usize);
        record(&context.db, Action::new(&context.clock, "users list")).await;
        Ok(UserPage { items, has_more })
    })
    .await
}

/// Returns an account.
///
/// # Errors
///
/// [`ManageUsersError::NoSuchUser`].
pub async fn show_user(settings: &Settings, name: &str) -> Result<UserDetails, ManageUsersError> {
    with_database(settings, async |context| {
        let user = find(&context.db, name).await?;
        let input = (user.id, context.now());
        let counted: Result<_, StoreError> = context
            .db
            .read(input, |tx, (user, now)| {
                async move {
                    let sessions = sessions::list_active(tx, *user, *now).await?.len();
                    Ok((sessions, personal_tokens::count(tx, *user).await?))
                }
                .boxed()
            })
            .await;
        let (sessions, personal_tokens) = counted?;
        record(&context.db, Action::new(&context.clock, "users show").on(&user.id)).await;
        Ok(UserDetails { user, sessions, personal_tokens })
    })
    .await
}

/// Returns the active sessions of an account, most recently seen first.
///
/// # Errors
///
/// [`ManageUsersError::NoSuchUser`].
pub async fn list_user_sessions(
    settings: &Settings,
    name: &str,
) -> Result<Vec<SessionSummary>, ManageUsersError> {
    with_database(settings, async |context| {
        let user = find(&context.db, name).await?;
        let input = (user.id, context.now());
        let found: Result<_, StoreError> =
            context.db.read(input, |tx, (user, now)| sessions::list_active(tx, *user, *now).boxed()).await;
        let found = found?;
        record(&context.db, Action::new(&context.clock, "users sessions").on(&user.id)).await;
        Ok(found)
    })
    .await
}
