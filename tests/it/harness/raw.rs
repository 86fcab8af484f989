//! Bytes over TCP, for requests that no client library would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the server may be silent before its answer counts as whole.
const SILENCE: Duration = Duration::from_secs(2);

/// Everything that came before the server closed the connection or fell silent.
#[derive(Clone, Debug)]
pub(crate) struct RawReply {
    /// As it came.
    pub(crate) bytes: Vec<u8>,
    /// Whether the server closed the connection.
    pub(crate) closed: bool,
}

impl RawReply {
    /// The statuses of all responses, in order.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.bytes);
        // Behind the digit of the version and a space.
        text.split("HTTP/1.")
            .skip(1)
            .map(|response| response.get(2..5).and_then(|status| status.parse().ok()).unwrap())
            .collect()
    }

    /// As text, whatever it is.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

pub(super) async fn exchange(address: SocketAddr, request: &[u8]) -> RawReply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has seen enough may close before everything is written.
    drop(stream.write_all(request).await);
    let mut reply = RawReply { bytes: Vec::new(), closed: false };
    let mut chunk = [0; 4096];
    loop {
        match tokio::time::timeout(SILENCE, stream.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) => {
                reply.closed = true;
                return reply;
            }
            Ok(Ok(count)) => reply.bytes.extend_from_slice(&chunk[..count]),
            Err(_) => return reply,
        }
    }
}
