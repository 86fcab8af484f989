//! Liveness and readiness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use poem::http::header;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use crate::app::Services;
use crate::clock::Clock;
use crate::db::Db;
use crate::replicas::Replicas;
use crate::tokens::{Tokens, TokensError};
use crate::web::Tag;
use crate::web::json::Json;
use crate::web::problem::{Problem, ProblemCode, ProblemResponse};

/// The server is healthy.
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

/// The health operations.
#[derive(Debug)]
pub(super) struct HealthApi {
    db: Db,
    tokens: Tokens,
    clock: Clock,
    replicas: Replicas,
    stopping: Arc<AtomicBool>,
}

impl HealthApi {
    /// Creates the operations.
    pub(super) fn new(services: &Services) -> Self {
        Self {
            db: services.db.clone(),
            tokens: services.tokens.clone(),
            clock: services.clock.clone(),
            replicas: services.replicas.clone(),
            stopping: Arc::clone(&services.stopping),
        }
    }
}

#[expect(clippy::unused_async, reason = "every operation is asynchronous to the router")]
#[OpenApi(prefix_path = "/health", tag = "Tag::Health")]
impl HealthApi {
    /// Check liveness
    ///
    /// Succeeds while the process runs, and depends on nothing else. Restart the server if there is no
    /// response.
    #[oai(path = "/live", method = "get", operation_id = "get_liveness")]
    async fn live(&self) -> Json<Health> {
        ok()
    }

    /// Check readiness
    ///
    /// Succeeds while the server can process requests. A load balancer sends requests to this server only
    /// while this check succeeds.
    ///
    /// Otherwise the response is 503: `database_unavailable` while the database is unreachable,
    /// `no_signing_key` while the server can't issue tokens because its master secret is wrong, `wrong_clock`
    /// while the clocks of the server and of the database differ by more than a minute, `wrong_public_url` while
    /// a server that uses the same database and started earlier has a different public URL, `newer_schema`
    /// after a newer version has migrated the database, and `shutting_down` from the beginning of the
    /// shutdown.
    #[oai(path = "/ready", method = "get", operation_id = "get_readiness")]
    async fn ready(&self) -> Result<Json<Health>, ProblemResponse<503>> {
        if self.stopping.load(Ordering::Relaxed) {
            let stopping = Problem::new(
                ProblemCode::ShuttingDown,
                "The server is restarting. Please try again in a moment.",
            );
            return Err(stopping.with_header(header::RETRY_AFTER, "5").into());
        }
        self.db.ping().await?;
        if !self.tokens.can_mint() {
            return Err(TokensError::NoSigningKey.into());
        }
        for (code, applies) in [
            (ProblemCode::WrongClock, !self.clock.agrees_with_database()),
            (ProblemCode::WrongPublicUrl, self.replicas.has_other_public_url()),
            (ProblemCode::NewerSchema, self.replicas.has_newer_schema()),
        ] {
            if applies {
                let detail = "The server is not available at the moment. Please try again later.";
                return Err(Problem::new(code, detail).with_header(header::RETRY_AFTER, "60").into());
            }
        }
        Ok(ok())
    }
}
