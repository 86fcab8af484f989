//! The composition root: builds the services from the settings, the database and the clock.

mod backup;
mod database;
mod options;
mod start_error;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::TimeDelta;
use ipnet::IpNet;

use crate::accounts::{Accounts, PasswordPolicy};
use crate::backups::Backups;
use crate::clients::{Clients, Introspector};
use crate::clock::Clock;
use crate::config::{AndroidApp, AuthMethods, BackupSettings, Settings, Signup};
use crate::db::{self, Db, StoreError, is_storage_full};
use crate::events::Events;
use crate::exports::Exports;
use crate::flows::Flows;
use crate::idempotency::Idempotency;
use crate::invites::Invites;
use crate::leases::Leases;
use crate::mail::{Mail, MailOptions};
use crate::passkeys::{Passkeys, RelyingParty};
use crate::passwords::Passwords;
use crate::personal_tokens::PersonalTokens;
use crate::recovery::Recovery;
use crate::replicas::Replicas;
use crate::second_factors::SecondFactors;
use crate::secrets::{MasterSecret, SecretError};
use crate::sessions::{Lifetimes, Sessions, SignupMode};
use crate::shares::Shares;
use crate::sync::Sync;
use crate::throttle::Throttle;
use crate::tokens::Tokens;
use crate::totp::Totp;
use crate::trips::Trips;
use rustix::fs::Mode;

pub(crate) use backup::{back_up_before_migration, backups_of};
pub use database::{Creation, Identity, MarkError, StartMode};
use database::{Opened, open};
pub(crate) use database::{refuse_empty, remembered};
use options::{signing_alg, trip_quotas};
pub use start_error::StartError;

/// All services. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Services>);

/// The services and settings of an [`App`].
#[derive(Debug)]
pub struct Services {
    /// The database.
    pub db: Db,
    /// The clock.
    pub clock: Clock,
    /// The accounts.
    pub accounts: Accounts,
    /// The sessions.
    pub sessions: Sessions,
    /// The security events of accounts.
    pub events: Events,
    /// The access tokens and signing keys.
    pub tokens: Tokens,
    /// The personal access tokens.
    pub personal_tokens: PersonalTokens,
    /// The authenticator apps.
    pub totp: Totp,
    /// The passkeys.
    pub passkeys: Passkeys,
    /// The trips.
    pub trips: Trips,
    /// The share links of trips.
    pub shares: Shares,
    /// The synchronization with offline apps.
    pub sync: Sync,
    /// The exports of everything that is stored about a user.
    pub exports: Exports,
    /// The idempotency keys.
    pub idempotency: Idempotency,
    /// The throttle of failed attempts.
    pub throttle: Throttle,
    /// The invites.
    pub invites: Invites,
    /// The client credentials of other services.
    pub clients: Clients,
    /// Mailed codes and links.
    pub flows: Flows,
    /// The confirmation of addresses and the recovery of accounts.
    pub recovery: Recovery,
    /// The outbox of mails.
    pub mail: Mail,
    /// The introspection and revocation of tokens on behalf of other services.
    pub introspector: Introspector,
    /// The backups.
    pub backups: Backups,
    /// When and where backups are made.
    pub backup_settings: BackupSettings,
    /// The enabled authentication methods besides `Authorization: Bearer`.
    pub auth_methods: AuthMethods,
    /// The identity of the database that the data directory belongs to.
    pub identity: Identity,
    /// The leases for work that only one replica does at a time.
    pub leases: Leases,
    /// The servers that use the database.
    pub replicas: Replicas,
    /// Whether everything except `/auth` and `/me` requires a confirmed email address.
    pub require_confirmed: bool,
    /// Whether the OpenAPI document and Swagger UI are served.
    pub docs: bool,
    /// The networks of the proxies that send the client's address in a forwarding header.
    pub trusted_proxies: Vec<IpNet>,
    /// The origins whose pages may call the API.
    pub cors_origins: Vec<String>,
    /// The iOS apps that belong to the server.
    pub apple_app_ids: Vec<String>,
    /// The Android apps that belong to the server.
    pub android_apps: Vec<AndroidApp>,
    /// The duration above which a request is logged as slow.
    pub slow_request: Duration,
    /// Whether the server has begun to shut down.
    pub stopping: Arc<AtomicBool>,
}

