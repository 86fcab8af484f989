//! Lanes: separate sets of connections, so that one kind of work never waits for another kind.
//!
//! Requests use the first lane. Searches, which can take long, have few connections and a deadline for each
//! statement. The third lane serves background jobs that must not wait for requests: the poll of revocations
//! and signing keys, leases, and the readiness check. On SQLite the lanes separate only reads, because all
//! writes use one connection.

use std::thread::available_parallelism;
use std::time::Duration;

use super::DATABASE_TIMEOUT;

/// The maximum duration of a statement of a search.
pub(super) const SEARCH_STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// The kind of work that a connection serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lane {
    #[default]
    Requests,
    Searches,
    Background,
}

impl Lane {
    /// Every lane.
    pub(super) const ALL: [Self; 3] = [Self::Requests, Self::Searches, Self::Background];

    /// Returns the number of read-only connections to SQLite.
    pub(super) fn sqlite_readers(self) -> u32 {
        match self {
            // SQLite serves most reads from memory, so the cores limit the number of reads per second. More
            // connections than cores would only use more memory for their caches.
            Self::Requests => 4,
            // A search keeps a core busy. At least half of the cores remain for requests, if there are two or
            // more.
            Self::Searches => {
                let cores = available_parallelism().map_or(1, usize::from);
                u32::try_from(cores / 2).unwrap_or(2).clamp(1, 2)
            }
            Self::Background => 1,
        }
    }

    /// Returns the maximum number of threads of `row_readers`. Only requests use such threads. A search on
    /// one of these threads would delay other reads for long, and would run at the normal priority.
    pub(super) fn row_readers(self) -> usize {
        match self {
            Self::Requests => 4,
            Self::Searches | Self::Background => 0,
        }
    }

    /// Returns the number of connections to a database server.
    pub(super) fn server_connections(self) -> u32 {
        match self {
            Self::Requests => 16,
            Self::Searches | Self::Background => 4,
        }
    }

    /// Returns the maximum duration of a statement on a read-only connection to SQLite.
    pub(super) fn statement_timeout(self) -> Duration {
        if self == Self::Searches { SEARCH_STATEMENT_TIMEOUT } else { DATABASE_TIMEOUT }
    }
}

/// One value for each lane.
#[derive(Clone, Debug)]
pub(super) struct Lanes<T> {
    pub(super) requests: T,
    pub(super) searches: T,
    pub(super) background: T,
}

impl<T> Lanes<T> {
    /// Creates the value of each lane.
    ///
    /// # Errors
    ///
    /// The first error of `create`.
    pub(super) async fn from_fn<E, Fut>(create: impl Fn(Lane) -> Fut) -> Result<Self, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        Ok(Self {
            requests: create(Lane::Requests).await?,
            searches: create(Lane::Searches).await?,
            background: create(Lane::Background).await?,
        })
    }

    pub(super) fn get(&self, lane: Lane) -> &T {
        match lane {
            Lane::Requests => &self.requests,
            Lane::Searches => &self.searches,
            Lane::Background => &self.background,
        }
    }

    /// Returns the values with the names of their lanes.
    pub(super) fn named(&self) -> [(&'static str, &T); 3] {
        [("requests", &self.requests), ("searches", &self.searches), ("background", &self.background)]
    }

    pub(super) fn all(&self) -> [&T; 3] {
        [&self.requests, &self.searches, &self.background]
    }
}
