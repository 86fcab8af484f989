//! The database schema, one file for each migration step.
//!
//! Every step runs on SQLite, PostgreSQL, MySQL and MariaDB, and can be repeated after a partial failure. A
//! released step never changes: a change of the schema is a new step. No step imports `entity`, because a
//! step must not change when the row types change.

mod dialect;
mod m20261122_000001_foundation;
mod m20261122_000002_sessions_and_keys;
mod m20261122_000003_trip_stops_and_search;
mod m20261122_000004_idempotency_shares_sync;
mod m20261122_000005_canonical_identifiers;
mod m20261129_000006_feed_epoch;
mod m20261129_000007_trip_search;
mod m20261129_000008_quotas;
mod m20261129_000009_session_authentication;
mod m20261129_000010_flows;
mod m20261129_000011_idempotency_references;
mod m20261129_000012_outbox;
mod m20261129_000013_personal_tokens;
mod m20261129_000014_second_factors;
mod m20261129_000015_throttle;
mod m20261129_000016_account_lifecycle;
mod m20261129_000017_operator_actions;
mod m20261129_000018_invites;
mod m20261129_000019_flow_sessions;
mod m20261129_000020_passkeys;
mod m20261130_000021_search_of_short_texts;
mod m20261130_000022_replicas;
mod m20261130_000023_lock_count;

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
            Box::new(m20261122_000003_trip_stops_and_search::Migration),
            Box::new(m20261122_000004_idempotency_shares_sync::Migration),
            Box::new(m20261122_000005_canonical_identifiers::Migration),
            Box::new(m20261129_000006_feed_epoch::Migration),
            Box::new(m20261129_000007_trip_search::Migration),
            Box::new(m20261129_000008_quotas::Migration),
            Box::new(m20261129_000009_session_authentication::Migration),
            Box::new(m20261129_000010_flows::Migration),
            Box::new(m20261129_000011_idempotency_references::Migration),
            Box::new(m20261129_000012_outbox::Migration),
            Box::new(m20261129_000013_personal_tokens::Migration),
            Box::new(m20261129_000014_second_factors::Migration),
            Box::new(m20261129_000015_throttle::Migration),
            Box::new(m20261129_000016_account_lifecycle::Migration),
            Box::new(m20261129_000017_operator_actions::Migration),
            Box::new(m20261129_000018_invites::Migration),
            Box::new(m20261129_000019_flow_sessions::Migration),
            Box::new(m20261129_000020_passkeys::Migration),
            Box::new(m20261130_000021_search_of_short_texts::Migration),
            Box::new(m20261130_000022_replicas::Migration),
            Box::new(m20261130_000023_lock_count::Migration),
        ]
    }
}
