//! The test mail of `tripgate mail test`, which is sent at once and not queued.

use super::smtp::SendError;
use super::smtp_stream::Dialogue;
use super::transport::Session;
use super::{Languages, MailKind, MailOptions, MailSetupError, Values};
use crate::clock::Clock;
use crate::error_chain::error_chain;

/// What happened to a test mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestReport {
    /// The dialogue with the mail server, without credentials. Empty if there is no mail server.
    pub dialogue: Vec<String>,
    /// The `Message-ID` of the mail.
    pub message_id: String,
    /// The file of the mail, if there is no mail server.
    pub file: Option<String>,
    /// Why the mail was not sent.
    pub error: Option<String>,
}

/// Sends a test mail.
///
/// # Errors
///
/// [`MailSetupError`].
pub async fn send_test(
    options: &MailOptions,
    clock: &Clock,
    address: &str,
) -> Result<TestReport, MailSetupError> {
    let (sender, transport, templates) = (options.sender()?, options.transport()?, options.templates()?);
    let id = clock.new_id();
    let message_id = sender.message_id(id);
    let dialogue = Dialogue::recorded();
    let content = templates.render(MailKind::Test, &Languages::default(), &Values::default());
    let message = sender.message(address, &message_id, clock.now(), content);
    let mut session = Session::new(&transport, dialogue.clone());
    let sent = match message {
        Ok(outgoing) => session.send(id, outgoing).await.map_err(|error: SendError| error.to_string()),
        Err(error) => Err(error_chain(&error)),
    };
    session.close().await;
    let (file, error) = match sent {
        Ok(path) => (path.map(|path| path.display().to_string()), None),
        Err(error) => (None, Some(error)),
    };
    Ok(TestReport { dialogue: dialogue.lines(), message_id, file, error })
}
