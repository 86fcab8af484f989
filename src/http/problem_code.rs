//! Every kind of problem: its code, its status, and what an app does about it.

/// A kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemCode {
    /// The request can't be understood at all.
    BadRequest,
    /// The body is not acceptable JSON.
    InvalidJson,
    /// More than one credential.
    ConflictingCredentials,
    /// Not a cursor of this list and this user.
    InvalidCursor,
    /// Not a key that names a request.
    InvalidIdempotencyKey,
    /// No credential.
    Unauthenticated,
    /// An access token that is not good.
    InvalidToken,
    /// Nobody, or not their password.
    InvalidCredentials,
    /// A refresh token that is not good.
    InvalidRefreshToken,
    /// A refresh token whose session was ended.
    SessionRevoked,
    /// Not a service that may ask.
    InvalidClient,
    /// The token is good, but not for this.
    InsufficientScope,
    /// Strangers can't sign up.
    SignupClosed,
    /// Nothing there that the caller may see.
    NotFound,
    /// Not a method of this path.
    MethodNotAllowed,
    /// Only JSON is to be had.
    NotAcceptable,
    /// The body took too long to come.
    RequestTimeout,
    /// Somebody has that email address or username.
    IdentifierTaken,
    /// The caller has something of that id already.
    AlreadyExists,
    /// Not in the state that the condition names.
    PreconditionFailed,
    /// A condition must be sent.
    PreconditionRequired,
    /// The first request with the same key still runs.
    IdempotencyInProgress,
    /// Deletions since the cursor may have been forgotten.
    ResyncRequired,
    /// The body is too large.
    ContentTooLarge,
    /// The body is not sent as JSON, or as a form where one is asked for.
    UnsupportedMediaType,
    /// Rules are broken.
    Invalid,
    /// The key was used for another request.
    IdempotencyKeyReused,
    /// A fault of ours.
    Internal,
    /// Other writers were in the way.
    Busy,
    /// No connection to the database.
    DatabaseUnavailable,
    /// No room to write.
    StorageFull,
    /// The hashing queue is full.
    Overloaded,
    /// The server ends.
    ShuttingDown,
    /// The master secret is not the one that the keys were made under.
    NoSigningKey,
}

/// What is said of a kind: name, status, title, what the app does, what it means.
type Facts = (&'static str, u16, &'static str, &'static str, &'static str);

impl ProblemCode {
    /// All kinds.
    pub const ALL: [Self; 34] = [
        Self::BadRequest,
        Self::InvalidJson,
        Self::ConflictingCredentials,
        Self::InvalidCursor,
        Self::InvalidIdempotencyKey,
        Self::Unauthenticated,
        Self::InvalidToken,
        Self::InvalidCredentials,
        Self::InvalidRefreshToken,
        Self::SessionRevoked,
        Self::InvalidClient,
        Self::InsufficientScope,
        Self::SignupClosed,
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
        Self::IdempotencyKeyReused,
        Self::Internal,
        Self::Busy,
        Self::DatabaseUnavailable,
        Self::StorageFull,
        Self::Overloaded,
        Self::ShuttingDown,
        Self::NoSigningKey,
    ];

