//! Tests of the limits on the number of connections.

use super::*;

//
#[tokio::test]
async fn a_new_connection_replaces_the_connection_that_has_been_idle_longest() {
    let limits = Limits { max_connections: 2, idle: ms(5_000), first_byte: ms(5_000), ..short() };
    let server = start(limits).await;
    let mut oldest = send(&server, GET).await;
    read_until(&mut oldest, b"/!").await;
    let mut younger = send(&server, GET).await;
    read_until(&mut younger, b"/!").await;
    let mut new = send(&server, GET).await;
    assert!(read_until(&mut new, b"/!").await.ends_with(b"/!"));
    assert_eq!(read_all(&mut oldest).await, "");
    younger.write_all(GET).await.unwrap();
    assert!(read_until(&mut younger, b"/!").await.ends_with(b"/!"));
}

// A-2, F-12
#[tokio::test]
async fn a_new_connection_replaces_a_silent_connection_and_not_one_with_a_request_in_flight() {
    let limits = Limits { max_connections: 2, idle: ms(5_000), first_byte: ms(5_000), ..short() };
    let server = start(limits).await;
    let _never = send(&server, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut silent = send(&server, b"").await;
    sleep(ms(200)).await;
    let mut new = send(&server, GET).await;
    assert!(read_until(&mut new, b"/!").await.ends_with(b"/!"));
    assert_eq!(read_all(&mut silent).await, "");
}

// A-2, S-104
#[tokio::test]
async fn health_checks_are_served_and_other_paths_get_503_while_every_connection_has_a_request_in_flight() {
    let limits = Limits { max_connections: 1, ..short() };
    let server = start(limits).await;
    let _never = send(&server, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    sleep(ms(200)).await;
    let mut other = send(&server, GET).await;
    let response = read_all(&mut other).await;
    assert!(response.starts_with("HTTP/1.1 503") && response.contains("connection: close"), "{response}");
    let mut health = send(&server, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(read_until(&mut health, b"/health!").await.ends_with(b"/health!"));
}

// A-2, S-104
#[tokio::test]
async fn a_client_above_its_connection_limit_loses_only_its_own_connections() {
    let limits = Limits {
        max_connections: 3,
        max_connections_per_address: 2,
        idle: ms(5_000),
        first_byte: ms(5_000),
        ..short()
    };
    let server = start(limits).await;
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    let mut other = other.connect(server.addr).await.unwrap();
    other.write_all(GET).await.unwrap();
    read_until(&mut other, b"/!").await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        let mut connection = send(&server, GET).await;
        read_until(&mut connection, b"/!").await;
        connections.push(connection);
    }
    assert_eq!(read_all(&mut connections[0]).await, "");
    assert_eq!(read_all(&mut connections[1]).await, "");
    other.write_all(GET).await.unwrap();
    assert!(read_until(&mut other, b"/!").await.ends_with(b"/!"));
    let _never = send(&server, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let _again = send(&server, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    sleep(ms(200)).await;
    assert_eq!(read_all(&mut send(&server, GET).await).await, "");
}
