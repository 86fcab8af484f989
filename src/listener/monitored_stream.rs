//! The socket of a connection, which records reads and writes in the connection's [`Activity`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tracing::debug;

use super::activity::Activity;
use super::lingering_close::Closing;

/// A socket that records reads and writes. The socket is below TLS, so that even one byte of progress is
/// visible.
#[derive(Debug)]
pub(super) struct MonitoredStream {
    io: TcpStream,
    activity: Arc<Activity>,
    /// Set after the server's side of the connection is shut down.
    closing: Option<Closing>,
}

impl MonitoredStream {
    pub(super) const fn new(io: TcpStream, activity: Arc<Activity>) -> Self {
        Self { io, activity, closing: None }
    }
}

impl Drop for MonitoredStream {
    /// Resets the connection of a client that does not read. Otherwise the kernel would retransmit its
    /// send buffer for minutes.
    fn drop(&mut self) {
        if self.activity.is_abandoned()
            && let Err(error) = self.io.set_zero_linger()
        {
            debug!(%error, "failed to set SO_LINGER");
        }
    }
}

impl AsyncRead for MonitoredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.record_read();
        }
        read
    }
}

impl AsyncWrite for MonitoredStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.activity.record_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.activity.record_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, closing, .. } = &mut *self;
        if closing.is_none() {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
        }
        closing.get_or_insert_with(Closing::new).poll(io, cx).map(Ok)
    }
}
