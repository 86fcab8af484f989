//! The HTTP operations on the passkeys of a user.

mod bodies;

use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::{Attestation, MAX_PASSKEYS, Passkeys, PasskeysError};
use crate::clock::Clock;
use crate::web::Tag;
use crate::web::body::{Body, NoBody};
use crate::web::caller::{self, AccountScope, Caller};
use crate::web::json::{self, Json, RawJson};
use crate::web::json_object::JsonObject;
use crate::web::path_id::PathId;
use crate::web::plain_text::Line;
use crate::web::problem::{FieldError, Problem, ProblemCode, ProblemResponse};

pub use bodies::{LoginOptions, PasskeyBody, PasskeyOptions, PasskeyProof};
use bodies::{RegistrationOptions, example_registration, malformed_credential};

/// The response of an authenticator that has created a passkey.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct CreatePasskey {
    /// `challenge_id` of the options.
    challenge_id: Uuid,
    /// `RegistrationResponseJSON` of Web Authentication Level 3: the result of `toJSON()` in a browser, or of the
    /// Credential Manager of Android. The binary fields are base64url. Unknown fields are ignored.
    credential: JsonObject,
    /// Name in the user's list of passkeys, 1 to 100 characters in one line. Default: `Passkey`.
    #[oai(nullable, validator(min_length = 1, max_length = 100))]
    name: Option<Line>,
}

/// The new name of a passkey.
#[derive(Debug, Object)]
struct RenamePasskey {
    /// Name in the user's list of passkeys, 1 to 100 characters in one line.
    #[oai(validator(min_length = 1, max_length = 100))]
    name: Line,
}

/// The passkeys of the user.
#[derive(Debug, Object, Serialize)]
struct PasskeyList {
    /// The passkeys, newest first.
    #[oai(validator(max_items = 20))]
    items: Vec<PasskeyBody>,
}

impl Example for CreatePasskey {
    fn example() -> Self {
        let (challenge_id, credential) = example_registration();
        Self { challenge_id, credential, name: Line::parse(bodies::EXAMPLE_NAME) }
    }
}

impl Example for RenamePasskey {
    fn example() -> Self {
        Self { name: Line::parse(bodies::EXAMPLE_NAME).unwrap_or_default() }
    }
}

impl Example for PasskeyList {
    fn example() -> Self {
        Self { items: vec![PasskeyBody::example()] }
    }
}

impl CreatePasskey {
    fn check(self) -> Result<(Uuid, Attestation, Option<String>), Vec<FieldError>> {
        let attestation = Attestation::parse(self.credential.value());
        let attestation = attestation.ok_or_else(|| vec![malformed_credential("/credential")])?;
        Ok((self.challenge_id, attestation, self.name.map(String::from)))
    }
}

impl From<PasskeysError> for Problem {
    fn from(error: PasskeysError) -> Self {
        match error {
            PasskeysError::NotFound => Self::not_found(),
            PasskeysError::NoPasskey => {
                Self::new(ProblemCode::NotFound, "This account has no passkey. Please use another method.")
            }
            PasskeysError::NotLoggedIn => caller::user_deleted(),
            PasskeysError::TooMany => Self::new(
                ProblemCode::QuotaExceeded,
                format!("You have {MAX_PASSKEYS} passkeys, which is the maximum. Remove one first."),
            ),
            PasskeysError::AlreadyRegistered => {
                let detail =
                    "This passkey is registered already. Please use another device or password manager.";
                Self::invalid(vec![FieldError::new("/credential", "already_registered", detail)])
            }
            PasskeysError::Rejected(rejection) => {
                let error = FieldError::new("/credential", "invalid_passkey", rejection.sentence());
                Self::invalid(vec![error]).caused_by(rejection)
            }
            PasskeysError::OtherRelyingParty { .. } => Self::internal(error),
            PasskeysError::Store(error) => error.into(),
        }
    }
}

