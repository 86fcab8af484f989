//! The building blocks of handlers: problems, request and response bodies, callers, conditions.
//!
//! This layer defines how requests are authenticated and parsed, and does not depend on the operations. Every
//! error becomes a [`problem`].

pub mod accept;
pub mod batch;
pub mod body;
pub mod body_budget;
pub mod caller;
pub mod client;
pub mod client_address;
pub mod conditional;
mod credentials;
mod digest;
pub mod examples;
pub mod field_label;
pub mod form;
pub mod idempotency_key;
mod incoming;
pub mod instant;
pub mod json;
pub mod json_object;
pub mod languages;
pub mod local_time;
pub mod optional_caller;
pub mod page;
pub mod path_id;
pub mod plain_text;
pub mod problem;
pub mod problem_code;
pub mod query;
mod recent_authentication;
mod throttled;
mod validate;

use poem_openapi::Tags;

/// The path that every operation of the API begins with.
pub const API: &str = "/api/v1";

/// The beginning of the path of every share link. Browsers get pages for these paths, and JSON for other
/// paths under [`API`].
pub const SHARED_LINKS: &str = "/api/v1/shared/";

/// The maximum size of a request body, in bytes, unless an operation allows more.
pub const BODY_MAX: usize = 256 * 1024;

/// The groups of operations.
#[derive(Tags)]
pub enum Tag {
    /// Sign up, log in, refresh tokens and log out.
    ///
    /// Signing up and logging in return two tokens. The access token is valid for some minutes; send it with
    /// all other calls. The refresh token is exchanged for the next pair of tokens. `x-required-scopes`
    /// lists the scopes that an operation requires; a token has all scopes unless fewer were requested.
    Authentication,
    /// The account of the user, and the devices on which the user is logged in.
    ///
    /// All operations require the scope `account`.
    Account,
    /// The trips of the user, with their stops. For a trip of another user, the response is 404.
    ///
    /// Every trip has a `version`, which is also in its `ETag`. Send the `ETag` as `If-Match` to avoid
    /// overwriting a change made on another device, and as `If-None-Match` to download only new versions.
    /// Reading trips requires the scope `trips:read`, and changing them requires `trips:write`. A share link
    /// gives anyone read access to one trip.
    Trips,
    /// Synchronization for apps that work offline: download changes, and upload offline changes.
    ///
    /// First send the operations that were done offline, then read the changes, and store the cursor together
    /// with the changes. An operation on a version that is no longer the current one results in a conflict,
    /// so it never overwrites a version that the app has not seen.
    Sync,
    /// Endpoints for services that receive access tokens: introspection, revocation, public keys and
    /// metadata.
    ///
    /// Keys and metadata are public. Introspection and revocation require client credentials, which the
    /// operator creates with `tripgate clients add`.
    Services,
    /// Liveness and readiness of the server, for the operator. No credential is required.
    Health,
}
