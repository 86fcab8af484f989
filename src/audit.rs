//! The audit log: who got in, who did not, and what ended; a line each, with time and request id.
//!
//! Nothing that a client typed stands in it: identifiers of rows alone.

use std::future::Future;
use std::sync::Arc;

use tokio::task::futures::TaskLocalFuture;
use uuid::Uuid;

tokio::task_local! {
    static REQUEST: Arc<str>;
}

/// What happened. The names stand in the log and in the table of security events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An account was made, and its first session begun.
    SignedUp,
    /// A session was begun.
    LoggedIn,
    /// Credentials were right, and no session was begun.
    Authenticated,
    /// Credentials were wrong.
    LoginFailed,
    /// A session was prolonged.
    Refreshed,
    /// A refresh token was used that had been used before: the session was ended.
    RefreshTokenReused,
    /// A session was ended by whoever held its refresh token.
    LoggedOut,
    /// A session was ended by its owner.
    SessionEnded,
    /// An access token was ended by a service that had been shown it.
    TokenRevoked,
    /// An account was deleted by its owner.
    AccountDeleted,
}

impl Event {
    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignedUp => "signed_up",
            Self::LoggedIn => "logged_in",
            Self::Authenticated => "authenticated",
            Self::LoginFailed => "login_failed",
            Self::Refreshed => "refreshed",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::LoggedOut => "logged_out",
            Self::SessionEnded => "session_ended",
            Self::TokenRevoked => "token_revoked",
            Self::AccountDeleted => "account_deleted",
        }
    }
}

/// Runs the future as part of a request: what it notes carries the request's id.
pub fn during<F: Future>(request_id: Arc<str>, request: F) -> TaskLocalFuture<Arc<str>, F> {
    REQUEST.scope(request_id, request)
}

/// The id of the request that is worked at; empty outside of one.
pub fn request_id() -> Arc<str> {
    REQUEST.try_with(Arc::clone).unwrap_or_default()
}

/// Writes the line. A user or session that is not known is left out.
pub fn note(event: Event, user: Option<Uuid>, session: Option<Uuid>) {
    let request_id = REQUEST.try_with(Arc::clone).ok();
    tracing::info!(
        target: "tripgate::audit",
        event = event.name(),
        request_id = request_id.as_deref(),
        user = user.map(tracing::field::display),
        session = session.map(tracing::field::display),
    );
}
