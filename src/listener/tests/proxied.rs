//! The PROXY protocol. The tests connect from addresses of the loopback network: 127.0.0.1 is a proxy, and
//! 127.0.0.2 is not.

use std::net::IpAddr;

use super::encrypted::certificate;
use super::*;

const PEER: &[u8] = b"GET /peer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

async fn start_with(limits: Limits) -> Running {
    let proxy = "127.0.0.1/32".parse().unwrap();
    start_behind(ProxyProtocol::from_proxies(vec![proxy]), limits, None).await
}

/// Returns the header for a client with this address.
fn header(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, addresses) = match client.ip() {
        IpAddr::V4(ip) => (0x11, [ip.octets(), [127, 0, 0, 1]].concat()),
        IpAddr::V6(ip) => (0x21, [ip.octets(), [1; 16]].concat()),
    };
    let ports = [client.port().to_be_bytes(), [1, 187]].concat();
    let length = u8::try_from(addresses.len() + ports.len()).unwrap();
    [&LOCAL_HEADER[..12], &[0x21, family, 0, length], &addresses, &ports].concat()
}

async fn send_from(address: [u8; 4], server: &Running, bytes: &[u8]) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    let mut tcp = socket.connect(server.addr).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    tcp
}

/// Sends the bytes from the address of the proxy. Returns the response.
async fn response(server: &Running, bytes: &[u8]) -> String {
    read_all(&mut send(server, bytes).await).await
}

// S-15
#[tokio::test]
async fn the_address_in_the_proxy_header_becomes_the_peer_address_of_the_requests() {
    let server = start_with(short()).await;
    for (client, expected) in [
        ("192.0.2.7:4660", "192.0.2.7:4660"),
        ("[2001:db8::7]:80", "[2001:db8::7]:80"),
        ("[::ffff:192.0.2.8]:80", "192.0.2.8:80"),
    ] {
        let found = response(&server, &[header(client).as_slice(), PEER].concat()).await;
        assert!(found.ends_with(&format!("socket://{expected}")), "{client}: {found}");
    }
    let found = response(&server, &[LOCAL_HEADER.as_slice(), PEER].concat()).await;
    assert!(found.contains("socket://127.0.0.1:"), "{found}");
    // The header and the request can arrive in pieces of any size.
    let bytes = [header("192.0.2.7:4660").as_slice(), PEER].concat();
    let mut tcp = send(&server, b"").await;
    tcp.set_nodelay(true).unwrap();
    for piece in bytes.chunks(5) {
        tcp.write_all(piece).await.unwrap();
        sleep(ms(2)).await;
    }
    assert!(read_all(&mut tcp).await.ends_with("socket://192.0.2.7:4660"));
}

