//! Tests of the server over raw TCP, with short limits.

mod encrypted;
mod h2;
mod limits;
mod proxied;
mod slow;

use std::time::Duration;

use poem::endpoint::make;
use poem::http::StatusCode;
use poem::{IntoResponse, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;

const BIG: usize = 32 << 20;
const PAGE: usize = 256 << 10;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const TWO_REQUESTS_IN_ONE: &[u8] = b"0\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n";
/// The preface and an empty SETTINGS frame.
const H2_OPEN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// HEADERS of stream 1: GET / from host `a` (RFC 7541, static table).
const H2_GET: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

struct Running {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn short() -> Limits {
    Limits {
        max_connections: 100,
        max_connections_per_address: 100,
        handshake: ms(200),
        first_byte: ms(400),
        header: ms(150),
        idle: ms(600),
        write_stall: ms(250),
        write_rate: 1024,
        grace: ms(500),
    }
}

async fn respond(request: Request) -> poem::Result<Response> {
    match request.uri().path() {
        "/slow" => sleep(ms(300)).await,
        "/never" => std::future::pending().await,
        "/page" => return Ok(vec![b'x'; PAGE].into_response()),
        "/held" => return h2::hold().await,
        "/big" => return Ok(vec![b'x'; BIG].into_response()),
        "/peer" => return Ok(request.remote_addr().to_string().into_response()),
        "/missing" => return Err(StatusCode::NOT_FOUND.into()),
        _ => {}
    }
    let text = format!("{}!", request.uri().path());
    Ok(text.into_response())
}

async fn start_tls(limits: Limits, tls: Option<Arc<ServerConfig>>) -> Running {
    start_behind(ProxyProtocol::default(), limits, tls).await
}

pub(super) fn server(limits: Limits) -> Server {
    Server {
        limits,
        bad_request: |_, detail| detail.with_status(StatusCode::BAD_REQUEST).into_response(),
        head_too_large: |_| StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response(),
        overloaded: |_| StatusCode::SERVICE_UNAVAILABLE.into_response(),
        observe: |_| {},
        is_reserved: |path| path == "/health",
    }
}

async fn start_behind(
    proxy_protocol: ProxyProtocol,
    limits: Limits,
    tls: Option<Arc<ServerConfig>>,
) -> Running {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let stop = async {
            stopped.await.ok();
        };
        server(limits).serve(listener, proxy_protocol, tls, Arc::new(make(respond)), stop).await
    });
    Running { addr, stop, task }
}

async fn start(limits: Limits) -> Running {
    start_tls(limits, None).await
}

async fn send(server: &Running, bytes: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(server.addr).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    tcp
}

/// Reads until the received bytes end with `end`, or until the server closes the connection.
async fn read_until(io: &mut (impl AsyncRead + Unpin), end: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = async {
        while end.is_empty() || !all.ends_with(end) {
            if !matches!(io.read_buf(&mut all).await, Ok(1..)) {
                break;
            }
        }
    };
    timeout(ms(5_000), reading).await.unwrap();
    all
}

async fn read_all(io: &mut (impl AsyncRead + Unpin)) -> String {
    String::from_utf8(read_until(io, b"").await).unwrap()
}

/// Sends these bytes and returns the only response, after which the server must close the connection.
async fn only_response(bytes: &[u8]) -> String {
    let limits = Limits { idle: ms(5_000), ..short() };
    let response = read_all(&mut send(&start(limits).await, bytes).await).await;
    assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
    response
}

/// Reads frames until the server closes the connection or a frame of type `last` arrives. Returns the types
/// and the payloads of the frames.
async fn frames(io: &mut (impl AsyncRead + Unpin), last: Option<u8>) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let reading = async {
        loop {
            let mut head = [0; 9];
            if io.read_exact(&mut head).await.is_err() {
                break;
            }
            let [a, b, c, kind, ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            io.read_exact(&mut payload).await.unwrap();
            frames.push((kind, payload));
            if last == Some(kind) {
                break;
            }
        }
    };
    timeout(ms(5_000), reading).await.unwrap();
    frames
}

