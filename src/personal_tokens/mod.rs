//! Personal access tokens: long-lived credentials for scripts, and for clients that support only HTTP Basic
//! or Digest authentication.
//!
//! A user can have up to [`MAX_TOKENS`] tokens, each with scopes and an optional expiry. The token is shown
//! once; the database stores a keyed hash, so a copy of the database reveals no credential. A verified token
//! is cached for a minute. A revocation (module `tokens`) invalidates the cached copy on every replica within
//! a second. A personal access token can neither start a session nor create another token.

pub mod api;
pub mod digest;
mod nonces;
mod of_user;
mod store;
mod token_text;
mod uses;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::accounts::Authorization;
use crate::audit::{self, Event};
use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::error_chain::error_chain;
use crate::events::{self, EventKind, NewEvent};
use crate::secrets::{MacKey, MasterSecret, Purpose, Vault, constant_time_eq, sha256};
use crate::tokens::{self, ReadMark, Revocation, Scopes, TokenError, Tokens};

use nonces::Nonces;
use of_user::insert_within_quota;
pub use of_user::{count, remove_all, remove_with_account_scope};
use token_text::TokenText;
use uses::{ACCURACY, TokenKey, Uses};

/// The maximum number of tokens of a user.
pub const MAX_TOKENS: u64 = 50;
/// The maximum length of a name, in characters.
pub const NAME_MAX: usize = 100;
/// The `amr` value for authentication by a personal access token.
pub const BY_PERSONAL_TOKEN: &str = "personal_token";
/// The maximum number of verified tokens in the cache. Each token takes about 500 bytes.
const CACHE_CAPACITY: usize = 8_192;
/// How long a verified token is cached.
const CACHED_FOR: Duration = Duration::from_mins(1);
/// How long an expired token is listed.
const EXPIRED_RETENTION: TimeDelta = TimeDelta::days(30);
/// The maximum number of rows that one transaction changes, so that the transaction does not delay other
/// writes.
const BATCH_SIZE: u16 = 500;

/// A personal access token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalToken {
    /// The id of the token.
    pub id: Uuid,
    /// The owner of the token.
    pub user: Uuid,
    /// The name that the owner chose, 1 to [`NAME_MAX`] characters.
    pub name: String,
    /// The scopes.
    pub scopes: Scopes,
    /// Whether the token can be used for Digest.
    pub digest: bool,
    /// When the token was created.
    pub created_at: DateTime<Utc>,
    /// When the token expires. `None` if it does not expire.
    pub expires_at: Option<DateTime<Utc>>,
    /// When the token was last used, accurate to a minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A token to create.
#[derive(Debug, Clone)]
pub struct NewPersonalToken {
    /// The name of the token, 1 to [`NAME_MAX`] characters.
    pub name: String,
    /// The scopes of the token: at least one.
    pub scopes: Scopes,
    /// When the token expires: a time in the future.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether the token can be used for Digest, which requires a second stored hash.
    pub digest: bool,
}

/// Why a personal access token can't be created, listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum PersonalTokensError {
    /// The owner has no token with this id.
    #[error("the owner has no such token")]
    NotFound,
    /// The account was deleted, or the login of the caller has ended, while the request was processed.
    #[error("the caller is no longer logged in")]
    NotLoggedIn,
    /// The owner has [`MAX_TOKENS`] tokens.
    #[error("the owner already has the maximum of {MAX_TOKENS} tokens")]
    TooMany,
    /// The hash for Digest can't be encrypted. A caller can't correct this.
    #[error("failed to encrypt the hash of a token")]
    Encryption,
    /// The database failed.
    #[error("failed to read or write personal access tokens")]
    Store(#[from] StoreError),
}

impl HasStoreError for PersonalTokensError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// The id of a token in a credential. The secret in the credential is compared after the query.
#[derive(Debug, Clone, Copy)]
struct PresentedId(Uuid);

/// A verified token in the cache.
#[derive(Debug)]
struct Cached {
    token: Arc<PersonalToken>,
    mark: ReadMark,
    /// When the token was read from the database, by the monotonic clock.
    read_at: Duration,
    /// The time of the last recorded use, in milliseconds since 1970.
    used_at: AtomicI64,
}

/// Creates, lists, verifies and removes personal access tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PersonalTokens {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    clock: Clock,
    tokens: Tokens,
    mac: MacKey,
    vault: Vault,
    nonces: Nonces,
    verified: Cache<[u8; 32], Arc<Cached>>,
    uses: Uses,
}

