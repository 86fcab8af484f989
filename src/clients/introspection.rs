//! Token introspection (RFC 7662) and token revocation (RFC 7009) for other services.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::ClientsError;
use crate::audit::{self, Event};
use crate::db::{Db, StoreError};
use crate::personal_tokens::{PersonalTokens, PersonalTokensError};
use crate::sessions::Sessions;
use crate::tokens::{self, CLIENT_ID, Revocation, Scopes, TokenError, Tokens};

/// The metadata of a token that is valid now.
#[derive(Debug, Clone)]
pub struct ActiveToken {
    /// The user that the token was issued to.
    pub user: Uuid,
    /// The scopes of the token.
    pub scopes: Scopes,
    /// The client that the token was issued to.
    pub client_id: &'static str,
    /// The issuer.
    pub issuer: String,
    /// The session of the token, if the token belongs to a session.
    pub session: Option<Uuid>,
    /// When the token expires. `None` for a personal access token that does not expire.
    pub expires_at: Option<DateTime<Utc>>,
    /// Further claims of an access token or personal access token; `None` for a refresh token.
    pub access: Option<AccessClaims>,
}

/// The claims of an access token or personal access token that a refresh token does not have.
#[derive(Debug, Clone)]
pub struct AccessClaims {
    /// The id of the token (`jti`).
    pub id: Uuid,
    /// The audience of the token (`aud`).
    pub audience: String,
    /// When the token was issued.
    pub issued_at: DateTime<Utc>,
}

/// Introspects and revokes tokens for other services. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Introspector {
    db: Db,
    tokens: Tokens,
    sessions: Sessions,
    personal_tokens: PersonalTokens,
}

impl Introspector {
    /// Creates an introspector.
    pub fn new(db: Db, tokens: Tokens, sessions: Sessions, personal_tokens: PersonalTokens) -> Self {
        Self { db, tokens, sessions, personal_tokens }
    }

    /// Returns the metadata of a token, or `None` if the token is not valid. Does not use up a refresh token.
    ///
    /// # Errors
    ///
    /// [`ClientsError::Unverifiable`], [`ClientsError::Sessions`].
    pub async fn introspect(&self, token: &str) -> Result<Option<ActiveToken>, ClientsError> {
        if PersonalTokens::is_well_formed(token) {
            return self.introspect_personal_token(token).await;
        }
        match self.tokens.verify(token).await {
            Ok(token) => Ok(Some(ActiveToken {
                user: token.user,
                scopes: token.scopes,
                client_id: CLIENT_ID,
                issuer: self.tokens.issuer().to_owned(),
                session: token.session,
                expires_at: Some(token.expires_at),
                access: Some(AccessClaims {
                    id: token.id,
                    audience: self.tokens.audience().to_owned(),
                    issued_at: token.issued_at,
                }),
            })),
            Err(TokenError::Unverifiable) => Err(ClientsError::Unverifiable),
            Err(TokenError::Expired | TokenError::Revoked | TokenError::Invalid) => {
                self.introspect_refresh_token(token).await
            }
        }
    }

    async fn introspect_personal_token(&self, text: &str) -> Result<Option<ActiveToken>, ClientsError> {
        match self.personal_tokens.verify(text).await {
            Ok(token) => Ok(Some(ActiveToken {
                user: token.user,
                scopes: token.scopes,
                client_id: CLIENT_ID,
                issuer: self.tokens.issuer().to_owned(),
                session: None,
                expires_at: token.expires_at,
                access: Some(AccessClaims {
                    id: token.id,
                    audience: self.tokens.audience().to_owned(),
                    issued_at: token.created_at,
                }),
            })),
            Err(TokenError::Unverifiable) => Err(ClientsError::Unverifiable),
            Err(TokenError::Expired | TokenError::Revoked | TokenError::Invalid) => Ok(None),
        }
    }

    /// Removes a personal access token. Succeeds without an effect if the token is not valid.
    async fn revoke_personal_token(&self, text: &str) -> Result<(), ClientsError> {
        let token = match self.personal_tokens.verify(text).await {
            Ok(token) => token,
            Err(TokenError::Unverifiable) => return Err(ClientsError::Unverifiable),
            Err(TokenError::Expired | TokenError::Revoked | TokenError::Invalid) => return Ok(()),
        };
        match self.personal_tokens.remove(token.user, None, token.id).await {
            Ok(()) => audit::record(Event::TokenRevoked, Some(token.user), None),
            Err(PersonalTokensError::Store(error)) => return Err(error.into()),
            // A concurrent request has removed the token.
            Err(_) => {}
        }
        Ok(())
    }

    async fn introspect_refresh_token(&self, token: &str) -> Result<Option<ActiveToken>, ClientsError> {
        let found = self.sessions.introspect(token).await?;
        Ok(found.map(|found| ActiveToken {
            user: found.user,
            scopes: found.scopes,
            client_id: CLIENT_ID,
            issuer: self.tokens.issuer().to_owned(),
            session: Some(found.session),
            expires_at: Some(found.expires_at),
            access: None,
        }))
    }

    /// Revokes a token. For an access token, the revocation takes effect on this replica at once, and on
    /// every other replica within a second. For a refresh token, ends its session and revokes all access
    /// tokens of the session (RFC 7009 §2.1). A personal access token is deleted. Succeeds without an effect if
    /// the token is not valid.
    ///
    /// # Errors
    ///
    /// [`ClientsError::Unverifiable`], [`ClientsError::Sessions`] and [`ClientsError::Store`].
    pub async fn revoke(&self, token: &str) -> Result<(), ClientsError> {
        if PersonalTokens::is_well_formed(token) {
            return self.revoke_personal_token(token).await;
        }
        match self.tokens.verify(token).await {
            Ok(token) => {
                let revocation =
                    Revocation { subject: token.id, minted_before: None, until: token.expires_at };
                let written: Result<(), StoreError> =
                    self.db.write(revocation, |tx, revocation| tokens::revoke(tx, revocation).boxed()).await;
                written?;
                self.tokens.apply(&revocation);
                audit::record(Event::TokenRevoked, Some(token.user), token.session);
                Ok(())
            }
            Err(TokenError::Unverifiable) => Err(ClientsError::Unverifiable),
            Err(TokenError::Expired | TokenError::Revoked | TokenError::Invalid) => {
                Ok(self.sessions.log_out(token).await?)
            }
        }
    }
}
