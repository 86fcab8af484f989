//! Clients that refresh their sessions repeatedly, each on its own connection.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Returns a line of JSON: refreshes per second and the p99 latency.
///
/// # Errors
///
/// If a response does not contain the next refresh token.
pub(crate) async fn measure(port: u16, file: &str, seconds: u64) -> Result<String, Box<dyn Error>> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let tokens = fs::read_to_string(file)?;
    let clients: Vec<_> =
        tokens.lines().map(|token| tokio::spawn(client(port, token.to_owned(), until))).collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await?.map_err(|error| -> Box<dyn Error> { error })?);
    }
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    let count = u32::try_from(took.len()).unwrap_or(u32::MAX);
    let per_second = f64::from(count) / Duration::from_secs(seconds).as_secs_f64();
    Ok(format!(r#"{{"per_second": {per_second:.1}, "p99_ms": {:.2}}}"#, p99.as_secs_f64() * 1000.0))
}

async fn client(
    port: u16,
    mut token: String,
    until: Instant,
) -> Result<Vec<Duration>, Box<dyn Error + Send + Sync>> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    connection.set_nodelay(true)?;
    let mut took = Vec::new();
    let mut response = vec![0; 16 * 1024];
    while Instant::now() < until {
        let body = format!(r#"{{"refresh_token":"{token}"}}"#);
        let request = format!(
            "POST /api/v1/auth/refresh HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let started = Instant::now();
        connection.write_all(request.as_bytes()).await?;
        let mut length = 0;
        // The user is the last field of a grant, so the body ends with two braces.
        while !response.get(..length).is_some_and(|read| read.ends_with(b"}}")) {
            let read = connection.read(response.get_mut(length..).unwrap_or_default()).await?;
            length += read;
            if read == 0 {
                return Err("the connection was closed".into());
            }
        }
        took.push(started.elapsed());
        let text = String::from_utf8_lossy(response.get(..length).unwrap_or_default());
        let next = text.split(r#""refresh_token":""#).nth(1).and_then(|rest| rest.split('"').next());
        token = next.ok_or_else(|| text.lines().next().unwrap_or_default().to_owned())?.to_owned();
    }
    Ok(took)
}
