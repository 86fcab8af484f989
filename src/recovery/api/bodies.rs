//! The bodies of the operations of confirmation and recovery.

use poem_openapi::Object;
use poem_openapi::types::{Example, Password as PasswordText};
use serde::Serialize;
use uuid::Uuid;

use crate::accounts::api::EmailText;
use crate::flows::Proof;
use crate::recovery::PasswordProof;
use crate::web::examples;
use crate::web::problem::FieldError;

/// The email address of an account.
#[derive(Debug, Object)]
pub(super) struct AddressRequest {
    /// Email address. Compared without regard to case; white space around it is removed.
    pub(super) email: EmailText,
}

/// A flow, such as a password reset, that was started. The code from the email completes it.
#[derive(Debug, Object, Serialize)]
pub(super) struct FlowStarted {
    /// Id of the flow. Send it with the code from the email. Store it on this device only.
    pub(super) flow_id: Uuid,
}

/// A proof that the user has access to the mailbox of an email address: `flow_id` with `code`, or `token`.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ConfirmEmail {
    /// `flow_id` from the response of the request that sent the email.
    #[oai(nullable)]
    flow_id: Option<Uuid>,
    /// Code from the email: 8 digits. Spaces and dashes are ignored.
    #[oai(nullable)]
    code: Option<String>,
    /// Token from the link in the email: the part after `#`.
    #[oai(nullable)]
    token: Option<String>,
    /// Password of the account. Either this or `new_password` is required, with two exceptions: a `code` that
    /// belongs to a sign-up, to a change of address, or to a resend that was requested with the account's
    /// access token; and a `token` in a request that has the account's access token.
    #[oai(nullable)]
    password: Option<PasswordText>,
    /// New password of the account. Removes everything that was set up before: the old password, sessions,
    /// second factors, passkeys and personal tokens.
    #[oai(nullable)]
    new_password: Option<PasswordText>,
}

/// A new password, with a proof of the email address: `flow_id` with `code`, or `token`.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ResetPassword {
    /// `flow_id` from the response of the request that sent the email.
    #[oai(nullable)]
    flow_id: Option<Uuid>,
    /// Code from the email: 8 digits. Spaces and dashes are ignored.
    #[oai(nullable)]
    code: Option<String>,
    /// Token from the link in the email: the part after `#`.
    #[oai(nullable)]
    token: Option<String>,
    /// New password, by the same rules as when signing up.
    new_password: PasswordText,
}

/// The token of the link that undoes a change of address.
#[derive(Debug, Object)]
pub(super) struct UndoEmailChange {
    /// Token from the link in the email: the part after `#`.
    pub(super) token: String,
}

impl Example for AddressRequest {
    fn example() -> Self {
        let Ok(email) = examples::EMAIL.parse() else { unreachable!("the address of the examples is valid") };
        Self { email: EmailText(email) }
    }
}

impl Example for FlowStarted {
    fn example() -> Self {
        Self { flow_id: examples::FLOW }
    }
}

impl Example for ConfirmEmail {
    fn example() -> Self {
        let (flow_id, code) = (Some(examples::FLOW), Some(examples::CODE.to_owned()));
        Self { flow_id, code, token: None, password: None, new_password: None }
    }
}

impl Example for ResetPassword {
    fn example() -> Self {
        let (flow_id, code) = (Some(examples::FLOW), Some(examples::CODE.to_owned()));
        Self { flow_id, code, token: None, new_password: PasswordText(examples::PASSWORD.to_owned()) }
    }
}

impl Example for UndoEmailChange {
    fn example() -> Self {
        Self { token: examples::LINK_TOKEN.to_owned() }
    }
}

/// Returns the proof in a body, which must contain exactly one.
fn proof(flow_id: Option<Uuid>, code: Option<String>, token: Option<String>) -> Result<Proof, FieldError> {
    match (flow_id, code, token) {
        (Some(flow), Some(code), None) => Ok(Proof::Code { flow, code }),
        (None, None, Some(token)) => Ok(Proof::Token(token)),
        (Some(_), None, None) => Err(FieldError::new("/code", "required", "Code is required.")),
        (None, Some(_), None) => Err(FieldError::new("/flow_id", "required", "Flow ID is required.")),
        (None, None, None) => {
            Err(FieldError::new("/code", "required", "A token, or a code with its flow ID, is required."))
        }
        (_, _, Some(_)) => {
            let detail = "Token cannot be combined with code or flow ID.";
            Err(FieldError::new("/token", "not_allowed", detail))
        }
    }
}

impl ConfirmEmail {
    pub(super) fn check(self) -> Result<(Proof, PasswordProof), Vec<FieldError>> {
        let proof = proof(self.flow_id, self.code, self.token);
        let password = match (self.password, self.new_password) {
            (None, None) => Ok(PasswordProof::None),
            (Some(password), None) => Ok(PasswordProof::Current(password.0)),
            (None, Some(password)) => Ok(PasswordProof::New(password.0)),
            (Some(_), Some(_)) => {
                let detail = "New password cannot be combined with password.";
                Err(FieldError::new("/new_password", "not_allowed", detail))
            }
        };
        match (proof, password) {
            (Ok(proof), Ok(password)) => Ok((proof, password)),
            (proof, password) => Err(proof.err().into_iter().chain(password.err()).collect()),
        }
    }
}

impl ResetPassword {
    pub(super) fn check(self) -> Result<(Proof, PasswordText), Vec<FieldError>> {
        let proof = proof(self.flow_id, self.code, self.token).map_err(|error| vec![error])?;
        Ok((proof, self.new_password))
    }
}