    #[rustfmt::skip]
    const fn facts(self) -> Facts {
        match self {
            Self::BadRequest => ("bad_request", 400, "Bad request", "fix_input",
                "The request could not be understood: its head or body breaks the rules of HTTP or of this API."),
            Self::InvalidJson => ("invalid_json", 400, "Not acceptable JSON", "fix_input",
                "The body is not well-formed JSON in UTF-8, names a member twice, or contains a NUL character or half a surrogate pair."),
            Self::ConflictingCredentials => ("conflicting_credentials", 400, "Two credentials", "fix_input",
                "The request carries more than one credential, so it is not clear who asks."),
            Self::InvalidCursor => ("invalid_cursor", 400, "Not a cursor of this list", "fix_input",
                "A cursor is good only for the list and the user that it was given to."),
            Self::InvalidIdempotencyKey => ("invalid_idempotency_key", 400, "Not an idempotency key", "fix_input",
                "An `Idempotency-Key` has 1 to 255 visible ASCII characters and stands in the request once."),
            Self::Unauthenticated => ("unauthenticated", 401, "Authentication required", "reauthenticate",
                "The request carries no credential of the kind that this operation asks for."),
            Self::InvalidToken => ("invalid_token", 401, "Invalid or expired token", "refresh",
                "The access token has expired, was revoked, or was never one of this server's."),
            Self::InvalidCredentials => ("invalid_credentials", 401, "Wrong identifier or password", "reauthenticate",
                "There is no account with this email address or username and this password. Which of the two is wrong is not told."),
            Self::InvalidRefreshToken => ("invalid_refresh_token", 401, "Refresh token not good", "reauthenticate",
                "The refresh token was never one of this server's, or its session has run out."),
            Self::SessionRevoked => ("session_revoked", 401, "Session ended", "reauthenticate",
                "The session was ended, and with it all of its tokens."),
            Self::InvalidClient => ("invalid_client", 401, "Not a known client", "none",
                "Only services that the operator made known may ask this."),
            Self::InsufficientScope => ("insufficient_scope", 403, "The token lacks a scope", "reauthenticate",
                "The access token is good, but was issued for less than this operation needs."),
            Self::SignupClosed => ("signup_closed", 403, "Signing up is closed", "none",
                "This server takes no new accounts."),
            Self::NotFound => ("not_found", 404, "Not found", "none",
                "There is no such thing, or it belongs to somebody else: the answer is the same for both."),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "Method not allowed", "fix_input",
                "The path exists, but not for this method."),
            Self::NotAcceptable => ("not_acceptable", 406, "Not acceptable", "fix_input",
                "The API answers in JSON alone, and the request's `Accept` header excludes it."),
            Self::RequestTimeout => ("request_timeout", 408, "The body came too slowly", "retry",
                "The body did not arrive in time. Nothing was done."),
            Self::IdentifierTaken => ("identifier_taken", 409, "Identifier taken", "fix_input",
                "Somebody has this email address or username already."),
            Self::AlreadyExists => ("already_exists", 409, "Already there", "none",
                "You have something under this id already."),
            Self::PreconditionFailed => ("precondition_failed", 412, "Changed meanwhile", "fix_input",
                "What the request is about is not in the state that `If-Match` or `If-None-Match` asks for. Nothing was changed."),
            Self::PreconditionRequired => ("precondition_required", 428, "A condition is missing", "fix_input",
                "This call overwrites everything, so it must say what it overwrites."),
            Self::IdempotencyInProgress => ("idempotency_in_progress", 409, "Still running", "retry",
                "The first request with this `Idempotency-Key` has not ended."),
            Self::ResyncRequired => ("resync_required", 410, "Start again from the start", "fix_input",
                "The cursor is older than 180 days, or than the server's data: what was deleted since is not known any more."),
            Self::ContentTooLarge => ("content_too_large", 413, "Body too large", "fix_input",
                "The body has more bytes than this operation takes."),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415, "Not a media type that is taken", "fix_input",
                "The body is not sent in the media type that the operation takes."),
            Self::Invalid => ("invalid", 422, "Rules are broken", "fix_input",
                "The request is well-formed, but members of it break rules. `errors` lists every one of them with a pointer to where it is."),
            Self::IdempotencyKeyReused => ("idempotency_key_reused", 422, "Key used for something else", "fix_input",
                "This key was sent with another request within the last 7 days: another path, or another body. Nothing was done."),
            Self::Internal => ("internal", 500, "A fault of ours", "retry",
                "Something went wrong on the server, and it is not the request's fault."),
            Self::Busy => ("busy", 503, "Busy", "retry",
                "Other changes were in the way several times in a row. Nothing was changed."),
            Self::DatabaseUnavailable => ("database_unavailable", 503, "Database unavailable", "retry",
                "The server has no connection to its database."),
            Self::StorageFull => ("storage_full", 503, "No room left", "retry",
                "The server can read but not write at the moment. Nothing was changed."),
            Self::Overloaded => ("overloaded", 503, "Too many sign-ins at once", "retry",
                "More people are signing in than passwords can be checked in time. Nothing was checked."),
            Self::ShuttingDown => ("shutting_down", 503, "Shutting down", "retry",
                "The server is about to end. Another one, or the next one, answers."),
            Self::NoSigningKey => ("no_signing_key", 503, "No tokens at the moment", "retry",
                "The server can't sign tokens until its operator corrects its secret. Tokens that are out stay good."),
        }
    }

    /// Its stable name.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// Its HTTP status.
    pub const fn status(self) -> u16 {
        self.facts().1
    }

    /// It in a few words.
    pub const fn title(self) -> &'static str {
        self.facts().2
    }

    /// What an app does about it.
    pub const fn client_action(self) -> &'static str {
        self.facts().3
    }

    /// What it means. The pages say besides why it happens and what to do.
    pub const fn explanation(self) -> &'static str {
        self.facts().4
    }

    /// Its name as it stands in `type`.
    pub fn slug(self) -> String {
        self.name().replace('_', "-")
    }

    /// What a status means in the document.
    pub const fn meaning(status: u16) -> &'static str {
        match status {
            400 => "The request is malformed",
            401 => "No credential, or one that is not good",
            403 => "Not allowed, or the token lacks a scope",
            404 => "No such thing, or not yours",
            405 => "The path does not take this method",
            406 => "Only JSON is to be had",
            408 => "The body came too slowly",
            409 => "In conflict with what is there",
            412 => "Not in the state that the condition asks for",
            428 => "The condition is missing",
            410 => "The cursor is too old",
            413 => "The body is too large",
            415 => "The body is not sent in the media type of the operation",
            422 => "Members of the request break rules",
            503 => "Not at the moment; try again",
            // 500 alone.
            _ => "A fault of ours",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_500_is_a_fault_of_ours() {
        for code in ProblemCode::ALL {
            let is_ours = ProblemCode::meaning(code.status()) == ProblemCode::meaning(500);
            assert_eq!(is_ours, code.status() == 500, "{}", code.name());
        }
    }
}
