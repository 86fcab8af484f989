//! Registers passkeys.

use futures_util::FutureExt;
use uuid::Uuid;

use super::challenge::PresentedChallenge;
use super::challenges;
use super::store;
use super::verification::{Attestation, verify_registration};
use super::{Ceremony, CreationOptions, MAX_PASSKEYS, Passkey, Passkeys, PasskeysError};
use crate::accounts::{self, Authorization};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};

/// The name of a passkey that the user has not named.
const DEFAULT_NAME: &str = "Passkey";

impl Passkeys {
    /// Begins the registration of a passkey.
    ///
    /// # Errors
    ///
    /// [`PasskeysError::TooMany`] or [`PasskeysError::NotLoggedIn`].
    pub async fn begin_registration(&self, user: Uuid) -> Result<CreationOptions, PasskeysError> {
        self.inner
            .db
            .write((self.clone(), user), |tx, (this, user)| this.registration_options(tx, *user).boxed())
            .await
    }

    async fn registration_options(&self, tx: &Tx, user: Uuid) -> Result<CreationOptions, PasskeysError> {
        let account = accounts::find(tx, user).await?;
        let known = store::credentials(tx, user).await?;
        if known.len() as u64 >= MAX_PASSKEYS {
            return Err(PasskeysError::TooMany);
        }
        let (id, now) = (self.inner.clock.new_id(), self.inner.clock.now());
        let challenge = challenges::issue(tx, id, Ceremony::Register, Some(user), now).await?;
        let name = account.email.or(account.username).unwrap_or_default();
        let display_name = account.display_name.unwrap_or_else(|| name.clone());
        let rp_id = self.inner.relying_party.id().to_owned();
        Ok(CreationOptions { challenge, rp_id, user, name, display_name, known })
    }

    /// Registers a passkey with the response of the authenticator.
    ///
    /// # Errors
    ///
    /// [`PasskeysError::Rejected`], [`PasskeysError::TooMany`], [`PasskeysError::AlreadyRegistered`] or
    /// [`PasskeysError::NotLoggedIn`].
    pub async fn register(
        &self,
        authorization: Authorization,
        challenge: Uuid,
        response: Attestation,
        name: Option<String>,
    ) -> Result<Passkey, PasskeysError> {
        let (user, session) = (authorization.user(), authorization.session());
        let event = NewEvent::new(&self.inner.clock, user, EventKind::PasskeyAdded).in_session(session);
        let passkey = Passkey {
            id: self.inner.clock.new_id(),
            name: name.unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            created_at: event.at(),
            last_used_at: None,
            is_backed_up: false,
        };
        let input = (self.clone(), authorization, challenge, response, passkey, event);
        let registered: Result<Result<Passkey, PasskeysError>, StoreError> = self
            .inner
            .db
            .write(input, |tx, (this, authorization, challenge, response, passkey, event)| {
                this.store_new(tx, authorization, *challenge, response, passkey, event).boxed()
            })
            .await;
        let passkey = match registered {
            // A concurrent request has registered the same passkey first.
            Err(StoreError::UniqueViolation(_)) => Err(PasskeysError::AlreadyRegistered),
            registered => registered?,
        }?;
        audit::record(Event::PasskeyAdded, Some(user), session);
        Ok(passkey)
    }

    /// Verifies and stores a passkey. Only a database error rolls the transaction back. All other errors are
    /// `Ok` values, so that the transaction commits and the challenge can't be used again.
    async fn store_new(
        &self,
        tx: &Tx,
        authorization: &Authorization,
        challenge: Uuid,
        response: &Attestation,
        passkey: &Passkey,
        event: &NewEvent,
    ) -> Result<Result<Passkey, PasskeysError>, StoreError> {
        let (user, ceremony) = (authorization.user(), Ceremony::Register);
        let presented = PresentedChallenge { id: challenge, ceremony, user: Some(user) };
        let value = match challenges::take(tx, presented, event.at()).await? {
            Ok(value) => value,
            Err(rejection) => return Ok(Err(PasskeysError::Rejected(rejection))),
        };
        let credential = match verify_registration(response, self.expected(&value)) {
            Ok(credential) => credential,
            Err(rejection) => return Ok(Err(PasskeysError::Rejected(rejection))),
        };
        // The lock also orders concurrent requests of the owner, so that they can't exceed the maximum together.
        if !authorization.lock(tx).await? {
            return Ok(Err(PasskeysError::NotLoggedIn));
        }
        if store::count(tx, user).await? >= MAX_PASSKEYS {
            return Ok(Err(PasskeysError::TooMany));
        }
        // Check the relying party again, because another replica with other settings may have registered a
        // passkey.
        if let Err(error) = self.check_relying_party(tx).await? {
            return Ok(Err(error));
        }
        // Two concurrent requests may both pass this check. The unique constraint then rejects one of them.
        if store::is_registered(tx, &credential.id).await? {
            return Ok(Err(PasskeysError::AlreadyRegistered));
        }
        let passkey = Passkey { is_backed_up: credential.is_backed_up, ..passkey.clone() };
        let (transports, rp_id) = (response.transports.clone(), self.inner.relying_party.id().to_owned());
        let row = store::NewRow { passkey: passkey.clone(), credential, transports, rp_id };
        store::insert(tx, user, &row).await?;
        events::record(tx, event).await?;
        Ok(Ok(passkey))
    }
}