// S-15
#[tokio::test]
async fn a_proxy_that_sends_no_valid_proxy_header_gets_no_response() {
    let server = start_with(short()).await;
    let valid = header("192.0.2.7:4660");
    let mut garbage = valid.clone();
    garbage[12] = 0x31;
    for bytes in [PEER, b"PROXY TCP4 192.0.2.7 127.0.0.1 4660 443\r\n", &garbage] {
        let begin = Instant::now();
        assert_eq!(response(&server, &[bytes, PEER].concat()).await, "");
        assert!(begin.elapsed() < ms(140), "closed by the deadline only");
    }
    let mut truncated = send(&server, &valid[..20]).await;
    truncated.shutdown().await.unwrap();
    assert_eq!(read_all(&mut truncated).await, "");
    for slow in [&valid[..0], &valid[..1], &valid[..27]] {
        let begin = Instant::now();
        assert_eq!(response(&server, slow).await, "");
        assert!((ms(140)..ms(390)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    }
}

// S-15
#[tokio::test]
async fn a_client_that_is_not_a_proxy_is_served_but_gets_400_if_it_sends_a_proxy_header() {
    let server = start_with(short()).await;
    let found = read_all(&mut send_from([127, 0, 0, 2], &server, PEER).await).await;
    assert!(found.contains("socket://127.0.0.2:"), "{found}");
    let forged = [header("192.0.2.7:4660").as_slice(), PEER].concat();
    let found = read_all(&mut send_from([127, 0, 0, 2], &server, &forged).await).await;
    assert!(found.starts_with("HTTP/1.1 400") && !found.contains("socket://"), "{found}");
    // If the settings name no proxy, every peer that sends a header gets 400.
    let found = response(&start(short()).await, &forged).await;
    assert!(found.starts_with("HTTP/1.1 400") && !found.contains("socket://"), "{found}");
}

#[tokio::test]
async fn the_proxy_header_comes_before_the_tls_handshake() {
    let (_dir, config, connector) = certificate(b"http/1.1");
    let proxies = ProxyProtocol::from_proxies(vec!["127.0.0.1/32".parse().unwrap()]);
    let server = start_behind(proxies, short(), Some(config)).await;
    let tcp = send(&server, &header("192.0.2.7:4660")).await;
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut io = connector.connect(name, tcp).await.unwrap();
    io.write_all(PEER).await.unwrap();
    assert!(read_all(&mut io).await.ends_with("socket://192.0.2.7:4660"));
}

// S-104
#[tokio::test]
async fn the_connection_limit_of_an_address_applies_to_the_clients_and_not_to_the_proxy() {
    let idle = ms(5_000);
    let server = start_with(Limits { max_connections_per_address: 2, idle, ..short() }).await;
    let request = |client: &str| [header(client).as_slice(), GET].concat();
    let mut others = Vec::new();
    for client in ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"] {
        let mut connection = send(&server, &request(client)).await;
        read_until(&mut connection, b"/!").await;
        others.push(connection);
    }
    let mut own = Vec::new();
    for _ in 0..3 {
        let mut connection = send(&server, &request("192.0.2.9:1")).await;
        assert!(read_until(&mut connection, b"/!").await.ends_with(b"/!"));
        own.push(connection);
    }
    assert_eq!(read_all(&mut own[0]).await, "", "the first one of three must make room");
    for connection in others.iter_mut().chain(&mut own[1..]) {
        connection.write_all(GET).await.unwrap();
        assert!(read_until(connection, b"/!").await.ends_with(b"/!"));
    }
}

#[tokio::test]
async fn a_stopping_server_does_not_wait_for_an_incomplete_proxy_header() {
    let server = start_with(Limits { header: ms(5_000), ..short() }).await;
    let _half = send(&server, &header("192.0.2.7:4660")[..20]).await;
    sleep(ms(30)).await;
    let begin = Instant::now();
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert!(begin.elapsed() < ms(200));
}

// S-15
#[tokio::test]
async fn mutated_proxy_headers_never_stop_the_server_and_those_without_the_signature_get_no_response() {
    let server = start_with(Limits { header: ms(2_000), ..short() }).await;
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut responses = 0;
    for round in 0..5_000 {
        let mut bytes = header(if round % 2 == 0 { "192.0.2.7:4660" } else { "[2001:db8::7]:80" });
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] = u8::try_from(random(256)).unwrap();
        }
        bytes.truncate(bytes.len() - random(3));
        let is_signed = bytes.starts_with(&LOCAL_HEADER[..12]);
        let mut tcp = send(&server, &[&bytes[..], PEER].concat()).await;
        // The server has possibly closed the connection already.
        drop(tcp.shutdown().await);
        let mut found = Vec::new();
        drop(tcp.read_to_end(&mut found).await);
        assert!(found.is_empty() || is_signed, "{bytes:x?}: {}", String::from_utf8_lossy(&found));
        responses += usize::from(!found.is_empty());
    }
    assert!((500..4_500).contains(&responses), "{responses}");
    assert!(
        response(&server, &[header("192.0.2.7:1").as_slice(), PEER].concat()).await.contains("192.0.2.7")
    );
}
