//! The HTTP operations that refresh, list and end sessions.

use chrono::{DateTime, Utc};
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::LoggedIn;
use crate::metrics::{self, AuthMethod};
use crate::sessions::{SessionSummary, Sessions, SessionsError};
use crate::web::Tag;
use crate::web::body::Body;
use crate::web::caller::{AccountScope, Caller, invalid_code};
use crate::web::examples;
use crate::web::json::{Json, serialize_instant};
use crate::web::problem::ProblemResponse;

/// The refresh token of a session.
#[derive(Debug, Object)]
struct RefreshRequest {
    /// `refresh_token` of the last `TokenGrant` of the session.
    refresh_token: String,
}

impl Example for RefreshRequest {
    fn example() -> Self {
        Self { refresh_token: examples::REFRESH_TOKEN.to_owned() }
    }
}

/// The token of the link that ends a session.
#[derive(Debug, Object)]
struct EndReportedSession {
    /// Token from the link in the email: the part after `#`.
    token: String,
}

impl Example for EndReportedSession {
    fn example() -> Self {
        Self { token: examples::LINK_TOKEN.to_owned() }
    }
}

/// A session: one login on one device.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Session")]
struct SessionBody {
    /// Id of the session. A refresh does not change it.
    id: Uuid,
    /// Name of the device, as sent when logging in.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    /// `User-Agent` of the request that logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// Time of the login.
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
    /// Time of the last recorded activity. The last activity itself can be later, by up to the lifetime of an
    /// access token.
    #[serde(serialize_with = "serialize_instant")]
    last_seen_at: DateTime<Utc>,
    /// Whether this request belongs to the session.
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
    fn new(session: SessionSummary, current: Option<Uuid>) -> Self {
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

/// The active sessions of the user.
#[derive(Debug, Object, Serialize)]
struct SessionList {
    /// Sessions, the most recently active one first; at most 500.
    #[oai(validator(max_items = 500))]
    items: Vec<SessionBody>,
}

#[derive(ApiResponse)]
enum EndedSessions {
    /// The sessions were ended, or there was no session to end.
    #[oai(status = 204)]
    NoContent,
}

/// The operations that refresh, list and end sessions.
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
    /// Refresh the tokens
    ///
    /// Exchanges the refresh token for a new access token and a new refresh token. Call this after 401
    /// `invalid_token`, or shortly before the access token expires. Store the new refresh token before you
    /// delete the old one.
    ///
    /// If the response is lost, repeat the request, at any later time. The repetition returns the same new
    /// refresh token as long as neither that token nor the access token issued with it has been used. If only
    /// the access token has been used, the repetition works for 30 seconds after the first request. Any other
    /// second use of a refresh token ends the session, because it means that two parties hold the token.
    ///
    /// - 401 `invalid_refresh_token`: the token is not valid or has expired. Log in again.
    /// - 401 `session_revoked`: the session was ended. Log in again.
    #[oai(
        path = "/auth/refresh",
        method = "post",
        operation_id = "refresh_session",
        tag = "Tag::Authentication"
    )]
    async fn refresh(&self, body: Body<RefreshRequest>) -> Result<LoggedIn, ProblemResponse<401>> {
        let RefreshRequest { refresh_token } = body.check(|body, _| Ok(body))?;
        let refreshed = self.sessions.refresh(&refresh_token).await;
        metrics::auth_attempted(AuthMethod::Refresh, &refreshed);
        let grant = refreshed?;
        Ok(LoggedIn::Ok(Json(grant.into()), "no-store".to_owned()))
    }

    /// Log out
    ///
    /// Ends the session of the refresh token. The access tokens of the session are rejected from then on. The
    /// operation requires no access token, so it works after the access token has expired.
    ///
    /// Always succeeds: a refresh token that was used before also ends the session, and a token that is
    /// unknown or has expired has no effect. Repeat the request until you receive a response.
    #[oai(path = "/auth/logout", method = "post", operation_id = "log_out", tag = "Tag::Authentication")]
    async fn log_out(&self, body: Body<RefreshRequest>) -> Result<EndedSessions, ProblemResponse> {
        let RefreshRequest { refresh_token } = body.check(|body, _| Ok(body))?;
        self.sessions.log_out(&refresh_token).await?;
        Ok(EndedSessions::NoContent)
    }

    /// End a reported session
    ///
    /// Ends the session that a login on a new device has started. Requires the token from the email that
    /// reported the login. The token is valid for 7 days and works once. The request also succeeds if the
    /// session has already ended. The password stays the same: let the user choose a new password with
    /// `POST /api/v1/auth/password/forgot`.
    ///
    /// - 422 `invalid_code`: the token is wrong, was used, or has expired.
    #[oai(
        path = "/auth/session/end",
        method = "post",
        operation_id = "end_reported_session",
        tag = "Tag::Authentication"
    )]
    async fn end_reported(&self, body: Body<EndReportedSession>) -> Result<EndedSessions, ProblemResponse> {
        self.sessions.end_reported(body.accept()?.token).await.map_err(|error| match error {
            SessionsError::InvalidCode => invalid_code("/token"),
            error => error.into(),
        })?;
        Ok(EndedSessions::NoContent)
    }

    /// List the sessions
    ///
    /// Returns the active sessions of the user, the most recently active one first, so that an app can show
    /// where the user is logged in. `current` marks the session of this request. To end another session, call
    /// `DELETE /api/v1/me/sessions/{id}` with the `id` of that session.
    #[oai(path = "/me/sessions", method = "get", operation_id = "list_sessions", tag = "Tag::Account")]
    async fn list(&self, caller: Caller<AccountScope>) -> Result<Json<SessionList>, ProblemResponse> {
        let sessions = self.sessions.list(caller.user()).await?;
        let current = caller.session();
        Ok(Json(SessionList {
            items: sessions.into_iter().map(|session| SessionBody::new(session, current)).collect(),
        }))
    }

    /// Log out all other devices
    ///
    /// Ends all sessions of the user except the session of this request, for example when the user no longer
    /// trusts another device. The replica that handles the request rejects the access tokens of the ended
    /// sessions immediately; all other replicas reject them within a second.
    ///
    /// Also succeeds if there is no other session.
    #[oai(
        path = "/me/sessions",
        method = "delete",
        operation_id = "end_other_sessions",
        tag = "Tag::Account"
    )]
    async fn end_others(&self, caller: Caller<AccountScope>) -> Result<EndedSessions, ProblemResponse> {
        self.sessions.end_others(caller.user(), caller.session()).await?;
        Ok(EndedSessions::NoContent)
    }

    /// Log out one device
    ///
    /// Ends one session of the user, for example the session on a lost phone. The replica that handles the
    /// request rejects the access tokens of the session immediately; all other replicas reject them within a
    /// second. Also succeeds if the session has already ended.
    ///
    /// - 404 `not_found`: the user has no session with this id, or it ended more than a week ago. List the sessions again.
    #[oai(path = "/me/sessions/:id", method = "delete", operation_id = "end_session", tag = "Tag::Account")]
    async fn end(
        &self,
        caller: Caller<AccountScope>,
        /// Id of the session.
        id: Path<Uuid>,
    ) -> Result<EndedSessions, ProblemResponse<404>> {
        self.sessions.end(caller.user(), id.0).await?;
        Ok(EndedSessions::NoContent)
    }
}
