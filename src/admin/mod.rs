//! The administrative commands, which read or change the database, its backups and the master secret. Most of
//! them can run while servers run.
//!
//! The functions return data; the command line formats it. Running servers poll the database for the changes
//! several times a second.

mod actions;
mod backup;
mod clients;
mod copy;
mod doctor;
mod epoch;
mod invites;
mod keys;
mod mail;
mod secret;
mod throttle;
mod upgrade;
mod users;

use actions::log_done;

use crate::app::{StartError, back_up_before_migration, create_data_dir, refuse_empty, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::data_dir::DatabaseRecord;
use crate::db::{self, Db, MigrationStep, OpenError};

pub use actions::list_actions;
pub use backup::{ManageBackupsError, Restored, create_backup, list_backups, restore_backup, verify_backup};
pub use clients::{ManageClientsError, add_client, list_clients, remove_client};
pub use copy::{Copied, CopyDatabaseError, copy_database};
pub use doctor::{Finding, Status as FindingStatus, examine};
pub use epoch::renew_epoch;
pub use invites::{ManageInvitesError, add_invite, list_invites, remove_invite};
pub use keys::{KeysError, list_keys, revoke_key, rotate_key};
pub use mail::{list_mails, test_mail};
pub use secret::{SecretPreparation, SecretRotation, prepare_secret, rotate_secret};
pub use throttle::{SlowedDownAccount, ThrottleTarget, clear_throttle, list_throttle};
pub use upgrade::{RehearseUpgradeError, RehearsedUpgrade, rehearse_upgrade};
pub use users::{
    Change, Changed, Import, ImportFault, ImportFormat, ImportReport, ManageUsersError, MintedToken, NewUser,
    Progress, ResetLink, UserDetails, UserPage, add_user, change_user, create_reset_link, import_users,
    list_user_sessions, list_users, mint_token, show_user,
};

/// Applies all pending migration steps. Returns every step, with its state.
///
/// # Errors
///
/// [`StartError`].
pub async fn migrate_up(settings: &Settings) -> Result<Vec<MigrationStep>, StartError> {
    set_umask();
    create_data_dir(&settings.data_dir)?;
    back_up_before_migration(settings, &Clock::system()).await?;
    let steps = db::migrate_up(settings.database_url.expose()).await?;
    log_done("migrate up");
    Ok(steps)
}

/// Reverts the newest `count` migration steps, and deletes the data that these steps added. Returns every
/// step, with its state.
///
/// # Errors
///
/// [`StartError`].
pub async fn migrate_down(settings: &Settings, count: u32) -> Result<Vec<MigrationStep>, StartError> {
    set_umask();
    let steps = db::migrate_down(settings.database_url.expose(), count).await?;
    log_done("migrate down");
    Ok(steps)
}

/// Returns every migration step, with its state.
///
/// # Errors
///
/// [`StartError`].
pub async fn migration_status(settings: &Settings) -> Result<Vec<MigrationStep>, StartError> {
    set_umask();
    Ok(db::migration_status(settings.database_url.expose()).await?)
}

/// Opens the database, which must exist.
async fn open_existing(settings: &Settings) -> Result<Db, StartError> {
    Ok(db::open_existing(settings.database_url.expose()).await?)
}

/// Opens the database. Creates a missing database if `create` is true.
async fn open_or_create(settings: &Settings, create: bool) -> Result<Db, StartError> {
    match open_existing(settings).await {
        Err(StartError::Database(OpenError::NotFound { .. })) if create => {
            create_data_dir(&settings.data_dir)?;
            let record = DatabaseRecord::in_dir(&settings.data_dir);
            refuse_empty(settings, &record, record.read()?.is_some())?;
            Ok(db::open(settings.database_url.expose()).await?)
        }
        // The default path is relative, so the operator has possibly run the command in the wrong directory.
        Err(StartError::Database(OpenError::NotFound { path })) => Err(StartError::NoDatabase { path }),
        opened => opened,
    }
}
