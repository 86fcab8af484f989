//! The integration tests: one binary, one file per feature, all through HTTP.
//!
//! Each test has its own server, database and clock. Every response is compared with the `OpenAPI`
//! document, so a test fails on any difference, whatever its subject.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value fails the test"
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
mod sync;
mod tokens;
mod trips;
mod verify;
