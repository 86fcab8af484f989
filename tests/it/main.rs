//! The integration tests: one binary, a file a feature, all of them through HTTP.
//!
//! Each test has a server, a database and a clock of its own. Everything that the server answers is
//! compared with its document, so a test fails when the two part ways, whatever it is about.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets something unexpected has failed"
)]

mod architecture;
mod auth_methods;
mod authz;
mod bad_input;
mod cli;
mod clients;
mod concurrent_writes;
mod crash;
mod disk_full;
mod docs;
mod documents;
mod errors;
mod examples;
mod first_steps;
mod harness;
mod idempotency;
mod keys;
mod lengths;
mod login;
mod no_echo;
mod openapi;
mod outage;
mod parity;
mod problems;
mod process;
mod profile;
mod schema;
mod server;
mod sessions;
mod shares;
mod signup;
mod statuses;
mod storage;
mod stored;
mod sync;
mod tokens;
mod trips;
mod verify;
