//! Assembles the API: the router, the middleware, the OpenAPI document, the pages and health.
//!
//! A request that the listener accepted passes through the middleware (`middleware.rs`) and is routed to an operation
//! (`operations.rs`) or a page (`docs/`). Everything that handlers are built from is in [`crate::web`].

mod access_log;
mod account_pages;
mod compression;
mod docs;
mod health;
mod metrics_page;
mod middleware;
pub mod openapi;
mod operations;
mod path_table;
mod proxy_warnings;
mod query;
mod refused;
mod request_span;
mod routes;

use std::sync::Arc;

use poem::{Endpoint, EndpointExt, IntoEndpoint, Response};

use crate::app::App;
use crate::repeated_warnings::RepeatedWarnings;
use crate::web::caller::Authentication;
use crate::web::client_address::TrustedProxies;

use account_pages::AppAssociations;
pub use metrics_page::{metrics_bad_request, metrics_overloaded, metrics_router};
pub use refused::{bad_request, head_too_large, overloaded};

/// Returns every route with the middleware around it.
pub fn router(app: &App) -> impl Endpoint<Output = Response> + 'static + use<> {
    let authentication = Authentication {
        accounts: app.accounts.clone(),
        tokens: app.tokens.clone(),
        personal_tokens: app.personal_tokens.clone(),
        clients: app.clients.clone(),
        throttle: app.throttle.clone(),
        methods: app.auth_methods,
        require_confirmed: app.require_confirmed,
    };
    let associations = AppAssociations::new(&app.apple_app_ids, &app.android_apps, app.tokens.issuer());
    middleware::Middleware {
        operations: operations::api(app).into_endpoint(),
        pages: docs::routes(docs::PageSettings { docs: app.docs, basic_on_api: app.auth_methods.basic })
            .data(associations),
        authentication: Arc::new(authentication),
        bodies: Arc::default(),
        clock: app.clock.clone(),
        cors_origins: app.cors_origins.clone(),
        docs: app.docs,
        proxies: TrustedProxies::new(app.trusted_proxies.clone()),
        public_url: app.tokens.issuer().to_owned(),
        proxy_warnings: proxy_warnings::ProxyWarnings::new(app.clock.clone(), app.tokens.issuer()),
        slow_request: app.slow_request,
        repeated_warnings: RepeatedWarnings::default(),
    }
}
