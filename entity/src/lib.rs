//! The row types of the tables, one file for each table. The row types contain neither rules nor
//! serialization code.
//!
//! Instants are whole milliseconds since 1970 in UTC.

pub mod clients;
pub mod digest_nonces;
pub mod feed_epoch;
pub mod flow_failures;
pub mod flows;
pub mod idempotency_keys;
pub mod invites;
pub mod known_devices;
pub mod leases;
pub mod mail_budgets;
pub mod mail_days;
pub mod operator_actions;
pub mod outbox;
pub mod passkey_challenges;
pub mod passkeys;
pub mod pending_logins;
pub mod personal_tokens;
pub mod recovery_codes;
pub mod replicas;
pub mod revocations;
pub mod security_events;
pub mod sessions;
pub mod signing_keys;
pub mod sync_operations;
pub mod throttle_buckets;
pub mod totp_secrets;
pub mod trip_counters;
pub mod trip_shares;
pub mod trip_tombstones;
pub mod trips;
pub mod users;
