//! Authenticates users by passkeys. The comments name the steps of Web Authentication Level 3, §7.2.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::challenge::PresentedChallenge;
use super::challenges;
use super::store;
use super::verification::{Rejection, verify_assertion};
use super::{Ceremony, Passkeys, PasskeysError, Proof, RequestOptions};
use crate::db::{StoreError, Tx};

impl Passkeys {
    /// Begins a login, in the transaction of the caller. The user is not known yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn begin_login(&self, tx: &Tx) -> Result<RequestOptions, StoreError> {
        let (id, now) = (self.inner.clock.new_id(), self.inner.clock.now());
        let challenge = challenges::issue(tx, id, Ceremony::LogIn, None, now).await?;
        Ok(RequestOptions { challenge, rp_id: self.inner.relying_party.id().to_owned(), allowed: Vec::new() })
    }

    /// Begins a new authentication of a user who is already logged in.
    ///
    /// # Errors
    ///
    /// [`PasskeysError::NoPasskey`].
    pub async fn begin_step_up(&self, user: Uuid) -> Result<RequestOptions, PasskeysError> {
        self.inner
            .db
            .write((self.clone(), user), |tx, (this, user)| this.begin(tx, Ceremony::StepUp, *user).boxed())
            .await
    }

    /// Begins a ceremony of a known user, in the transaction of the caller.
    ///
    /// # Errors
    ///
    /// [`PasskeysError::NoPasskey`].
    pub async fn begin(
        &self,
        tx: &Tx,
        ceremony: Ceremony,
        user: Uuid,
    ) -> Result<RequestOptions, PasskeysError> {
        let allowed = store::credentials(tx, user).await?;
        if allowed.is_empty() {
            return Err(PasskeysError::NoPasskey);
        }
        let (id, now) = (self.inner.clock.new_id(), self.inner.clock.now());
        let challenge = challenges::issue(tx, id, ceremony, Some(user), now).await?;
        Ok(RequestOptions { challenge, rp_id: self.inner.relying_party.id().to_owned(), allowed })
    }

    /// Checks the response of an authenticator, in the transaction of the caller. Returns the user. The
    /// challenge can't be used again, even if the response is rejected. `user` is the expected user, or
    /// `None` in a login, where the passkey identifies the user. A rejection is an `Ok` value and not an
    /// error, so that the transaction commits.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn check(
        &self,
        tx: &Tx,
        ceremony: Ceremony,
        user: Option<Uuid>,
        proof: &Proof,
        now: DateTime<Utc>,
    ) -> Result<Result<Uuid, Rejection>, StoreError> {
        let assertion = &proof.assertion;
        let presented = PresentedChallenge { id: proof.challenge, ceremony, user };
        let value = match challenges::take(tx, presented, now).await? {
            Ok(value) => value,
            Err(rejection) => return Ok(Err(rejection)),
        };
        // §7.2 step 6: the user handle is the id of the account. The handle may be missing if the user is
        // known.
        let handle = assertion.user_handle.as_deref().map(Uuid::from_slice);
        let owner = match (user, handle) {
            (Some(user), None) => user,
            (Some(user), Some(Ok(handle))) if user == handle => user,
            (None, Some(Ok(handle))) => handle,
            _ => return Ok(Err(Rejection::UserHandle)),
        };
        // §7.2 steps 5 and 6: the user has a passkey with this credential id.
        let Some((id, known)) = store::find_credential(tx, owner, &assertion.id).await? else {
            return Ok(Err(Rejection::UnknownCredential));
        };
        let new_state = match verify_assertion(assertion, &known, self.expected(&value)) {
            Ok(new_state) => new_state,
            Err(rejection) => return Ok(Err(rejection)),
        };
        // §7.2 step 22 (the counter) and step 24 (the new state).
        let is_recorded = store::record_use(tx, owner, id, new_state, now).await?;
        Ok(if is_recorded { Ok(owner) } else { Err(Rejection::Counter) })
    }
}