#[derive(ApiResponse)]
enum BegunRegistration {
    /// The options for the authenticator.
    #[oai(status = 200)]
    Ok(
        RawJson<PasskeyOptions, RegistrationOptions>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum CreatedPasskey {
    /// The registered passkey.
    #[oai(status = 201)]
    Created(Json<PasskeyBody>),
}

#[derive(ApiResponse)]
enum RenamedPasskey {
    /// The passkey with its new name.
    #[oai(status = 200)]
    Ok(Json<PasskeyBody>),
}

#[derive(ApiResponse)]
enum RemovedPasskey {
    /// The passkey was removed.
    #[oai(status = 204)]
    NoContent,
}

/// The operations on passkeys.
#[derive(Debug)]
pub struct PasskeysApi {
    passkeys: Passkeys,
    clock: Clock,
}

impl PasskeysApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(passkeys: &Passkeys, clock: &Clock) -> Self {
        Self { passkeys: passkeys.clone(), clock: clock.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/me", tag = "Tag::Account")]
impl PasskeysApi {
    /// Begin to register a passkey
    ///
    /// Returns the options with which the device creates a passkey. Send the response of the device, and
    /// the `challenge_id` of these options, to `POST /api/v1/me/passkeys` within 5 minutes.
    ///
    /// - 401 `step_up_required`: the user must authenticate again first, with
    ///   `POST /api/v1/me/reauthenticate`.
    /// - 507 `quota_exceeded`: the user has 20 passkeys. Remove one.
    #[oai(path = "/passkeys/options", method = "post", operation_id = "begin_passkey_registration")]
    async fn begin(
        &self,
        caller: Caller<AccountScope>,
        _no_body: NoBody,
    ) -> Result<BegunRegistration, ProblemResponse> {
        caller.require_recent_authentication(self.clock.now())?;
        let options = PasskeyOptions::from(self.passkeys.begin_registration(caller.user()).await?);
        Ok(BegunRegistration::Ok(RawJson::new(json::to_vec(&options)), "no-store".to_owned()))
    }

    /// Register a passkey
    ///
    /// Registers the passkey that the device has created. From now on, the user can log in with the passkey
    /// and without a password. The password still works; `mfa_enabled` does not change.
    ///
    /// - 401 `step_up_required`: the user must authenticate again first, with
    ///   `POST /api/v1/me/reauthenticate`. Then repeat the same request.
    /// - 422 `invalid` with the error `invalid_passkey`: the response of the device is not valid, or the
    ///   challenge was used or has expired. Begin again with `POST /api/v1/me/passkeys/options`.
    /// - 422 `invalid` with the error `already_registered`: the passkey is registered already.
    /// - 507 `quota_exceeded`: the user has 20 passkeys. Remove one.
    #[oai(path = "/passkeys", method = "post", operation_id = "create_passkey")]
    async fn create(
        &self,
        caller: Caller<AccountScope>,
        body: Body<CreatePasskey>,
    ) -> Result<CreatedPasskey, ProblemResponse> {
        let authorization = caller.require_recent_authentication(self.clock.now())?;
        let (challenge, response, name) = body.check(|body, _| body.check())?;
        let passkey = self.passkeys.register(authorization, challenge, response, name).await?;
        Ok(CreatedPasskey::Created(Json(passkey.into())))
    }

    /// List the passkeys
    ///
    /// Returns the user's passkeys, newest first, for example for a settings page. Use the `id` of a passkey to
    /// rename or remove it.
    #[oai(path = "/passkeys", method = "get", operation_id = "list_passkeys")]
    async fn list(&self, caller: Caller<AccountScope>) -> Result<Json<PasskeyList>, ProblemResponse> {
        let passkeys = self.passkeys.list(caller.user()).await?;
        Ok(Json(PasskeyList { items: passkeys.into_iter().map(PasskeyBody::from).collect() }))
    }

    /// Rename a passkey
    ///
    /// Changes the name of a passkey in the user's list. The name that the device shows does not change.
    ///
    /// - 401 `step_up_required`: the user must authenticate again first, with
    ///   `POST /api/v1/me/reauthenticate`.
    /// - 404 `not_found`: the user has no passkey with this id. List the passkeys again.
    #[oai(path = "/passkeys/:id", method = "patch", operation_id = "rename_passkey")]
    async fn rename(
        &self,
        caller: Caller<AccountScope>,
        /// Id of the passkey.
        id: Path<PathId>,
        body: Body<RenamePasskey>,
    ) -> Result<RenamedPasskey, ProblemResponse<404>> {
        caller.require_recent_authentication(self.clock.now())?;
        let name = body.accept()?.name;
        let passkey = self.passkeys.rename(caller.user(), id.0.uuid(), name.into()).await?;
        Ok(RenamedPasskey::Ok(Json(passkey.into())))
    }

    /// Remove a passkey
    ///
    /// Removes a passkey, for example the passkey on a lost phone. The passkey can no longer be used.
    /// Sessions that were started with the passkey continue; end them with `DELETE /api/v1/me/sessions`.
    ///
    /// - 401 `step_up_required`: the user must authenticate again first, with
    ///   `POST /api/v1/me/reauthenticate`.
    /// - 404 `not_found`: the user has no passkey with this id. List the passkeys again.
    #[oai(path = "/passkeys/:id", method = "delete", operation_id = "delete_passkey")]
    async fn remove(
        &self,
        caller: Caller<AccountScope>,
        /// Id of the passkey.
        id: Path<PathId>,
    ) -> Result<RemovedPasskey, ProblemResponse<404>> {
        let authorization = caller.require_recent_authentication(self.clock.now())?;
        self.passkeys.remove(authorization, id.0.uuid()).await?;
        Ok(RemovedPasskey::NoContent)
    }
}
