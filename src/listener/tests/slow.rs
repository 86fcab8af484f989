//! Clients that read or send slowly, and the rate below which the server closes the connection.

use tokio::net::TcpSocket;

use super::h2::{PING, SETTINGS, WINDOW_UPDATE, frame, get};
use super::*;

/// Opens an h2 connection with an initial stream window of `window` bytes and requests `path` on
/// stream 1.
async fn open_with_window(server: &Running, window: u32, path: &str) -> TcpStream {
    let mut tcp = send(server, H2_OPEN).await;
    let initial_window = [&[0, 4][..], &window.to_be_bytes()].concat();
    tcp.write_all(&frame(SETTINGS, 0, 0, &initial_window)).await.unwrap();
    tcp.write_all(&get(1, path)).await.unwrap();
    tcp
}

fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// Returns the total number of bytes in DATA frames.
fn data_bytes(frames: &[(u8, Vec<u8>)]) -> usize {
    frames.iter().filter(|(kind, _)| *kind == DATA).map(|(_, payload)| payload.len()).sum()
}

/// Reads a large response at about 800 KiB/s, for at most two seconds. Returns how long the connection stayed
/// open.
async fn read_slowly(limits: Limits) -> Duration {
    let server = start(limits).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut tcp = socket.connect(server.addr).await.unwrap();
    tcp.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let begin = Instant::now();
    let mut buf = [0; 8 * 1024];
    while begin.elapsed() < ms(2_000) && matches!(tcp.read(&mut buf).await, Ok(1..)) {
        sleep(ms(10)).await;
    }
    begin.elapsed()
}

#[tokio::test]
async fn a_slow_reader_is_disconnected_below_the_minimum_rate_and_served_above_it() {
    // S-75
    let took = read_slowly(Limits { write_rate: 16 << 20, ..short() }).await;
    assert!((ms(240)..ms(1_500)).contains(&took), "{took:?}");
    let took = read_slowly(Limits { write_rate: 64 << 10, ..short() }).await;
    assert!(took >= ms(2_000), "{took:?}");
}

#[tokio::test]
async fn closing_a_connection_discards_data_that_the_client_has_not_read() {
    // S-75
    let server = start(short()).await;
    let mut tcp = send(&server, b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    sleep(ms(1_000)).await;
    let mut buf = vec![0; 1 << 16];
    let end = loop {
        match tcp.read(&mut buf).await {
            Ok(1..) => {}
            end => break end,
        }
    };
    assert!(end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn an_h2_client_with_a_closed_flow_control_window_is_disconnected() {
    // S-75
    let server = start(Limits { idle: ms(60), ..short() }).await;
    let begin = Instant::now();
    let frames = frames(&mut open_with_window(&server, 0, "/page").await, None).await;
    assert!(frames.iter().any(|(kind, _)| *kind == HEADERS));
    assert_eq!(data_bytes(&frames), 0);
    assert!((ms(240)..ms(1_000)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn tiny_window_updates_and_pings_do_not_extend_the_deadline() {
    // S-75
    let server = start(Limits { idle: ms(60), ..short() }).await;
    let begin = Instant::now();
    let (mut read, mut write) = open_with_window(&server, 1, "/page").await.into_split();
    let drip = tokio::spawn(async move {
        // The replies to the pings alone exceed the minimum rate.
        let updates = [window_update(1, 1), frame(PING, 0, 0, &[0; 8]).repeat(4)].concat();
        while write.write_all(&updates).await.is_ok() {
            sleep(ms(20)).await;
        }
    });
    let frames = frames(&mut read, None).await;
    assert!((2..100).contains(&data_bytes(&frames)), "{}", data_bytes(&frames));
    assert!(!frames.iter().any(|(kind, _)| *kind == GOAWAY), "closed as idle");
    assert!((ms(240)..ms(1_000)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    drip.await.unwrap();
}

#[tokio::test]
async fn an_h2_client_that_reads_in_steps_gets_the_whole_response() {
    let server = start(Limits { write_rate: 64 << 10, idle: ms(60), ..short() }).await;
    let begin = Instant::now();
    let mut tcp = open_with_window(&server, 32 << 10, "/page").await;
    let mut got = 0;
    while got < PAGE {
        let frames = frames(&mut tcp, Some(DATA)).await;
        assert!(frames.last().is_some_and(|(kind, _)| *kind == DATA), "closed after {got}");
        got += data_bytes(&frames);
        if got % (32 << 10) == 0 {
            // The later pauses exceed `write_stall`, but the bytes read so far have extended the deadline.
            sleep(if got < 64 << 10 { ms(200) } else { ms(300) }).await;
            tcp.write_all(&[window_update(0, 32 << 10), window_update(1, 32 << 10)].concat()).await.unwrap();
        }
    }
    assert_eq!(got, PAGE);
    assert!(begin.elapsed() > 6 * short().write_stall);
}

#[tokio::test]
async fn a_stopping_server_waits_at_most_the_grace_period_for_a_client_with_a_closed_flow_control_window() {
    // S-73
    let server = start(Limits { write_stall: ms(10_000), ..short() }).await;
    let mut tcp = open_with_window(&server, 0, "/page").await;
    frames(&mut tcp, Some(HEADERS)).await;
    let begin = Instant::now();
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert!((ms(490)..ms(1_500)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_client_that_is_rejected_while_it_sends_its_body_receives_the_response() {
    let server = start(Limits::default()).await;
    let head = b"POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n";
    let mut tcp = send(&server, head).await;
    // Simulates a slow link: the server responds and shuts down its side before half of the body was sent.
    for _ in 0..60 {
        tcp.write_all(&[b'x'; 10_000]).await.unwrap();
        sleep(ms(5)).await;
    }
    let response = read_all(&mut tcp).await;
    assert!(response.starts_with("HTTP/1.1 404"), "{response}");
}

#[tokio::test]
async fn a_client_that_keeps_sending_after_the_response_is_disconnected() {
    // S-75
    let server = start(Limits::default()).await;
    let head = b"POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n";
    let mut tcp = send(&server, head).await;
    let begin = Instant::now();
    while begin.elapsed() < ms(6_000) && tcp.write_all(b"x").await.is_ok() {
        sleep(ms(20)).await;
    }
    assert!(begin.elapsed() < ms(4_000), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_connection_is_closed_after_a_rejected_request_only_if_the_request_body_has_not_arrived() {
    let server = start(Limits::default()).await;
    // If a request is rejected after its body arrived, the same connection serves the next request.
    let small = b"POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nsmall";
    let mut tcp = send(&server, small).await;
    let response = read_until(&mut tcp, b"\r\n\r\n").await;
    assert!(!String::from_utf8_lossy(&response).contains("connection: close"), "{response:?}");
    tcp.write_all(small).await.unwrap();
    assert!(read_until(&mut tcp, b"\r\n\r\n").await.starts_with(b"HTTP/1.1 404"));
    // If a request is rejected before its body arrived, the response has `Connection: close`.
    let head = b"POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n";
    let mut tcp = send(&server, head).await;
    let response = read_all(&mut tcp).await;
    assert!(response.starts_with("HTTP/1.1 404") && response.contains("connection: close"), "{response}");
}
