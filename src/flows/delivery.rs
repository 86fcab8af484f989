//! Stores a flow together with its mail.

use super::{BegunFlow, Flows, Purpose, store};
use crate::db::{StoreError, Tx};
use crate::mail::{Languages, MailKind, NewMail, Queued, Values};

/// The mail of a flow.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// The mail with the code and the link of the flow.
    Code {
        /// The recipient: the stored address of the account, the new address if the flow changes the address,
        /// or the former address if the flow undoes a change.
        to: String,
        /// The languages of the recipient.
        languages: Languages,
        /// The values of the mail that do not come from the flow.
        values: Values,
    },
    /// Another mail, which does not contain the code of the flow.
    Instead(NewMail),
    /// No mail: for example, no account has the address, or an operator delivers the link.
    Nothing,
}

impl Purpose {
    /// Returns the kind of the mail.
    const fn mail(self) -> MailKind {
        match self {
            Self::ConfirmAddress | Self::ChangeAddress => MailKind::ConfirmAddress,
            Self::UndoChange => MailKind::AddressChanged,
            Self::LogIn => MailKind::LoginCode,
            Self::ResetPassword => MailKind::ResetPassword,
            Self::SecureAccount => MailKind::AttackWarning,
            Self::Reauthenticate => MailKind::ReauthenticateCode,
            Self::EndSession => MailKind::NewDevice,
        }
    }

    /// Returns the path of the page that the link opens. Returns `None` if the mail contains only a code,
    /// which is valid only on the device that requested the mail.
    const fn page(self) -> Option<&'static str> {
        match self {
            Self::ConfirmAddress | Self::ChangeAddress => Some("/account/confirm"),
            Self::ResetPassword | Self::SecureAccount => Some("/account/reset"),
            Self::UndoChange => Some("/account/undo"),
            Self::EndSession => Some("/account/session"),
            Self::LogIn | Self::Reauthenticate => None,
        }
    }
}

impl BegunFlow {
    /// Returns the path and the fragment of the link. Returns `None` if the mail contains only a code, which
    /// is valid only on the device that requested the mail.
    pub fn link(&self) -> Option<String> {
        self.row.purpose.page().map(|page| format!("{page}#{}", self.token))
    }

    /// Returns the mail with the code and the link.
    fn mail(&self, to: &str, languages: &Languages, values: &Values) -> NewMail {
        let purpose = self.row.purpose;
        let values = Values {
            code: purpose.has_code().then(|| self.code.clone()),
            link: self.link(),
            valid_minutes: u32::try_from(purpose.lifetime().num_minutes()).ok(),
            at: Some(self.created_at),
            ..values.clone()
        };
        NewMail {
            to: to.to_owned(),
            user: self.row.user,
            kind: purpose.mail(),
            languages: languages.clone(),
            values,
        }
    }
}

impl Flows {
    /// Stores a flow and queues its mail, in the caller's transaction. If the mail is queued, the flow
    /// supersedes the earlier flows of the same purpose and subject. If the mail exceeds a budget, the
    /// earlier flows stay valid, because their mails were sent.
    ///
    /// # Errors
    ///
    /// [`StoreError::ForeignKeyViolation`] if the account was deleted.
    pub async fn send(&self, tx: &Tx, flow: &BegunFlow, delivery: &Delivery) -> Result<Queued, StoreError> {
        store::insert(tx, flow).await?;
        let queued = match delivery {
            Delivery::Code { to, languages, values } => {
                self.mail.queue(tx, flow.mail(to, languages, values)).await?
            }
            Delivery::Instead(mail) => self.mail.queue(tx, mail.clone()).await?,
            Delivery::Nothing => Queued::Accepted,
        };
        if queued == Queued::Accepted {
            store::supersede(tx, flow).await?;
        }
        Ok(queued)
    }

    /// Returns whether the settings enable the mail of this purpose.
    pub fn are_sent(&self, purpose: Purpose) -> bool {
        self.mail.is_sent(purpose.mail())
    }

    /// Queues a mail without a flow, in the caller's transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn notify(&self, tx: &Tx, mail: NewMail) -> Result<Queued, StoreError> {
        self.mail.queue(tx, mail).await
    }
}
