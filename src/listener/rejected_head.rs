//! The responses to HTTP/1.1 requests whose head hyper can't parse.
//!
//! hyper sends its own response, which has a status and no body, and closes the connection. No setting of
//! hyper changes this. The server therefore wraps the stream that hyper writes to. The wrapper recognizes
//! hyper's response and sends a response of the server instead. hyper's response is always the last response
//! of a connection. It has a fixed form with fewer headers than a response of the server.

use std::io;
use std::net::IpAddr;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Collected};
use poem::Response;

use super::Server;

/// An upper bound of the length of hyper's response, in bytes.
const MAX_BYTES: usize = 256;

/// hyper's response to a head that hyper can't parse, at the end of the bytes that hyper writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rejected {
    /// The index of the first byte of the response.
    pub(super) start: usize,
    is_too_large: bool,
}

impl Rejected {
    /// Returns the response of hyper at the end of `bytes`, if there is one.
    pub(super) fn find(bytes: &[u8]) -> Option<Self> {
        // This check is fast, and excludes almost every response, because almost every response ends with a
        // body.
        let head = bytes.strip_suffix(b"\r\n\r\n")?;
        let tail = head.get(head.len().saturating_sub(MAX_BYTES)..)?;
        let begin = tail.windows(10).rposition(|window| window == b"HTTP/1.1 4")?;
        let lines = std::str::from_utf8(tail.get(begin..)?).ok()?;
        let (status, headers) = lines.split_once("\r\n")?;
        let is_hyper = headers.split("\r\n").all(|line| {
            let name = line.split_once(':').map(|(name, _)| name);
            matches!(name, Some("connection" | "content-length" | "date"))
        });
        let is_too_large = match status.get(9..12)? {
            "400" => false,
            "414" | "431" => true,
            _ => return None,
        };
        let start = head.len() - tail.len() + begin;
        (is_hyper && headers.contains("content-length: 0")).then_some(Self { start, is_too_large })
    }

    /// Returns the bytes of the server's response.
    pub(super) fn render(self, server: &Server, peer: IpAddr) -> Vec<u8> {
        let response = if self.is_too_large {
            (server.head_too_large)(peer)
        } else {
            (server.bad_request)(peer, "The request line or a header of the request is malformed.")
        };
        serialize(response)
    }
}

/// Serializes a response as HTTP/1.1. The body of the response must be in memory.
fn serialize(mut response: Response) -> Vec<u8> {
    let body: BoxBody<Bytes, io::Error> = response.take_body().into();
    let body = body.collect().now_or_never().and_then(Result::ok).map(Collected::to_bytes);
    let body = body.unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYPER: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
        content-length: 0\r\ndate: Sun, 29 Nov 2026 12:00:00 GMT\r\n\r\n";

    #[test]
    fn only_the_last_response_of_a_connection_is_replaced_and_only_if_hyper_wrote_it() {
        //
        let rejected = Rejected { start: 0, is_too_large: true };
        assert_eq!(Rejected::find(HYPER.as_bytes()), Some(rejected));
        let first = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let both = format!("{first}{HYPER}");
        assert_eq!(Rejected::find(both.as_bytes()), Some(Rejected { start: first.len(), ..rejected }));
        let bad = HYPER.replace("431 Request Header Fields Too Large", "400 Bad Request");
        assert_eq!(Rejected::find(bad.as_bytes()), Some(Rejected { start: 0, is_too_large: false }));
        for other in [
            first.to_owned(),
            "HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n".to_owned(),
            bad.replace("date", "x-request-id: 1\r\ndate"),
            bad.replace("400 Bad Request", "404 Not Found"),
            bad.replace("length: 0", "length: 2"),
            format!("{HYPER}x"),
            "\r\n\r\n".to_owned(),
        ] {
            assert_eq!(Rejected::find(other.as_bytes()), None, "{other}");
        }
    }
}
