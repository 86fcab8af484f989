//! Adds, lists and removes invites.

use chrono::TimeDelta;
use uuid::Uuid;

use super::actions::record;
use super::open_existing;
use crate::app::{StartError, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::Db;
use crate::invites::{Invite, InviteCode, Invites, InvitesError};
use crate::operators::Action;

/// Why a command for the invites failed.
#[derive(Debug, thiserror::Error)]
pub enum ManageInvitesError {
    /// The database or the data directory can't be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The invites can't be read or changed as requested.
    #[error(transparent)]
    Invites(#[from] InvitesError),
}

/// Creates an invite for `uses` accounts, and returns its code.
///
/// # Errors
///
/// [`ManageInvitesError`].
pub async fn add_invite(
    settings: &Settings,
    uses: u32,
    ttl: Option<TimeDelta>,
) -> Result<(Invite, InviteCode), ManageInvitesError> {
    with_invites(settings, async |invites, db| {
        let (invite, code) = invites.add(uses, ttl).await?;
        record(db, Action::new(&Clock::system(), "invites add").on(&invite.id)).await;
        Ok((invite, code))
    })
    .await
}

/// Returns all invites, the oldest first.
///
/// # Errors
///
/// [`ManageInvitesError`].
pub async fn list_invites(settings: &Settings) -> Result<Vec<Invite>, ManageInvitesError> {
    with_invites(settings, async |invites, _| invites.list().await).await
}

/// Removes the invite with this id. From then on, the code of the invite is refused.
///
/// # Errors
///
/// [`ManageInvitesError`].
pub async fn remove_invite(settings: &Settings, id: Uuid) -> Result<(), ManageInvitesError> {
    with_invites(settings, async |invites, db| {
        invites.remove(id).await?;
        record(db, Action::new(&Clock::system(), "invites remove").on(&id)).await;
        Ok(())
    })
    .await
}

/// Runs `work` on the invites and closes the database.
async fn with_invites<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(Invites, &Db) -> Result<T, InvitesError>,
) -> Result<T, ManageInvitesError> {
    set_umask();
    let db = open_existing(settings).await?;
    let result = work(Invites::new(db.clone(), Clock::system()), &db).await;
    db.close().await;
    Ok(result?)
}
