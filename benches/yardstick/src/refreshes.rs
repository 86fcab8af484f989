//! Clients that refresh their sessions repeatedly, each on its own connection.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::connection::{Connection, Error, summary, text};

/// Returns a line of JSON: refreshes per second and the p99 latency.
///
/// # Errors
///
/// If a response does not contain the next refresh token.
pub(crate) async fn measure(port: u16, file: &str, seconds: u64) -> Result<String, Error> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let tokens = fs::read_to_string(file)?;
    let clients: Vec<_> =
        tokens.lines().map(|token| tokio::spawn(client(port, token.to_owned(), until))).collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await??);
    }
    Ok(summary(took, seconds))
}

async fn client(port: u16, mut token: String, until: Instant) -> Result<Vec<Duration>, Error> {
    let mut connection = Connection::open(port).await?;
    let mut took = Vec::new();
    while Instant::now() < until {
        let body = json!({ "refresh_token": token });
        let started = Instant::now();
        let grant = connection.post("/api/v1/auth/refresh", None, &body).await?;
        took.push(started.elapsed());
        text(&grant, "/refresh_token")?.clone_into(&mut token);
    }
    Ok(took)
}
