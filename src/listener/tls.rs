//! TLS with rustls, and the stream that is either plain or encrypted.
//!
//! Invariants: the crypto provider is passed explicitly, never taken from a process-wide default;
//! TLS 1.2 is the oldest version; ALPN offers HTTP/2 and HTTP/1.1. Rejects a file without a certificate
//! or without a key, and a key that does not match the certificate.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, crypto::aws_lc_rs};
use tokio_rustls::server::TlsStream;

use super::ServerError;
use super::activity::Activity;
use super::monitored_stream::MonitoredStream;

/// Reads a certificate chain and its key, both PEM, for [`super::Server::serve`].
///
/// # Errors
///
/// If a file can't be read or contains no certificate or key, or if the key does not match the
/// certificate.
pub fn tls(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, ServerError> {
    let unreadable = |path: &Path| {
        let path = PathBuf::from(path);
        move |source: pem::Error| ServerError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(unreadable(cert))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    let unusable =
        |source: rustls::Error| ServerError::Certificate { cert: cert.into(), key: key.into(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The first bytes of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The stream that hyper reads and writes: a plain or a TLS connection. Records in its [`Activity`] when
/// the client speaks HTTP/2.
#[derive(Debug)]
pub(super) struct Stream {
    io: Io,
    activity: Arc<Activity>,
    /// The part of the preface that has not arrived yet; empty once the version is known.
    preface: &'static [u8],
}

#[derive(Debug)]
enum Io {
    Plain(MonitoredStream),
    Tls(Box<TlsStream<MonitoredStream>>),
}

impl Stream {
    pub(super) const fn plain(io: MonitoredStream, activity: Arc<Activity>) -> Self {
        Self::new(Io::Plain(io), activity)
    }

    pub(super) fn tls(io: TlsStream<MonitoredStream>, activity: Arc<Activity>) -> Self {
        Self::new(Io::Tls(Box::new(io)), activity)
    }

    const fn new(io: Io, activity: Arc<Activity>) -> Self {
        Self { io, activity, preface: PREFACE }
    }

    fn sniff(&mut self, new: &[u8]) {
        let (start, _) = new.split_at(new.len().min(self.preface.len()));
        if let Some(rest) = self.preface.strip_prefix(start) {
            self.preface = rest;
            if rest.is_empty() {
                self.activity.mark_http2();
            }
        } else {
            self.preface = &[];
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        })?;
        if !self.preface.is_empty()
            && let Some(new) = buf.filled().get(before..)
        {
            self.sniff(new);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
