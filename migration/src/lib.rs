//! The schema of Tripgate, a file a step.
//!
//! Every step runs on SQLite, PostgreSQL and MySQL or MariaDB, can be run again after it failed
//! half-way, and is frozen once released: a change is a new step. Nothing here imports `entity`,
//! because a step must keep meaning what it meant when the row shapes move on.

mod dialect;
mod m20261122_000001_foundation;
mod m20261122_000002_sessions_and_keys;
mod m20261122_000003_trips_whole;
mod m20261122_000004_offline;

use sea_orm_migration::prelude::MigrationTrait;
pub use sea_orm_migration::prelude::{MigratorTrait, SchemaManager};

/// All steps in order.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_foundation::Migration),
            Box::new(m20261122_000002_sessions_and_keys::Migration),
            Box::new(m20261122_000003_trips_whole::Migration),
            Box::new(m20261122_000004_offline::Migration),
        ]
    }
}
