//! The composition root: settings, database and clock become rooms, and rooms become a server.

mod keys;

use std::fs::{self, DirBuilder, File};
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::Mode;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::accounts::Accounts;
use crate::clients::{Clients, ClientsError, Introspector};
use crate::clock::Clock;
use crate::config::{AuthMethods, Settings, SigningAlg, Signup};
use crate::db::{self, Db, OpenError};
use crate::housekeeping;
use crate::http;
use crate::idempotency::Idempotency;
use crate::leases::Leases;
use crate::listener::{self, Limits, Server, ServerError};
use crate::passwords::Passwords;
use crate::secrets::{MasterSecret, SecretError};
use crate::sessions::{Lifetimes, Sessions};
use crate::shares::Shares;
use crate::sync::Sync;
use crate::tokens::{Alg, Tokens, TokensError};
use crate::trips::Trips;

pub use crate::clients::ClientCommand;
pub use crate::db::MigrateCommand;
pub use keys::{KeyCommand, KeysError, SecretCommand, keys, secrets};

/// Every room, wired. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Services>);

/// What an [`App`] holds.
#[derive(Debug)]
pub struct Services {
    /// The database.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Who people are.
    pub accounts: Accounts,
    /// Their logins.
    pub sessions: Sessions,
    /// Their access tokens.
    pub tokens: Tokens,
    /// Their trips.
    pub trips: Trips,
    /// Links that show them.
    pub shares: Shares,
    /// What apps do offline.
    pub sync: Sync,
    /// Requests that make something once, however often they are sent.
    pub idempotency: Idempotency,
    /// Services that may ask about tokens.
    pub clients: Clients,
    /// What they are told.
    pub inspector: Introspector,
    /// What is taken as a credential besides `Authorization: Bearer`.
    pub ways_in: AuthMethods,
    /// Which replica does what only one need do.
    pub leases: Leases,
    /// Whether the document and Swagger UI are served.
    pub docs: bool,
    /// The origins whose pages may call us.
    pub cors_origins: Vec<String>,
    stopping: AtomicBool,
}