impl Deref for App {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

/// Builds the services from the settings.
///
/// # Errors
///
/// [`StartError`].
#[expect(clippy::too_many_lines, reason = "the composition root names each service once")]
pub async fn build(
    settings: &Settings,
    clock: Clock,
    public_url: String,
    mode: StartMode,
) -> Result<App, StartError> {
    set_umask();
    create_data_dir(&settings.data_dir)?;
    db::log_statements_slower_than(settings.slow_statement);
    let clock = clock.restarted();
    let Opened { db, secret, identity } = open(settings, &clock, mode).await?;
    // Use the background lane, because requests must never delay the poll of revocations, the renewal of
    // leases or the sending of mails.
    let background = db.background();
    let leases = Leases::new(background.clone(), clock.clone());
    check_clock(&db, &clock, &leases).await.map_err(StartError::Clock)?;
    let replicas = Replicas::new(&db, clock.clone(), &secret, public_url.clone());
    let passwords = Passwords::new(settings.bcrypt_cost, Duration::from_secs(settings.hash_wait_secs.into()));
    let (ttl_secs, alg) = (settings.access_ttl_secs, signing_alg(settings));
    let audience = settings.audience.clone();
    let tokens =
        Tokens::open(&background, clock.clone(), &secret, public_url.clone(), audience, ttl_secs, alg)
            .await?;
    let policy = PasswordPolicy { min_chars: settings.password_min };
    let throttle = Throttle::new(db.clone(), clock.clone(), &secret, settings.limits);
    let events = Events::new(db.clone(), clock.clone(), &secret);
    let options = mail_options(settings, &public_url);
    let mail = Mail::new(background, clock.clone(), leases.clone(), &secret, options)?;
    let flows = Flows::new(clock.clone(), mail.clone(), &secret);
    let accounts = Accounts::new(
        db.clone(),
        clock.clone(),
        passwords,
        policy,
        tokens.clone(),
        throttle.clone(),
        events.clone(),
        flows.clone(),
    )
    .confirming_first(settings.signup == Signup::ConfirmFirst);
    let lifetimes = Lifetimes {
        idle_secs: settings.refresh_idle_secs,
        absolute_secs: settings.refresh_absolute_secs,
        max_sessions: settings.quotas.sessions,
    };
    let totp = Totp::new(db.clone(), clock.clone(), &secret, &public_url);
    let passkeys = Passkeys::open(db.clone(), clock.clone(), relying_party(settings, &public_url)).await?;
    let sessions = Sessions::new(
        db.clone(),
        clock.clone(),
        accounts.clone(),
        tokens.clone(),
        SecondFactors::new(totp.clone(), passkeys.clone()),
        passkeys.clone(),
        &secret,
        lifetimes,
        flows.clone(),
        signup_mode(settings),
    );
    let recovery = Recovery::new(
        db.clone(),
        clock.clone(),
        accounts.clone(),
        sessions.clone(),
        flows.clone(),
        throttle.clone(),
    );
    let (quotas, page_cache_bytes) = (trip_quotas(settings), settings.page_cache_bytes);
    let trips = Trips::new(db.clone(), clock.clone(), &secret, quotas, page_cache_bytes);
    let shares = Shares::new(db.clone(), clock.clone(), trips.clone(), &secret, public_url);
    let max_remembered = settings.quotas.sync_operations.into();
    let sync = Sync::new(db.clone(), clock.clone(), trips.clone(), &secret, max_remembered);
    let idempotency = Idempotency::new(db.clone(), clock.clone(), settings.quotas.idempotency_keys.into());
    let exports = Exports::new(db.clone(), events.clone(), mail.clone());
    let invites = Invites::new(db.clone(), clock.clone());
    let clients = Clients::new(db.clone(), clock.clone());
    let personal_tokens = PersonalTokens::new(db.clone(), clock.clone(), tokens.clone(), &secret);
    let introspector =
        Introspector::new(db.clone(), tokens.clone(), sessions.clone(), personal_tokens.clone());
    Ok(App(Arc::new(Services {
        db,
        backups: backups_of(settings, clock.clone())?,
        clock,
        accounts,
        sessions,
        events,
        tokens,
        personal_tokens,
        totp,
        passkeys,
        trips,
        shares,
        sync,
        exports,
        idempotency,
        throttle,
        invites,
        clients,
        flows,
        recovery,
        mail,
        introspector,
        identity,
        backup_settings: settings.backups.clone(),
        auth_methods: settings.auth_methods,
        leases,
        replicas,
        require_confirmed: settings.require_confirmed,
        docs: settings.docs,
        trusted_proxies: settings.trusted_proxies.clone(),
        cors_origins: settings.cors_origins.clone(),
        apple_app_ids: settings.apple_app_ids.clone(),
        android_apps: settings.android_apps.clone(),
        slow_request: settings.slow_request,
        stopping: Arc::default(),
    })))
}

/// The lease that records the start of a server.
const START_LEASE: &str = "start";
/// The duration of the lease that records the start.
const START_LEASE_TTL: TimeDelta = TimeDelta::minutes(3);

/// Compares the clock with the database's clock and with the time of the last lease. If the clocks agree,
/// records this start with a lease. The next start compares its clock with the time of that lease.
async fn check_clock(db: &Db, clock: &Clock, leases: &Leases) -> Result<(), StoreError> {
    compare_clocks(db, clock).await?;
    if let Some(last) = leases.latest_expiry().await? {
        clock.compare_with_last_work(last);
    }
    if clock.is_steady() {
        match leases.acquire(START_LEASE, START_LEASE_TTL).await {
            // On a full disk, the lease can't be stored, but the server still serves reads.
            Ok(_) | Err(StoreError::StorageFull(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Compares the clock with the database's clock.
pub(crate) async fn compare_clocks(db: &Db, clock: &Clock) -> Result<(), StoreError> {
    let asked_at = clock.monotonic();
    clock.compare_with_database(asked_at, db.now().await?);
    Ok(())
}

/// Sets the umask so that only the owner can read the files that this process creates, including the
/// database.
pub(crate) fn set_umask() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
}

/// Creates the data directory if it does not exist, and checks that it is writable. A full disk is accepted: the
/// server then serves reads.
pub(crate) fn create_data_dir(path: &Path) -> Result<(), StartError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| check_writable(path))
        .map_err(|source| StartError::DataDir { path: path.display().to_string(), source })
}

/// Writes and removes a file, so that a full or read-only disk is reported at the start and not at the first
/// sign-up.
fn check_writable(directory: &Path) -> io::Result<()> {
    // Use a unique name, because several servers can start at the same time.
    let path = directory.join(format!(".try-{}", Clock::system().new_id()));
    let write = || {
        let mut file = File::create(&path)?;
        let written = file.write_all(&[0; 16 * 1024]);
        fs::remove_file(&path)?;
        written
    };
    // On some full disks, the file can't even be created.
    match write() {
        Err(error) if is_storage_full(&error) => {
            tracing::warn!(
                %error,
                directory = %directory.display(),
                "the disk is full: writes to this directory fail until there is space"
            );
            Ok(())
        }
        written => written,
    }
}

fn relying_party(settings: &Settings, public_url: &str) -> RelyingParty {
    RelyingParty::new(settings.passkeys.rp_id(public_url), settings.passkeys.origins(public_url))
}

fn signup_mode(settings: &Settings) -> SignupMode {
    match settings.signup {
        Signup::Open => SignupMode::Open,
        Signup::ConfirmFirst => SignupMode::ConfirmFirst,
        Signup::Invite => SignupMode::Invite,
        Signup::Closed => SignupMode::Closed,
    }
}

/// Returns the options with which mails are sent.
pub(crate) fn mail_options(settings: &Settings, public_url: &str) -> MailOptions {
    let mail = &settings.mail;
    MailOptions {
        public_url: public_url.to_owned(),
        from: mail.from.clone(),
        smtp: mail.smtp.clone(),
        ca_file: mail.ca_file.clone(),
        timeout: Duration::from_secs(mail.timeout_secs.into()),
        outbox_dir: settings.data_dir.join("outbox"),
        templates: mail.templates.clone(),
        new_device: mail.new_device,
        max_per_day: settings.limits.then_some(mail.per_day.into()),
    }
}

/// Returns the master secret from the settings or from its file. Creates the file if it does not exist.
pub(crate) fn master_secret(settings: &Settings) -> Result<MasterSecret, SecretError> {
    match &settings.secret {
        Some(secret) => MasterSecret::parse(secret.expose(), "in TRIPGATE_SECRET"),
        None => MasterSecret::read_or_create(&settings.secret_file),
    }
}