impl PersonalTokens {
    /// Creates the service. The keys of the stored hashes are derived from `secret`.
    pub fn new(db: Db, clock: Clock, tokens: Tokens, secret: &MasterSecret) -> Self {
        let inner = Inner {
            mac: MacKey::from_secret(secret, Purpose::PersonalTokens),
            vault: Vault::from_secret(secret, Purpose::DigestHashes),
            nonces: Nonces::new(MacKey::from_secret(secret, Purpose::DigestNonces), clock.clone()),
            verified: Cache::new(CACHE_CAPACITY),
            uses: Uses::default(),
            db,
            clock,
            tokens,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates a token. Returns the token and its text, which can't be read later.
    ///
    /// # Errors
    ///
    /// [`PersonalTokensError::TooMany`], [`PersonalTokensError::NotLoggedIn`].
    pub async fn create(
        &self,
        authorization: Authorization,
        new: NewPersonalToken,
    ) -> Result<(PersonalToken, String), PersonalTokensError> {
        let (owner, session) = (authorization.user(), authorization.session());
        let Inner { db, clock, mac, vault, .. } = &*self.inner;
        let text = TokenText::random(clock.new_id());
        let encoded = text.encode();
        let token = PersonalToken {
            id: text.id,
            user: owner,
            name: new.name,
            scopes: new.scopes,
            digest: new.digest,
            created_at: clock.now(),
            expires_at: new.expires_at,
            last_used_at: None,
        };
        let sealed = if new.digest {
            let sealed = digest::seal(vault, token.id, &encoded);
            Some(sealed.map_err(|_| PersonalTokensError::Encryption)?)
        } else {
            None
        };
        let hash = mac.tag(&text.message()).as_ref().to_vec();
        let event = NewEvent::new(clock, owner, EventKind::TokenCreated).in_session(session);
        let row = store::NewRow { token: token.clone(), hash, sealed_digest_hash: sealed };
        let inserted: Result<(), PersonalTokensError> = db
            .write((row, event, authorization), |tx, (row, event, authorization)| {
                insert_within_quota(tx, row, MAX_TOKENS, event, authorization).boxed()
            })
            .await;
        inserted?;
        audit::record(Event::PersonalTokenCreated, Some(owner), session);
        Ok((token, encoded))
    }

    /// Returns the owner's tokens, newest first.
    ///
    /// # Errors
    ///
    /// [`PersonalTokensError::Store`].
    pub async fn list(&self, owner: Uuid) -> Result<Vec<PersonalToken>, PersonalTokensError> {
        let Inner { db, uses, .. } = &*self.inner;
        let found: Result<Vec<PersonalToken>, StoreError> =
            db.read(owner, |tx, owner| store::list(tx, *owner).boxed()).await;
        let mut all = found?;
        for token in &mut all {
            token.last_used_at = token.last_used_at.max(uses.of((token.user, token.id)));
        }
        Ok(all)
    }

    /// Removes one of the owner's tokens. Every replica rejects the token within a second. `session` is the
    /// session of the caller.
    ///
    /// # Errors
    ///
    /// [`PersonalTokensError::NotFound`].
    pub async fn remove(
        &self,
        owner: Uuid,
        session: Option<Uuid>,
        id: Uuid,
    ) -> Result<(), PersonalTokensError> {
        let event = NewEvent::new(&self.inner.clock, owner, EventKind::TokenRevoked).in_session(session);
        let revocation = self.revocation(id);
        let input = (owner, revocation, event);
        let removed: Result<bool, StoreError> = self
            .inner
            .db
            .write(input, |tx, (owner, revocation, event)| {
                async move {
                    let is_removed = store::delete(tx, *owner, revocation.subject).await?;
                    if is_removed {
                        tokens::revoke(tx, revocation).await?;
                        events::record(tx, event).await?;
                    }
                    Ok(is_removed)
                }
                .boxed()
            })
            .await;
        if !removed? {
            return Err(PersonalTokensError::NotFound);
        }
        self.inner.tokens.apply(&revocation);
        audit::record(Event::PersonalTokenRemoved, Some(owner), session);
        Ok(())
    }

    fn revocation(&self, id: Uuid) -> Revocation {
        Revocation { subject: id, minted_before: None, until: tokens::revoked_until(&self.inner.clock) }
    }

    /// Returns true if a text has the form of a personal access token.
    pub fn is_well_formed(text: &str) -> bool {
        TokenText::parse(text).is_some()
    }

    /// Verifies the text of a token. A token that was verified within the last minute comes from the cache.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub async fn verify(&self, text: &str) -> Result<Arc<PersonalToken>, TokenError> {
        let Inner { clock, tokens, verified, .. } = &*self.inner;
        let parsed = TokenText::parse(text).ok_or(TokenError::Invalid)?;
        let key = sha256(text.as_bytes());
        if let Some(cached) = verified.get(&key) {
            let is_recent = clock.monotonic().saturating_sub(cached.read_at) < CACHED_FOR;
            if is_recent && tokens.is_current(&cached.mark, cached.token.id, cached.token.user).await? {
                return self.accept(&cached);
            }
            verified.remove(&key);
        }
        let cached = Arc::new(self.read(&parsed).await?);
        verified.insert(key, Arc::clone(&cached));
        self.accept(&cached)
    }

    /// Reads a token from the database and compares its hash.
    async fn read(&self, parsed: &TokenText) -> Result<Cached, TokenError> {
        let Inner { clock, tokens, mac, .. } = &*self.inner;
        // Take the mark before the query. If the token is revoked after the mark and the query does not see
        // the revocation, the mark shows that the row is out of date.
        let (mark, read_at) = (tokens.mark(), clock.monotonic());
        let message = parsed.message();
        let stored =
            self.find(PresentedId(parsed.id)).await?.filter(|stored| mac.verify(&message, &stored.hash));
        let stored = stored.ok_or(TokenError::Invalid)?;
        let current = mac.tag(&message);
        if !constant_time_eq(current.as_ref(), &stored.hash) {
            self.rehash(&stored, current.as_ref()).await;
        }
        let used_at = stored.token.last_used_at.map_or(0, |at| at.timestamp_millis());
        Ok(Cached { token: Arc::new(stored.token), mark, read_at, used_at: AtomicI64::new(used_at) })
    }

    async fn find(&self, id: PresentedId) -> Result<Option<store::StoredToken>, TokenError> {
        let found: Result<_, StoreError> =
            self.inner.db.read(id, |tx, id| store::find_presented(tx, *id).boxed()).await;
        found.map_err(|_| TokenError::Unverifiable)
    }

    /// Replaces the stored hash with a hash under the current master secret, so that the token remains valid
    /// when the former secret is removed.
    async fn rehash(&self, stored: &store::StoredToken, hash: &[u8]) {
        let input = (stored.token.user, stored.token.id, stored.hash.clone(), hash.to_vec());
        let written: Result<(), StoreError> = self
            .inner
            .db
            .write(input, |tx, (owner, id, old, new)| store::replace_hash(tx, *owner, *id, old, new).boxed())
            .await;
        if let Err(error) = written {
            tracing::warn!(causes = error_chain(&error), "failed to replace a personal access token hash");
        }
    }

    /// Checks the expiry and records the use.
    fn accept(&self, cached: &Cached) -> Result<Arc<PersonalToken>, TokenError> {
        let now = self.inner.clock.now();
        let token = &cached.token;
        if token.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(TokenError::Expired);
        }
        if now.timestamp_millis() - cached.used_at.load(Ordering::Relaxed) >= ACCURACY.num_milliseconds() {
            cached.used_at.store(now.timestamp_millis(), Ordering::Relaxed);
            self.inner.uses.record((token.user, token.id), now);
        }
        Ok(Arc::clone(token))
    }

