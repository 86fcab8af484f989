//! Staying logged in, and logging out, over HTTP.

use chrono::{DateTime, Utc};
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::LoggedIn;
use crate::sessions::SessionSummary;
use crate::sessions::Sessions;
use crate::web::Tag;
use crate::web::body::Body;
use crate::web::caller::{AccountScope, Caller};
use crate::web::examples;
use crate::web::json::{Json, serialize_instant};
use crate::web::problem::ProblemResponse;

/// The newest refresh token of a session.
#[derive(Debug, Object)]
struct RefreshRequest {
    /// From the last `TokenGrant` of the session.
    refresh_token: String,
}

impl Example for RefreshRequest {
    fn example() -> Self {
        Self { refresh_token: examples::REFRESH_TOKEN.to_owned() }
    }
}

/// One login of one device.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Session")]
struct SessionBody {
    /// Never changes, however often the session is refreshed.
    id: Uuid,
    /// What its owner called the device when they logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    /// The `User-Agent` that it logged in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// When it logged in.
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
    /// When it was last seen: exact to the life of an access token.
    #[serde(serialize_with = "serialize_instant")]
    last_seen_at: DateTime<Utc>,
    /// Whether it is the session of this request.
    current: bool,
}

impl Example for SessionList {
    fn example() -> Self {
        let phone = SessionBody {
            id: examples::SESSION,
            device_name: Some(examples::DEVICE.to_owned()),
            user_agent: Some("Trips/1.4 (iPhone; iOS 19.1)".to_owned()),
            created_at: examples::at(0),
            last_seen_at: examples::at(0),
            current: true,
        };
        Self { items: vec![phone] }
    }
}

impl SessionBody {
    fn of(session: SessionSummary, current: Option<Uuid>) -> Self {
        Self {
            id: session.id,
            device_name: session.device.name,
            user_agent: session.device.user_agent,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            current: Some(session.id) == current,
        }
    }
}

/// Where somebody is logged in.
#[derive(Debug, Object, Serialize)]
struct SessionList {
    /// The one that was seen last first; at most 500.
    #[oai(validator(max_items = 500))]
    items: Vec<SessionBody>,
}

#[derive(ApiResponse)]
enum Ended {
    /// Ended, or it had ended before.
    #[oai(status = 204)]
    Gone,
}

/// The operations on sessions that are there.
#[derive(Debug)]
pub struct ManageSessionsApi {
    sessions: Sessions,
}

impl ManageSessionsApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(sessions: &Sessions) -> Self {
        Self { sessions: sessions.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1")]
impl ManageSessionsApi {
    /// Refresh
    ///
    /// Trades the refresh token for the next access token and the next refresh token: when a call was answered
    /// 401 `invalid_token`, or shortly before the access token expires. Store the new one before the old one is
    /// thrown away.
    ///
    /// If the reply is lost, send the same request again, however much later: it gives the same next refresh
    /// token as long as neither that nor the access token that came with it has been used, and for 30 seconds
    /// also if only the access token was. Any other second use of a refresh token means that two hold it: the session is ended, with 401
    /// `session_revoked`. Both this and 401 `invalid_refresh_token` mean: log in again.
    #[oai(
        path = "/auth/refresh",
        method = "post",
        operation_id = "refresh_session",
        tag = "Tag::Authentication"
    )]
    async fn refresh(&self, body: Body<RefreshRequest>) -> Result<LoggedIn, ProblemResponse<401>> {
        let RefreshRequest { refresh_token } = body.check(|body, _| Ok(body))?;
        let grant = self.sessions.refresh(&refresh_token).await?;
        Ok(LoggedIn::Ok(Json(grant.into()), "no-store".to_owned()))
    }

    /// Log out
    ///
    /// For somebody who signs out on this device: ends the session of the refresh token; its access tokens are
    /// refused from then on. Needs no access token, so it works after that has expired.
    ///
    /// Succeeds for any token, also one that is unknown, was used before or has expired: then there is nothing
    /// to end. So it can be repeated until there is an answer.
    #[oai(path = "/auth/logout", method = "post", operation_id = "log_out", tag = "Tag::Authentication")]
    async fn log_out(&self, body: Body<RefreshRequest>) -> Result<Ended, ProblemResponse> {
        let RefreshRequest { refresh_token } = body.check(|body, _| Ok(body))?;
        self.sessions.log_out(&refresh_token).await?;
        Ok(Ended::Gone)
    }

    /// Where am I logged in?
    ///
    /// For a page on which people see where they are logged in: the sessions of whoever asks, the one that was
    /// seen last first. `current` marks the one of this request; the `id` of any other is what to end.
    #[oai(path = "/me/sessions", method = "get", operation_id = "list_sessions", tag = "Tag::Account")]
    async fn list(&self, caller: Caller<AccountScope>) -> Result<Json<SessionList>, ProblemResponse> {
        let found = self.sessions.list(caller.user()).await?;
        let current = caller.session();
        Ok(Json(SessionList {
            items: found.into_iter().map(|session| SessionBody::of(session, current)).collect(),
        }))
    }

    /// Log out everywhere else
    ///
    /// For somebody who no longer trusts another device, or has changed their mind about one: ends all sessions
    /// but that of this request. Their access tokens are refused at once here, and within a second on every
    /// other server.
    ///
    /// Succeeds also where there is no other session.
    #[oai(
        path = "/me/sessions",
        method = "delete",
        operation_id = "end_other_sessions",
        tag = "Tag::Account"
    )]
    async fn end_others(&self, caller: Caller<AccountScope>) -> Result<Ended, ProblemResponse> {
        self.sessions.end_others(caller.user(), caller.session()).await?;
        Ok(Ended::Gone)
    }

    /// Log out one device
    ///
    /// For somebody who has lost a phone: ends this session; its access tokens are refused at once. Once more
    /// is fine.
    ///
    /// 404 `not_found` if the caller never had a session of this id.
    #[oai(path = "/me/sessions/:id", method = "delete", operation_id = "end_session", tag = "Tag::Account")]
    async fn end(
        &self,
        caller: Caller<AccountScope>,
        /// The session.
        id: Path<Uuid>,
    ) -> Result<Ended, ProblemResponse<404>> {
        self.sessions.end(caller.user(), id.0).await?;
        Ok(Ended::Gone)
    }
}
