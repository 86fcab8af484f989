//! The edge: everything of HTTP that is not one resource's own.
//!
//! A request comes in through [`crate::listener`], passes the edge (`edge.rs`), is routed by the table below, and has
//! its credential ([`caller`]) and body ([`body`]) checked before the handler in a room's `api.rs`
//! sees it. Every error leaves as a [`problem`]. The document ([`openapi`]) is generated from the same
//! table and types.

pub mod batch;
pub mod body;
pub mod caller;
pub mod client;
pub mod conditional;
mod credentials;
mod deprecations;
mod docs;
pub mod examples;
pub mod form;
mod health;
pub mod idempotency_key;
pub mod local_time;
mod middleware;
pub mod openapi;
pub mod path_id;
mod path_table;
pub mod problem;
mod problem_code;
mod validate;

use poem::{Endpoint, IntoEndpoint, Response};
use poem_openapi::{ContactObject, LicenseObject, OpenApi, OpenApiService, ServerObject, Tags};

use crate::app::App;
use crate::{accounts, clients, sessions, shares, sync, tokens, trips};

/// Where the API lies.
pub const API: &str = "/api/v1";

/// The groups of operations.
#[derive(Tags)]
pub enum Tag {
    /// Signing up, logging in, staying logged in and logging out: where every app begins.
    ///
    /// Signing up and logging in give an access token, which goes with every other call and is good for
    /// minutes, and a refresh token, which buys the next pair. What a call needs stands with it, as
    /// `x-required-scopes`; a token has all scopes unless it was asked for with less.
    Authentication,
    /// The account of whoever is logged in, and the devices on which they are: what a settings page shows.
    ///
    /// All of it needs the scope `account`.
    Account,
    /// The trips of whoever is logged in, with their stops. Somebody else's do not exist: 404.
    ///
    /// Every trip has a `version`, which stands in its `ETag` too. Send that back as `If-Match` so that
    /// nobody's change is overwritten, and as `If-None-Match` to read only what is new. Reading needs the
    /// scope `trips:read`, changing `trips:write`; a link shows one trip to anyone.
    Trips,
    /// For apps that work offline: what changed since they asked last, and what they did meanwhile.
    ///
    /// Send what was done, then ask what changed, and keep the cursor together with what you made of the
    /// changes. Nothing is overwritten that the app has not seen: it is told of a conflict instead.
    Sync,
    /// For other services that are sent access tokens: what a token is worth, public keys to verify it
    /// with, and where the rest is found.
    ///
    /// Keys and metadata are for anyone. To introspect and revoke, a service needs credentials of its own,
    /// which the operator makes with `tripgate clients add`.
    Services,
    /// For whoever runs the server: whether it lives, and whether it can serve. No credential is needed.
    Health,
}

/// Every operation there is.
fn service() -> OpenApiService<impl OpenApi, ()> {
    let operations = (
        sessions::api::SessionsApi,
        sessions::api::ManageSessionsApi,
        sessions::api::TokenApi,
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
    middleware::Middleware {
        operations: service().into_endpoint(),
        pages: docs::routes(app.docs),
        app: app.clone(),
    }
}

/// A request that is refused before it reaches the edge.
pub fn bad_request(why: &'static str) -> Response {
    middleware::refuse(&problem::Problem::new(problem::ProblemCode::BadRequest, why))
}
