//! Every kind of problem: its code, its status, and the action of the client.

/// A kind of problem (RFC 9457).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemCode {
    /// The request is malformed.
    BadRequest,
    /// The body is not acceptable JSON.
    InvalidJson,
    /// The request has more than one credential.
    ConflictingCredentials,
    /// The cursor was not issued for this list and this user.
    InvalidCursor,
    /// The idempotency key is malformed.
    InvalidIdempotencyKey,
    /// The request has no credential.
    Unauthenticated,
    /// The access token is not valid.
    InvalidToken,
    /// The identifier or the password is wrong.
    InvalidCredentials,
    /// The user has not authenticated recently enough.
    StepUpRequired,
    /// The first factor is correct, and the account requires a second factor.
    MfaRequired,
    /// The refresh token is not valid.
    InvalidRefreshToken,
    /// The session of the refresh token was ended.
    SessionRevoked,
    /// The client credentials are not valid.
    InvalidClient,
    /// The access token lacks a scope.
    InsufficientScope,
    /// The operator has disabled signing up.
    SignupClosed,
    /// Signing up requires an invitation code.
    InviteRequired,
    /// The email address of the account is not confirmed.
    UnconfirmedAccount,
    /// The resource does not exist, or belongs to another user.
    NotFound,
    /// The path does not support the method.
    MethodNotAllowed,
    /// The client does not accept JSON.
    NotAcceptable,
    /// The body did not arrive in time.
    RequestTimeout,
    /// Another account has the email address or username.
    IdentifierTaken,
    /// The caller has a resource with this id already.
    AlreadyExists,
    /// The resource is not in the state that the condition requires.
    PreconditionFailed,
    /// The request lacks a condition.
    PreconditionRequired,
    /// The first request with the same idempotency key is still running.
    IdempotencyInProgress,
    /// The server can't list all changes since the cursor was issued.
    ResyncRequired,
    /// The body is too large.
    ContentTooLarge,
    /// The body has a media type that the operation does not support.
    UnsupportedMediaType,
    /// The input is not valid.
    Invalid,
    /// The code or token from an email is not valid.
    InvalidCode,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// The user's other searches are still running.
    TooManySearches,
    /// There were too many failed attempts, or too many requests of this kind.
    TooManyAttempts,
    /// The head of the request is too large.
    HeadersTooLarge,
    /// An internal error.
    Internal,
    /// The transaction was in conflict with other transactions at every attempt.
    Busy,
    /// The search took too long.
    SearchTimeout,
    /// The database is unavailable.
    DatabaseUnavailable,
    /// The result of a commit is unknown: the change may or may not have been made.
    OutcomeUnknown,
    /// The disk of the database is full, or its quota is reached.
    StorageFull,
    /// The user has reached a quota.
    QuotaExceeded,
    /// The queue of password checks, the budget for large bodies or the number of connections is at its
    /// limit.
    Overloaded,
    /// The server is shutting down.
    ShuttingDown,
    /// The master secret does not decrypt the signing keys.
    NoSigningKey,
    /// The clocks of the server and of the database differ.
    WrongClock,
    /// Another server on the same database has another public URL.
    WrongPublicUrl,
    /// The schema of the database is newer than this version supports.
    NewerSchema,
}

/// The name, status, title, client action and explanation of a code.
type Facts = (&'static str, u16, &'static str, &'static str, &'static str);

impl ProblemCode {
    /// All codes.
    pub const ALL: [Self; 48] = [
        Self::BadRequest,
        Self::InvalidJson,
        Self::ConflictingCredentials,
        Self::InvalidCursor,
        Self::InvalidIdempotencyKey,
        Self::Unauthenticated,
        Self::InvalidToken,
        Self::InvalidCredentials,
        Self::StepUpRequired,
        Self::MfaRequired,
        Self::InvalidRefreshToken,
        Self::SessionRevoked,
        Self::InvalidClient,
        Self::InsufficientScope,
        Self::SignupClosed,
        Self::InviteRequired,
        Self::UnconfirmedAccount,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::IdentifierTaken,
        Self::AlreadyExists,
        Self::PreconditionFailed,
        Self::PreconditionRequired,
        Self::IdempotencyInProgress,
        Self::ResyncRequired,
        Self::ContentTooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::InvalidCode,
        Self::IdempotencyKeyReused,
        Self::TooManySearches,
        Self::TooManyAttempts,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::Busy,
        Self::SearchTimeout,
        Self::DatabaseUnavailable,
        Self::OutcomeUnknown,
        Self::StorageFull,
        Self::QuotaExceeded,
        Self::Overloaded,
        Self::ShuttingDown,
        Self::NoSigningKey,
        Self::WrongClock,
        Self::WrongPublicUrl,
        Self::NewerSchema,
    ];

