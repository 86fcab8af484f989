//! `POST /auth/login/code/confirm`: logs in with a code from an email.

use poem::Request;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use uuid::Uuid;

use super::{LoggedIn, device};
use crate::metrics::{self, AuthMethod};
use crate::sessions::Sessions;
use crate::web::Tag;
use crate::web::body::Body;
use crate::web::examples;
use crate::web::json::Json;
use crate::web::plain_text::Line;
use crate::web::problem::ProblemResponse;

/// The code from an email, and the id of the flow that this device has started.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct LogInByCode {
    /// `flow_id` from the response of the request that sent the email.
    flow_id: Uuid,
    /// Code from the email: 8 digits. Spaces and dashes are ignored.
    code: String,
    /// Name of the device in the user's list of sessions, 1 to 100 characters in one line.
    #[oai(nullable, validator(min_length = 1, max_length = 100))]
    device_name: Option<Line>,
}

impl Example for LogInByCode {
    fn example() -> Self {
        let (flow_id, code) = (examples::FLOW, examples::CODE.to_owned());
        Self { flow_id, code, device_name: Line::parse(examples::DEVICE) }
    }
}

/// The operation that logs in with a code from an email.
#[derive(Debug)]
pub struct LoginCodeApi {
    sessions: Sessions,
}

impl LoginCodeApi {
    /// Creates the operation on top of the service that it calls.
    pub fn new(sessions: &Sessions) -> Self {
        Self { sessions: sessions.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/auth", tag = "Tag::Authentication")]
impl LoginCodeApi {
    /// Log in with a code from an email
    ///
    /// Creates a session with the code that `POST /api/v1/auth/login/code` has sent by email, and confirms
    /// the email address. If the address was never confirmed before, another person may have set up the
    /// account, so its password, sessions, second factors, passkeys and personal tokens are removed. In this case,
    /// let the user choose a new password.
    ///
    /// - 401 `mfa_required`: the account requires a second factor. Ask the user for one of the second factors
    ///   in `methods`, and send it with `mfa_token` to `POST /api/v1/auth/login/mfa`.
    /// - 422 `invalid_code`: the code is wrong, was used or replaced, or has expired. After 5 wrong codes, no
    ///   code is accepted for this `flow_id`. Offer to send a new email.
    #[oai(path = "/login/code/confirm", method = "post", operation_id = "log_in_by_code")]
    async fn log_in_by_code(
        &self,
        request: &Request,
        body: Body<LogInByCode>,
    ) -> Result<LoggedIn, ProblemResponse<401>> {
        let LogInByCode { flow_id, code, device_name } = body.accept()?;
        let device = device(request, device_name.map(String::from));
        let logged_in = self.sessions.log_in_by_code(flow_id, code, device).await;
        metrics::auth_attempted(AuthMethod::MailCode, &logged_in);
        Ok(LoggedIn::Ok(Json(logged_in?.into()), "no-store".to_owned()))
    }
}
