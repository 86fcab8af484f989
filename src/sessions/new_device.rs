//! Reports a login on a device on which the account was not used before: records a security event, and sends
//! a mail with a link that ends the session.
//!
//! The server recognizes a known device by its device token, or by its name and `User-Agent`. A sign-up is
//! not reported, and later logins on the same device are not reported either. The link is valid for 7 days
//! and works once. The link also makes the device unknown again: the next login with the device token of the
//! ended session is reported.

use futures_util::FutureExt;
use uuid::Uuid;

use super::{Device, Session, Sessions, SessionsError, revocation, store};
use crate::accounts::User;
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::events::{self, DeviceInfo, NewEvent};
use crate::flows::{BegunFlow, Delivery, Flows, NewFlow, Proof, Purpose};
use crate::mail::{Languages, Values};
use crate::throttle::DeviceTokens;
use crate::tokens::Revocation;

/// The maximum length of the description of a device in a mail, in characters.
const DEVICE_MAX: usize = 120;

/// The report that is stored if the device of a new session is unknown.
#[derive(Debug, Clone)]
pub(super) struct NewDevice {
    flows: Flows,
    event: NewEvent,
    /// The flow of the link that ends the session, the recipient, and the languages of the mail. Absent if
    /// the user has no address, or the settings turn these mails off.
    link: Option<(BegunFlow, String, Languages)>,
}

impl Device {
    /// Returns the text by which the user recognizes the device.
    fn description(&self) -> Option<String> {
        let text = match (&self.name, &self.user_agent) {
            (Some(name), Some(user_agent)) => format!("{name} ({user_agent})"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) => return None,
        };
        Some(text.chars().take(DEVICE_MAX).collect())
    }
}

impl Sessions {
    /// Creates the report of a new session. The session is not stored yet.
    pub(super) fn new_device(&self, session: &Session, user: &User, event: NewEvent) -> NewDevice {
        let to = user.email.clone().filter(|_| self.flows.are_sent(Purpose::EndSession));
        let link = to.map(|to| {
            let mut new = NewFlow::new(Purpose::EndSession, Some(user.id), "");
            new.session = Some(session.id);
            let languages = session.device.languages.clone().preferring(user.locale.as_deref());
            (self.flows.begin(new), to, languages)
        });
        NewDevice { flows: self.flows.clone(), event, link }
    }

    /// Returns the session that a device token names: an earlier login of this user on the same device.
    /// Returns `None` if the token is not valid for the user.
    pub(super) fn known_device(&self, token: Option<&str>, user: &User) -> Option<Uuid> {
        let device = self.devices.open(token?)?;
        DeviceTokens::is_known(&device, user.id, user.credential).then_some(device.id)
    }

    /// Ends the session that the link in a mail names. Also succeeds if the session has ended already.
    ///
    /// # Errors
    ///
    /// [`SessionsError::InvalidCode`].
    pub async fn end_reported(&self, token: String) -> Result<(), SessionsError> {
        // The ids are placeholders, because only the transaction finds the user and the session.
        let event = self.session_ended(Uuid::nil(), Uuid::nil());
        let input = (self.clone(), Proof::Token(token), event);
        let reported: Result<(Uuid, Uuid, Option<Revocation>), SessionsError> = self
            .db
            .write(input, |tx, (sessions, proof, event)| sessions.end_by_link(tx, proof, event).boxed())
            .await;
        let (user, session, ended) = reported?;
        if let Some(revocation) = ended {
            self.tokens.apply(&revocation);
            audit::record(Event::SessionEnded, Some(user), Some(session));
        }
        Ok(())
    }

    async fn end_by_link(
        &self,
        tx: &Tx,
        proof: &Proof,
        event: &NewEvent,
    ) -> Result<(Uuid, Uuid, Option<Revocation>), SessionsError> {
        let found = self.flows.find(tx, proof, &[Purpose::EndSession]).await?;
        let flow = found.ok_or(SessionsError::InvalidCode)?;
        let (Some(user), Some(session)) = (flow.user, flow.session) else {
            return Err(SessionsError::InvalidCode);
        };
        if !self.flows.close(tx, &flow).await? {
            return Err(SessionsError::InvalidCode);
        }
        self.flows.remember(tx, &flow, DeviceTokens::VALIDITY).await?;
        if let Some(stored) = store::find(tx, user, session).await? {
            events::forget_device(tx, user, &(&stored.session.device).into()).await?;
        }
        let ended = revocation::end(tx, user, session, self.clock.now()).await?;
        if ended.is_some() {
            events::record(tx, &event.clone().of(user).in_session(Some(session))).await?;
        }
        Ok((user, session, ended))
    }
}

impl NewDevice {
    /// Sets the address of the client.
    pub(super) fn from(self, address: Option<std::net::IpAddr>) -> Self {
        Self { event: self.event.from(address), ..self }
    }

    /// Stores the device of a new session as known, and reports the session if the device was unknown.
    pub(super) async fn report(&self, tx: &Tx, session: &Session) -> Result<(), StoreError> {
        let (user, device) = (session.user, &session.device);
        let info = DeviceInfo::from(device);
        if !events::remember_device(tx, user, &info, session.created_at).await? {
            return Ok(());
        }
        if let Some(known) = device.known_as
            && !self.flows.was_reported(tx, user, known).await?
        {
            return Ok(());
        }
        events::record(tx, &self.event).await?;
        if let Some((flow, to, languages)) = &self.link {
            let values = Values {
                device: device.description(),
                ip: self.event.address().map(|address| address.to_string()),
                ..Values::default()
            };
            let delivery = Delivery::Code { to: to.clone(), languages: languages.clone(), values };
            self.flows.send(tx, flow, &delivery).await?;
        }
        Ok(())
    }
}
