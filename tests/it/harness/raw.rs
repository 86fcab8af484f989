//! Raw TCP exchanges, for requests that no client library sends.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::reply::Reply;

/// If no data arrives for this time, the response is regarded as complete.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

/// The bytes that arrived before the server closed the connection or stopped sending.
#[derive(Clone, Debug)]
pub(crate) struct RawReply {
    /// The bytes, unchanged.
    pub(crate) bytes: Vec<u8>,
    /// Whether the server closed the connection.
    pub(crate) closed: bool,
}

impl RawReply {
    /// Returns the status codes of all responses, in order.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.bytes);
        // In each part, the minor version digit and a space precede the status.
        text.split("HTTP/1.")
            .skip(1)
            .map(|response| response.get(2..5).and_then(|status| status.parse().ok()).unwrap())
            .collect()
    }

    /// Parses the only response on a closed connection, as a response to `method` and `path`.
    pub(super) fn reply(&self, method: &Method, path: &str) -> Reply {
        let text = self.text();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let headers: HeaderMap = head
            .lines()
            .skip(1)
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
            })
            .collect();
        let request = format!("{method} {path}");
        Reply { status: self.statuses()[0], headers, body: body.as_bytes().to_vec(), request }
    }

    /// Returns the bytes as lossy UTF-8.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

pub(super) async fn exchange(address: SocketAddr, request: &[u8], silence: Duration) -> RawReply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may respond and close before the whole request is written.
    drop(stream.write_all(request).await);
    let mut reply = RawReply { bytes: Vec::new(), closed: false };
    let mut chunk = [0; 4096];
    loop {
        match tokio::time::timeout(silence, stream.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) => {
                reply.closed = true;
                return reply;
            }
            Ok(Ok(count)) => reply.bytes.extend_from_slice(&chunk[..count]),
            Err(_) => return reply,
        }
    }
}
