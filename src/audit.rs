//! The audit log: authentications, changes of credentials and accounts, revoked sessions and tokens, and
//! administrative commands. Each event is one log line with its time and, within a request, the request id.
//!
//! The lines contain ids of rows, the address of the client and, for a failed login, a keyed hash of the
//! name, but never other input from a client.

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use tokio::task::futures::TaskLocalFuture;
use uuid::Uuid;

tokio::task_local! {
    static REQUEST: Arc<RequestInfo>;
}

/// The values that all log lines about one request share.
#[derive(Debug)]
pub struct RequestInfo {
    /// The id of the request.
    pub id: Arc<str>,
    /// The address of the client.
    pub address: IpAddr,
    /// The ids of the request's span, if traces are on.
    pub span: Option<SpanContext>,
    caller: OnceLock<(Uuid, Option<Uuid>)>,
}

impl RequestInfo {
    /// Creates the information of a request whose caller is not known yet.
    pub fn new(id: &str, address: IpAddr, span: Option<SpanContext>) -> Arc<Self> {
        Arc::new(Self { id: Arc::from(id), address, span, caller: OnceLock::new() })
    }

    /// Returns the id of the request's trace, if traces are on.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.span.as_ref().map(SpanContext::trace_id)
    }

    /// Returns the id of the request's span, if traces are on.
    pub fn span_id(&self) -> Option<SpanId> {
        self.span.as_ref().map(SpanContext::span_id)
    }

    /// Returns the authenticated user.
    pub fn user(&self) -> Option<Uuid> {
        self.caller.get().map(|(user, _)| *user)
    }

    /// Returns the session of the authenticated user.
    pub fn session(&self) -> Option<Uuid> {
        self.caller.get()?.1
    }
}

/// An event of the audit log. Each log line contains the name of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An account was created, with a first session unless the address must be confirmed first.
    SignedUp,
    /// A session was started.
    LoggedIn,
    /// The first factor of a login was correct, and the account requires a second factor.
    SecondFactorRequired,
    /// The second factor of a login or of a new authentication was wrong.
    SecondFactorFailed,
    /// An authenticator app was enrolled.
    TotpEnabled,
    /// The authenticator app was removed.
    TotpDisabled,
    /// The recovery codes were replaced.
    RecoveryCodesReplaced,
    /// Credentials were correct. No session was started.
    Authenticated,
    /// A user with a valid access token authenticated again.
    Reauthenticated,
    /// Credentials were wrong.
    LoginFailed,
    /// An account has had very many failed logins within a day.
    UnderAttack,
    /// A session was extended.
    Refreshed,
    /// A refresh token was reused, so its session was revoked.
    RefreshTokenReused,
    /// A user changed the password.
    PasswordChanged,
    /// The holder of a session's refresh token revoked the session.
    LoggedOut,
    /// A session was ended for a reason other than a logout or the reuse of a refresh token, for example by
    /// its owner or by a change of the password.
    SessionEnded,
    /// A service revoked an access token or a personal access token that it had received.
    TokenRevoked,
    /// The current address or a new address of an account was confirmed.
    AddressConfirmed,
    /// A change of the address was undone.
    AddressChangeUndone,
    /// A user set a new password with a mailed code or link.
    PasswordReset,
    /// The owner of an account deleted the account.
    AccountDeleted,
    /// The data of an account was exported.
    DataExported,
    /// A user created a personal access token.
    PersonalTokenCreated,
    /// A personal access token was removed.
    PersonalTokenRemoved,
    /// A user registered a passkey.
    PasskeyAdded,
    /// A passkey was removed.
    PasskeyRemoved,
}

