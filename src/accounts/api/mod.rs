//! The HTTP operations on accounts.

mod identifiers;

use chrono::{DateTime, Utc};
use poem::Request;
use poem_openapi::types::{Example, MaybeUndefined, Password as PasswordText};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::{Accounts, AccountsError, PolicyViolation, ProfilePatch, User};
use crate::clock::Clock;
use crate::trips::Trips;
use crate::web::Tag;
use crate::web::body::{Body, OptionalBody, into_patch};
use crate::web::caller::{self, AccountScope, BasicCredentials, Caller};
use crate::web::examples;
use crate::web::json::{Json, RawJson, serialize_instant};
use crate::web::plain_text::Line;
use crate::web::problem::{FieldError, Problem, ProblemCode, ProblemResponse};

pub use identifiers::{EmailText, UsernameText};

/// How much the user has stored, and how much the server stores for one user at most.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Usage")]
struct UsageBody {
    /// Number of trips.
    #[oai(validator(minimum(value = "0")))]
    trips: i64,
    /// Size of the texts of all trips, in bytes.
    #[oai(validator(minimum(value = "0")))]
    trip_bytes: i64,
    /// Maximum number of trips.
    #[oai(validator(minimum(value = "0")))]
    trips_max: i64,
    /// Maximum size of the texts of all trips, in bytes.
    #[oai(validator(minimum(value = "0")))]
    trip_bytes_max: i64,
}

/// A user account.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "User")]
pub struct UserBody {
    /// Id of the account. Never changes.
    id: Uuid,
    /// Email address, as entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Whether the user has proven ownership of the email address.
    email_verified: bool,
    /// Username, as entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// Name that apps display.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// Language of emails: a language tag (BCP 47).
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    /// Whether logging in requires a second factor.
    mfa_enabled: bool,
    /// Time of the sign-up.
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
    /// Time of the last change of the account.
    #[serde(serialize_with = "serialize_instant")]
    updated_at: DateTime<Utc>,
    /// How much the user has stored, and the limits. Present only in the response of `GET /api/v1/me`.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
}

impl Example for UserBody {
    fn example() -> Self {
        Self {
            id: examples::USER,
            email: Some(examples::EMAIL.to_owned()),
            email_verified: false,
            username: None,
            display_name: Some(examples::NAME.to_owned()),
            locale: Some(examples::LOCALE.to_owned()),
            mfa_enabled: false,
            created_at: examples::at(0),
            updated_at: examples::at(0),
            usage: None,
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
            locale: user.locale,
            mfa_enabled: user.mfa_enabled,
            created_at: user.created_at,
            updated_at: user.updated_at,
            usage: None,
        }
    }
}

/// A JSON Merge Patch (RFC 7396) of the profile: an absent field is unchanged, and `null` clears a field.
#[derive(Debug, Object)]
struct UpdateProfile {
    /// Name that apps display, 1 to 100 characters in one line.
    #[oai(nullable, validator(min_length = 1, max_length = 100))]
    display_name: MaybeUndefined<Line>,
    /// Username for logging in: 3 to 32 letters (A to Z), digits, `.`, `_` and `-`, beginning with a letter or
    /// digit. Compared without regard to case; white space around it is removed. Can be cleared only if the
    /// account has an email address.
    #[oai(nullable)]
    username: MaybeUndefined<UsernameText>,
    /// Language of emails: a language tag (BCP 47), such as `de` or `pt-BR`.
    #[oai(
        nullable,
        validator(min_length = 2, max_length = 35, pattern = "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")
    )]
    locale: MaybeUndefined<String>,
}

#[derive(ApiResponse)]
enum CheckedAccount {
    /// The account that the credentials belong to.
    #[oai(status = 200)]
    Ok(Json<UserBody>),
}

/// The account of the caller, with its usage.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct OwnAccount(UserBody);

impl Example for OwnAccount {
    fn example() -> Self {
        let usage =
            UsageBody { trips: 12, trip_bytes: 34_567, trips_max: 20_000, trip_bytes_max: 67_108_864 };
        Self(UserBody { usage: Some(usage), ..UserBody::example() })
    }
}

#[derive(ApiResponse)]
enum FoundAccount {
    /// The account of the caller.
    #[oai(status = 200)]
    Ok(RawJson<UserBody, OwnAccount>),
}

#[derive(ApiResponse)]
enum ChangedAccount {
    /// The changed account.
    #[oai(status = 200)]
    Ok(Json<UserBody>),
}

