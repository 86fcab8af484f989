//! The tables' row shapes, a file a table, and nothing else: no rules, no serde.
//!
//! Instants are whole milliseconds since 1970 in UTC.

pub mod sessions;
pub mod signing_keys;
pub mod trip_counters;
pub mod trips;
pub mod users;
