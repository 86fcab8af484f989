//! Connections to a mail server (RFC 5321).
//!
//! TLS uses rustls with aws-lc-rs, like the HTTP listener. For `smtp://`, the server must offer STARTTLS (RFC
//! 3207). All other extensions that the server offered before the TLS handshake are ignored. Credentials are
//! sent only over TLS, or to a server on the same machine. The certificate of the server is verified against
//! the root certificates of Mozilla and the certificates in `smtp_ca_file`.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lettre::address::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::message::Outgoing;
use super::smtp_stream::{Dialogue, SmtpStream};
use crate::config::{SmtpSecurity, SmtpServer};
use crate::error_chain::error_chain;

/// The maximum length of a reply before TLS, in bytes.
const REPLY_MAX: usize = 16 * 1024;
/// The time in which the server must accept a whole message, as a multiple of the timeout for a command.
const MESSAGE_FACTOR: u32 = 4;

/// The certificates for the mail server can't be used.
#[derive(Debug, thiserror::Error)]
#[error("smtp_ca_file: {path} has no valid certificates: {reason}")]
pub struct CaFileError {
    path: String,
    reason: String,
}

/// How to reach the mail server.
#[derive(Clone)]
pub(super) struct Client {
    server: SmtpServer,
    tls: Arc<ClientConfig>,
    hello: ClientId,
    timeout: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.server)
    }
}

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The server can't be reached, or it accepts no mails at the moment. Other mails can't be sent either.
    #[error("{0}")]
    Server(String),
    /// The connection broke, or the server was too slow.
    #[error("{0}")]
    Broken(String),
    /// The server rejects this mail temporarily.
    #[error("{0}")]
    Refused(String),
    /// The server rejects this mail permanently.
    #[error("{0}")]
    RefusedForGood(String),
}

impl Client {
    /// Creates a client. `hello_host` is the name of this server for `EHLO`; without `hello_host`, the name
    /// is `localhost`.
    pub(super) fn new(
        server: SmtpServer,
        ca_file: Option<&Path>,
        hello_host: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, CaFileError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = ca_file {
            let failed = |reason: String| CaFileError { path: path.display().to_string(), reason };
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| failed(error.to_string()))?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(failed("no certificate was found".to_owned()));
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| CaFileError { path: String::new(), reason: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let hello = ClientId::Domain(hello_host.unwrap_or("localhost").to_owned());
        Ok(Self { server, tls: Arc::new(tls), hello, timeout })
    }

    /// Connects, encrypts and authenticates.
    pub(super) async fn connect(&self, dialogue: &Dialogue) -> Result<Connection, SendError> {
        let place = format!("{}:{}", self.server.host, self.server.port);
        let failed = |error: &dyn fmt::Display| SendError::Server(format!("{place}: {error}"));
        let stream = timeout(self.timeout, self.open(dialogue)).await;
        let stream = stream.map_err(|_| failed(&self.too_slow()))?.map_err(|error| failed(&error))?;
        let greeted = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello);
        let greeted = timeout(self.timeout, greeted).await;
        let smtp = greeted.map_err(|_| failed(&self.too_slow()))?.map_err(|error| failed(&chain(&error)))?;
        let mut connection = Connection { smtp, timeout: self.timeout, sent: 0 };
        if let Some((user, password)) = &self.server.credentials {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            let auth = connection.smtp.auth(&[Mechanism::Plain, Mechanism::Login], &credentials);
            let response = timeout(self.timeout, auth).await.map_err(|_| failed(&self.too_slow()))?;
            response.map_err(|error| failed(&format!("authentication failed: {}", chain(&error))))?;
        }
        Ok(connection)
    }

    fn too_slow(&self) -> String {
        format!("no response within {} s", self.timeout.as_secs())
    }

    /// Opens a connection with the encryption that the settings require. The returned stream begins with the
    /// greeting of the server or, after STARTTLS, with the response to STARTTLS instead of the greeting.
    async fn open(&self, dialogue: &Dialogue) -> io::Result<SmtpStream> {
        let mut tcp = TcpStream::connect((self.server.host.as_str(), self.server.port)).await?;
        tcp.set_nodelay(true)?;
        let peer = tcp.peer_addr()?;
        match self.server.security {
            SmtpSecurity::Plain => Ok(SmtpStream::new(Box::new(tcp), peer, Vec::new(), dialogue.clone())),
            SmtpSecurity::Tls => {
                let tls = self.encrypt(tcp).await?;
                Ok(SmtpStream::new(tls, peer, Vec::new(), dialogue.clone()))
            }
            SmtpSecurity::StartTls => {
                let reply = self.start_tls(&mut tcp, dialogue).await?;
                let tls = self.encrypt(tcp).await?;
                dialogue.note("TLS is established");
                // A server sends no greeting after STARTTLS, but the library expects one: pass it the reply
                // to STARTTLS instead.
                Ok(SmtpStream::new(tls, peer, reply, dialogue.clone()))
            }
        }
    }

    async fn encrypt(&self, tcp: TcpStream) -> io::Result<Box<tokio_rustls::client::TlsStream<TcpStream>>> {
        let name = ServerName::try_from(self.server.host.clone());
        let name = name.map_err(|error: InvalidDnsNameError| io::Error::other(error.to_string()))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        Ok(Box::new(connector.connect(name, tcp).await?))
    }

