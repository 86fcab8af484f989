//! Flows: mailed codes and links that prove access to a mailbox.
//!
//! A flow has one purpose, a code of 8 digits and a link token. Depending on the purpose, the mail of the
//! flow contains the code, a link with the token, or both. The client that began the flow gets only the id of
//! the flow. Invariants:
//!
//! - A conditional statement counts a try before the code is compared, in the same transaction. A flow allows
//!   5 tries. All flows of an account together allow 20 wrong codes in 24 hours.
//! - A flow can be used once. A new flow supersedes the unused flows of the same purpose and subject. The
//!   subject is usually the account. For an undo (a link that restores a former address), the subject is that
//!   address. For a link that ends a session, the subject is the session.
//! - A flow is also created for an address without an account, but its code is not sent. A request therefore
//!   takes the same time with and without an account. The subject of such a flow is the address.
//! - The database contains neither codes nor tokens, only keyed hashes of codes. A token is computed from the
//!   id of its flow and a secret key.
//!
//! A flow and its mail are stored in one transaction. This module does not depend on the modules of accounts
//! and sessions. It rejects codes and tokens that are wrong, used, expired, superseded or for another
//! purpose, all in the same way. There is one exception: the code or token of a used confirmation is accepted
//! again for 10 minutes.

mod delivery;
mod management;
mod purpose;
mod store;
mod token;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, StoreError, Tx};
use crate::mail::Mail;
use crate::secrets::{MacKey, MasterSecret, Purpose as KeyPurpose};

pub use delivery::Delivery;
pub use management::{ReservedAddresses, end_all, end_confirmations};
pub use purpose::Purpose;

/// The number of digits of a code.
pub const CODE_DIGITS: usize = 8;
/// The maximum number of tries of a flow.
const TRIES_MAX: i64 = 5;
/// The maximum number of wrong codes of an account in [`FAILURE_WINDOW`].
const FAILURES_MAX: i64 = 20;
/// The time after which wrong codes are no longer counted.
const FAILURE_WINDOW: TimeDelta = TimeDelta::hours(24);
/// How long the code or token of a used confirmation is accepted again.
const REPEATABLE: TimeDelta = TimeDelta::minutes(10);
/// How long the row of an expired flow is retained.
const RETENTION: TimeDelta = TimeDelta::hours(1);
/// The maximum number of rows that one transaction deletes.
const SWEEP_BATCH: u64 = 500;

/// A flow to begin.
#[derive(Debug, Clone)]
pub struct NewFlow<'a> {
    /// The purpose of the flow.
    pub purpose: Purpose,
    /// The account; `None` if no account has the address.
    pub user: Option<Uuid>,
    /// The address that the flow is about, in canonical form.
    pub address_key: &'a str,
    /// The address as entered, if the use of the flow needs it.
    pub address: Option<String>,
    /// The session that the flow ends, or in which its code is valid.
    pub session: Option<Uuid>,
    /// Whether the code is sufficient without a password. True if the code was requested by a sign-up, or
    /// with an access token of the account.
    pub is_bound: bool,
    /// For the undo of a change of address: whether the former address was confirmed.
    pub was_verified: bool,
    /// For a sign-up with an address that already has an unconfirmed account: the hash of the new password.
    pub password_hash: Option<String>,
    /// The lifetime, if it differs from that of the purpose.
    pub lifetime: Option<TimeDelta>,
}

impl<'a> NewFlow<'a> {
    /// Creates a flow of a user, or of an address that no account has.
    pub fn new(purpose: Purpose, user: Option<Uuid>, address_key: &'a str) -> Self {
        Self {
            purpose,
            user,
            address_key,
            address: None,
            session: None,
            is_bound: false,
            was_verified: false,
            password_hash: None,
            lifetime: None,
        }
    }
}