impl Event {
    /// Returns the stable name of the event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignedUp => "signed_up",
            Self::LoggedIn => "logged_in",
            Self::SecondFactorRequired => "second_factor_required",
            Self::SecondFactorFailed => "second_factor_failed",
            Self::TotpEnabled => "totp_enabled",
            Self::TotpDisabled => "totp_disabled",
            Self::RecoveryCodesReplaced => "recovery_codes_replaced",
            Self::Authenticated => "authenticated",
            Self::Reauthenticated => "reauthenticated",
            Self::LoginFailed => "login_failed",
            Self::UnderAttack => "under_attack",
            Self::Refreshed => "refreshed",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::PasswordChanged => "password_changed",
            Self::LoggedOut => "logged_out",
            Self::SessionEnded => "session_ended",
            Self::TokenRevoked => "token_revoked",
            Self::AddressConfirmed => "address_confirmed",
            Self::AddressChangeUndone => "address_change_undone",
            Self::PasswordReset => "password_reset",
            Self::AccountDeleted => "account_deleted",
            Self::DataExported => "data_exported",
            Self::PersonalTokenCreated => "personal_token_created",
            Self::PersonalTokenRemoved => "personal_token_removed",
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
        }
    }
}

/// Runs the future as part of a request: the events that it records contain the request's id and the client's
/// address.
pub fn in_request<F: Future>(info: Arc<RequestInfo>, request: F) -> TaskLocalFuture<Arc<RequestInfo>, F> {
    REQUEST.scope(info, request)
}

/// Records the authenticated caller of the current request, unless the caller is already known.
pub fn set_caller(user: Uuid, session: Option<Uuid>) {
    // An error means that there is no request or that the caller is already known.
    let _ = REQUEST.try_with(|info| info.caller.set((user, session)));
}

/// Returns the id of the current request, or an empty string outside a request.
pub fn request_id() -> Arc<str> {
    REQUEST.try_with(|info| Arc::clone(&info.id)).unwrap_or_default()
}

/// Returns the address of the client of the current request; `None` outside a request, and in the closures
/// that run in a transaction.
pub fn client_address() -> Option<IpAddr> {
    REQUEST.try_with(|info| info.address).ok()
}

/// Returns the ids of the current request's span; `None` outside a request, in the closures that run in a
/// transaction, and if traces are off.
pub fn span_context() -> Option<SpanContext> {
    REQUEST.try_with(|info| info.span.clone()).ok().flatten()
}

/// Writes a failed login to the audit log. If the name belongs to no account, the line contains a keyed hash
/// of the name instead of the user. The same name always has the same hash.
pub fn record_failed_login(user: Option<Uuid>, name_hash: i64) {
    let info = REQUEST.try_with(Arc::clone).ok();
    tracing::info!(
        target: "tripgate::audit",
        event = Event::LoginFailed.name(),
        request_id = info.as_ref().map(|info| &*info.id),
        client_address = info.as_ref().map(|info| tracing::field::display(info.address)),
        user = user.map(tracing::field::display),
        name_hash = user.is_none().then(|| format!("{name_hash:016x}")),
    );
}

/// Writes an administrative command to the audit log, with the operating system's user.
pub fn record_command(command: &str, operator: &str, subject: Option<&str>) {
    tracing::info!(target: "tripgate::audit", event = "operator_command", command, operator, subject);
}

/// Writes the deletion of an account to the audit log. The log keeps the line after the deletion, so the line
/// contains the user's id but not the client's address. After the deletion, no other data refers to this id.
pub fn record_deletion(user: Uuid) {
    let info = REQUEST.try_with(Arc::clone).ok();
    tracing::info!(
        target: "tripgate::audit",
        event = Event::AccountDeleted.name(),
        request_id = info.as_ref().map(|info| &*info.id),
        user = %user,
    );
}

/// Writes an event to the audit log, without the user or the session if they are unknown.
pub fn record(event: Event, user: Option<Uuid>, session: Option<Uuid>) {
    let info = REQUEST.try_with(Arc::clone).ok();
    if let Some(user) = user.filter(|_| !matches!(event, Event::LoginFailed | Event::UnderAttack)) {
        set_caller(user, session);
    }
    tracing::info!(
        target: "tripgate::audit",
        event = event.name(),
        request_id = info.as_ref().map(|info| &*info.id),
        client_address = info.as_ref().map(|info| tracing::field::display(info.address)),
        user = user.map(tracing::field::display),
        session = session.map(tracing::field::display),
    );
}
