//! The stream of an SMTP connection, which can record the dialogue.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::secrets::MASK;

/// The recorded lines of a dialogue. Credentials and the text of the message are left out. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Dialogue(Option<Arc<Mutex<Recorded>>>);

#[derive(Debug, Default)]
struct Recorded {
    lines: Vec<String>,
    /// The kind of the next lines from the client.
    next: Next,
    /// The number of bytes of the message so far.
    message_bytes: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    #[default]
    Command,
    /// The response to a challenge (RFC 4954 §4).
    Credential,
    Message,
}

impl Dialogue {
    /// Returns a dialogue that records its lines. The default dialogue records nothing.
    pub(super) fn recorded() -> Self {
        Self(Some(Arc::default()))
    }

    /// Returns the lines: `C: ` precedes a line of the client, `S: ` a line of the server, `-- ` a remark.
    pub(super) fn lines(&self) -> Vec<String> {
        self.with(|recorded| {
            recorded.end_message();
            recorded.lines.clone()
        })
    }

    /// Adds a remark.
    pub(super) fn note(&self, text: &str) {
        self.with(|recorded| recorded.lines.push(format!("-- {text}")));
    }

    pub(super) fn sent(&self, bytes: &[u8]) {
        self.with(|recorded| recorded.sent(bytes));
    }

    pub(super) fn received(&self, bytes: &[u8]) {
        self.with(|recorded| recorded.received(bytes));
    }

    fn with<T: Default>(&self, work: impl FnOnce(&mut Recorded) -> T) -> T {
        let Some(recorded) = &self.0 else { return T::default() };
        work(&mut recorded.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Recorded {
    fn sent(&mut self, bytes: &[u8]) {
        if self.next == Next::Message {
            self.message_bytes += bytes.len();
            return;
        }
        for line in lines(bytes) {
            let mut words = line.split(' ');
            let line = match (self.next, words.next(), words.next()) {
                (Next::Credential, _, _) => MASK.to_owned(),
                (_, Some("AUTH"), Some(mechanism)) => format!("AUTH {mechanism} {MASK}"),
                _ => line,
            };
            self.lines.push(format!("C: {line}"));
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        self.end_message();
        for line in lines(bytes) {
            self.next = match line.get(..3) {
                Some("334") => Next::Credential,
                Some("354") => Next::Message,
                _ => Next::Command,
            };
            self.lines.push(format!("S: {line}"));
        }
    }

    fn end_message(&mut self) {
        if self.message_bytes > 0 {
            self.lines.push(format!("C: (message of {} bytes)", self.message_bytes));
            self.message_bytes = 0;
        }
    }
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug> Stream for T {}

/// A stream that first returns the bytes in `first`, and records the lines that pass through it.
#[derive(Debug)]
pub(super) struct SmtpStream {
    inner: Box<dyn Stream>,
    peer: SocketAddr,
    first: Vec<u8>,
    dialogue: Dialogue,
}

impl SmtpStream {
    pub(super) fn new(inner: Box<dyn Stream>, peer: SocketAddr, first: Vec<u8>, dialogue: Dialogue) -> Self {
        Self { inner, peer, first, dialogue }
    }
}

impl AsyncTokioStream for SmtpStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl AsyncRead for SmtpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(buf.remaining());
            let first: Vec<u8> = self.first.drain(..count).collect();
            buf.put_slice(&first);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Some(read) = buf.filled().get(before..).filter(|read| !read.is_empty()) {
            self.dialogue.received(read);
        }
        result
    }
}

impl AsyncWrite for SmtpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = result {
            self.dialogue.sent(bytes.get(..count).unwrap_or_default());
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_smtp_dialogue_contains_neither_credentials_nor_the_message() {
        let dialogue = Dialogue::recorded();
        dialogue.received(b"220 mail.example\r\n");
        dialogue.sent(b"AUTH PLAIN c2VjcmV0\r\n");
        dialogue.received(b"334 VXNlcm5hbWU6\r\n");
        dialogue.sent(b"c2VjcmV0\r\n");
        dialogue.received(b"235 ok\r\n");
        dialogue.sent(b"DATA\r\n");
        dialogue.received(b"354 go on\r\n");
        dialogue.sent(b"Subject: secret\r\n");
        dialogue.sent(b"\r\n.\r\n");
        dialogue.received(b"250 queued\r\n");
        assert_eq!(
            dialogue.lines(),
            [
                "S: 220 mail.example",
                "C: AUTH PLAIN ********",
                "S: 334 VXNlcm5hbWU6",
                "C: ********",
                "S: 235 ok",
                "C: DATA",
                "S: 354 go on",
                "C: (message of 22 bytes)",
                "S: 250 queued",
            ]
        );
    }
}