/// A flow that is not stored yet, with its code.
#[derive(Clone)]
pub struct BegunFlow {
    /// The id of the flow, which the client gets.
    pub id: Uuid,
    /// The code for the mail.
    pub code: String,
    /// The token for the link in the mail.
    pub token: String,
    /// When the code and the token expire.
    pub expires_at: DateTime<Utc>,
    row: Flow,
    created_at: DateTime<Utc>,
}

impl std::fmt::Debug for BegunFlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BegunFlow")
            .field("id", &self.id)
            .field("purpose", &self.row.purpose)
            .finish_non_exhaustive()
    }
}

/// A stored flow.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one row")]
pub struct Flow {
    /// The id of the flow.
    pub id: Uuid,
    /// The purpose of the flow.
    pub purpose: Purpose,
    /// The account; `None` if no account had the address.
    pub user: Option<Uuid>,
    /// The address that the flow is about, as entered.
    pub address: Option<String>,
    /// The session that the flow ends, or in which its code is valid.
    pub session: Option<Uuid>,
    /// Whether the code is sufficient without a password.
    pub is_bound: bool,
    /// For the undo of a change of address: whether the former address was confirmed.
    pub was_verified: bool,
    /// For a sign-up with an address that already has an unconfirmed account: the hash of the new password.
    pub password_hash: Option<String>,
    /// Whether the flow was used before. [`Flows::check`] returns a used flow only if it is a confirmation.
    pub is_used: bool,
    /// Whether another try is allowed.
    has_tries: bool,
    subject: Vec<u8>,
    code_tag: Vec<u8>,
}

/// The proof that a request contains.
#[derive(Clone)]
pub enum Proof {
    /// A code, with the id of its flow.
    Code {
        /// The id of the flow.
        flow: Uuid,
        /// The code as entered.
        code: String,
    },
    /// The token of a link.
    Token(String),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// Begins flows and checks their codes and tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Flows {
    clock: Clock,
    mail: Mail,
    mac: MacKey,
}

impl Flows {
    /// Creates the service. The secret authenticates codes and tokens.
    pub fn new(clock: Clock, mail: Mail, secret: &MasterSecret) -> Self {
        Self { clock, mail, mac: MacKey::from_secret(secret, KeyPurpose::Flows) }
    }

    /// Creates a flow with a random code. [`Flows::send`] stores it.
    pub fn begin(&self, new: NewFlow<'_>) -> BegunFlow {
        let id = self.clock.new_id();
        let code = token::random_code();
        let subject = match (new.purpose, new.user, new.session) {
            // [`Flows::is_reserved`] finds an undo by the hash of its address.
            (Purpose::UndoChange, ..) | (_, None, _) => token::address_hash(&self.mac, new.address_key),
            // A mail about one session must not supersede the mail about another session.
            (Purpose::EndSession, _, Some(session)) => token::session_hash(&self.mac, session),
            (_, Some(user), _) => token::user_hash(&self.mac, user),
        };
        let row = Flow {
            id,
            purpose: new.purpose,
            user: new.user,
            address: new.address,
            session: new.session,
            is_bound: new.is_bound,
            was_verified: new.was_verified,
            password_hash: new.password_hash,
            is_used: false,
            has_tries: true,
            subject: subject.to_vec(),
            code_tag: token::code_tag(&self.mac, id, &code).to_vec(),
        };
        let token = token::encode(&self.mac, new.purpose, id);
        let created_at = self.clock.now();
        let expires_at = created_at + new.lifetime.unwrap_or(new.purpose.lifetime());
        BegunFlow { id, code, token, expires_at, row, created_at }
    }

