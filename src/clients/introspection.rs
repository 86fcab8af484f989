//! What other services may do with a token: ask what it is (RFC 7662), and end it (RFC 7009).

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::ClientsError;
use crate::audit::{self, Event};
use crate::db::{Db, StoreError};
use crate::sessions::Sessions;
use crate::tokens::{self, CLIENT_ID, Revocation, Scopes, TokenError, Tokens};

/// A token that is good at this moment.
#[derive(Debug, Clone)]
pub struct ActiveToken {
    /// The user whose it is.
    pub user: Uuid,
    /// What it may be used for.
    pub scopes: Scopes,
    /// Who got it.
    pub client_id: &'static str,
    /// Who made it.
    pub issuer: String,
    /// The session that it belongs to, if one is kept.
    pub session: Option<Uuid>,
    /// When it ends if nobody ends it before.
    pub expires_at: DateTime<Utc>,
    /// What an access token says besides; a refresh token has none of it.
    pub access: Option<AccessClaims>,
}

/// What only an access token says.
#[derive(Debug, Clone)]
pub struct AccessClaims {
    /// Its own name.
    pub id: Uuid,
    /// For whom it was made.
    pub audience: String,
    /// When it was made.
    pub issued_at: DateTime<Utc>,
}

/// Looks at tokens for other services. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Introspector {
    db: Db,
    tokens: Tokens,
    sessions: Sessions,
}

impl Introspector {
    /// Over the rooms that make tokens.
    pub fn new(db: Db, tokens: Tokens, sessions: Sessions) -> Self {
        Self { db, tokens, sessions }
    }

    /// What a token is; `None` if it is not good, whatever the reason. Asking does not use a refresh token
    /// up.
    ///
    /// # Errors
    ///
    /// [`ClientsError::Unknown`], [`ClientsError::Sessions`].
    pub async fn introspect(&self, token: &str) -> Result<Option<ActiveToken>, ClientsError> {
        match self.tokens.verify(token).await {
            Ok(token) => Ok(Some(ActiveToken {
                user: token.user,
                scopes: token.scopes,
                client_id: CLIENT_ID,
                issuer: self.tokens.issuer().to_owned(),
                session: token.session,
                expires_at: token.expires_at,
                access: Some(AccessClaims {
                    id: token.id,
                    audience: self.tokens.audience().to_owned(),
                    issued_at: token.issued_at,
                }),
            })),
            Err(TokenError::Unverifiable) => Err(ClientsError::Unknown),
            Err(TokenError::Expired | TokenError::Revoked | TokenError::Invalid) => {
                self.refresh_token(token).await
            }
        }
    }

    async fn refresh_token(&self, token: &str) -> Result<Option<ActiveToken>, ClientsError> {
        let found = self.sessions.introspect(token).await?;
        Ok(found.map(|found| ActiveToken {
            user: found.user,
            scopes: found.scopes,
            client_id: CLIENT_ID,
            issuer: self.tokens.issuer().to_owned(),
            session: Some(found.session),
            expires_at: found.expires_at,
            access: None,
        }))
    }

    /// Ends an access token, here at once and everywhere within a second, or the session of a refresh
    /// token, with all its access tokens (RFC 7009 §2.1). What is not good needs no ending.
    ///
    /// # Errors
    ///
    /// [`ClientsError::Unknown`], [`ClientsError::Sessions`] and [`ClientsError::Store`].
    pub async fn revoke(&self, token: &str) -> Result<(), ClientsError> {
        match self.tokens.verify(token).await {
            Ok(token) => {
                let revocation =
                    Revocation { subject: token.id, minted_before: None, until: token.expires_at };
                let written: Result<(), StoreError> =
                    self.db.write(revocation, |tx, revocation| tokens::revoke(tx, revocation).boxed()).await;
                written?;
                self.tokens.apply(&revocation);
                audit::note(Event::TokenRevoked, Some(token.user), token.session);
                Ok(())
            }
            Err(TokenError::Unverifiable) => Err(ClientsError::Unknown),
            Err(TokenError::Expired | TokenError::Revoked | TokenError::Invalid) => {
                Ok(self.sessions.log_out(token).await?)
            }
        }
    }
}