async fn assert_h2_response(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    io.write_all(H2_OPEN).await.unwrap();
    io.write_all(H2_GET).await.unwrap();
    let frames = frames(io, Some(DATA)).await;
    // 0x88 is `:status: 200`.
    assert!(frames.iter().any(|(kind, it)| *kind == HEADERS && it.contains(&0x88)));
    assert!(frames.contains(&(DATA, b"/!".to_vec())));
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = start(short()).await;
    let begin = Instant::now();
    assert_eq!(read_all(&mut send(&server, b"").await).await, "");
    assert!(begin.elapsed() >= ms(390));
}

#[tokio::test]
async fn a_connection_whose_header_arrives_byte_by_byte_is_closed_at_the_header_deadline() {
    let server = start(short()).await;
    let begin = Instant::now();
    let (mut read, mut write) = send(&server, b"GET / HTTP/1.1\r\nX: ").await.into_split();
    let drip = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            sleep(ms(20)).await;
        }
    });
    assert_eq!(read_all(&mut read).await, "");
    assert!(begin.elapsed() >= ms(140));
    assert!(begin.elapsed() < ms(390), "closed by a later deadline");
    drip.await.unwrap();
}

#[tokio::test]
async fn the_header_deadline_also_ends_a_partial_h2_preface() {
    let server = start(short()).await;
    let begin = Instant::now();
    assert_eq!(read_all(&mut send(&server, b"PRI * HTTP/2.0\r\n").await).await, "");
    assert!(begin.elapsed() < ms(390), "closed by a later deadline");
}

#[tokio::test]
async fn an_idle_connection_is_reusable_until_the_idle_deadline() {
    let server = start(short()).await;
    let mut tcp = send(&server, GET).await;
    assert!(read_until(&mut tcp, b"/!").await.ends_with(b"/!"));
    sleep(ms(300)).await;
    tcp.write_all(GET).await.unwrap();
    assert!(read_until(&mut tcp, b"/!").await.ends_with(b"/!"));
    let begin = Instant::now();
    assert_eq!(read_all(&mut tcp).await, "");
    assert!(begin.elapsed() >= ms(580));
}

#[tokio::test]
async fn the_header_of_the_second_request_of_a_connection_has_a_deadline_too() {
    let server = start(short()).await;
    let mut tcp = send(&server, GET).await;
    read_until(&mut tcp, b"/!").await;
    let begin = Instant::now();
    tcp.write_all(b"GET").await.unwrap();
    assert_eq!(read_all(&mut tcp).await, "");
    assert!(begin.elapsed() < ms(550), "closed by a later deadline");
}

