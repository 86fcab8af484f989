//! Tripgate signs people up, logs them in, issues expiring JWTs and keeps each person's trips behind
//! them, all described by an OpenAPI document that is generated from the code.
//!
//! One process, one way through it. A request goes down the stairs and its answer comes up again;
//! nobody calls upwards, and nobody reaches past the next landing:
//!
//! | landing | what it does | what it names |
//! |---|---|---|
//! | [`http`] | the edge: routing, problems, the caller, the server | poem, poem-openapi |
//! | `<room>/api.rs` | wire types and a thin handler for each operation | poem, poem-openapi |
//! | `<room>/mod.rs` | types, use-cases, the room's error | neither poem nor sea-orm |
//! | `<room>/store.rs` | queries | sea-orm, `entity` |
//!
//! The rooms are [`accounts`], [`sessions`], [`tokens`], [`trips`], [`shares`], [`sync`] and [`clients`].
//! They know each other's `mod.rs` only, and in one direction: sessions know accounts, tokens and
//! [`passwords`], accounts know passwords, clients know sessions and tokens, trips know their owner's id and
//! the receipts of [`idempotency`], shares and sync know trips; what they show of a trip is in the words of
//! its `api.rs`. Beneath them lie [`db`], [`leases`], [`idempotency`], [`secrets`], [`clock`], [`audit`] and
//! [`strict_json`]; [`app`] wires everything from [`config`], [`housekeeping`] is what runs beside the requests, and
//! [`cli`] is what an operator types.

pub mod accounts;
pub mod app;
pub mod audit;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod db;
pub mod error_chain;
pub mod housekeeping;
pub mod http;
pub mod idempotency;
pub mod leases;
pub mod listener;
pub mod passwords;
pub mod secrets;
pub mod sessions;
pub mod shares;
pub mod strict_json;
pub mod sync;
pub mod tokens;
pub mod trips;