    /// Writes the recorded uses of personal access tokens to the database.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the unwritten uses stay in memory for the next call.
    pub async fn flush_uses(&self) -> Result<(), StoreError> {
        let Inner { db, uses, .. } = &*self.inner;
        loop {
            let batch = uses.batch(BATCH_SIZE.into());
            if batch.is_empty() {
                return Ok(());
            }
            db.write(batch.clone(), |tx, batch| mark_used(tx, batch).boxed()).await?;
            uses.acknowledge(&batch);
        }
    }

    /// Deletes tokens that expired more than 30 days ago, and nonces that were issued more than 7 days ago.
    /// Call it only while [`Clock::is_steady`] returns true.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let Inner { db, clock, .. } = &*self.inner;
        let (now, batch) = (clock.now(), u64::from(BATCH_SIZE));
        let before = now - EXPIRED_RETENTION;
        db.sweep(before, batch, |tx, before| store::sweep(tx, *before, BATCH_SIZE.into()).boxed()).await?;
        let before = now - nonces::RETENTION;
        db.sweep(before, batch, |tx, before| store::nonces::sweep(tx, *before, BATCH_SIZE.into()).boxed())
            .await
    }
}

async fn mark_used(tx: &Tx, batch: &[(TokenKey, DateTime<Utc>)]) -> Result<(), StoreError> {
    for ((owner, id), at) in batch {
        store::mark_used(tx, *owner, *id, *at).await?;
    }
    Ok(())
}
