//! Closing a connection so that its last answer arrives.
//!
//! To close a socket with bytes that nobody read resets the connection, and a client that still sends a
//! body loses the answer that refuses it. So our side is closed first, and what still comes is read and
//! thrown away until the client closes its own, for a while and up to a bound (RFC 9112 §9.6).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// For how long the client is waited for.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How much of what it sends is thrown away, in bytes: twice the largest body that is taken.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Waits for the client to close its side.
#[derive(Debug)]
pub(super) struct Closing {
    until: Pin<Box<Sleep>>,
    discarded: usize,
}

impl Closing {
    /// Our side is closed.
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
