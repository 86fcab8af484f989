//! The steps of the schema that this version contains, and those that were applied to a database.

use futures_util::FutureExt;
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, Statement};

use super::{Db, StoreError, Tx};

/// Returns the names of all steps of this version, in order.
pub(super) fn step_names() -> Vec<String> {
    Migrator::migrations().iter().map(|step| step.name().to_owned()).collect()
}

/// Returns whether this version of Tripgate contains the migration step.
pub fn has_step(name: &str) -> bool {
    step_names().iter().any(|known| known == name)
}

/// Returns the newest step of this version.
pub fn newest_step() -> String {
    step_names().pop().unwrap_or_default()
}

impl Db {
    /// Returns the newest step that was applied to the database.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn newest_applied_step(&self) -> Result<Option<String>, StoreError> {
        self.read((), |tx, ()| newest_applied_step(tx).boxed()).await
    }
}

async fn newest_applied_step(tx: &Tx) -> Result<Option<String>, StoreError> {
    // The names begin with the date and the number of the step, so the greatest name is the newest step.
    let select = "SELECT MAX(version) FROM seaql_migrations";
    let row = tx.query_one_raw(Statement::from_string(tx.get_database_backend(), select)).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.flatten())
}
