//! The edge: everything of HTTP that is not one resource's own.
//!
//! A request comes in through [`server`], passes the edge (`edge.rs`), is routed by the table below, and has
//! its credential ([`caller`]) and body ([`json`]) checked before the handler in a room's `api.rs`
//! sees it. Every error leaves as a [`problem`]. The document ([`spec`]) is generated from the same
//! table and types.

pub mod batch;
pub mod caller;
mod codes;
pub mod conditional;
mod credentials;
mod docs;
mod edge;
pub mod form;
mod health;
pub mod id;
pub mod idempotency;
pub mod json;
pub mod local;
mod paths;
pub mod problem;
mod schema;
pub mod server;
pub mod service;
pub mod spec;

use poem::{Endpoint, IntoEndpoint, Response};
use poem_openapi::{ContactObject, LicenseObject, OpenApi, OpenApiService, ServerObject, Tags};

use crate::app::App;
use crate::{accounts, clients, sessions, shares, sync, tokens, trips};

/// Where the API lies.
pub const API: &str = "/api/v1";

/// The groups of operations.
#[derive(Tags)]
pub enum Tag {
    /// Signing up, logging in, and whether a token is still good.
    Authentication,
    /// The account of whoever is logged in.
    Account,
    /// The trips of whoever is logged in. Somebody else's do not exist.
    Trips,
    /// For apps that work offline: what changed since they asked last, and what they did meanwhile.
    Sync,
    /// For other services: what a token is worth, public keys, and where the rest is found.
    Services,
    /// For whoever runs the server.
    Health,
}

/// Every operation there is.
fn service() -> OpenApiService<impl OpenApi, ()> {
    let operations = (
        sessions::api::SessionsApi,
        sessions::api::KeptSessionsApi,
        sessions::api::BareTokensApi,
        accounts::api::AccountsApi,
        trips::api::TripsApi,
        trips::api::StopsApi,
        shares::api::SharesApi,
        sync::api::SyncApi,
        clients::api::ClientsApi,
        tokens::api::DiscoveryApi,
        health::HealthApi,
    );
    OpenApiService::new(operations, "Tripgate", env!("CARGO_PKG_VERSION"))
        .description(include_str!("description.md"))
        .contact(ContactObject::new().name("The Tripgate authors"))
        .license(LicenseObject::new("MIT").url("https://spdx.org/licenses/MIT.html"))
        .server(ServerObject::new("/").description("This server"))
}

/// Every route, with the edge around it.
pub fn router(app: &App) -> impl Endpoint<Output = Response> + 'static {
    edge::Edge { operations: service().into_endpoint(), pages: docs::routes(app.docs), app: app.clone() }
}

/// A request that is refused before it reaches the edge.
pub fn bad_request(why: &'static str) -> Response {
    edge::refuse(&problem::Problem::new(problem::Code::BadRequest, why))
}
