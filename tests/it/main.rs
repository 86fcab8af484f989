//! The integration tests: one binary, all through HTTP. The folders `authentication`, `account`,
//! `trips` and `sync` mirror the API; the others contain the tests of one kind.
//!
//! Each test has its own server, database and clock. Every response is compared with the `OpenAPI`
//! document, so a test fails on any difference, whatever its subject.
//!
//! A comment such as `// S-53` cites a requirement of `docs/security.md`. The other ids mark tests of defects
//! that were found and corrected: `// A-…` in attacks on the server, `// F-…` by injecting faults, and `//
//! N-…` while using the server as a new user, app developer or operator.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value fails the test"
)]

mod account;
mod architecture;
mod authentication;
mod contract;
mod documents;
mod faults;
mod harness;
mod mail;
mod operation;
mod recovery;
mod sync;
mod trips;
mod users;
