//! Counts the connections that a server has opened to its database server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Backend, Db};

/// The number of connections that were opened. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenedConnections(Arc<AtomicU64>);

impl OpenedConnections {
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Db {
    /// Returns the number of connections to the database server that were opened so far; on SQLite, 0.
    ///
    /// A failover ends every connection. While this number stays the same, all reads therefore see the same
    /// history of the data, unless a pooler such as `PgBouncer` is between this server and the database. After
    /// a failover that has lost changes, counters in the database can return to earlier values.
    pub fn opened_connections(&self) -> u64 {
        match &self.backend {
            Backend::Sqlite { .. } => 0,
            Backend::Server { opened, .. } => opened.0.load(Ordering::SeqCst),
        }
    }
}
