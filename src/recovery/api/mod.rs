//! The HTTP operations of confirmation, recovery and changes of address.

mod bodies;

use poem::Request;
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::{Recovery, RecoveryError, Requester};
use crate::accounts::api::password_error;
use crate::clock::Clock;
use crate::flows::Proof;
use crate::uniform_time::at_next_tick;
use crate::web::Tag;
use crate::web::body::Body;
use crate::web::caller::{AccountScope, Caller, invalid_code};
use crate::web::client_address::ClientAddress;
use crate::web::json::Json;
use crate::web::languages::languages;
use crate::web::optional_caller::OptionalCaller;
use crate::web::problem::{FieldError, Problem, ProblemResponse};

use bodies::{AddressRequest, ConfirmEmail, FlowStarted, ResetPassword, UndoEmailChange};

#[derive(ApiResponse)]
enum MailSent {
    /// The request was accepted. The response is the same whether or not an email with a code is sent.
    #[oai(status = 202)]
    Accepted(
        Json<FlowStarted>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Done {
    /// The request took effect, now or in an earlier attempt.
    #[oai(status = 204)]
    NoContent,
}

/// Returns the problem of an error. `proof` is the JSON pointer to the code or token.
fn problem(error: RecoveryError, proof: &str) -> Problem {
    match error {
        RecoveryError::InvalidCode => invalid_code(proof),
        RecoveryError::PasswordRequired => {
            let detail = "Password or new password is required.";
            Problem::invalid(vec![FieldError::new("/password", "required", detail)])
        }
        RecoveryError::NewPasswordRefused => {
            let detail = "A new password is not accepted here. Please enter the password of the account.";
            Problem::invalid(vec![FieldError::new("/new_password", "not_allowed", detail)])
        }
        RecoveryError::NoAddress => {
            let detail = "The account has no email address. Please use the password.";
            Problem::invalid(vec![FieldError::new("/email", "required", detail)])
        }
        RecoveryError::Policy(violation) => {
            Problem::invalid(vec![password_error("/new_password", violation)])
        }
        RecoveryError::Throttled(blocked) => blocked.into(),
        RecoveryError::Accounts(error) => error.into(),
        RecoveryError::Sessions(error) => error.into(),
        RecoveryError::Store(error) => error.into(),
    }
}

impl From<RecoveryError> for Problem {
    fn from(error: RecoveryError) -> Self {
        problem(error, "/code")
    }
}

fn pointer(proof: &Proof) -> &'static str {
    match proof {
        Proof::Code { .. } => "/code",
        Proof::Token(_) => "/token",
    }
}

fn sent(flow_id: Uuid) -> MailSent {
    MailSent::Accepted(Json(FlowStarted { flow_id }), "no-store".to_owned())
}

/// Returns the client of a request.
fn requester(request: &Request) -> Requester {
    Requester { address: ClientAddress::of(request).0, languages: languages(request) }
}

/// The operations of confirmation and recovery.
#[derive(Debug)]
pub struct RecoveryApi {
    recovery: Recovery,
    clock: Clock,
}

impl RecoveryApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(recovery: &Recovery, clock: &Clock) -> Self {
        Self { recovery: recovery.clone(), clock: clock.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1")]
impl RecoveryApi {
    /// Confirm an email address
    ///
    /// Confirms the address of an account with the code from an email, or with the token from its link. If
    /// the same request is repeated within 10 minutes after it succeeded, it succeeds again and changes
    /// nothing.
    ///
    /// A code needs no password if it belongs to a sign-up, to a change of address, or to a resend that was
    /// requested with the account's access token. The token of a link needs no password if this request has
    /// the account's access token. Otherwise the request must also contain the password of the account or a
    /// new password, because the owner of the mailbox may not be the person who signed up. A new password
    /// removes everything that was set up before: the old password, sessions, second factors, passkeys and
    /// personal tokens.
    ///
    /// A new password is rejected if the request confirms a change of address and the account already has a
    /// confirmed address: the new address may be mistyped, and its mailbox may belong to another person. Send
    /// the current password instead.
    ///
    /// - 422 `invalid_code`: the code or token is wrong, was used or replaced, or has expired. After 5 wrong
    ///   codes, no code is accepted for this `flow_id`. Offer to send a new email.
    /// - 422 `invalid` with the error `required` for `/password`: ask for the password, or for a new
    ///   password.
    /// - 422 `invalid` with the error `not_allowed` for `/new_password`: ask for the current password.
    /// - 422 `invalid` with the error `wrong_password`: the password is wrong. Ask for the password again, or
    ///   for a new password.
    #[oai(
        path = "/auth/email/confirm",
        method = "post",
        operation_id = "confirm_email",
        tag = "Tag::Authentication"
    )]
    async fn confirm(
        &self,
        request: &Request,
        caller: OptionalCaller,
        body: Body<ConfirmEmail>,
    ) -> Result<Done, ProblemResponse<401>> {
        let (proof, password) = body.check(|body, _| body.check())?;
        let at = pointer(&proof);
        // Boxed, because the future contains three transactions and is large.
        let confirmed = Box::pin(self.recovery.confirm(proof, password, caller.0, languages(request))).await;
        confirmed.map_err(|error| problem(error, at))?;
        Ok(Done::NoContent)
    }

