//! `POST /me/password`: the user changes the password.

use poem_openapi::types::{Example, Password as PasswordText};
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::step_up::authenticated;
use crate::accounts::api::password_error;
use crate::accounts::{Accounts, AccountsError};
use crate::clock::Clock;
use crate::sessions::{ChangeProof, Sessions, SessionsError};
use crate::web::Tag;
use crate::web::body::Body;
use crate::web::caller::{AccountScope, Caller};
use crate::web::examples;
use crate::web::problem::{FieldError, Problem, ProblemResponse};

/// A new password.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct ChangePassword {
    /// The current password. Required unless the user has authenticated within the last 5 minutes.
    #[oai(nullable)]
    current_password: Option<PasswordText>,
    /// The new password, by the same rules as when signing up.
    new_password: PasswordText,
}

impl Example for ChangePassword {
    fn example() -> Self {
        Self {
            current_password: Some(PasswordText(examples::PASSWORD.to_owned())),
            new_password: PasswordText("a stormy sea in spring".to_owned()),
        }
    }
}

#[derive(ApiResponse)]
enum ChangedPassword {
    /// The password was changed.
    #[oai(status = 204)]
    NoContent,
}

/// The operation that changes the password.
#[derive(Debug)]
pub struct PasswordApi {
    sessions: Sessions,
    accounts: Accounts,
    clock: Clock,
}

impl PasswordApi {
    /// Creates the operation on top of the services that it calls.
    pub fn new(sessions: &Sessions, accounts: &Accounts, clock: &Clock) -> Self {
        Self { sessions: sessions.clone(), accounts: accounts.clone(), clock: clock.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/me/password", tag = "Tag::Account")]
impl PasswordApi {
    /// Change the password
    ///
    /// Replaces the password. Requires the current password, or an authentication within the last 5 minutes.
    /// The session of the request and its tokens stay valid. All other sessions end, because another person
    /// may have created them. Unused codes and links from earlier emails become invalid.
    ///
    /// - 401 `step_up_required`: the request has no `current_password`, and the user has not authenticated
    ///   within the last 5 minutes.
    /// - 422 `invalid` with the error `wrong_password` for `/current_password`: the current password is
    ///   wrong. Nothing was changed, and the session stays valid. Ask for the password again.
    /// - 429 `too_many_attempts`: there were too many wrong passwords. Wait for `Retry-After` seconds.
    /// - 503 `overloaded`: too many passwords are being checked. Repeat the request after `Retry-After` seconds.
    #[oai(path = "/", method = "post", operation_id = "change_password")]
    async fn change(
        &self,
        caller: Caller<AccountScope>,
        body: Body<ChangePassword>,
    ) -> Result<ChangedPassword, ProblemResponse> {
        let user = self.accounts.find(caller.user()).await?;
        let (current, new) = body.check(|body, _| {
            let new = self.accounts.check_password_of(&user, &body.new_password);
            new.map(|new| (body.current_password, new))
                .map_err(|violation| vec![password_error("/new_password", violation)])
        })?;
        let proof = match &current {
            Some(current) => ChangeProof::CurrentPassword(current.as_str()),
            None => {
                ChangeProof::RecentAuthentication(caller.require_recent_authentication(self.clock.now())?)
            }
        };
        match self.sessions.change_password(&authenticated(&caller), proof, new).await {
            Ok(()) => Ok(ChangedPassword::NoContent),
            Err(SessionsError::Accounts(AccountsError::WrongPassword)) => {
                let detail = "Current password is wrong. Please enter it again.";
                let error = FieldError::new("/current_password", "wrong_password", detail);
                Err(Problem::invalid(vec![error]).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}
