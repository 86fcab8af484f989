//! Version 2 of the PROXY protocol: a proxy begins each connection with a header that contains the client's address
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! The address of the peer alone decides whether a connection begins with a header, never the bytes that
//! arrive: otherwise any client could choose its own address. A trusted proxy must send a header; the server
//! closes a connection of a trusted proxy that has no valid header. On a connection of any other peer, a
//! header is a malformed request. Invariants: reading a header consumes no byte beyond the header; a header
//! has at most 2,064 bytes and arrives within [`super::Limits::header`]. Version 1, which is text, is
//! rejected.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;
use tracing::{debug, warn};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The length of the fixed part of a header.
const FIXED_LENGTH: usize = 16;
/// The maximum length of the part of a header after the fixed part: addresses and TLVs. Proxies usually send
/// less than 1,000 bytes.
const MAX_LENGTH: usize = 2_048;
/// The minimum time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// The header of a connection that a proxy opens for itself, such as a health check: the command LOCAL.
pub const LOCAL_HEADER: [u8; FIXED_LENGTH] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// The peers whose connections begin with a header.
#[derive(Clone, Debug, Default)]
pub struct ProxyProtocol(Vec<IpNet>);

impl ProxyProtocol {
    /// Requires the header on each connection from these networks.
    pub fn from_proxies(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Returns whether a connection from this address begins with a header.
    pub fn is_expected_from(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }
}

/// Why a connection has no valid header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("the proxy closed the connection before it sent a byte")]
    Empty,
    #[error("the header is incomplete")]
    Truncated,
    #[error("the connection does not begin with a header of version 2 of the PROXY protocol")]
    NoHeader,
    #[error("the header has an unknown command or address family")]
    Unknown,
    #[error("the header is shorter than its addresses")]
    NoAddresses,
    #[error("the header states a length of {0} bytes, more than {MAX_LENGTH}")]
    TooLong(usize),
    #[error("the header of the PROXY protocol did not arrive in time")]
    TooSlow,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a header. Returns the client's address. Returns `None` for the command LOCAL, an unspecified address
/// family or transport, or a Unix socket; the connection then counts as a connection of the proxy itself.
pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, HeaderError> {
    let mut start = Vec::with_capacity(FIXED_LENGTH);
    fill(io, &mut start, FIXED_LENGTH).await?;
    let start = Start::parse(*start.first_chunk().ok_or(HeaderError::Truncated)?)?;
    let mut rest = Vec::with_capacity(start.length);
    fill(io, &mut rest, start.length).await.map_err(|error| match error {
        HeaderError::Empty => HeaderError::Truncated,
        error => error,
    })?;
    start.client(&rest)
}

/// Reads `length` bytes and no more.
async fn fill(
    io: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    length: usize,
) -> Result<(), HeaderError> {
    match io.take(length as u64).read_to_end(bytes).await {
        // A proxy that only checks whether the port is open can reset the connection instead of closing it.
        Err(error) if bytes.is_empty() && error.kind() == io::ErrorKind::ConnectionReset => {
            return Err(HeaderError::Empty);
        }
        read => read?,
    };
    match bytes.len() {
        read if read == length => Ok(()),
        0 => Err(HeaderError::Empty),
        _ => Err(HeaderError::Truncated),
    }
}

/// The part that every header has.
#[derive(Clone, Copy, Debug)]
struct Start {
    is_local: bool,
    /// The address family (high 4 bits) and the transport (low 4 bits).
    family: u8,
    /// The length of the rest of the header, in bytes.
    length: usize,
}

impl Start {
    fn parse(bytes: [u8; FIXED_LENGTH]) -> Result<Self, HeaderError> {
        let [signature @ .., command, family, high, low] = bytes;
        if signature != SIGNATURE || command >> 4 != 2 {
            return Err(HeaderError::NoHeader);
        }
        let is_local = match command & 0xF {
            0 => true,
            1 => false,
            _ => return Err(HeaderError::Unknown),
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > MAX_LENGTH {
            return Err(HeaderError::TooLong(length));
        }
        Ok(Self { is_local, family, length })
    }

    /// Returns the address of the client in the rest of the header.
    fn client(self, rest: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
        // With LOCAL, the receiver ignores the family and the addresses.
        if self.is_local {
            return Ok(None);
        }
        let client = match (self.family >> 4, self.family & 0xF) {
            (_, 3..) => return Err(HeaderError::Unknown),
            (0 | 3, _) | (_, 0) => return Ok(None),
            (1, _) => addresses::<4>(rest).map(|(ip, port)| (Ipv4Addr::from(ip).into(), port)),
            (2, _) => addresses::<16>(rest).map(|(ip, port)| (Ipv6Addr::from(ip).to_canonical(), port)),
            _ => return Err(HeaderError::Unknown),
        };
        client.map(|client| Some(client.into())).ok_or(HeaderError::NoAddresses)
    }
}

/// Returns the address and the port of the source. The order is source address, destination address, source port,
/// destination port.
fn addresses<const LENGTH: usize>(bytes: &[u8]) -> Option<([u8; LENGTH], u16)> {
    let (source, rest) = bytes.split_first_chunk()?;
    let (_destination, ports) = rest.split_first_chunk::<LENGTH>()?;
    let [high, low, _, _] = *ports.first_chunk()?;
    Some((*source, u16::from_be_bytes([high, low])))
}

/// Logs connections without a valid header.
#[derive(Debug, Default)]
pub(super) struct HeaderWarnings(Mutex<Logged>);

#[derive(Debug, Default)]
struct Logged {
    last: Option<Instant>,
    left_out: u64,
}

impl HeaderWarnings {
    /// Logs a warning, or counts it for the next warning. Logs no warning if the proxy sent nothing, because
    /// the proxy then only checked whether the port is open.
    pub(super) fn log(&self, peer: SocketAddr, error: &HeaderError) {
        if matches!(error, HeaderError::Empty) {
            return debug!(%peer, %error, "a proxy closed a connection without sending anything");
        }
        if let Some(left_out) = self.admit(Instant::now()) {
            let left_out = (left_out > 0).then_some(left_out);
            warn!(%peer, %error, left_out, "closed a connection of a trusted proxy, which must use the PROXY protocol");
        }
    }