    /// Requests TLS with STARTTLS. Returns the reply of the server.
    async fn start_tls(&self, tcp: &mut TcpStream, dialogue: &Dialogue) -> io::Result<Vec<u8>> {
        expect(&plain_reply(tcp, dialogue).await?, "220")?;
        plain_command(tcp, dialogue, &format!("EHLO {}\r\n", self.hello)).await?;
        let extensions = plain_reply(tcp, dialogue).await?;
        expect(&extensions, "250")?;
        let offers =
            |line: &str| line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("STARTTLS"));
        if !String::from_utf8_lossy(&extensions).lines().any(offers) {
            return Err(io::Error::other(
                "the server does not offer STARTTLS; smtps:// uses TLS from the start",
            ));
        }
        plain_command(tcp, dialogue, "STARTTLS\r\n").await?;
        let reply = plain_reply(tcp, dialogue).await?;
        expect(&reply, "220")?;
        Ok(reply)
    }
}

fn expect(reply: &[u8], code: &str) -> io::Result<()> {
    if reply.starts_with(code.as_bytes()) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(reply).trim().replace("\r\n", " ");
    Err(io::Error::other(format!("the server refused: {text}")))
}

async fn plain_command(tcp: &mut TcpStream, dialogue: &Dialogue, command: &str) -> io::Result<()> {
    dialogue.sent(command.as_bytes());
    tcp.write_all(command.as_bytes()).await
}

/// Reads one reply. Fails if more bytes follow it, because they would be mistaken for a reply over TLS.
async fn plain_reply(tcp: &mut TcpStream, dialogue: &Dialogue) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let count = tcp.read(&mut chunk).await?;
        let read = chunk.get(..count).unwrap_or_default();
        dialogue.received(read);
        reply.extend_from_slice(read);
        if count == 0 || reply.len() > REPLY_MAX {
            return Err(io::Error::other("the server closed the connection or sent no valid reply"));
        }
        let Some(lines) = reply.strip_suffix(b"\r\n") else { continue };
        let mut finals = lines.split(|byte| *byte == b'\n').filter(|line| line.get(3) != Some(&b'-'));
        match (finals.next(), finals.next()) {
            (None, _) => {}
            (Some(_), None) => return Ok(reply),
            (Some(_), Some(_)) => {
                return Err(io::Error::other("the server sent more than one reply before TLS"));
            }
        }
    }
}

/// An open connection.
pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    timeout: Duration,
    /// The number of mails that were sent.
    sent: u64,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({} sent)", self.sent)
    }
}

impl Connection {
    /// Returns whether the connection has sent a mail. A server can close such a connection at any time.
    pub(super) fn is_used(&self) -> bool {
        self.sent > 0
    }

    /// Sends a mail. The connection can be used again unless the error is [`SendError::Broken`] or
    /// [`SendError::Server`].
    pub(super) async fn send(&mut self, outgoing: &Outgoing) -> Result<(), SendError> {
        let to = outgoing.envelope.to().first().cloned();
        let to = to.ok_or_else(|| SendError::RefusedForGood("the mail has no recipient".to_owned()))?;
        let parameters = self.parameters(outgoing, &to)?;
        let mail = Mail::new(outgoing.envelope.from().cloned(), parameters);
        match self.command(mail).await {
            // A server that refuses the sender refuses every mail.
            Err(SendError::RefusedForGood(reason)) => return Err(SendError::Server(reason)),
            other => other?,
        }
        self.command(Rcpt::new(to, Vec::new())).await?;
        self.command(Data).await?;
        let accepted = timeout(self.timeout * MESSAGE_FACTOR, self.smtp.message(&outgoing.bytes)).await;
        self.classify(accepted).await?;
        self.sent += 1;
        Ok(())
    }

    /// Returns the SMTP parameters that a message with non-ASCII characters needs.
    fn parameters(&self, outgoing: &Outgoing, to: &Address) -> Result<Vec<MailParameter>, SendError> {
        let server = self.smtp.server_info();
        let mut parameters = Vec::new();
        let addresses = [Some(to), outgoing.envelope.from()];
        if addresses.into_iter().flatten().any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
            if !server.supports_feature(Extension::SmtpUtfEight) {
                let reason = "the address is not ASCII, and the mail server does not offer SMTPUTF8";
                return Err(SendError::RefusedForGood(reason.to_owned()));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !outgoing.bytes.is_ascii() {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        Ok(parameters)
    }

    async fn command(&mut self, command: impl fmt::Display) -> Result<(), SendError> {
        let result = timeout(self.timeout, self.smtp.command(command)).await;
        self.classify(result).await
    }

    async fn classify(
        &mut self,
        result: Result<Result<Response, lettre::transport::smtp::Error>, tokio::time::error::Elapsed>,
    ) -> Result<(), SendError> {
        let Ok(response) = result else {
            let reason = format!("no response within {} s", self.timeout.as_secs());
            return Err(SendError::Broken(reason));
        };
        let Err(error) = response else { return Ok(()) };
        let reason = chain(&error);
        let Some(status) = error.status() else { return Err(SendError::Broken(reason)) };
        // 421: the server closes the connection (RFC 5321 §3.8).
        if u16::from(status) == 421 {
            return Err(SendError::Broken(reason));
        }
        let reset = timeout(self.timeout, self.smtp.command(Rset)).await;
        if !matches!(reset, Ok(Ok(_))) {
            self.smtp.abort().await;
        }
        Err(if error.is_permanent() { SendError::RefusedForGood(reason) } else { SendError::Refused(reason) })
    }

    /// Ends the connection.
    pub(super) async fn quit(mut self) {
        drop(timeout(self.timeout, self.smtp.quit()).await);
    }

    /// Returns whether the server still responds.
    pub(super) async fn is_alive(&mut self) -> bool {
        !self.smtp.has_broken() && timeout(self.timeout, self.smtp.test_connected()).await.unwrap_or(false)
    }
}

/// Returns the messages of an error and of its sources.
fn chain(error: &lettre::transport::smtp::Error) -> String {
    error_chain(error)
}