    #[rustfmt::skip]
    #[expect(clippy::too_many_lines, reason = "a table")]
    const fn facts(self) -> Facts {
        match self {
            Self::BadRequest => ("bad_request", 400, "Bad request", "fix_input",
                "The request is malformed: its headers, query or body break the rules of HTTP or of this API."),
            Self::InvalidJson => ("invalid_json", 400, "Invalid JSON", "fix_input",
                "The body is not well-formed JSON in UTF-8, repeats a field of an object, or contains a NUL character or half a surrogate pair."),
            Self::ConflictingCredentials => ("conflicting_credentials", 400, "Conflicting credentials", "fix_input",
                "The request carries more than one credential, so the caller is ambiguous."),
            Self::InvalidCursor => ("invalid_cursor", 400, "Invalid cursor", "fix_input",
                "A cursor is valid only for the list and the user that it was issued for."),
            Self::InvalidIdempotencyKey => ("invalid_idempotency_key", 400, "Invalid idempotency key", "fix_input",
                "An `Idempotency-Key` has 1 to 255 visible ASCII characters, and a request has at most one."),
            Self::Unauthenticated => ("unauthenticated", 401, "Authentication required", "reauthenticate",
                "The request has no credential of the kind that this operation requires. The `WWW-Authenticate` header names the accepted kinds."),
            Self::InvalidToken => ("invalid_token", 401, "Invalid or expired access token", "refresh",
                "The access token has expired, was revoked, or was not issued by this server."),
            Self::InvalidCredentials => ("invalid_credentials", 401, "Wrong identifier or password", "reauthenticate",
                "There is no account with this email address or username and this password. The response does not say whether the identifier or the password is wrong."),
            Self::StepUpRequired => ("step_up_required", 401, "Recent authentication required", "step_up",
                "This operation requires that the user has authenticated within the last 5 minutes. The access token is valid for other operations."),
            Self::MfaRequired => ("mfa_required", 401, "Second factor required", "reauthenticate",
                "The password, or the code from the email, is correct, and the account requires a second factor. Continue the login with `mfa_token` and one of `methods`."),
            Self::InvalidRefreshToken => ("invalid_refresh_token", 401, "Invalid or expired refresh token", "reauthenticate",
                "The refresh token was not issued by this server, or its session has expired."),
            Self::SessionRevoked => ("session_revoked", 401, "Session ended", "reauthenticate",
                "The session was ended. All of its tokens are revoked."),
            Self::InvalidClient => ("invalid_client", 401, "Invalid client credentials", "none",
                "Only services that the operator has registered may call this operation."),
            Self::InsufficientScope => ("insufficient_scope", 403, "Insufficient scope", "reauthenticate",
                "The access token is valid, but lacks a scope that this operation requires."),
            Self::SignupClosed => ("signup_closed", 403, "Signing up is disabled", "none",
                "This server does not accept new accounts."),
            Self::InviteRequired => ("invite_required", 403, "Invitation required", "fix_input",
                "Signing up on this server requires an invitation code. The code is missing, wrong, used up or expired."),
            Self::UnconfirmedAccount => ("unconfirmed_account", 403, "Email address not confirmed", "none",
                "The email address of the account must be confirmed first."),
            Self::NotFound => ("not_found", 404, "Not found", "none",
                "The resource does not exist, or it belongs to another user. The response is the same in both cases."),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "Method not allowed", "fix_input",
                "The path exists, but does not support this method."),
            Self::NotAcceptable => ("not_acceptable", 406, "Not acceptable", "fix_input",
                "The API returns JSON only, and the `Accept` header of the request excludes it."),
            Self::RequestTimeout => ("request_timeout", 408, "Request timeout", "retry",
                "The body did not arrive in time. Nothing was changed."),
            Self::IdentifierTaken => ("identifier_taken", 409, "Identifier taken", "fix_input",
                "Another account has this email address or username."),
            Self::AlreadyExists => ("already_exists", 409, "Already exists", "none",
                "You have a resource with this id already."),
            Self::PreconditionFailed => ("precondition_failed", 412, "Precondition failed", "fix_input",
                "The resource is not in the state that `If-Match` or `If-None-Match` requires. Nothing was changed."),
            Self::PreconditionRequired => ("precondition_required", 428, "Precondition required", "fix_input",
                "This operation replaces a whole resource, so the request must name the state that it replaces."),
            Self::IdempotencyInProgress => ("idempotency_in_progress", 409, "Request in progress", "retry",
                "The first request with this `Idempotency-Key` is still running."),
            Self::ResyncRequired => ("resync_required", 410, "Full synchronization required", "fix_input",
                "The cursor is older than 180 days, or the server no longer stores all deletions since then, or the database was restored from a backup."),
            Self::ContentTooLarge => ("content_too_large", 413, "Content too large", "fix_input",
                "The body is larger than this operation allows."),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415, "Unsupported media type", "fix_input",
                "The body has a media type that this operation does not support."),
            Self::Invalid => ("invalid", 422, "Invalid input", "fix_input",
                "The request is well-formed, but some of its fields are not valid. `errors` lists each of them with a pointer to the field."),
            Self::InvalidCode => ("invalid_code", 422, "Invalid or expired code", "fix_input",
                "The code or token from the email is wrong, was used or replaced, has expired, or is for another purpose. The response is the same in all these cases."),
            Self::IdempotencyKeyReused => ("idempotency_key_reused", 422, "Idempotency key reused", "fix_input",
                "This key was used for another request within the last 7 days: for another path, or with another body. Nothing was changed."),
            Self::TooManySearches => ("too_many_searches", 429, "Too many searches", "retry",
                "The server runs one search of a user at a time, and your other searches took too long."),
            Self::TooManyAttempts => ("too_many_attempts", 429, "Too many attempts", "retry",
                "There were too many failed attempts for this account, from this device or from this address, or too many requests of this kind. Each further failure doubles the time to wait, up to 15 minutes."),
            Self::HeadersTooLarge => ("headers_too_large", 431, "Headers too large", "fix_input",
                "The path and the headers of the request are larger than 32 KiB together."),
            Self::Internal => ("internal", 500, "Internal error", "retry",
                "An unexpected error occurred on the server. The request is not the cause."),
            Self::Busy => ("busy", 503, "Busy", "retry",
                "The request conflicted with other changes several times in a row. Nothing was changed."),
            Self::SearchTimeout => ("search_timeout", 503, "Search timeout", "retry",
                "The search did not end within the time limit for searches. Other operations are not affected."),
            Self::DatabaseUnavailable => ("database_unavailable", 503, "Database unavailable", "retry",
                "The server has no connection to its database. Nothing was changed."),
            Self::OutcomeUnknown => ("outcome_unknown", 503, "Outcome unknown", "retry",
                "The connection to the database broke while the database saved the change, so the server does not know whether the change was made. It is safe to repeat the request with the same `Idempotency-Key` or id."),
            Self::StorageFull => ("storage_full", 507, "Storage full", "retry",
                "The server can read data but not write it at the moment. Nothing was changed."),
            Self::QuotaExceeded => ("quota_exceeded", 507, "Quota exceeded", "fix_input",
                "The change would exceed a limit on what this server stores for one user. Nothing was changed."),
            Self::Overloaded => ("overloaded", 503, "Overloaded", "retry",
                "The server has more passwords to check, more large requests to read, or more connections than it can handle. Nothing was changed."),
            Self::ShuttingDown => ("shutting_down", 503, "Shutting down", "retry",
                "The server is shutting down. Another server, or the restarted one, accepts the request."),
            Self::NoSigningKey => ("no_signing_key", 503, "No signing key", "retry",
                "The server cannot issue tokens until its operator corrects the master secret. Issued tokens remain valid."),
            Self::WrongClock => ("wrong_clock", 503, "Wrong clock", "retry",
                "The clocks of this server and of its database differ. A load balancer uses another server until the clocks agree."),
            Self::WrongPublicUrl => ("wrong_public_url", 503, "Wrong public URL", "retry",
                "Another server on the same database has another public URL, so it would refuse the tokens of this server. A load balancer uses the other server."),
            Self::NewerSchema => ("newer_schema", 503, "Newer schema", "retry",
                "A newer version has changed the schema of the database since this server started. A load balancer uses a server of that version."),
        }
    }

    /// Returns the stable name, which is the `code` of the response.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// Returns the HTTP status.
    pub const fn status(self) -> u16 {
        self.facts().1
    }

    /// Returns the title.
    pub const fn title(self) -> &'static str {
        self.facts().2
    }

    /// Returns the recommended action of the client.
    pub const fn client_action(self) -> &'static str {
        self.facts().3
    }

    /// Returns the explanation. The problem pages add causes and advice.
    pub const fn explanation(self) -> &'static str {
        self.facts().4
    }

    /// Returns the name as it appears in `type`.
    pub fn slug(self) -> String {
        self.name().replace('_', "-")
    }

    /// Returns the description of a status in the OpenAPI document.
    pub const fn meaning(status: u16) -> &'static str {
        match status {
            400 => "The request is malformed",
            401 => "The credential is missing or not valid",
            403 => "The operation is not allowed, or the token lacks a scope",
            404 => "The resource does not exist, or belongs to another user",
            405 => "The path does not support this method",
            406 => "The client does not accept JSON",
            408 => "The body did not arrive in time",
            409 => "The request conflicts with existing data",
            412 => "The resource is not in the state that the condition requires",
            428 => "The condition is missing",
            410 => "The cursor is too old",
            413 => "The body is too large",
            415 => "The media type of the body is not supported",
            422 => "The input is not valid",
            429 => "The limit of requests is exceeded; retry later",
            431 => "The headers are too large",
            503 => "The server is temporarily unavailable; retry later",
            507 => "The storage is full, or the user is over a quota",
            // 500 is the only other status.
            _ => "An internal error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_500_is_described_as_an_internal_error() {
        for code in ProblemCode::ALL {
            let is_internal = ProblemCode::meaning(code.status()) == ProblemCode::meaning(500);
            assert_eq!(is_internal, code.status() == 500, "{}", code.name());
        }
    }
}
