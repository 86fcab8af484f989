//! The servers that use one database, and the checks that these servers are compatible.
//!
//! Each server on PostgreSQL, MySQL or MariaDB writes a row when it starts, renews the row every
//! [`HEARTBEAT_EVERY`], and deletes the row when it stops gracefully. At each heartbeat, the server compares
//! itself with the servers whose row is not older than [`LIVE`]. It reports differences in the log and in the
//! metrics. Two differences make a server not ready: another server with another public URL started earlier,
//! or the schema of the database is newer than this version supports. A server that can't decrypt the signing
//! key does not start beside a server with another master secret.
//!
//! Invariants: a row contains a fingerprint of the master secret and never the secret. All times in the rows
//! are from the database's clock. A SQLite file has only one server, so nothing is written on SQLite. The rows
//! describe processes and not data: they are not copied, not restored, and not counted as writes.

mod comparison;
mod report;
mod store;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, StoreError, Tx, has_step, newest_step};
use crate::metrics;
use crate::secrets::MasterSecret;

pub use crate::metrics::ReplicaMismatch;
pub use comparison::Mismatch;
use comparison::compare;
use report::Report;

/// How often a server renews its row.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
/// The age above which the server of a row is considered stopped.
pub const LIVE: TimeDelta = TimeDelta::seconds(30);
/// The age above which a row is deleted.
const KEEP: TimeDelta = TimeDelta::minutes(5);
/// The maximum duration of the query for the database's time. If the query takes longer, its result is too
/// inexact to measure the clock.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(1);

/// A server, as its row describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Random; a restarted server has another id.
    pub id: Uuid,
    /// The version of Tripgate.
    pub version: String,
    /// The name of the machine or container.
    pub host: String,
    /// The address on which the server listens.
    pub address: String,
    /// The fingerprint of the current master secret.
    pub secret: String,
    /// The public URL, which is the issuer of tokens.
    pub public_url: String,
    /// The newest migration step that the version of the server contains.
    pub schema: String,
    /// The system clock minus the database's clock.
    pub clock_offset: TimeDelta,
    /// When the server started.
    pub started_at: DateTime<Utc>,
    /// When the server last renewed its row.
    pub seen_at: DateTime<Utc>,
}

impl Replica {
    /// Returns the name of the server in messages.
    pub fn name(&self) -> String {
        format!("{} ({})", self.host, self.address)
    }

    fn is_live(&self, now: DateTime<Utc>) -> bool {
        // The difference is negative if the database's clock was set back after the row was written.
        (now - self.seen_at).abs() <= LIVE
    }

    fn started_before(&self, other: &Self) -> bool {
        (self.started_at, self.id) < (other.started_at, other.id)
    }

    /// Returns whether the public URL is the default, which contains the address of the listener.
    fn has_default_url(&self) -> bool {
        ["http", "https"].iter().any(|scheme| self.public_url == format!("{scheme}://{}", self.address))
    }

    /// Returns whether the two servers would reject each other's tokens behind one load balancer. Returns
    /// false for two servers with default URLs: clients use each of them directly, for example in a trial.
    fn has_conflicting_url(&self, other: &Self) -> bool {
        self.public_url != other.public_url && !(self.has_default_url() && other.has_default_url())
    }
}

/// Why a server can't join the servers of its database.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// This server can't decrypt the signing key, and a server with another master secret runs.
    #[error(
        "the server {0} uses this database with another master secret: give both servers the same secret. If \
         that server was killed, start again after {secs} seconds", secs = LIVE.num_seconds()
    )]
    OtherSecret(String),
    /// The database failed.
    #[error("failed to record this server in the database")]
    Store(#[from] StoreError),
}

/// The result of [`examine`].
#[derive(Debug)]
pub struct Examined {
    /// The running servers.
    pub servers: Vec<Replica>,
    /// The differences between these servers and a server with the settings of the command.
    pub mismatches: Vec<Mismatch>,
}

