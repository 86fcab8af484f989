//! The commands that manage the account of a user, even while servers run.
//!
//! A change is one transaction: the change itself, the revocation of sessions and tokens, the event that the
//! user sees, and the record of the operator's command. Servers poll the revocations, so a change is
//! effective everywhere within a second.

mod add;
mod change;
mod credentials;
mod import;
mod list;

use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use super::keys::existing_secret;
use super::open_existing;
use crate::accounts::{self, PolicyViolation, User};
use crate::app::{StartError, compare_clocks, mail_options, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::flows::Flows;
use crate::leases::Leases;
use crate::mail::Mail;
use crate::passwords::Overloaded;
use crate::tokens::TokensError;

pub use add::{NewUser, add_user};
pub use change::{Change, Changed, change_user};
pub use credentials::{MintedToken, ResetLink, create_reset_link, mint_token};
pub use import::{Fault as ImportFault, Import, ImportFormat, ImportReport, Progress, import_users};
pub use list::{UserDetails, UserPage, list_user_sessions, list_users, show_user};

/// Why a command on a user failed.
#[derive(Debug, thiserror::Error)]
pub enum ManageUsersError {
    /// The database, the secret or the settings can't be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// No account has this id, email address or username.
    #[error("there is no user {0:?}")]
    NoSuchUser(String),
    /// The account has no email address.
    #[error("the account has no email address to confirm")]
    NoAddress,
    /// The account is disabled.
    #[error("the account is disabled; `tripgate users enable` enables it")]
    Disabled,
    /// The text is not an email address.
    #[error("{0:?} is not a valid email address")]
    InvalidEmail(String),
    /// The text is not a username.
    #[error("{0:?} is not a valid username: a username {rule}", rule = accounts::USERNAME_RULE)]
    InvalidUsername(String),
    /// The text is not a display name.
    #[error("the display name must have 1 to 100 characters in one line")]
    InvalidDisplayName,
    /// An account needs an email address or a username.
    #[error("an account needs --email or --username")]
    NoIdentifier,
    /// Another account has the email address or the username, or can still get the address back with an undo
    /// link.
    #[error("another account has the email address or the username")]
    IdentifierTaken,
    /// The password is not accepted.
    #[error(transparent)]
    Password(#[from] PolicyViolation),
    /// The password can't be hashed now.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The text names an unknown scope.
    #[error(
        "{0:?} is not a list of scopes: use one or more of account, trips:read and trips:write, separated by spaces"
    )]
    InvalidScope(String),
    /// The token can't be signed.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The file to import can't be read.
    #[error("failed to read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// An error of the database.
    #[error("failed to read or write accounts")]
    Store(#[from] StoreError),
}

impl HasStoreError for ManageUsersError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Tokens(error) => error.store(),
            _ => None,
        }
    }
}

/// The services that the commands use.
#[derive(Debug)]
struct Context {
    db: Db,
    clock: Clock,
}

impl Context {
    /// Returns the later of the system clock and the database's clock.
    fn now(&self) -> DateTime<Utc> {
        self.clock.now().max(self.clock.shared_now())
    }
}

/// Runs `work` on the database and closes it.
async fn with_database<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(&Context) -> Result<T, ManageUsersError>,
) -> Result<T, ManageUsersError> {
    set_umask();
    let context = Context { db: open_existing(settings).await?, clock: Clock::system() };
    let result = match compare_clocks(&context.db, &context.clock).await {
        Ok(()) => work(&context).await,
        Err(error) => Err(error.into()),
    };
    context.db.close().await;
    result
}

/// Returns the user with this id, email address or username.
async fn lookup(tx: &Tx, name: &str) -> Result<User, ManageUsersError> {
    accounts::lookup(tx, name).await?.ok_or_else(|| ManageUsersError::NoSuchUser(name.to_owned()))
}

/// Returns the user with this id, email address or username, outside of a transaction.
async fn find(db: &Db, name: &str) -> Result<User, ManageUsersError> {
    db.read(name.to_owned(), |tx, name| lookup(tx, name).boxed()).await
}

/// Creates the service for mailed codes and links, with the secret and the mail settings of the server.
fn flows(settings: &Settings, context: &Context) -> Result<Flows, StartError> {
    let Context { db, clock } = context;
    let secret = existing_secret(settings)?;
    let options = mail_options(settings, &settings.public_url(settings.listen));
    let leases = Leases::new(db.clone(), clock.clone());
    let mail = Mail::new(db.clone(), clock.clone(), leases, &secret, options)?;
    Ok(Flows::new(clock.clone(), mail, &secret))
}
