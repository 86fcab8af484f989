//! The metrics on their own listener, in the text format of Prometheus.

use std::net::IpAddr;

use chrono::TimeDelta;
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, Request, Response};
use tokio::sync::Mutex;

use crate::app::App;
use crate::metrics::{self, ReadinessCheck, Snapshot};

const PATH: &str = "/metrics";
/// A scrape holds this lock, so that concurrent scrapes occupy at most one thread of the runtime.
static RENDERING: Mutex<()> = Mutex::const_new(());

/// Returns the only route of the listener for metrics.
pub fn metrics_router(app: &App) -> impl Endpoint<Output = Response> + 'static + use<> {
    let app = app.clone();
    poem::endpoint::make(move |request| {
        let app = app.clone();
        async move { respond(&app, &request).await }
    })
}

async fn respond(app: &App, request: &Request) -> Response {
    if request.uri().path() != PATH {
        return text(StatusCode::NOT_FOUND, "The metrics are at /metrics.\n".to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "Use GET.\n".to_owned());
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let _turn = RENDERING.lock().await;
    metrics::set_snapshot(&snapshot(app));
    metrics::set_pools(&app.db.pools());
    text(StatusCode::OK, metrics::render()).set_content_type(metrics::CONTENT_TYPE)
}

/// Reads the state of the server from memory, so that a scrape causes no query.
fn snapshot(app: &App) -> Snapshot {
    Snapshot {
        revocation_age_secs: app.tokens.poll_age().as_secs_f64(),
        signing_key_age_secs: app.tokens.signing_key_age().map(TimeDelta::as_seconds_f64),
        page_cache_bytes: app.trips.cached_page_bytes(),
        ready: [
            (ReadinessCheck::Database, !app.tokens.is_cut_off()),
            (ReadinessCheck::SigningKey, app.tokens.can_mint()),
            (ReadinessCheck::Clock, app.clock.agrees_with_database()),
            (ReadinessCheck::PublicUrl, !app.replicas.has_other_public_url()),
            (ReadinessCheck::Schema, !app.replicas.has_newer_schema()),
        ],
    }
}

fn text(status: StatusCode, body: String) -> Response {
    Response::builder().status(status).content_type("text/plain; charset=utf-8").body(body)
}

/// Returns the response to a request that the listener for metrics rejects.
pub fn metrics_bad_request(_: IpAddr, detail: &'static str) -> Response {
    text(StatusCode::BAD_REQUEST, format!("{detail}\n"))
}

/// Returns the response of the listener for metrics while too many connections are open.
pub fn metrics_overloaded(_: IpAddr) -> Response {
    text(StatusCode::SERVICE_UNAVAILABLE, "Too many connections are open.\n".to_owned())
}
