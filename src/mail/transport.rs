//! Sends mails to the mail server, or writes them to files.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::files;
use super::message::Outgoing;
use super::smtp::{Client, Connection, SendError};
use super::smtp_stream::Dialogue;

/// After this time without a mail, the connection is checked before it is used again.
const FRESH: Duration = Duration::from_secs(2);

/// The destination of mails.
#[derive(Debug, Clone)]
pub(super) enum Transport {
    Smtp(Client),
    Files(PathBuf),
}

/// Sends mails one after the other over the same connection, until the connection is closed.
#[derive(Debug)]
pub(super) struct Session<'a> {
    transport: &'a Transport,
    dialogue: Dialogue,
    open: Option<(Connection, Instant)>,
}

impl<'a> Session<'a> {
    /// Returns a session that is not connected yet.
    pub(super) fn new(transport: &'a Transport, dialogue: Dialogue) -> Self {
        Self { transport, dialogue, open: None }
    }

    /// Sends a mail. Returns the path of the file if the mail was written to a file.
    pub(super) async fn send(&mut self, id: Uuid, outgoing: Outgoing) -> Result<Option<PathBuf>, SendError> {
        let client = match self.transport {
            Transport::Smtp(client) => client,
            Transport::Files(dir) => return write(dir.clone(), id, outgoing.bytes).await.map(Some),
        };
        let mut connection = self.connection(client).await?;
        let is_used = connection.is_used();
        let mut sent = connection.send(&outgoing).await;
        // The server has possibly closed the connection after the last mail, so try once with a new
        // connection.
        if is_used && matches!(sent, Err(SendError::Broken(_))) {
            connection = client.connect(&self.dialogue).await?;
            sent = connection.send(&outgoing).await;
        }
        if !matches!(sent, Err(SendError::Broken(_) | SendError::Server(_))) {
            self.open = Some((connection, Instant::now()));
        }
        sent.map(|()| None)
    }

    async fn connection(&mut self, client: &Client) -> Result<Connection, SendError> {
        if let Some((mut connection, last_used)) = self.open.take()
            && (last_used.elapsed() < FRESH || connection.is_alive().await)
        {
            return Ok(connection);
        }
        client.connect(&self.dialogue).await
    }

    /// Ends the connection, if there is one.
    pub(super) async fn close(&mut self) {
        if let Some((connection, _)) = self.open.take() {
            connection.quit().await;
        }
    }
}

async fn write(dir: PathBuf, id: Uuid, message: Vec<u8>) -> Result<PathBuf, SendError> {
    let written = tokio::task::spawn_blocking(move || files::write(&dir, id, &message)).await;
    let failed =
        |error: io::Error| SendError::Refused(format!("failed to write the file of the mail: {error}"));
    written.map_err(io::Error::other).and_then(|written| written).map_err(failed)
}
