//! Returns the space of deleted rows to the file system. SQLite only: a database server reuses the space by
//! itself.

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Backend, Db, StoreError, Tx};

/// Number of pages of 4 KiB that one step returns to the file system.
const VACUUM_PAGES: u32 = 256;
/// Maximum number of steps of one call of [`Db::release_space`].
const MAX_VACUUM_STEPS: u32 = 256;
/// Number of free pages that remain in the file.
const FREE_PAGES: u64 = 1024;

impl Db {
    /// Returns free pages of a SQLite file to the file system, in small steps so that other writes wait for
    /// at most one step. Some free pages remain, for the next rows. Has no effect on a file that was created
    /// without `auto_vacuum`, or on a server.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn release_space(&self) -> Result<(), StoreError> {
        if !matches!(self.backend, Backend::Sqlite { .. }) {
            return Ok(());
        }
        let mut free = u64::MAX;
        for _ in 0..MAX_VACUUM_STEPS {
            let left = self.write((), |tx, ()| vacuum_step(tx).boxed()).await?;
            if left <= FREE_PAGES || left >= free {
                break;
            }
            free = left;
        }
        Ok(())
    }
}

/// Releases up to [`VACUUM_PAGES`] free pages of a SQLite file, if more than [`FREE_PAGES`] are free. Returns
/// the number of pages that are still free.
async fn vacuum_step(tx: &Tx) -> Result<u64, StoreError> {
    let free = free_pages(tx).await?;
    if free <= FREE_PAGES {
        return Ok(free);
    }
    tx.execute_unprepared(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})")).await?;
    free_pages(tx).await
}

async fn free_pages(tx: &Tx) -> Result<u64, StoreError> {
    let query = Statement::from_string(DbBackend::Sqlite, "SELECT freelist_count FROM pragma_freelist_count");
    let row = tx.query_one_raw(query).await?;
    let free = row.map(|row| row.try_get_by_index::<i64>(0)).transpose()?.unwrap_or(0);
    Ok(u64::try_from(free).unwrap_or(0))
}
