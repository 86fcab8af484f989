//! The HTTP operations that log in with a passkey, and those that return the options for passkeys.

use poem::Request;
use poem_openapi::types::{Example, Password as PasswordText};
use poem_openapi::{ApiResponse, Object, OpenApi};
use uuid::Uuid;

use super::{LoggedIn, device, parse_scopes};
use crate::metrics::{self, AuthMethod};
use crate::passkeys::Proof;
use crate::passkeys::api::{LoginOptions, PasskeyOptions, PasskeyProof};
use crate::sessions::Sessions;
use crate::tokens::Scopes;
use crate::web::Tag;
use crate::web::body::{Body, NoBody, OptionalBody};
use crate::web::caller::{AccountScope, Caller};
use crate::web::client_address::ClientAddress;
use crate::web::examples;
use crate::web::json::{self, Json, RawJson};
use crate::web::json_object::JsonObject;
use crate::web::plain_text::Line;
use crate::web::problem::{FieldError, ProblemResponse};

/// The login for which the passkey is the second factor. Without `mfa_token`, the passkey is the only factor.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct BeginPasskeyLogin {
    /// `mfa_token` of the response to the login, if the passkey is the second factor of this login. Without it, the
    /// passkey is the only factor, and the user need not enter an identifier.
    #[oai(nullable)]
    mfa_token: Option<PasswordText>,
}

/// The response of an authenticator, and the requested scopes.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct LogInWithPasskey {
    /// `challenge_id` of the options.
    challenge_id: Uuid,
    /// `AuthenticationResponseJSON` of Web Authentication Level 3: the result of `toJSON()` in a browser, or of the
    /// Credential Manager of Android. The binary fields are base64url. Unknown fields are ignored.
    credential: JsonObject,
    /// Name of the device in the user's list of sessions, 1 to 100 characters in one line.
    #[oai(nullable, validator(min_length = 1, max_length = 100))]
    device_name: Option<Line>,
    /// Scopes of the access token, separated by spaces: one or more of `account`, `trips:read` and
    /// `trips:write`. Default: all of them.
    #[oai(nullable)]
    scope: Option<String>,
}

impl Example for BeginPasskeyLogin {
    fn example() -> Self {
        Self { mfa_token: None }
    }
}

impl Example for LogInWithPasskey {
    fn example() -> Self {
        let (challenge_id, credential) = PasskeyProof::example().into_parts();
        Self { challenge_id, credential, device_name: Line::parse(examples::DEVICE), scope: None }
    }
}

impl LogInWithPasskey {
    fn check(self) -> Result<(Proof, Scopes, Option<String>), Vec<FieldError>> {
        let proof = PasskeyProof::new(self.challenge_id, self.credential).check("");
        match (proof, parse_scopes(self.scope.as_deref())) {
            (Ok(proof), Ok(scopes)) => Ok((proof, scopes, self.device_name.map(String::from))),
            (proof, scopes) => Err([proof.err(), scopes.err()].into_iter().flatten().collect()),
        }
    }
}

#[derive(ApiResponse)]
enum BegunLogin {
    /// The options for the authenticator.
    #[oai(status = 200)]
    Ok(
        RawJson<PasskeyOptions, LoginOptions>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum BegunStepUp {
    /// The options for the authenticator.
    #[oai(status = 200)]
    Ok(
        Json<PasskeyOptions>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// The operations that authenticate by a passkey.
#[derive(Debug)]
pub struct PasskeyLoginApi {
    sessions: Sessions,
}

impl PasskeyLoginApi {
    /// Creates the operations on top of the service that they call.
    pub fn new(sessions: &Sessions) -> Self {
        Self { sessions: sessions.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1")]
impl PasskeyLoginApi {
    /// Begin a login with a passkey
    ///
    /// Returns the options with which the device uses a passkey. Without `mfa_token`, the passkey is the only
    /// factor: the user chooses one of the passkeys on the device and need not enter an identifier. The body
    /// can be omitted in this case. Send the response of the device to `POST /api/v1/auth/passkeys/login`.
    ///
    /// With the `mfa_token` of a login, the passkey is the second factor of this login. Send the response of
    /// the device to `POST /api/v1/auth/login/mfa`.
    ///
    /// - 401 `invalid_credentials`: the login that returned `mfa_token` is complete or has expired. Start the
    ///   login again with the password or a code from an email.
    /// - 404 `not_found`: the user has no passkey. Use another of the `methods` that the login returned.
    /// - 429 `too_many_attempts`: there were too many requests without `mfa_token` from this IP address. Wait for
    ///   `Retry-After` seconds.
    #[oai(
        path = "/auth/passkeys/options",
        method = "post",
        operation_id = "begin_passkey_login",
        tag = "Tag::Authentication"
    )]
    async fn begin(
        &self,
        request: &Request,
        body: OptionalBody<BeginPasskeyLogin>,
    ) -> Result<BegunLogin, ProblemResponse<401, 404, 429>> {
        let token = body.0.map(Body::accept).transpose()?.and_then(|body| body.mfa_token);
        let ClientAddress(address) = ClientAddress::of(request);
        let token = token.as_ref().map(|token| token.0.as_str());
        let options = self.sessions.begin_passkey_login(token, address).await?;
        let options = json::to_vec(&PasskeyOptions::from(options));
        Ok(BegunLogin::Ok(RawJson::new(options), "no-store".to_owned()))
    }

    /// Log in with a passkey
    ///
    /// Creates a session for the user of the passkey. The device has verified the user, so neither the password nor a
    /// second factor is needed.
    ///
    /// - 401 `invalid_credentials`: the passkey is not registered, its response is not valid, or the challenge was
    ///   used or has expired. Show `detail`, and offer to log in with the password.
    /// - 403 `unconfirmed_account`: this server requires that the email address is confirmed first. Ask the
    ///   user for the code from the confirmation email, and send it to `POST /api/v1/auth/email/confirm`.
    #[oai(
        path = "/auth/passkeys/login",
        method = "post",
        operation_id = "log_in_with_passkey",
        tag = "Tag::Authentication"
    )]
    async fn log_in(
        &self,
        request: &Request,
        body: Body<LogInWithPasskey>,
    ) -> Result<LoggedIn, ProblemResponse<401, 403>> {
        let (proof, scopes, device_name) = body.check(|body, _| body.check())?;
        let logged_in = self.sessions.log_in_by_passkey(proof, scopes, device(request, device_name)).await;
        metrics::auth_attempted(AuthMethod::Passkey, &logged_in);
        Ok(LoggedIn::Ok(Json(logged_in?.into()), "no-store".to_owned()))
    }

    /// Begin to authenticate again with a passkey
    ///
    /// Returns the options with which the device uses one of the user's passkeys. Send the response of the
    /// device as `passkey` to `POST /api/v1/me/reauthenticate` within 5 minutes.
    ///
    /// - 404 `not_found`: the user has no passkey. Ask for the password.
    #[oai(
        path = "/me/reauthenticate/options",
        method = "post",
        operation_id = "begin_reauthentication",
        tag = "Tag::Account"
    )]
    async fn begin_step_up(
        &self,
        caller: Caller<AccountScope>,
        _no_body: NoBody,
    ) -> Result<BegunStepUp, ProblemResponse<404>> {
        caller.reject_personal_token()?;
        let options = self.sessions.begin_step_up(caller.user()).await?;
        Ok(BegunStepUp::Ok(Json(options.into()), "no-store".to_owned()))
    }
}
