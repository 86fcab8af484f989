//! Sends a test mail, and lists the mails that wait to be sent.

use super::actions::log_done;
use super::keys::existing_secret;
use super::open_existing;
use crate::app::{StartError, mail_options, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::leases::Leases;
use crate::mail::{Mail, QueuedMail, TestReport, send_test};

/// Sends a test mail immediately, in the same way as the server sends mails.
///
/// # Errors
///
/// [`StartError`], if the settings of mails are not valid.
pub async fn test_mail(settings: &Settings, address: &str) -> Result<TestReport, StartError> {
    set_umask();
    let options = mail_options(settings, &settings.public_url(settings.listen));
    let report = send_test(&options, &Clock::system(), address).await?;
    log_done("mail test");
    Ok(report)
}

/// Returns the mails that wait to be sent or could not be sent, the oldest first.
///
/// # Errors
///
/// [`StartError`].
pub async fn list_mails(settings: &Settings) -> Result<Vec<QueuedMail>, StartError> {
    set_umask();
    let secret = existing_secret(settings)?;
    let db = open_existing(settings).await?;
    let (clock, options) = (Clock::system(), mail_options(settings, &settings.public_url(settings.listen)));
    let leases = Leases::new(db.clone(), clock.clone());
    let mails = match Mail::new(db.clone(), clock, leases, &secret, options) {
        Ok(mail) => mail.list().await.map_err(StartError::from),
        Err(error) => Err(error.into()),
    };
    db.close().await;
    mails
}
