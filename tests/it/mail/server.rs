//! A mail server in the test process, which can misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Normal,
    /// Responds with 550 to every recipient.
    RefuseRecipients,
    /// Responds with 451 to every recipient.
    DeferRecipients,
    /// Accepts connections and never responds.
    Hang,
    /// Accepts a message and never responds to it.
    SilentAfterMessage,
    /// Closes the connection in place of the response to the message.
    CloseAfterMessage,
    /// Responds with 421 to the second mail on a connection, and closes the connection.
    OneMail,
    /// Sends another reply directly after the reply to STARTTLS, as an attacker would inject it before the
    /// TLS handshake.
    InjectBeforeTls,
}

/// How connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    None,
    StartTls,
    Tls,
}

/// A mail that the server accepted.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) message: String,
}

#[derive(Debug)]
struct State {
    behaviour: Mutex<Behaviour>,
    offers: &'static [&'static str],
    accepted: Mutex<Vec<Accepted>>,
    connections: Mutex<usize>,
    logins: Mutex<Vec<String>>,
}

/// A running server.
#[derive(Debug)]
pub(super) struct MailServer {
    pub(super) address: SocketAddr,
    /// The certificate, in PEM.
    pub(super) certificate: String,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

impl MailServer {
    /// Starts a server for `localhost` that offers these extensions.
    pub(super) async fn start(encryption: Encryption, offers: &'static [&'static str]) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let state = Arc::new(State {
            behaviour: Mutex::new(Behaviour::Normal),
            offers,
            accepted: Mutex::default(),
            connections: Mutex::default(),
            logins: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    *state.connections.lock().unwrap() += 1;
                    // Ignore errors, because a client may close the connection at any time.
                    drop(serve(tcp, acceptor, encryption, &state).await);
                });
            }
        });
        Self { address, certificate: cert.pem(), state, runtime: Some(runtime) }
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap() = behaviour;
    }

    pub(super) fn accepted(&self) -> Vec<Accepted> {
        self.state.accepted.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        *self.state.connections.lock().unwrap()
    }

    /// Returns the decoded credentials of every login.
    pub(super) fn logins(&self) -> Vec<String> {
        self.state.logins.lock().unwrap().clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    encryption: Encryption,
    state: &State,
) -> std::io::Result<()> {
    if *state.behaviour.lock().unwrap() == Behaviour::Hang {
        return std::future::pending().await;
    }
    match encryption {
        Encryption::Tls => dialogue(acceptor.accept(tcp).await?, true, false, state).await.map(drop),
        Encryption::None => dialogue(tcp, true, false, state).await.map(drop),
        Encryption::StartTls => {
            let tcp = dialogue(tcp, true, true, state).await?;
            let Some(tcp) = tcp else { return Ok(()) };
            dialogue(acceptor.accept(tcp).await?, false, false, state).await.map(drop)
        }
    }
}

/// Reads and answers SMTP commands. Returns the stream if the client requested TLS.
async fn dialogue<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    greets: bool,
    offers_tls: bool,
    state: &State,
) -> std::io::Result<Option<S>> {
    let mut stream = BufReader::new(stream);
    if greets {
        stream.write_all(b"220 localhost ESMTP\r\n").await?;
    }
    let (mut from, mut to, mut line) = (String::new(), String::new(), String::new());
    let mut mails = 0;
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let behaviour = *state.behaviour.lock().unwrap();
        let command = line.trim_end();
        let reply = match command.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => {
                let offers = if offers_tls { vec!["STARTTLS"] } else { state.offers.to_vec() };
                let lines = [vec!["localhost"], offers].concat();
                format!("250-{}\r\n250 8BITMIME\r\n", lines.join("\r\n250-"))
            }
            "STARTTLS" if behaviour == Behaviour::InjectBeforeTls => {
                stream.write_all(b"220 go\r\n250 localhost\r\n").await?;
                return Ok(Some(stream.into_inner()));
            }
            "STARTTLS" => {
                stream.write_all(b"220 go\r\n").await?;
                return Ok(Some(stream.into_inner()));
            }
            "AUTH" => {
                let credential = credential(&mut stream, command).await?;
                state.logins.lock().unwrap().push(credential);
                "235 welcome\r\n".to_owned()
            }
            "MAIL" if behaviour == Behaviour::OneMail && mails > 0 => {
                stream.write_all(b"421 enough\r\n").await?;
                return Ok(None);
            }
            "MAIL" => {
                command.clone_into(&mut from);
                "250 ok\r\n".to_owned()
            }
            "RCPT" if behaviour == Behaviour::RefuseRecipients => "550 5.1.1 no such user\r\n".to_owned(),
            "RCPT" if behaviour == Behaviour::DeferRecipients => "451 4.7.1 greylisted\r\n".to_owned(),
            "RCPT" => {
                command.clone_into(&mut to);
                "250 ok\r\n".to_owned()
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let Some(message) = message(&mut stream).await? else { return Ok(None) };
                let mail = Accepted { from: from.clone(), to: to.clone(), message };
                state.accepted.lock().unwrap().push(mail);
                mails += 1;
                match behaviour {
                    Behaviour::SilentAfterMessage => return std::future::pending().await,
                    Behaviour::CloseAfterMessage => return Ok(None),
                    _ => "250 queued\r\n".to_owned(),
                }
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(None);
            }
            "RSET" | "NOOP" => "250 ok\r\n".to_owned(),
            _ => "500 what?\r\n".to_owned(),
        };
        stream.write_all(reply.as_bytes()).await?;
    }
}

/// Reads the credential of AUTH PLAIN or AUTH LOGIN. Returns its parts, separated by NUL.
async fn credential<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    command: &str,
) -> std::io::Result<String> {
    if let Some(plain) = command.strip_prefix("AUTH PLAIN ") {
        return Ok(decoded(plain));
    }
    let mut parts = Vec::new();
    for prompt in ["Username:", "Password:"] {
        let prompt = format!("334 {}\r\n", STANDARD.encode(prompt));
        stream.write_all(prompt.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        parts.push(decoded(line.trim_end()));
    }
    Ok(parts.join("\0"))
}

/// Reads a message up to the line with a single period. Returns `None` if the client closes the connection.
async fn message<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
) -> std::io::Result<Option<String>> {
    let mut message = String::new();
    while !message.ends_with("\r\n.\r\n") {
        if stream.read_line(&mut message).await? == 0 {
            return Ok(None);
        }
    }
    message.truncate(message.len() - 3);
    Ok(Some(message.replace("\r\n..", "\r\n.")))
}

fn decoded(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}
