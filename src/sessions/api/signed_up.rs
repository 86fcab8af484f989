//! The responses to a sign-up.

use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;
use uuid::Uuid;

use super::TokenGrant;
use crate::sessions;
use crate::web::examples;
use crate::web::json::{self, Json, RawJson};

/// The tokens of a sign-up.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct FirstGrant(TokenGrant);

impl Example for FirstGrant {
    fn example() -> Self {
        Self(TokenGrant { flow_id: Some(examples::FLOW), ..TokenGrant::example() })
    }
}

/// A sign-up whose address must be confirmed before the user can log in.
#[derive(Debug, Object, Serialize)]
pub(super) struct PendingSignUp {
    /// Id of the flow. Send it with the code from the email to `POST /api/v1/auth/email/confirm`, then log
    /// in.
    flow_id: Uuid,
}

impl Example for PendingSignUp {
    fn example() -> Self {
        Self { flow_id: examples::FLOW }
    }
}

#[derive(ApiResponse)]
pub(super) enum SignedUp {
    /// The account was created, and its first session has begun.
    #[oai(status = 201)]
    Created(
        RawJson<TokenGrant, FirstGrant>,
        /// Path of the account.
        #[oai(header = "Location")]
        String,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// The server requires a confirmed address, so there are no tokens yet. The response is the same if an
    /// account has the address already.
    #[oai(status = 202)]
    Accepted(
        Json<PendingSignUp>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl From<sessions::SignedUp> for SignedUp {
    fn from(signed_up: sessions::SignedUp) -> Self {
        let no_store = "no-store".to_owned();
        match signed_up {
            sessions::SignedUp::Granted(grant) => {
                let grant = json::to_vec(&TokenGrant::from(*grant));
                Self::Created(RawJson::new(grant), "/api/v1/me".to_owned(), no_store)
            }
            sessions::SignedUp::Pending(flow_id) => Self::Accepted(Json(PendingSignUp { flow_id }), no_store),
        }
    }
}