#[tokio::test]
async fn no_read_deadline_ends_a_request_in_flight() {
    let limits = Limits { first_byte: ms(50), header: ms(50), idle: ms(50), ..short() };
    let request = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
    let response = read_all(&mut send(&start(limits).await, request).await).await;
    assert!(response.ends_with("/slow!"), "{response}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_and_a_slow_reader_is_not() {
    let server = start(short()).await;
    let request = b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let (mut stuck, mut slow) = (send(&server, request).await, send(&server, request).await);
    let mut got = 0;
    let mut buf = vec![0; 1 << 16];
    while let Ok(n @ 1..) = slow.read(&mut buf).await {
        got += n;
        if got % (4 << 20) < n {
            sleep(ms(80)).await;
        }
    }
    assert!(got > BIG, "{got}");
    let got = read_until(&mut stuck, b"").await.len();
    assert!(got < BIG, "{got}");
}

#[tokio::test]
async fn a_stopping_server_completes_requests_in_flight() {
    let server = start(short()).await;
    let mut slow = send(&server, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut idle = send(&server, GET).await;
    read_until(&mut idle, b"/!").await;
    let (_silent, _half) = (send(&server, b"").await, send(&server, b"GET").await);
    sleep(ms(50)).await;
    let begin = Instant::now();
    server.stop.send(()).unwrap();
    assert_eq!(read_all(&mut idle).await, "");
    assert!(begin.elapsed() < ms(200), "the idle connection stayed open");
    assert!(TcpStream::connect(server.addr).await.is_err());
    assert!(read_all(&mut slow).await.ends_with("/slow!"));
    server.task.await.unwrap().unwrap();
    assert!(begin.elapsed() < ms(1_500));
}

#[tokio::test]
async fn a_stopping_server_aborts_requests_that_do_not_end() {
    let server = start(short()).await;
    let mut never = send(&server, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut h2 = send(&server, H2_OPEN).await;
    h2.write_all(H2_GET).await.unwrap();
    sleep(ms(50)).await;
    let begin = Instant::now();
    server.stop.send(()).unwrap();
    assert_eq!(read_all(&mut never).await, "");
    server.task.await.unwrap().unwrap();
    assert!(begin.elapsed() >= ms(490));
    assert!(begin.elapsed() < ms(1_500));
}

#[tokio::test]
async fn an_http_1_1_request_needs_exactly_one_valid_host() {
    for hosts in ["", "Host: a\r\nHost: a\r\n", "Host: a/b\r\n", "Host: a b\r\n"] {
        // The pipelined second request must not get a response.
        let request = format!("GET / HTTP/1.1\r\n{hosts}\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = only_response(request.as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 400"), "{hosts}: {response}");
        assert!(response.contains("connection: close"), "{hosts}: {response}");
    }
    let response = read_all(&mut send(&start(short()).await, b"GET / HTTP/1.0\r\n\r\n").await).await;
    assert!(response.starts_with("HTTP/1.0 200"), "{response}");
}

//
#[tokio::test]
async fn a_transfer_coding_other_than_chunked_is_refused() {
    for codings in ["gzip, chunked", "chunked\r\nTransfer-Encoding: chunked", "gzip,chunked"] {
        let head = format!("POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {codings}\r\n\r\n");
        let response = only_response(&[head.as_bytes(), TWO_REQUESTS_IN_ONE].concat()).await;
        assert!(response.starts_with("HTTP/1.1 400"), "{codings}: {response}");
    }
    let head = b"POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n";
    let server = start(short()).await;
    let mut tcp = send(&server, head).await;
    assert!(read_until(&mut tcp, b"/first!").await.ends_with(b"/first!"));
}

#[tokio::test]
async fn a_request_with_conflicting_lengths_gets_only_one_response() {
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: chunked, identity",
    ] {
        let head = format!("POST /first HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\n");
        let response = only_response(&[head.as_bytes(), TWO_REQUESTS_IN_ONE].concat()).await;
        assert!(!response.contains("/second"), "{lengths}: {response}");
    }
}

#[tokio::test]
async fn a_header_above_the_size_limit_is_rejected() {
    let server = start(short()).await;
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let response = read_all(&mut send(&server, request.as_bytes()).await).await;
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 431"), "{response}");
}

#[tokio::test]
async fn the_header_deadline_does_not_close_an_h2_connection_without_a_request() {
    let server = start(short()).await;
    let (half, rest) = H2_OPEN.split_at(10);
    let mut tcp = send(&server, half).await;
    sleep(ms(30)).await;
    tcp.write_all(rest).await.unwrap();
    sleep(ms(300)).await;
    tcp.write_all(H2_GET).await.unwrap();
    assert!(frames(&mut tcp, Some(DATA)).await.contains(&(DATA, b"/!".to_vec())));
}

#[tokio::test]
async fn an_error_of_an_endpoint_is_sent_as_a_response() {
    let request = b"GET /missing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(only_response(request).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn h2_with_prior_knowledge_is_served_and_gets_goaway_when_idle() {
    let server = start(short()).await;
    let mut tcp = send(&server, b"").await;
    assert_h2_response(&mut tcp).await;
    let begin = Instant::now();
    let rest = frames(&mut tcp, None).await;
    assert!(rest.iter().any(|(kind, _)| *kind == GOAWAY));
    assert!(begin.elapsed() >= ms(580));
    assert!(begin.elapsed() < ms(2_000));
}

#[tokio::test]
async fn binding_to_an_address_in_use_fails_with_an_error_that_names_the_address() {
    let server = start(short()).await;
    let error = bind(server.addr).await.unwrap_err();
    assert_eq!(error.to_string(), format!("address already in use: {}", server.addr));
}

#[tokio::test]
async fn sigterm_ends_the_wait_for_a_stop_signal() {
    let mut signals = stop_signals().unwrap();
    let stop = signals.next();
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
    timeout(ms(2_000), stop).await.unwrap();
}

#[test]
fn the_connection_limit_leaves_file_descriptors_for_other_uses() {
    assert_eq!(connection_limit(10_000, None), 10_000);
    assert_eq!(connection_limit(10_000, Some(1_024)), 960);
    assert_eq!(connection_limit(10_000, Some(10)), 1);
    assert_eq!(connection_limit(500, Some(1_024)), 500);
}
