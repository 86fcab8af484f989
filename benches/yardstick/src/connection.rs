//! A client's connection, which sends and receives JSON.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

pub(crate) struct Connection {
    stream: TcpStream,
    response: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Result<Self, Error> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, response: Vec::new() })
    }

    /// Sends a POST request, and returns the body of the response.
    ///
    /// # Errors
    ///
    /// If the response is not successful, has no `Content-Length`, or is not JSON.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Result<Value, Error> {
        let body = body.to_string();
        let authorization =
            token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.response.clear();
        loop {
            if let Some(body) = complete_body(&self.response)? {
                return Ok(serde_json::from_slice(body)?);
            }
            if self.stream.read_buf(&mut self.response).await? == 0 {
                return Err("the connection was closed".into());
            }
        }
    }
}

/// Returns the body of a successful response if it has arrived completely.
fn complete_body(response: &[u8]) -> Result<Option<&[u8]>, Error> {
    let Some(end) = response.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = response.split_at(end);
    let head = str::from_utf8(head)?.to_ascii_lowercase();
    if !head.starts_with("http/1.1 2") {
        return Err(head.lines().next().unwrap_or_default().into());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.ok_or("no Content-Length")?.trim().parse()?;
    Ok(rest.get(4..4 + length))
}

/// Returns the string at a JSON pointer (RFC 6901).
///
/// # Errors
///
/// If the value at the pointer is absent or is not a string.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str, Error> {
    value.pointer(pointer).and_then(Value::as_str).ok_or_else(|| format!("no {pointer}").into())
}

/// Returns a line of JSON: the requests per second and their p99 latency. `took` has the duration of each
/// request.
pub(crate) fn summary(mut took: Vec<Duration>, seconds: u64) -> String {
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    let count = u32::try_from(took.len()).unwrap_or(u32::MAX);
    let per_second = f64::from(count) / Duration::from_secs(seconds).as_secs_f64();
    format!(r#"{{"per_second": {per_second:.1}, "p99_ms": {:.2}}}"#, p99.as_secs_f64() * 1000.0)
}
