//! The account over HTTP.

use chrono::{DateTime, Utc};
use poem_openapi::types::{Example, MaybeUndefined, Password as PasswordText};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::{AccountsError, ProfilePatch, USERNAME_MAX, USERNAME_MIN, User};
use crate::accounts::Accounts;
use crate::audit::{self, Event};
use crate::sessions::Sessions;
use crate::web::Tag;
use crate::web::body::{Body, into_patch};
use crate::web::caller::{self, AccountScope, BasicCredentials, Caller};
use crate::web::examples;
use crate::web::json::{Json, serialize_instant};
use crate::web::problem::{FieldError, Problem, ProblemCode, ProblemResponse};

/// Somebody who signed up.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "User")]
pub struct UserBody {
    /// Never changes.
    id: Uuid,
    /// As given at sign-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Whether the address was shown to be theirs.
    email_verified: bool,
    /// As given.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// What to call them.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// Whether logging in takes a second factor.
    mfa_enabled: bool,
    /// When they signed up.
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
    /// When the account last changed.
    #[serde(serialize_with = "serialize_instant")]
    updated_at: DateTime<Utc>,
}

impl Example for UserBody {
    fn example() -> Self {
        Self {
            id: examples::USER,
            email: Some(examples::EMAIL.to_owned()),
            email_verified: false,
            username: None,
            display_name: Some(examples::NAME.to_owned()),
            mfa_enabled: false,
            created_at: examples::at(0),
            updated_at: examples::at(0),
        }
    }
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            email_verified: user.email_verified,
            username: user.username,
            display_name: user.display_name,
            mfa_enabled: false,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// A change of the profile (RFC 7396): what is absent stays, `null` clears.
#[derive(Debug, Object)]
struct UpdateProfile {
    /// What to call them.
    #[oai(nullable, validator(min_length = 1, max_length = 100))]
    display_name: MaybeUndefined<String>,
    /// What they log in with: lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or
    /// digit. Can be cleared only where there is an email address.
    #[oai(nullable, validator(min_length = 3, max_length = 32, pattern = "^[a-z0-9][a-z0-9._-]{2,31}$"))]
    username: MaybeUndefined<String>,
}

#[derive(ApiResponse)]
enum CheckedUser {
    /// Whose the identifier and password are.
    #[oai(status = 200)]
    Ok(Json<UserBody>),
}

#[derive(ApiResponse)]
enum Me {
    /// The caller's account.
    #[oai(status = 200)]
    Ok(Json<UserBody>),
}

#[derive(ApiResponse)]
enum ChangedMe {
    /// The caller's account, as it is now.
    #[oai(status = 200)]
    Ok(Json<UserBody>),
}

impl Example for UpdateProfile {
    fn example() -> Self {
        let name = examples::NAME.to_owned();
        Self { display_name: MaybeUndefined::Value(name), username: MaybeUndefined::Undefined }
    }
}

/// Proof that it is still the owner who holds the device.
#[derive(Debug, Object)]
struct DeleteAccount {
    /// The password.
    password: PasswordText,
}

impl Example for DeleteAccount {
    fn example() -> Self {
        Self { password: PasswordText(examples::PASSWORD.to_owned()) }
    }
}

/// A fault of a username, wherever one is given.
pub fn invalid_username() -> FieldError {
    let detail = format!(
        "Username must have {USERNAME_MIN} to {USERNAME_MAX} lower-case letters, digits, dots, underscores or \
         hyphens, and begin with a letter or digit."
    );
    FieldError::new("/username", "invalid_format", detail)
}

impl UpdateProfile {
    fn check(self) -> Result<ProfilePatch, Vec<FieldError>> {
        let username = match into_patch(self.username) {
            Some(Some(text)) => Some(Some(text.parse().map_err(|_| vec![invalid_username()])?)),
            Some(None) => Some(None),
            None => None,
        };
        Ok(ProfilePatch { display_name: into_patch(self.display_name), username })
    }
}

impl From<AccountsError> for Problem {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::IdentifierTaken => {
                Self::new(ProblemCode::IdentifierTaken, "This email address or username is already in use.")
            }
            AccountsError::InvalidCredentials => caller::invalid_credentials(),
            AccountsError::NoSuchUser => caller::user_deleted(),
            AccountsError::LastIdentifier => {
                let detail =
                    "Username can't be removed, because the account has no email address to log in with.";
                Self::invalid(vec![FieldError::new("/username", "last_identifier", detail)])
            }
            AccountsError::Overloaded(overloaded) => overloaded.into(),
            AccountsError::Store(error) => error.into(),
        }
    }
}

