//! Tripgate is a server for user accounts and trips. It signs users up, logs them in, issues JWT access
//! tokens, and stores each user's trips. An OpenAPI document, which is generated from the code, describes the
//! API.
//!
//! # Layers
//!
//! A request passes through the layers from top to bottom, within one process. A module can import only from
//! lower layers. `tests/it/architecture` enforces this table:
//!
//! | layer | modules | purpose |
//! |---|---|---|
//! | 9 | [`cli`] | the command line |
//! | 8 | [`serve`] | runs a server from start to shutdown |
//! | 7 | [`http`], [`housekeeping`], [`admin`] | the assembled API, background jobs, administrative commands |
//! | 6 | [`app`] | builds the services from settings, database and clock |
//! | 5 | `api` of each domain module | the operations: wire types and thin handlers |
//! | 4 | [`web`] | the building blocks of handlers: problems, bodies, callers, conditions |
//! | 3 | the domain modules (below) | types, use cases and queries |
//! | 2 | [`db`], [`passwords`], [`config`], [`data_dir`] | transactions, password hashing, settings, the data directory |
//! | 1 | [`clock`], [`secrets`], [`audit`] | time and ids, the master secret, the audit log |
//! | 1 | [`strict_json`], [`calendar_date`], [`plain_text`] | JSON parsing, dates as text, characters of users' texts |
//! | 1 | [`mod@error_chain`], [`repeated_warnings`] | error chains in logs, the limit of repeated warnings |
//! | 1 | [`metrics`], [`traces`] | the metrics and the traces of the process |
//! | 1 | [`thread_priority`], [`uniform_time`] | the priority of threads, uniform response times |
//! | 0 | [`listener`] | accepts connections, enforces limits and timeouts; imports no other module |
//!
//! # Domain modules
//!
//! A domain module consists of its `mod.rs` with types, use cases and the error enum, a private `store` with
//! the queries, and `api` with the operations. `poem` is used only in [`listener`], [`web`], [`http`] and the
//! `api` modules, `sea_orm` only in [`db`] and the `store` modules.
//!
//! The domain modules are [`accounts`], [`backups`], [`clients`], [`epochs`], [`events`], [`exports`],
//! [`flows`], [`idempotency`], [`invites`], [`leases`], [`mail`], [`operators`], [`passkeys`],
//! [`personal_tokens`], [`recovery`], [`replicas`], [`second_factors`], [`sessions`], [`shares`], [`sync`],
//! [`throttle`], [`tokens`], [`totp`] and [`trips`].
//!
//! Within a layer, a module imports only what `SAME_LAYER` in `tests/it/architecture/layers.rs` lists. The
//! `api` of a module can use the wire types of another module: `shares` and `sync` return trips.

pub mod accounts;
pub mod admin;
pub mod app;
pub mod audit;
pub mod backups;
pub mod calendar_date;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod db;
pub mod epochs;
pub mod error_chain;
pub mod events;
pub mod exports;
pub mod flows;
pub mod housekeeping;
pub mod http;
pub mod idempotency;
pub mod invites;
pub mod leases;
pub mod listener;
pub mod mail;
pub mod metrics;
pub mod operators;
pub mod passkeys;
pub mod passwords;
pub mod personal_tokens;
pub mod plain_text;
pub mod recovery;
pub mod repeated_warnings;
pub mod replicas;
pub mod second_factors;
pub mod secrets;
pub mod serve;
pub mod sessions;
pub mod shares;
pub mod strict_json;
pub mod sync;
pub mod thread_priority;
pub mod throttle;
pub mod tokens;
pub mod totp;
pub mod traces;
pub mod trips;
pub mod uniform_time;
pub mod web;
