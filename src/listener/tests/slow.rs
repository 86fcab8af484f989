//! Clients that read slowly: how slow is too slow.

use tokio::net::TcpSocket;

use super::h2::{PING, SETTINGS, WINDOW_UPDATE, frame, get};
use super::*;

/// An h2 client whose streams may each be sent this much, and its request for `path` on stream 1.
async fn narrow(server: &Running, window: u32, path: &str) -> TcpStream {
    let mut tcp = send(server, H2_OPEN).await;
    let initial_window = [&[0, 4][..], &window.to_be_bytes()].concat();
    tcp.write_all(&frame(SETTINGS, 0, 0, &initial_window)).await.unwrap();
    tcp.write_all(&get(1, path)).await.unwrap();
    tcp
}

fn widen(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// Bytes of DATA.
fn data(frames: &[(u8, Vec<u8>)]) -> usize {
    frames.iter().filter(|(kind, _)| *kind == DATA).map(|(_, payload)| payload.len()).sum()
}

/// Reads some 800 KiB/s of an answer that has no end, for two seconds: how long the server held out.
async fn sip(limits: Limits) -> Duration {
    let server = start(limits).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut tcp = socket.connect(server.addr).await.unwrap();
    tcp.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let begin = Instant::now();
    let mut sip = [0; 8 * 1024];
    while begin.elapsed() < ms(2_000) && matches!(tcp.read(&mut sip).await, Ok(1..)) {
        sleep(ms(10)).await;
    }
    begin.elapsed()
}

#[tokio::test]
async fn who_sips_is_closed_below_the_least_rate_and_served_above_it() {
    // S-75
    let took = sip(Limits { write_rate: 16 << 20, ..short() }).await;
    assert!((ms(240)..ms(1_500)).contains(&took), "{took:?}");
    let took = sip(Limits { write_rate: 64 << 10, ..short() }).await;
    assert!(took >= ms(2_000), "{took:?}");
}

#[tokio::test]
async fn what_nobody_reads_is_thrown_away_by_the_kernel_too() {
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
async fn an_h2_client_that_leaves_no_room_for_an_answer_is_closed() {
    // S-75
    let server = start(Limits { idle: ms(60), ..short() }).await;
    let begin = Instant::now();
    let frames = frames(&mut narrow(&server, 0, "/page").await, None).await;
    assert!(frames.iter().any(|(kind, _)| *kind == HEADERS));
    assert_eq!(data(&frames), 0);
    assert!((ms(240)..ms(1_000)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn neither_drops_of_window_nor_pings_hold_an_answer() {
    // S-75
    let server = start(Limits { idle: ms(60), ..short() }).await;
    let begin = Instant::now();
    let (mut read, mut write) = narrow(&server, 1, "/page").await.into_split();
    let drip = tokio::spawn(async move {
        // The pings' echoes alone would be more than the least rate.
        let drop = [widen(1, 1), frame(PING, 0, 0, &[0; 8]).repeat(4)].concat();
        while write.write_all(&drop).await.is_ok() {
            sleep(ms(20)).await;
        }
    });
    let frames = frames(&mut read, None).await;
    assert!((2..100).contains(&data(&frames)), "{}", data(&frames));
    assert!(!frames.iter().any(|(kind, _)| *kind == GOAWAY), "it was taken for idle");
    assert!((ms(240)..ms(1_000)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    drip.await.unwrap();
}

#[tokio::test]
async fn an_h2_client_that_reads_in_steps_gets_all() {
    let server = start(Limits { write_rate: 64 << 10, idle: ms(60), ..short() }).await;
    let begin = Instant::now();
    let mut tcp = narrow(&server, 32 << 10, "/page").await;
    let mut got = 0;
    while got < PAGE {
        let frames = frames(&mut tcp, Some(DATA)).await;
        assert!(frames.last().is_some_and(|(kind, _)| *kind == DATA), "closed after {got}");
        got += data(&frames);
        if got % (32 << 10) == 0 {
            // Later on it takes longer than the first wait, but that was bought before.
            sleep(if got < 64 << 10 { ms(200) } else { ms(300) }).await;
            tcp.write_all(&[widen(0, 32 << 10), widen(1, 32 << 10)].concat()).await.unwrap();
        }
    }
    assert_eq!(got, PAGE);
    assert!(begin.elapsed() > 6 * short().write_stall);
}

#[tokio::test]
async fn a_stop_waits_no_longer_for_an_answer_that_finds_no_room() {
    // S-73
    let server = start(Limits { write_stall: ms(10_000), ..short() }).await;
    let mut tcp = narrow(&server, 0, "/page").await;
    frames(&mut tcp, Some(HEADERS)).await;
    let begin = Instant::now();
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert!((ms(490)..ms(1_500)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn who_is_refused_while_sending_a_body_still_reads_why() {
    let server = start(Limits::default()).await;
    let head = b"POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n";
    let mut tcp = send(&server, head).await;
    // As over a slow link: the answer is there, and the connection closed, before half of it was sent.
    for _ in 0..60 {
        tcp.write_all(&[b'x'; 10_000]).await.unwrap();
        sleep(ms(5)).await;
    }
    let answer = read_all(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn who_goes_on_sending_after_the_answer_is_not_listened_to_for_ever() {
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
async fn what_is_left_of_a_body_ends_the_connection_only_if_it_is_not_there_yet() {
    let server = start(Limits::default()).await;
    // Refused with its body at hand: the next request is served on the same connection.
    let small = b"POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nsmall";
    let mut tcp = send(&server, small).await;
    let answer = read_until(&mut tcp, b"\r\n\r\n").await;
    assert!(!String::from_utf8_lossy(&answer).contains("connection: close"), "{answer:?}");
    tcp.write_all(small).await.unwrap();
    assert!(read_until(&mut tcp, b"\r\n\r\n").await.starts_with(b"HTTP/1.1 404"));
    // Refused before its body has come: the client is told to take another connection for the next.
    let head = b"POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n";
    let mut tcp = send(&server, head).await;
    let answer = read_all(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("connection: close"), "{answer}");
}