#[derive(ApiResponse)]
enum Deleted {
    /// The account is gone, with everything that was its owner's.
    #[oai(status = 204)]
    Gone,
}

/// The operations of this room.
#[derive(Debug)]
pub struct AccountsApi {
    accounts: Accounts,
    sessions: Sessions,
}

impl AccountsApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(accounts: &Accounts, sessions: &Sessions) -> Self {
        Self { accounts: accounts.clone(), sessions: sessions.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1")]
impl AccountsApi {
    /// Check a password
    ///
    /// Tells whose an identifier and password are, and keeps nothing: no session is begun and no token is made.
    /// For clients that only know Basic authentication; apps log in instead, since each call costs as much as a
    /// login.
    ///
    /// 401 `invalid_credentials` for a wrong password and an unknown identifier alike. 503 `overloaded` with
    /// `Retry-After` if too many people log in at once.
    #[oai(
        path = "/auth/verify",
        method = "get",
        operation_id = "verify_credentials",
        tag = "Tag::Authentication"
    )]
    async fn verify(&self, basic: BasicCredentials) -> Result<CheckedUser, ProblemResponse> {
        match self.accounts.authenticate(&basic.identifier, &basic.password).await {
            Ok(user) => {
                audit::record(Event::Authenticated, Some(user.id), None);
                Ok(CheckedUser::Ok(Json(user.into())))
            }
            Err(AccountsError::InvalidCredentials) => Err(caller::invalid_basic_credentials().into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Who am I?
    ///
    /// The account that the access token belongs to: to show who is logged in, and to learn what was changed on
    /// another device. A token whose account was deleted is no longer good.
    #[oai(path = "/me", method = "get", operation_id = "get_me", tag = "Tag::Account")]
    async fn get_me(&self, caller: Caller<AccountScope>) -> Result<Me, ProblemResponse> {
        Ok(Me::Ok(Json(self.accounts.find(caller.user()).await?.into())))
    }

    /// Change the profile
    ///
    /// For a settings page: a JSON Merge Patch (RFC 7396) of `display_name` and `username`. A member that is
    /// absent stays as it is, `null` clears it. Answers with the account as it is now.
    ///
    /// 409 `identifier_taken` if somebody else has the username. 422 if it is none, or would be cleared where
    /// there is no email address to log in with.
    #[oai(path = "/me", method = "patch", operation_id = "update_me", tag = "Tag::Account")]
    async fn update_me(
        &self,
        caller: Caller<AccountScope>,
        body: Body<UpdateProfile>,
    ) -> Result<ChangedMe, ProblemResponse<409>> {
        let patch = body.check(|body, _| body.check())?;
        Ok(ChangedMe::Ok(Json(self.accounts.change_profile(caller.user(), patch).await?.into())))
    }

    /// Delete the account
    ///
    /// For somebody who leaves: deletes the account and everything that is its owner's, for ever, and ends all
    /// sessions. Asks for the password once more, so that a phone left on a table is not enough.
    ///
    /// 401 `invalid_credentials` if the password is wrong: nothing was deleted. 503 `overloaded` with
    /// `Retry-After` if too many passwords are checked at once.
    #[oai(path = "/me", method = "delete", operation_id = "delete_me", tag = "Tag::Account")]
    async fn delete_me(
        &self,
        caller: Caller<AccountScope>,
        body: Body<DeleteAccount>,
    ) -> Result<Deleted, ProblemResponse> {
        let DeleteAccount { password } = body.check(|body, _| Ok(body))?;
        self.sessions.delete_account(caller.user(), &password).await?;
        Ok(Deleted::Gone)
    }
}