    /// Send the confirmation again
    ///
    /// Sends an email with a new code and a new link, each of which confirms the address of an account. The
    /// response and its duration are always the same: they do not show whether an account has this address,
    /// whether the address is confirmed already, or whether the limit of emails to this address is reached.
    /// If the user is logged in, send the access token with this request. Otherwise,
    /// `POST /api/v1/auth/email/confirm` requires a password with the code. The code and the link replace
    /// those of earlier confirmation emails.
    ///
    /// - 429 `too_many_attempts`: this IP address has requested too many emails. Wait for `Retry-After` seconds.
    #[oai(
        path = "/auth/email/resend",
        method = "post",
        operation_id = "resend_confirmation",
        tag = "Tag::Authentication"
    )]
    async fn resend(
        &self,
        request: &Request,
        caller: OptionalCaller,
        body: Body<AddressRequest>,
    ) -> Result<MailSent, ProblemResponse<401, 429>> {
        let email = body.accept()?.email.0;
        let resent = self.recovery.resend_confirmation(&email, caller.0, requester(request));
        Ok(sent(at_next_tick(resent).await?))
    }

    /// Undo a change of address
    ///
    /// Restores the former email address of an account. The request contains the token from the link that was
    /// mailed to the former address. The token is valid for 7 days after the change. All sessions of the
    /// account end. All unused codes and links that were mailed to the user, at any address, become invalid,
    /// except links that end a session and links that undo an earlier change of address. The recovery codes
    /// stay valid.
    ///
    /// - 422 `invalid_code`: the token is wrong, was used, or has expired.
    #[oai(
        path = "/auth/email/undo",
        method = "post",
        operation_id = "undo_email_change",
        tag = "Tag::Authentication"
    )]
    async fn undo(&self, body: Body<UndoEmailChange>) -> Result<Done, ProblemResponse> {
        let undone = self.recovery.undo_change(body.accept()?.token).await;
        undone.map_err(|error| problem(error, "/token"))?;
        Ok(Done::NoContent)
    }

    /// Request a password reset
    ///
    /// Sends an email with a code and a link. With either of them, the user can choose a new password. The
    /// response and its duration are the same whether or not an account has this address. The code and the
    /// link replace those of earlier emails for a password reset.
    ///
    /// - 429 `too_many_attempts`: this IP address has requested too many emails. Wait for `Retry-After` seconds.
    #[oai(
        path = "/auth/password/forgot",
        method = "post",
        operation_id = "forgot_password",
        tag = "Tag::Authentication"
    )]
    async fn forgot(
        &self,
        request: &Request,
        body: Body<AddressRequest>,
    ) -> Result<MailSent, ProblemResponse<429>> {
        let email = body.accept()?.email.0;
        Ok(sent(at_next_tick(self.recovery.request_reset(&email, requester(request))).await?))
    }

    /// Choose a new password
    ///
    /// Sets a new password with the code from an email, or with the token from its link, and confirms the
    /// address. All sessions of the account end: the replica that handles the request rejects their access
    /// tokens immediately, and all other replicas within a second. Log the user in with the new password. If the
    /// account requires a second factor, this login requires it too. If the address was never confirmed
    /// before, another person may have set up the account: its second factors, passkeys and personal tokens
    /// are removed.
    ///
    /// - 422 `invalid_code`: the code or token is wrong, was used or replaced, or has expired. After 5 wrong
    ///   codes, no code is accepted for this `flow_id`. Offer to send a new email.
    /// - 422 `invalid`: the new password is not accepted. The code stays valid: send it again with another
    ///   password.
    /// - 429 `too_many_attempts`: there were too many wrong codes or passwords from this IP address. Wait for
    ///   `Retry-After` seconds.
    #[oai(
        path = "/auth/password/reset",
        method = "post",
        operation_id = "reset_password",
        tag = "Tag::Authentication"
    )]
    async fn reset(
        &self,
        request: &Request,
        body: Body<ResetPassword>,
    ) -> Result<Done, ProblemResponse<429>> {
        let (proof, password) = body.check(|body, _| body.check())?;
        let at = pointer(&proof);
        let reset = Box::pin(self.recovery.reset(proof, &password, requester(request))).await;
        reset.map_err(|error| problem(error, at))?;
        Ok(Done::NoContent)
    }

    /// Request a login code
    ///
    /// Sends an email with a code. With the code, the user logs in without a password, on the device that
    /// requested the code. The response and its duration are the same whether or not an account has this
    /// address. The code replaces all earlier login codes.
    ///
    /// - 429 `too_many_attempts`: this IP address has requested too many emails. Wait for `Retry-After` seconds.
    #[oai(
        path = "/auth/login/code",
        method = "post",
        operation_id = "send_login_code",
        tag = "Tag::Authentication"
    )]
    async fn login_code(
        &self,
        request: &Request,
        body: Body<AddressRequest>,
    ) -> Result<MailSent, ProblemResponse<429>> {
        let email = body.accept()?.email.0;
        Ok(sent(at_next_tick(self.recovery.request_login_code(&email, requester(request))).await?))
    }

    /// Request a code to authenticate again
    ///
    /// Sends the logged-in user an email with a code to authenticate again. Send the code, with the `flow_id`
    /// of the response, to `POST /api/v1/me/reauthenticate`. The code works once, and only in the session
    /// that requested it. It expires after 15 minutes or 5 wrong tries, or when another code is requested. If
    /// the limit of emails to this mailbox is reached, no email is sent, and the response is the same.
    ///
    /// - 422 `invalid`, with an error for `/email`: the account has no email address. Ask the user for the password
    ///   instead.
    /// - 429 `too_many_attempts`: this IP address has requested too many emails. Wait for `Retry-After` seconds.
    #[oai(
        path = "/me/reauthenticate/code",
        method = "post",
        operation_id = "send_reauthentication_code",
        tag = "Tag::Account"
    )]
    async fn step_up_code(
        &self,
        request: &Request,
        caller: Caller<AccountScope>,
    ) -> Result<MailSent, ProblemResponse<429>> {
        caller.reject_personal_token()?;
        let (user, session) = (caller.user(), caller.session());
        Ok(sent(self.recovery.request_step_up(user, session, requester(request)).await?))
    }

    /// Change the email address
    ///
    /// Sends the new address an email with a code and a link. The address changes when the code, or the token
    /// from the link, is sent to `POST /api/v1/auth/email/confirm`; all sessions stay valid. The old address
    /// gets an email now, and a second email after the change. The second email has a link that undoes the
    /// change. If another account has the new address, the response is the same, but the owner of that
    /// account gets an email without a code instead.
    ///
    /// - 401 `step_up_required`: the user must authenticate again first, with
    ///   `POST /api/v1/me/reauthenticate`. Then repeat the request.
    /// - 429 `too_many_attempts`: this IP address has requested too many emails. Wait for `Retry-After` seconds.
    #[oai(path = "/me/email", method = "post", operation_id = "change_email", tag = "Tag::Account")]
    async fn change_email(
        &self,
        request: &Request,
        caller: Caller<AccountScope>,
        body: Body<AddressRequest>,
    ) -> Result<MailSent, ProblemResponse<429>> {
        let authorization = caller.require_recent_authentication(self.clock.now())?;
        let email = body.accept()?.email.0;
        // Boxed, because the future contains several transactions and is large.
        let requested = self.recovery.request_change(authorization, email, requester(request));
        Ok(sent(Box::pin(requested).await?))
    }
}
