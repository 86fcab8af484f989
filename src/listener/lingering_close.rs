//! Closes a connection so that its last response reaches the client.
//!
//! Closing a socket that has unread bytes resets the connection, and a client that is still sending the body
//! of a rejected request loses the response. So the server first shuts down its own side. It then reads and
//! discards the bytes that still arrive until the client closes its side, up to a limit in time and bytes
//! (RFC 9112 §9.6).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long to wait for the client to close.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of bytes to discard: twice the largest request body that the API accepts.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Waits for the client to close its side.
#[derive(Debug)]
pub(super) struct Closing {
    until: Pin<Box<Sleep>>,
    discarded: usize,
}

impl Closing {
    /// Starts the timeout; the server's own side must be shut down already.
    pub(super) fn new() -> Self {
        Self { until: Box::pin(sleep(TIMEOUT)), discarded: 0 }
    }

    pub(super) fn poll(&mut self, io: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 8 * 1024];
        while self.discarded < MAX_BYTES {
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *io).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => self.discarded += read.filled().len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.until.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}
