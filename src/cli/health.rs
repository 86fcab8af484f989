//! `tripgate health`: checks whether the server on this machine is healthy. Health checks of containers run
//! this command.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};

use super::CliError;
use super::run_command::block_on;
use crate::config::Settings;
use crate::listener::{LOCAL_HEADER, ProxyProtocol};

/// How long the server may take to respond.
const LIMIT: Duration = Duration::from_secs(5);
/// The maximum length of a response, in bytes.
const MAX_RESPONSE: u64 = 16 * 1024;

pub(super) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("health")
        .about("Check whether the server on this machine is healthy; the exit status is 0 if it is healthy")
        .arg(flag("ready").help("Also require that the server can process requests"))
        .arg(flag("json").help("Print one JSON object"))
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let path = if args.get_flag("ready") { "/health/ready" } else { "/health/live" };
    let address = reachable(settings.listen);
    let asked = block_on(async { timeout(LIMIT, ask(address, settings, path)).await })?;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let failure = |reason: String| CliError::Failed(format!("{scheme}://{address}{path}: {reason}"));
    let status = match asked {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return Err(failure(error.to_string())),
        Err(_) => return Err(failure(format!("no response within {} s", LIMIT.as_secs()))),
    };
    let is_healthy = status == 200;
    let line = if args.get_flag("json") {
        json!({ "healthy": is_healthy, "status": status }).to_string()
    } else {
        let word = if is_healthy { "healthy" } else { "not healthy" };
        format!("{word} ({status})")
    };
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| CliError::output(&error))?;
    if is_healthy { Ok(()) } else { Err(failure(format!("the status is {status}"))) }
}

/// Returns the address at which this machine reaches the listener. If the server listens on all addresses,
/// this is the loopback address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(address: SocketAddr, settings: &Settings, path: &str) -> io::Result<u16> {
    let mut tcp = TcpStream::connect(address).await?;
    let proxies = ProxyProtocol::from_proxies(settings.trusted_proxies.clone());
    if settings.proxy_protocol && proxies.is_expected_from(tcp.local_addr()?.ip()) {
        tcp.write_all(&LOCAL_HEADER).await?;
    }
    if settings.tls.is_none() {
        return request(tcp, path).await;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    request(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?, path).await
}

/// Sends the request and returns the status of the response.
async fn request(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> io::Result<u16> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut response = Vec::new();
    // Some TLS streams end without `close_notify` after the whole response, so a read error after the status
    // is ignored.
    let read = stream.take(MAX_RESPONSE).read_to_end(&mut response).await;
    let status = String::from_utf8_lossy(&response).split(' ').nth(1).and_then(|status| status.parse().ok());
    match (status, read) {
        (Some(status), _) => Ok(status),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(io::Error::other("the response is not HTTP")),
    }
}

/// Accepts every certificate, because a certificate is usually for a host name, and this command connects to
/// an IP address. No check is needed: the server is on this machine, and the request contains nothing secret.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