    /// Returns the flow of a proof if the flow is usable for one of the purposes. Counts no try, because it
    /// does not check the code of a [`Proof::Code`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn find(
        &self,
        tx: &Tx,
        proof: &Proof,
        purposes: &[Purpose],
    ) -> Result<Option<Flow>, StoreError> {
        let Some(id) = self.flow_of(proof, purposes) else { return Ok(None) };
        let found = store::find_usable(tx, id, self.clock.now()).await?;
        Ok(found.filter(|flow| flow.has_tries && purposes.contains(&flow.purpose)))
    }

    /// Counts a try. Returns the flow if the proof is correct and the flow is usable for one of the purposes.
    /// The caller must commit the transaction in either case, so that the try stays counted.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn check(
        &self,
        tx: &Tx,
        proof: &Proof,
        purposes: &[Purpose],
    ) -> Result<Option<Flow>, StoreError> {
        let Some(id) = self.flow_of(proof, purposes) else { return Ok(None) };
        let now = self.clock.now();
        if !store::count_try(tx, id, purposes, now).await? {
            return Ok(None);
        }
        let Some(flow) = store::find_usable(tx, id, now).await? else { return Ok(None) };
        let Proof::Code { code, .. } = proof else { return Ok(Some(flow)) };
        if store::count_failure(tx, &flow.subject, now).await? > FAILURES_MAX {
            return Ok(None);
        }
        if !token::is_code(&self.mac, id, code, &flow.code_tag) {
            return Ok(None);
        }
        store::forget_failure(tx, &flow.subject).await?;
        Ok(Some(flow))
    }

    /// Marks a flow as used. Returns `false` if it was already used or superseded, or has expired.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn close(&self, tx: &Tx, flow: &Flow) -> Result<bool, StoreError> {
        store::close(tx, flow.id, self.clock.now()).await
    }

    /// Returns whether the owner of the account has ended this session with the link in a mail.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn was_reported(&self, tx: &Tx, user: Uuid, session: Uuid) -> Result<bool, StoreError> {
        store::was_used(tx, user, Purpose::EndSession, session).await
    }

    /// Keeps the row of a used flow for `period`, because [`Flows::was_reported`] reads it.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn remember(&self, tx: &Tx, flow: &Flow, period: TimeDelta) -> Result<(), StoreError> {
        store::postpone_expiry(tx, flow.id, self.clock.now() + period).await
    }

    /// Takes back the try of a correct proof, so that a confirmation can be repeated.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn forget_try(&self, tx: &Tx, flow: &Flow) -> Result<(), StoreError> {
        store::forget_try(tx, flow.id).await
    }

    /// Invalidates the undos that began after `undo`. An earlier undo stays valid, because it restores the
    /// address of an earlier owner of the account.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn end_later_undos(&self, tx: &Tx, user: Uuid, undo: &Flow) -> Result<(), StoreError> {
        store::end_later_undos(tx, user, undo.id, self.clock.now()).await
    }

    /// Returns true if a user other than `except` can still restore this address by an undo.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn is_reserved(
        &self,
        tx: &Tx,
        address_key: &str,
        except: Option<Uuid>,
    ) -> Result<bool, StoreError> {
        let subject = token::address_hash(&self.mac, address_key);
        store::is_reserved(tx, &subject, except, self.clock.now()).await
    }

    /// Deletes expired flows, and deletes failures that are no longer counted. Call this function only while
    /// [`Clock::is_steady`] returns true.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self, db: &Db) -> Result<(), StoreError> {
        let now = self.clock.now();
        let flows = now - RETENTION;
        db.sweep(flows, SWEEP_BATCH, |tx, before| store::sweep(tx, *before, SWEEP_BATCH).boxed()).await?;
        let failures = now - FAILURE_WINDOW;
        db.sweep(failures, SWEEP_BATCH, |tx, before| store::sweep_failures(tx, *before, SWEEP_BATCH).boxed())
            .await
    }

    /// Returns the id of the flow of a proof. Needs no query, because a token contains the id.
    fn flow_of(&self, proof: &Proof, purposes: &[Purpose]) -> Option<Uuid> {
        match proof {
            Proof::Code { flow, .. } => Some(*flow),
            Proof::Token(text) => {
                purposes.iter().find_map(|purpose| token::decode(&self.mac, *purpose, text))
            }
        }
    }
}