impl Example for UpdateProfile {
    fn example() -> Self {
        let name = Line::parse(examples::NAME).unwrap_or_default();
        Self {
            display_name: MaybeUndefined::Value(name),
            username: MaybeUndefined::Undefined,
            locale: MaybeUndefined::Undefined,
        }
    }
}

/// The confirmation of an account deletion.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct DeleteAccount {
    /// Password of the account. Required unless the user has authenticated within the last 5 minutes.
    #[oai(nullable)]
    password: Option<PasswordText>,
}

impl Example for DeleteAccount {
    fn example() -> Self {
        Self { password: Some(PasswordText(examples::PASSWORD.to_owned())) }
    }
}

/// Returns the field error for a new password that the policy rejects.
pub fn password_error(pointer: &str, violation: PolicyViolation) -> FieldError {
    let code = match violation {
        PolicyViolation::TooShort(_) => "too_short",
        PolicyViolation::TooLong => "too_long",
        PolicyViolation::Nul => "invalid_format",
        PolicyViolation::TooCommon => "too_common",
        PolicyViolation::Identifier => "same_as_identifier",
    };
    FieldError::new(pointer, code, violation.to_string())
}

impl From<UpdateProfile> for ProfilePatch {
    fn from(body: UpdateProfile) -> Self {
        let username = into_patch(body.username).map(|username| username.map(|text| text.0));
        let display_name = into_patch(body.display_name).map(|name| name.map(String::from));
        Self { display_name, username, locale: into_patch(body.locale) }
    }
}

impl From<AccountsError> for Problem {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::IdentifierTaken => {
                Self::new(ProblemCode::IdentifierTaken, "This email address or username is already in use.")
            }
            AccountsError::InvalidCredentials => caller::invalid_credentials(),
            AccountsError::SecondFactorRequired => caller::second_factor_required_for_basic(),
            AccountsError::WrongPassword => {
                let detail = "Password is wrong. Please enter it again.";
                Self::invalid(vec![FieldError::new("/password", "wrong_password", detail)])
            }
            AccountsError::Unconfirmed => caller::unconfirmed_account(),
            AccountsError::NoSuchUser => caller::user_deleted(),
            AccountsError::LastIdentifier => {
                let detail =
                    "Username cannot be removed, because the account has no email address to log in with.";
                Self::invalid(vec![FieldError::new("/username", "last_identifier", detail)])
            }
            AccountsError::Throttled(blocked) => blocked.into(),
            AccountsError::Overloaded(overloaded) => overloaded.into(),
            AccountsError::Store(error) => error.into(),
        }
    }
}

#[derive(ApiResponse)]
enum DeletedAccount {
    /// The account was deleted, with all its data.
    #[oai(status = 204)]
    NoContent,
}

/// The operations on accounts.
#[derive(Debug)]
pub struct AccountsApi {
    accounts: Accounts,
    trips: Trips,
    clock: Clock,
}

