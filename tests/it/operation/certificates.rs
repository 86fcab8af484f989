//! SIGHUP replaces the certificate of a running server. SIGHUP and SIGUSR1 do not end a server, and a second
//! SIGTERM ends it at once.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream as AsyncTcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::harness::process::Process;

/// Writes a new certificate for `localhost` and its key. Returns the certificate.
fn write_pair(dir: &Path) -> CertificateDer<'static> {
    let generated = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), generated.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), generated.signing_key.serialize_pem()).unwrap();
    CertificateDer::from_pem_file(dir.join("cert.pem")).unwrap()
}

/// Connects and returns whether the server presents `certificate`.
async fn presents(server: &Process, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = AsyncTcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(client)).connect(name, tcp).await.is_ok()
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < Duration::from_secs(10), "did not happen within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn sighup_loads_a_new_certificate_but_keeps_the_old_one_if_the_new_one_is_unusable() {
    // N-1, S-101
    let dir = TempDir::new().unwrap();
    let old = write_pair(dir.path());
    let server = Process::serve(dir.path(), &["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    assert!(presents(&server, &old).await);
    fs::write(dir.path().join("key.pem"), "not a key").unwrap();
    server.signal(Signal::HUP);
    until("the bad pair is reported", async || {
        server.log().contains("the previous certificate stays in use")
    })
    .await;
    assert!(server.log().contains("key.pem contains no private key"), "{}", server.log());
    assert!(presents(&server, &old).await);
    let new = write_pair(dir.path());
    server.signal(Signal::HUP);
    until("the new certificate is used", async || presents(&server, &new).await).await;
    assert!(!presents(&server, &old).await);
    server.terminate();
    assert_eq!(server.wait_for_exit().0, Some(0));
}

#[tokio::test]
async fn sighup_and_sigusr1_do_not_end_a_server() {
    // N-1
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    server.signal(Signal::HUP);
    server.signal(Signal::USR1);
    until("SIGHUP is reported", async || server.log().contains("SIGHUP has no effect")).await;
    let live = server.call(Method::GET, "/health/live").send().await.unwrap();
    assert_eq!(live.status(), 200);
}

#[tokio::test]
async fn a_second_sigterm_ends_the_server_without_waiting_for_requests() {
    // S-73
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &["--shutdown-secs", "60"]);
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Content-Length: 100\r\n\r\n{";
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    until("the request has begun", async || {
        server.call(Method::GET, "/health/live").send().await.unwrap().status() == 200
    })
    .await;
    server.terminate();
    until("the server is stopping", async || server.log().contains("stopping")).await;
    let begin = Instant::now();
    server.terminate();
    assert_eq!(server.wait_for_exit().0, Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}
