//! Reads that see one state of the database.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_orm::{AccessMode, DatabaseConnection, IsolationLevel, TransactionTrait};

use super::{Backend, Db, HasStoreError, StoreError, Tx, detached};

impl Db {
    /// Runs a read-only function in one snapshot: all its statements see what was committed before the first
    /// statement. Costs more than [`Db::read`].
    ///
    /// # Errors
    ///
    /// Those of [`Db::read`].
    pub async fn read_snapshot<I, T, E, F>(&self, input: I, work: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: HasStoreError,
        F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        match &self.backend {
            Backend::Sqlite { readers, .. } => {
                let snapshot = readers.get(self.lane).snapshot().await.map_err(StoreError::from)?;
                let snapshot = Arc::new(snapshot);
                let result = work(&Tx::snapshot(Arc::clone(&snapshot)), &input).await;
                snapshot.end().await;
                result
            }
            Backend::Server { pools, .. } => {
                let pool = pools.get(self.lane).clone();
                detached(async move {
                    let first = in_snapshot(&pool, &input, &work).await;
                    match first.as_ref().err().and_then(HasStoreError::store) {
                        Some(error) if error.is_lost_connection() => in_snapshot(&pool, &input, &work).await,
                        _ => first,
                    }
                })
                .await
            }
        }
    }
}

async fn in_snapshot<I, T, E, F>(pool: &DatabaseConnection, input: &I, work: &F) -> Result<T, E>
where
    E: HasStoreError,
    F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>>,
{
    let (isolation, access) = (Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly));
    let tx = Tx::transaction(pool.begin_with_config(isolation, access).await.map_err(StoreError::from)?);
    let result = work(&tx, input).await;
    tx.rollback().await;
    result
}
