//! TLS: certificates, handshakes, HTTP/1.1 and HTTP/2.

use std::path::Path;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use super::*;

/// Creates a certificate for `localhost`. Returns the directory that contains the certificate, a server
/// configuration that uses the certificate, and a client that trusts the certificate.
pub(super) fn certificate(alpn: &[u8]) -> (tempfile::TempDir, Arc<ServerConfig>, TlsConnector) {
    let generated = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, generated.cert.pem()).unwrap();
    std::fs::write(&key, generated.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&cert).unwrap()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.to_vec()];
    let config = tls(Arc::new(Certificate::load(&cert, &key).unwrap())).unwrap();
    (dir, config, TlsConnector::from(Arc::new(client)))
}

#[tokio::test]
async fn http_1_1_and_http_2_are_served_over_tls() {
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let (_dir, config, connector) = certificate(alpn);
        let server = start_tls(short(), Some(config)).await;
        let tcp = send(&server, b"").await;
        let name = ServerName::try_from("localhost").unwrap();
        let mut io = connector.connect(name, tcp).await.unwrap();
        assert_eq!(io.get_ref().1.alpn_protocol(), Some(alpn));
        if alpn == b"h2" {
            assert_h2_response(&mut io).await;
        } else {
            io.write_all(GET).await.unwrap();
            assert!(read_until(&mut io, b"/!").await.ends_with(b"/!"));
        }
    }
}

#[tokio::test]
async fn a_stalled_tls_handshake_times_out_and_does_not_delay_the_stop_of_the_server() {
    let (_dir, config, _) = certificate(b"h2");
    let server = start_tls(short(), Some(config)).await;
    let begin = Instant::now();
    assert_eq!(read_all(&mut send(&server, b"\x16\x03\x01").await).await, "");
    assert!((ms(190)..ms(390)).contains(&begin.elapsed()));
    let _half = send(&server, b"\x16\x03\x01").await;
    sleep(ms(30)).await;
    let begin = Instant::now();
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert!(begin.elapsed() < ms(150));
}

#[tokio::test]
async fn an_unusable_certificate_is_reported_with_its_path() {
    let ((one, ..), (other, ..)) = (certificate(b"h2"), certificate(b"h2"));
    let (cert, key) = (one.path().join("cert.pem"), other.path().join("key.pem"));
    let load = |cert: &Path, key: &Path| Certificate::load(cert, key).map(drop);
    assert!(matches!(load(&cert, &key), Err(ServerError::Certificate { .. })));
    assert!(
        matches!(load(&key, &key), Err(ServerError::NoPem { path, expected: "certificate" }) if path == key)
    );
    assert!(
        matches!(load(&cert, &cert), Err(ServerError::NoPem { path, expected: "private key" }) if path == cert)
    );
    let absent = one.path().join("absent.pem");
    assert!(matches!(load(&absent, &key), Err(ServerError::Pem { path, .. }) if path == absent));
}
