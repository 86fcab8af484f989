//! HTTP/2 at the level of frames: the host of a request, and floods of resets.

use std::sync::atomic::AtomicUsize;

use super::*;

pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const WINDOW_UPDATE: u8 = 8;
/// RFC 9113 §7
const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Number of requests that are in the handler of `/held` now.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// Number of requests that ever reached the handler of `/held`.
static EVER_HELD: AtomicUsize = AtomicUsize::new(0);

struct Held;

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Never responds, and counts the waiting requests.
pub(super) async fn hold() -> poem::Result<Response> {
    EVER_HELD.fetch_add(1, Ordering::SeqCst);
    HELD.fetch_add(1, Ordering::SeqCst);
    let _held = Held;
    std::future::pending().await
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length, &[kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// Returns a HEADERS frame that ends the stream: the method GET, the scheme http, and `fields`, encoded as in
/// RFC 7541 §6.2.2.
fn request(stream: u32, fields: &[u8]) -> Vec<u8> {
    frame(HEADERS, 5, stream, &[b"\x82\x86", fields].concat())
}

pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    request(stream, &[b"\x41\x01a\x04", &[length][..], path.as_bytes()].concat())
}

#[tokio::test]
async fn an_h2_request_must_name_exactly_one_host_without_userinfo() {
    // S-57; 0x84 is `:path: /`, 0x41 and a length begin `:authority`, 0x0f 0x17 and a length begin `host`.
    for (fields, accepted) in [
        (&b"\x84\x41\x01a"[..], true),
        (b"\x84\x41\x01a\x0f\x17\x01a", true),
        (b"\x84\x0f\x17\x01a", true),
        (b"\x84", false),
        (b"\x84\x41\x01a\x0f\x17\x01b", false),
        (b"\x84\x41\x01a\x0f\x17\x01a\x0f\x17\x01a", false),
        (b"\x84\x41\x03u@a", false),
        (b"\x84\x41\x05u:p@a", false),
        (b"\x84\x0f\x17\x03u@a", false),
        (b"\x84\x41\x03u@a\x0f\x17\x03u@a", false),
    ] {
        let server = start(short()).await;
        let mut tcp = send(&server, &[H2_OPEN, &request(1, fields)].concat()).await;
        let frames = frames(&mut tcp, Some(HEADERS)).await;
        let (_, head) = frames.last().unwrap();
        // 0x88 is `:status: 200`, and 0x8c is `:status: 400`.
        assert_eq!(head.first(), Some(if accepted { &0x88 } else { &0x8c }), "{fields:?}");
    }
}

#[tokio::test]
async fn a_request_target_with_userinfo_gets_400() {
    for target in ["http://u@a/", "http://u:p@a/", "http://@a/"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = only_response(request.as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 400"), "{target}: {response}");
    }
}

#[tokio::test]
async fn a_flood_of_h2_resets_closes_only_its_own_connection() {
    // S-76
    let server = start(short()).await;
    let flood = (0..1_000).map(|n| [get(2 * n + 1, "/"), frame(RST_STREAM, 0, 2 * n + 1, &CANCEL)].concat());
    let flood = flood.collect::<Vec<_>>().concat();
    let mut tcp = send(&server, H2_OPEN).await;
    // The server can close the connection before it has read everything.
    tcp.write_all(&flood).await.ok();
    let frames = frames(&mut tcp, Some(GOAWAY)).await;
    let (kind, payload) = frames.last().unwrap();
    assert_eq!((*kind, payload.get(4..8)), (GOAWAY, Some(&ENHANCE_YOUR_CALM[..])));
    assert_h2_response(&mut send(&server, b"").await).await;
}

#[tokio::test]
async fn resetting_an_h2_request_cancels_its_handler() {
    // S-76
    let server = start(short()).await;
    let mut tcp = send(&server, H2_OPEN).await;
    for n in 0..100 {
        tcp.write_all(&get(2 * n + 1, "/held")).await.unwrap();
        while EVER_HELD.load(Ordering::SeqCst) <= n as usize {
            sleep(ms(1)).await;
        }
        tcp.write_all(&frame(RST_STREAM, 0, 2 * n + 1, &CANCEL)).await.unwrap();
        assert!(HELD.load(Ordering::SeqCst) <= 32);
    }
    sleep(ms(100)).await;
    assert_eq!(HELD.load(Ordering::SeqCst), 0);
    tcp.write_all(&get(201, "/")).await.unwrap();
    assert!(frames(&mut tcp, Some(DATA)).await.contains(&(DATA, b"/!".to_vec())));
}