    /// Returns the number of warnings that were left out before this one, or `None` if this one is left out.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.last.is_some_and(|last| now - last < WARN_EVERY) {
            logged.left_out += 1;
            return None;
        }
        logged.last = Some(now);
        Some(std::mem::take(&mut logged.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a header with this command, family and rest.
    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    async fn result(bytes: &[u8]) -> (String, usize) {
        let mut input = bytes;
        let text = match read(&mut input).await {
            Ok(Some(client)) => client.to_string(),
            Ok(None) => "proxy".to_owned(),
            Err(error) => error.to_string(),
        };
        (text, input.len())
    }

    // S-15
    #[tokio::test]
    async fn reading_a_proxy_header_returns_the_address_of_the_client_or_none() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 1, 187];
        let v6 = |source: &str| {
            let source: Ipv6Addr = source.parse().unwrap();
            [&source.octets()[..], &[0xFD; 16], &[0, 80, 1, 187]].concat()
        };
        let with_tlv = [&v4[..], &[4, 0, 3, 1, 2, 3]].concat();
        for (expected, header) in [
            ("192.0.2.7:4660", header(0x21, 0x11, &v4)),
            ("192.0.2.7:4660", header(0x21, 0x11, &with_tlv)),
            ("192.0.2.7:4660", header(0x21, 0x12, &v4)),
            ("[2001:db8::7]:80", header(0x21, 0x21, &v6("2001:db8::7"))),
            ("192.0.2.8:80", header(0x21, 0x21, &v6("::ffff:192.0.2.8"))),
            ("proxy", LOCAL_HEADER.to_vec()),
            ("proxy", header(0x20, 0x11, &v4)),
            ("proxy", header(0x20, 0xFF, b"ignored")),
            ("proxy", header(0x21, 0x00, b"")),
            ("proxy", header(0x21, 0x00, &v4)),
            ("proxy", header(0x21, 0x10, &v4)),
            ("proxy", header(0x21, 0x31, &[b'/'; 216])),
            ("proxy", header(0x21, 0x00, &[0; MAX_LENGTH])),
        ] {
            assert_eq!(result(&header).await, (expected.to_owned(), 0), "{header:x?}");
            let (text, left) = result(&[&header[..], b"GET"].concat()).await;
            assert_eq!((text.as_str(), left), (expected, 3), "reads beyond the header {header:x?}");
        }
    }

    // S-15
    #[tokio::test]
    async fn only_a_complete_proxy_header_of_version_2_is_accepted() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 1, 187];
        let complete = header(0x21, 0x11, &v4);
        for (expected, bytes) in [
            ("before it sent", &b""[..]),
            ("incomplete", &complete[..1]),
            ("incomplete", &complete[..16]),
            ("incomplete", &complete[..27]),
            ("does not begin", b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n"),
            ("does not begin", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("does not begin", b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03, a ClientHello"),
            ("does not begin", &header(0x11, 0x11, &v4)),
            ("unknown", &header(0x22, 0x11, &v4)),
            ("unknown", &header(0x21, 0x41, &v4)),
            ("unknown", &header(0x21, 0x13, &v4)),
            ("shorter", &header(0x21, 0x11, &v4[..11])),
            ("shorter", &header(0x21, 0x21, &[0; 35])),
            ("2049", &header(0x21, 0x00, &[0; MAX_LENGTH + 1])),
        ] {
            let (text, _) = result(bytes).await;
            assert!(text.contains(expected), "{bytes:x?}: {text}");
        }
    }

    #[test]
    fn warnings_within_10_seconds_are_counted_and_the_next_warning_reports_their_number() {
        let (warnings, start) = (HeaderWarnings::default(), Instant::now());
        let admitted = [0, 1, 9, 10, 11, 20].map(|secs| warnings.admit(start + Duration::from_secs(secs)));
        assert_eq!(admitted, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
