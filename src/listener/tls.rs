//! TLS with rustls, and the stream that is either plain or encrypted.
//!
//! Invariants: the crypto provider is passed explicitly, never taken from a process-wide default;
//! TLS 1.2 is the oldest version; ALPN offers HTTP/2 and HTTP/1.1. Rejects a file without a certificate
//! or without a key, and a key that does not match the certificate.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig, crypto::aws_lc_rs};
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::monitored_stream::MonitoredStream;
use super::rejected_head::Rejected;
use super::{Server, ServerError};

/// The certificate of the server and its key. Both can be replaced while the server runs.
#[derive(Debug)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    /// The state of the files at the last attempt to load them.
    tried: Mutex<Option<[FileState; 2]>>,
}

/// The properties of a file that change when the file is replaced or overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileState {
    modified: SystemTime,
    inode: u64,
    bytes: u64,
}

impl Certificate {
    /// Reads a certificate chain and its key, both PEM.
    ///
    /// # Errors
    ///
    /// If a file can't be read or contains no certificate or key, or if the key does not match the
    /// certificate.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, ServerError> {
        let tried = states(cert, key);
        let current = RwLock::new(Arc::new(read(cert, key)?));
        Ok(Self { cert: cert.into(), key: key.into(), current, tried: Mutex::new(tried) })
    }

    /// Reads the files again, for new connections. After an error, the previous certificate stays in use.
    ///
    /// # Errors
    ///
    /// Those of [`Certificate::load`].
    pub fn reload(&self) -> Result<(), ServerError> {
        // Read the state before the files, so that files that change in between are loaded again.
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = states(&self.cert, &self.key);
        let new = read(&self.cert, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    /// Returns whether a file has changed since the last attempt to load the files.
    pub fn has_changed(&self) -> bool {
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) != states(&self.cert, &self.key)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Returns the states of the certificate file and the key file, or `None` if one of them can't be read.
fn states(cert: &Path, key: &Path) -> Option<[FileState; 2]> {
    let state = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some(FileState { modified: file.modified().ok()?, inode: file.ino(), bytes: file.len() })
    };
    Some([state(cert)?, state(key)?])
}

fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, ServerError> {
    let unreadable = |path: &Path| {
        let path = PathBuf::from(path);
        move |source: pem::Error| ServerError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(cert))?;
    if chain.is_empty() {
        return Err(ServerError::NoPem { path: cert.into(), expected: "certificate" });
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        pem::Error::NoItemsFound => ServerError::NoPem { path: key.into(), expected: "private key" },
        error => unreadable(key)(error),
    })?;
    let unusable =
        |source: rustls::Error| ServerError::Certificate { cert: cert.into(), key: key.into(), source };
    CertifiedKey::from_der(chain, secret, &aws_lc_rs::default_provider()).map_err(unusable)
}

/// Returns the configuration of TLS with this certificate, for [`super::Server::serve`].
///
/// # Errors
///
/// If the cryptography provider does not support the default versions of TLS.
pub fn tls(certificate: Arc<Certificate>) -> Result<Arc<ServerConfig>, ServerError> {
    let unusable = |source: rustls::Error| ServerError::Certificate {
        cert: certificate.cert.clone(),
        key: certificate.key.clone(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The first bytes of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The stream that hyper reads and writes: a plain or a TLS connection. When hyper reads, the stream also
/// notes in the connection's [`Activity`] whether the client uses HTTP/2.
pub(super) struct Stream {
    io: Io,
    activity: Arc<Activity>,
    /// The part of the preface that has not arrived yet; empty when the version is known.
    preface: &'static [u8],
    server: Server,
    peer: IpAddr,
    /// The unsent rest of the response to a request whose head is not valid. This response replaces hyper's
    /// response.
    rejection: VecDeque<u8>,
}

#[derive(Debug)]
enum Io {
    Plain(MonitoredStream),
    Tls(Box<TlsStream<MonitoredStream>>),
}

impl Stream {
    pub(super) fn plain(io: MonitoredStream, activity: Arc<Activity>, server: Server, peer: IpAddr) -> Self {
        Self::new(Io::Plain(io), activity, server, peer)
    }

    pub(super) fn tls(
        io: TlsStream<MonitoredStream>,
        activity: Arc<Activity>,
        server: Server,
        peer: IpAddr,
    ) -> Self {
        Self::new(Io::Tls(Box::new(io)), activity, server, peer)
    }

    fn new(io: Io, activity: Arc<Activity>, server: Server, peer: IpAddr) -> Self {
        Self { io, activity, preface: PREFACE, server, peer, rejection: VecDeque::new() }
    }

    /// Sends the rest of the response to an invalid head.
    fn poll_rejection(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rejection.is_empty() {
            let (bytes, _) = self.rejection.as_slices();
            let sent = ready!(match &mut self.io {
                Io::Plain(io) => Pin::new(io).poll_write(cx, bytes),
                Io::Tls(io) => Pin::new(io).poll_write(cx, bytes),
            })?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rejection.drain(..sent);
        }
        Poll::Ready(Ok(()))
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
        let mut buf = buf;
        if !self.activity.is_http2()
            && let Some(rejected) = Rejected::find(buf)
        {
            if rejected.start == 0 {
                self.rejection = rejected.render(&self.server, self.peer).into();
                // The flush that follows sends the response.
                return Poll::Ready(Ok(buf.len()));
            }
            buf = buf.get(..rejected.start).unwrap_or_default();
        }
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
        ready!(self.poll_rejection(cx))?;
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rejection(cx))?;
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