impl AccountsApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(accounts: &Accounts, trips: &Trips, clock: &Clock) -> Self {
        Self { accounts: accounts.clone(), trips: trips.clone(), clock: clock.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1")]
impl AccountsApi {
    /// Check a password
    ///
    /// Returns the account that the Basic credentials belong to. Creates neither a session nor a token. This
    /// operation is for clients that support only Basic authentication. Each call checks the password, which
    /// takes as much time as a login. Apps therefore log in once with `POST /api/v1/auth/login` and use the
    /// access token.
    ///
    /// - 401 `invalid_credentials`: the identifier is unknown, or the password is wrong; the response is the
    ///   same in both cases. Let the user enter the identifier and the password again.
    /// - 401 `mfa_required`: the password is correct, but the account requires a second factor. Use
    ///   `POST /api/v1/auth/login` instead.
    /// - 429 `too_many_attempts`: there were too many wrong passwords. Wait for `Retry-After` seconds.
    /// - 403 `unconfirmed_account`: the password is correct, but this server requires that the email address
    ///   is confirmed first. Ask the user for the code from the confirmation email, and send it to
    ///   `POST /api/v1/auth/email/confirm`.
    /// - 503 `overloaded`: too many users are logging in. Repeat the request after `Retry-After` seconds.
    #[oai(
        path = "/auth/verify",
        method = "get",
        operation_id = "verify_credentials",
        tag = "Tag::Authentication"
    )]
    async fn verify(
        &self,
        request: &Request,
        basic: BasicCredentials,
    ) -> Result<CheckedAccount, ProblemResponse<403>> {
        match self.accounts.authenticate(&basic.attempt(request)).await {
            Ok(user) => Ok(CheckedAccount::Ok(Json(user.into()))),
            Err(AccountsError::InvalidCredentials) => Err(caller::invalid_basic_credentials().into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Get the account
    ///
    /// Returns the account that the access token belongs to, so that an app can show who is logged in and
    /// notice changes that were made on another device. `usage` contains how much the user has stored, and
    /// the limits.
    ///
    /// - 401 `invalid_token`: the token is not valid, for example because the account was deleted. Refresh
    ///   the tokens; if the refresh fails, log in.
    #[oai(path = "/me", method = "get", operation_id = "get_me", tag = "Tag::Account")]
    async fn get_me(&self, caller: Caller<AccountScope>) -> Result<FoundAccount, ProblemResponse> {
        let user = self.accounts.find(caller.user()).await?;
        let (usage, quotas) = (self.trips.usage(user.id).await?, self.trips.quotas());
        let usage = UsageBody {
            trips: usage.trips,
            trip_bytes: usage.trip_bytes,
            trips_max: quotas.trips,
            trip_bytes_max: quotas.trip_bytes,
        };
        let account = OwnAccount(UserBody { usage: Some(usage), ..user.into() });
        Ok(FoundAccount::Ok(RawJson::new(serde_json::to_vec(&account).map_err(Problem::internal)?)))
    }

    /// Change the profile
    ///
    /// Changes `display_name`, `locale` and `username`, for example from a settings page. The body is a JSON
    /// Merge Patch (RFC 7396): an absent field is unchanged, and `null` clears a field. Returns the changed
    /// account. A change of the username requires a recent authentication, because it changes how the user
    /// logs in.
    ///
    /// - 401 `step_up_required`: the patch contains `username`, and the user has not authenticated within the last
    ///   5 minutes. Nothing was changed. Call `POST /api/v1/me/reauthenticate`.
    /// - 409 `identifier_taken`: another account has the username. Ask the user for a different one.
    /// - 422 `invalid`: the username is not valid, or it would be cleared although the account has no email
    ///   address to log in with. Show `errors`.
    #[oai(path = "/me", method = "patch", operation_id = "update_me", tag = "Tag::Account")]
    async fn update_me(
        &self,
        caller: Caller<AccountScope>,
        body: Body<UpdateProfile>,
    ) -> Result<ChangedAccount, ProblemResponse<409>> {
        let patch = ProfilePatch::from(body.accept()?);
        let mut authorization = None;
        if patch.username.is_some() {
            authorization = Some(caller.require_recent_authentication(self.clock.now())?);
        }
        let (user, session) = (caller.user(), caller.session());
        let changed = self.accounts.change_profile(user, session, patch, authorization).await?;
        Ok(ChangedAccount::Ok(Json(changed.into())))
    }

    /// Delete the account
    ///
    /// Deletes the account and all its data permanently, and ends all sessions. Requires the password, or an
    /// authentication within the last 5 minutes, so that another person with the user's unlocked phone cannot
    /// delete the account.
    ///
    /// - 401 `step_up_required`: the request has no password, and the user has not authenticated within the
    ///   last 5 minutes. Nothing was deleted. Send the password, or call `POST /api/v1/me/reauthenticate`.
    /// - 422 `invalid` with the error `wrong_password`: the password is wrong. Nothing was deleted, and the
    ///   session stays valid. Ask for the password again.
    /// - 429 `too_many_attempts`: there were too many wrong passwords. Wait for `Retry-After` seconds.
    /// - 503 `overloaded`: too many passwords are being checked. Repeat the request after `Retry-After`
    ///   seconds.
    #[oai(path = "/me", method = "delete", operation_id = "delete_me", tag = "Tag::Account")]
    async fn delete_me(
        &self,
        caller: Caller<AccountScope>,
        body: OptionalBody<DeleteAccount>,
    ) -> Result<DeletedAccount, ProblemResponse> {
        let password = body.0.map(Body::accept).transpose()?.and_then(|body| body.password);
        if let Some(password) = password {
            self.accounts.delete(caller.user(), &password).await?;
        } else {
            let authorization = caller.require_recent_authentication(self.clock.now())?;
            self.accounts.delete_proven(authorization).await?;
        }
        Ok(DeletedAccount::NoContent)
    }
}
