//! The integration tests, in one binary. Most tests send HTTP requests to a server; the others run commands
//! or read the source code. The folders `authentication`, `account`, `trips` and `sync` mirror the API.
//! `harness` contains what the tests share, and each of the other folders contains the tests of one kind.
//!
//! Each test that needs a server has its own server, database and clock. Every response is compared with the
//! `OpenAPI` document, except where a test calls `undocumented`. A test therefore fails on any difference,
//! even if it tests something else.
//!
//! A comment such as `// S-53` cites a requirement of `docs/security.md`. The other ids mark tests of defects
//! that were found and corrected. They were found in attacks on the server (`// A-…`), by injecting faults
//! (`// F-…`), and while using the server as a new user, app developer or operator (`// N-…`).

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
mod sharding;
mod sync;
mod trips;
mod users;