impl Deref for App {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

impl Services {
    /// Whether the server has begun to shut down.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Why the server can't start: each case one clear line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory for the data can't be made or written to.
    #[error("the data directory {path} can't be made or written to: {source}")]
    DataDir {
        /// The directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// No usable master secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No usable database.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The signing keys can't be read.
    #[error("the signing keys can't be read: {0}")]
    Tokens(#[from] TokensError),
    /// No usable address or certificate.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The operating system refused something that a server needs.
    #[error("the server can't run: {0}")]
    Io(#[from] io::Error),
}

/// Wires the rooms.
///
/// # Errors
///
/// [`StartError`].
pub async fn build(settings: &Settings, clock: Clock, public_url: String) -> Result<App, StartError> {
    set_umask();
    create_data_dir(&settings.data_dir)?;
    let secret = master_secret(settings)?;
    let db = db::open(settings.database_url.expose()).await?;
    let max_wait = Duration::from_secs(settings.hash_wait_secs.into());
    let passwords = Passwords::new(settings.bcrypt_cost, settings.password_min, max_wait);
    let (ttl_secs, alg) = (settings.access_ttl_secs, signing_alg(settings));
    let audience = settings.audience.clone();
    let tokens =
        Tokens::open(&db, clock.clone(), &secret, public_url.clone(), audience, ttl_secs, alg).await?;
    let accounts = Accounts::new(db.clone(), clock.clone(), passwords);
    let lifetimes =
        Lifetimes { idle_secs: settings.refresh_idle_secs, absolute_secs: settings.refresh_absolute_secs };
    let signup_open = settings.signup == Signup::Open;
    let sessions = Sessions::new(
        db.clone(),
        clock.clone(),
        accounts.clone(),
        tokens.clone(),
        &secret,
        lifetimes,
        signup_open,
    );
    let trips = Trips::new(db.clone(), clock.clone(), &secret);
    let shares = Shares::new(db.clone(), clock.clone(), trips.clone(), &secret, public_url);
    let sync = Sync::new(db.clone(), clock.clone(), trips.clone(), &secret);
    let idempotency = Idempotency::new(db.clone(), clock.clone());
    let clients = Clients::new(db.clone(), clock.clone());
    let inspector = Introspector::new(db.clone(), tokens.clone(), sessions.clone());
    let leases = Leases::new(db.clone(), clock.clone());
    Ok(App(Arc::new(Services {
        db,
        clock,
        accounts,
        sessions,
        tokens,
        trips,
        shares,
        sync,
        idempotency,
        clients,
        inspector,
        ways_in: settings.ways_in,
        leases,
        docs: settings.docs,
        cors_origins: settings.cors_origins.clone(),
        stopping: AtomicBool::new(false),
    })))
}

/// Whatever this process makes from here on, only its owner reads: the database too.
fn set_umask() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
}

fn create_data_dir(path: &Path) -> Result<(), StartError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| check_writable(path))
        .map_err(|source| StartError::DataDir { path: path.display().to_string(), source })
}

/// A full or read-only disk is better found at the start than at the first sign-up.
fn check_writable(directory: &Path) -> io::Result<()> {
    // A name of its own for each of several servers that start together.
    let path = directory.join(format!(".try-{}", Clock::system().new_id()));
    let mut file = File::create(&path)?;
    let written = file.write_all(&[0; 16 * 1024]);
    fs::remove_file(&path)?;
    written
}

fn signing_alg(settings: &Settings) -> Alg {
    match settings.signing_alg {
        SigningAlg::Es256 => Alg::Es256,
        SigningAlg::EdDsa => Alg::EdDsa,
        SigningAlg::Rs256 => Alg::Rs256,
        SigningAlg::Hs256 => Alg::Hs256,
    }
}

fn master_secret(settings: &Settings) -> Result<MasterSecret, SecretError> {
    match &settings.secret {
        Some(given) => MasterSecret::given(given.expose(), "in TRIPGATE_SECRET"),
        None => MasterSecret::read_or_create(&settings.secret_file),
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its rooms.
    pub app: App,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Stops it: no new connections, what is in flight is finished, the database is closed.
    ///
    /// # Errors
    ///
    /// What the server met.
    pub async fn stop(self) -> io::Result<()> {
        // An error means that it has stopped already.
        let _ = self.stop.send(());
        self.server.await.map_err(io::Error::other)?
    }
}

/// Starts a server in the background.
///
/// # Errors
///
/// [`StartError`].
pub async fn start(settings: &Settings, clock: Clock) -> Result<Running, StartError> {
    let tls = settings.tls.as_ref().map(|files| listener::tls(&files.cert, &files.key)).transpose()?;
    // First of all, so that a second server says so before it touches anything.
    let listener = listener::bind(settings.listen).await?;
    let address = listener.local_addr()?;
    let app = build(settings, clock, settings.public_url(address)).await?;
    let (stop, stopped) = oneshot::channel();
    let limits = Limits {
        max_connections: settings.max_connections,
        grace: Duration::from_secs(settings.shutdown_secs.into()),
        ..Limits::default()
    };
    let server = tokio::spawn(run(app.clone(), listener, tls, limits, async {
        drop(stopped.await);
    }));
    Ok(Running { address, app, stop, server })
}

async fn run(
    app: App,
    listener: TcpListener,
    tls: Option<Arc<tokio_rustls::rustls::ServerConfig>>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = Arc::new(http::router(&app));
    let stopping = async {
        stop.await;
        app.stopping.store(true, Ordering::Relaxed);
    };
    let chores = tokio::spawn(housekeeping::run(app.clone()));
    let served =
        Server { limits, bad_request: http::bad_request }.serve(listener, tls, router, stopping).await;
    chores.abort();
    housekeeping::finish(&app).await;
    app.db.close().await;
    served
}

/// Runs a server until SIGTERM or SIGINT.
///
/// # Errors
///
/// [`StartError`].
pub async fn serve(settings: Settings) -> Result<(), StartError> {
    let signal = listener::stop_signal()?;
    let running = start(&settings, Clock::system()).await?;
    // Who closed our output does not want to read this.
    drop(banner(&settings, running.address));
    tracing::info!(address = %running.address, "serving");
    if settings.public_url.is_none() && running.address.ip().is_unspecified() {
        tracing::warn!("public_url is not set: tokens and links name an address that nobody can reach");
    }
    signal.await;
    tracing::info!("stopping");
    Ok(running.stop().await?)
}

fn banner(settings: &Settings, address: SocketAddr) -> io::Result<()> {
    let url = settings.public_url(address);
    let data = settings.data_dir.canonicalize().unwrap_or_else(|_| settings.data_dir.clone());
    let mut out = io::stdout().lock();
    writeln!(out, "Tripgate {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  API   {url}{}", http::API)?;
    if settings.docs {
        writeln!(out, "  Docs  {url}/docs")?;
    }
    writeln!(out, "  Data  {}", data.display())?;
    out.flush()
}

/// Changes the schema of the database, or tells its state: a line for each step.
///
/// # Errors
///
/// [`StartError`].
pub async fn migrate(settings: &Settings, what: MigrateCommand) -> Result<Vec<String>, StartError> {
    set_umask();
    if what == MigrateCommand::Up {
        create_data_dir(&settings.data_dir)?;
    }
    Ok(db::migrate(settings.database_url.expose(), what).await?)
}

/// Makes, lists or removes the credentials of other services: lines for the operator, or why not.
///
/// # Errors
///
/// [`StartError`].
pub async fn manage_clients(
    settings: &Settings,
    what: ClientCommand,
) -> Result<Result<Vec<String>, ClientsError>, StartError> {
    set_umask();
    let url = settings.database_url.expose();
    let db = match db::open_existing(url).await {
        Err(OpenError::NotFound { path }) if matches!(what, ClientCommand::Add(_)) => {
            // An installation may begin with its clients; or this is the wrong folder.
            tracing::warn!(path, "there was no database: it is made now; run this in the server's folder");
            create_data_dir(&settings.data_dir)?;
            db::open(url).await?
        }
        opened => opened?,
    };
    let done = Clients::new(db.clone(), Clock::system()).manage(&what).await;
    db.close().await;
    Ok(done)
}
