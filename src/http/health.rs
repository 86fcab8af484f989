//! Whether the server runs, and whether it can serve.

use poem::http::header;
use poem::web::Data;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use super::Tag;
use super::body::Json;
use super::problem::{Problem, ProblemCode, ProblemResponse};
use crate::app::App;

/// The server is well.
#[derive(Debug, Object, Serialize)]
pub(super) struct Health {
    /// Always `ok`.
    status: String,
}

impl Example for Health {
    fn example() -> Self {
        Self { status: "ok".to_owned() }
    }
}

fn ok() -> Json<Health> {
    Json(Health::example())
}

/// The operations of this file.
#[derive(Debug)]
pub(super) struct HealthApi;

#[expect(clippy::unused_async, reason = "every operation is asynchronous to the router")]
#[OpenApi(prefix_path = "/health", tag = "Tag::Health")]
impl HealthApi {
    /// Is the process alive?
    ///
    /// For whatever restarts the server: answers without touching anything else. Restart if there is no answer.
    #[oai(path = "/live", method = "get", operation_id = "get_liveness")]
    async fn live(&self) -> Json<Health> {
        ok()
    }

    /// Can the server serve?
    ///
    /// For whatever sends requests to the server: send them here only while this succeeds.
    ///
    /// 503 `database_unavailable` while the database can't be reached, and 503 `shutting_down` from the moment the
    /// server begins to end.
    #[oai(path = "/ready", method = "get", operation_id = "get_readiness")]
    async fn ready(&self, app: Data<&App>) -> Result<Json<Health>, ProblemResponse<503>> {
        if app.is_stopping() {
            let stopping = Problem::new(ProblemCode::ShuttingDown, "The server is shutting down.");
            return Err(stopping.with_header(header::RETRY_AFTER, "5").into());
        }
        app.db.ping().await?;
        Ok(ok())
    }
}