/// Records this server, and compares it with the others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Replicas {
    db: Db,
    clock: Clock,
    /// The fingerprints of all known master secrets, the current one first.
    secrets: Arc<[String]>,
    public_url: String,
    state: Arc<Mutex<State>>,
}

/// The state as of the last heartbeat.
#[derive(Debug, Default)]
struct State {
    /// This server; `None` before it has joined, and on SQLite.
    own: Option<Replica>,
    has_other_public_url: bool,
    has_newer_schema: bool,
    report: Report,
}

impl Replicas {
    /// Creates the service.
    pub fn new(db: &Db, clock: Clock, secret: &MasterSecret, public_url: String) -> Self {
        let (db, secrets) = (db.background().uncounted(), secret.fingerprints().into());
        Self { db, clock, secrets, public_url, state: Arc::default() }
    }

    /// Writes the row of this server, and compares this server with the others. If `has_wrong_secret` is true,
    /// refuses to join servers with another master secret.
    ///
    /// # Errors
    ///
    /// [`JoinError`].
    pub async fn join(&self, address: SocketAddr, has_wrong_secret: bool) -> Result<(), JoinError> {
        let mut own = this_server(&self.clock, &self.secrets, self.public_url.clone());
        own.address = address.to_string();
        if !measure(&self.db, &self.clock, &mut own).await? {
            return Ok(());
        }
        own.started_at = own.seen_at;
        // Only a server with the wrong secret refuses to start. A server with the right secret starts even if
        // a server with the wrong secret runs already.
        if has_wrong_secret {
            let others = self.others(&own).await?;
            if let Some(other) = others.iter().find(|other| !self.secrets.contains(&other.secret)) {
                return Err(JoinError::OtherSecret(other.name()));
            }
        }
        match self.db.write(own.clone(), |tx, own| store::insert(tx, own).boxed()).await {
            // On a full disk, the row can't be stored, but the server still serves reads.
            Ok(()) | Err(StoreError::StorageFull(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let others = self.others(&own).await?;
        self.compare_with(own, &others).await?;
        Ok(())
    }

    /// Renews the row of this server, and compares this server with the others.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn beat(&self) -> Result<(), StoreError> {
        let Some(mut own) = self.state().own.clone() else { return Ok(()) };
        measure(&self.db, &self.clock, &mut own).await?;
        // On a full disk, the row can't be renewed, but the other rows can be read.
        let renewed = self.db.write(own.clone(), |tx, own| renew(tx, own).boxed()).await;
        let others = self.others(&own).await?;
        self.compare_with(own, &others).await?;
        renewed
    }

    /// Deletes the row of this server.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn leave(&self) -> Result<(), StoreError> {
        let Some(own) = self.state().own.take() else { return Ok(()) };
        self.db.write(own.id, |tx, id| store::delete(tx, *id).boxed()).await
    }

    /// Deletes the rows of servers that have not been seen for 5 minutes. Also deletes rows whose time is
    /// more than 5 minutes in the future: these rows were written before the database's clock was set back.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        if self.state().own.is_none() {
            return Ok(());
        }
        let now = self.clock.shared_now();
        self.db.write((now - KEEP, now + KEEP), |tx, times| store::sweep(tx, *times).boxed()).await
    }

    /// Returns whether a server with another public URL is running and started before this server.
    pub fn has_other_public_url(&self) -> bool {
        self.state().has_other_public_url
    }

    /// Returns whether the schema of the database is newer than this version supports.
    pub fn has_newer_schema(&self) -> bool {
        self.state().has_newer_schema
    }

    async fn others(&self, own: &Replica) -> Result<Vec<Replica>, StoreError> {
        let mut servers = live(&self.db, own.seen_at).await?;
        servers.retain(|server| server.id != own.id);
        Ok(servers)
    }

    /// Compares this server with the others, and records the result.
    async fn compare_with(&self, own: Replica, others: &[Replica]) -> Result<(), StoreError> {
        let newest = self.db.newest_applied_step().await?;
        let mismatches: Vec<Mismatch> =
            others.iter().flat_map(|other| compare(&own, &self.secrets, other)).collect();
        for kind in ReplicaMismatch::ALL {
            metrics::set_replica_mismatch(kind, mismatches.iter().any(|mismatch| mismatch.kind == kind));
        }
        let has_other_public_url =
            others.iter().any(|other| own.has_conflicting_url(other) && other.started_before(&own));
        let mut state = self.state();
        state.has_other_public_url = has_other_public_url;
        state.has_newer_schema = newest.is_some_and(|step| !has_step(&step));
        state.report.write(&mismatches, self.clock.monotonic());
        state.own = Some(own);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Describes a server of this version on this machine. The address and the times are not set.
fn this_server(clock: &Clock, secrets: &[String], public_url: String) -> Replica {
    Replica {
        id: clock.new_id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        address: String::new(),
        secret: secrets.first().cloned().unwrap_or_default(),
        public_url,
        schema: newest_step(),
        clock_offset: TimeDelta::zero(),
        started_at: DateTime::UNIX_EPOCH,
        seen_at: DateTime::UNIX_EPOCH,
    }
}

/// Compares the clock with the database's clock, and sets `clock_offset` and `seen_at` of the server. Returns
/// `false` on SQLite, which has no clock of its own.
async fn measure(db: &Db, clock: &Clock, own: &mut Replica) -> Result<bool, StoreError> {
    let asked_at = clock.monotonic();
    let time = db.now().await?;
    clock.compare_with_database(asked_at, time);
    if clock.monotonic().saturating_sub(asked_at) <= MAX_ROUND_TRIP {
        own.clock_offset = clock.offset();
    }
    own.seen_at = clock.shared_now();
    Ok(time.is_some())
}

/// Renews the row of a server. If another server has deleted the row, because this process was suspended for
/// minutes, inserts the row again.
async fn renew(tx: &Tx, own: &Replica) -> Result<(), StoreError> {
    if store::renew(tx, own).await? { Ok(()) } else { store::insert(tx, own).await }
}

/// Returns the running servers, the oldest first.
async fn live(db: &Db, now: DateTime<Utc>) -> Result<Vec<Replica>, StoreError> {
    let mut servers = db.read((), |tx, ()| store::list(tx).boxed()).await?;
    servers.retain(|server| server.is_live(now));
    servers.sort_by_key(|server| (server.started_at, server.id));
    Ok(servers)
}

/// Compares the running servers with a server that has this secret and this public URL. A value that is
/// `None` is not compared. Returns `None` on SQLite.
///
/// # Errors
///
/// [`StoreError`].
pub async fn examine(
    db: &Db,
    clock: &Clock,
    secret: Option<&MasterSecret>,
    public_url: Option<String>,
) -> Result<Option<Examined>, StoreError> {
    let secrets = secret.map(MasterSecret::fingerprints).unwrap_or_default();
    let mut own = this_server(clock, &secrets, public_url.clone().unwrap_or_default());
    if !measure(db, clock, &mut own).await? {
        return Ok(None);
    }
    let servers = live(db, own.seen_at).await?;
    let is_known = |mismatch: &Mismatch| match mismatch.kind {
        ReplicaMismatch::Secret => secret.is_some(),
        ReplicaMismatch::PublicUrl => public_url.is_some(),
        _ => true,
    };
    let mismatches = servers.iter().flat_map(|other| compare(&own, &secrets, other)).filter(is_known);
    Ok(Some(Examined { mismatches: mismatches.collect(), servers }))
}

/// Deletes all rows. After a restore, the rows of the backup describe servers that no longer run.
///
/// # Errors
///
/// [`StoreError`].
pub async fn clear(db: &Db) -> Result<(), StoreError> {
    db.uncounted().write((), |tx, ()| store::clear(tx).boxed()).await
}
