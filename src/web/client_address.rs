//! The address of the client of a request: the peer of the connection or, behind trusted proxies, the address that
//! they forward.
//!
//! Each proxy appends the address that it saw to a forwarding header. Only items that trusted proxies
//! appended are reliable, so the list is read from its end. The first address is that of the peer. While the
//! current address belongs to a trusted proxy, reading continues with the next item from the end. Reading
//! stops at the first item that is not an address, and the client is then the last known proxy. A header from
//! a peer that is not trusted has no effect. `X-Forwarded-For` takes precedence over `Forwarded` (RFC 7239),
//! because a proxy that writes `X-Forwarded-For` may pass on `Forwarded` unchanged.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use poem::Request;
use poem::http::header::FORWARDED;
use poem::http::{HeaderMap, HeaderName, HeaderValue};
use poem::web::RemoteAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The address of the client of a request. The middleware attaches it to every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Returns the address that the middleware attached to the request.
    pub fn of(request: &Request) -> Self {
        // Without the middleware, all requests have the same client address.
        request.data::<Self>().copied().unwrap_or(Self(Ipv4Addr::UNSPECIFIED.into()))
    }
}

/// The proxies whose forwarding headers are trusted.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// The client of a request, and whether the request has forwarding headers that have no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identified {
    /// The client.
    pub client: ClientAddress,
    /// The peer of the connection.
    pub peer: IpAddr,
    /// Whether the peer is not trusted and sent a forwarding header.
    pub is_untrusted: bool,
}

impl TrustedProxies {
    /// Creates the set of trusted proxies, which contains every address in `networks`.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Returns the client of a request.
    pub fn identify(&self, request: &Request) -> Identified {
        let RemoteAddr(address) = request.remote_addr();
        let peer = address.as_socket_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), SocketAddr::ip);
        self.identify_by(peer.to_canonical(), request.headers())
    }

    fn identify_by(&self, peer: IpAddr, headers: &HeaderMap) -> Identified {
        if !self.contains(peer) {
            let is_untrusted =
                [X_FORWARDED_FOR, FORWARDED, X_REAL_IP].iter().any(|name| headers.contains_key(name));
            return Identified { client: ClientAddress(peer), peer, is_untrusted };
        }
        let client = if headers.contains_key(X_FORWARDED_FOR) {
            self.walk(peer, items(headers, &X_FORWARDED_FOR).map(address))
        } else {
            self.walk(peer, items(headers, &FORWARDED).map(forwarded_for))
        };
        Identified { client: ClientAddress(client), peer, is_untrusted: false }
    }

    /// Follows the items from the peer, and returns the first address that does not belong to a trusted
    /// proxy. An item is `None` if it is not an address.
    fn walk(&self, peer: IpAddr, mut items: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        while self.contains(client) {
            let Some(Some(next)) = items.next() else { break };
            client = next;
        }
        client
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Returns the items of all headers with this name, from the last to the first.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    values.into_iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','))
}

/// Parses an address. A port may follow it, and an IPv6 address may be in brackets.
fn address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?.trim();
    let unbracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(unbracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// Returns the address in the parameter `for` of an item of `Forwarded` (RFC 7239 §4).
fn forwarded_for(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?;
    let mut pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    address(quoted.unwrap_or(value).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::HeaderValue;

    const PROXY: &str = "10.0.0.1";

    fn client(peer: &str, headers: &[(HeaderName, &str)]) -> (String, bool) {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let found = TrustedProxies::new(trusted.to_vec()).identify_by(peer.parse().unwrap(), &map);
        (found.client.0.to_string(), found.is_untrusted)
    }

    fn behind_proxy(name: HeaderName, value: &str) -> String {
        client(PROXY, &[(name, value)]).0
    }

    #[test]
    fn a_forwarding_header_of_an_untrusted_peer_has_no_effect() {
        // S-15, S-84
        for name in [X_FORWARDED_FOR, FORWARDED, X_REAL_IP] {
            let found = client("198.51.100.7", &[(name, "for=192.0.2.1")]);
            assert_eq!(found, ("198.51.100.7".to_owned(), true));
        }
        assert_eq!(client("198.51.100.7", &[]), ("198.51.100.7".to_owned(), false));
    }

    #[test]
    fn the_client_is_the_last_forwarded_address_that_is_not_a_trusted_proxy() {
        // S-15, S-84
        for (list, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
            ("203.0.113.9, 192.0.2.1, 10.9.9.9,2001:db8::5", "192.0.2.1"),
            ("10.0.0.7, 10.0.0.8", "10.0.0.7"),
            ("junk, 192.0.2.1", "192.0.2.1"),
            ("192.0.2.1, junk", PROXY),
            ("192.0.2.1, unknown, 10.0.0.9", "10.0.0.9"),
            ("192.0.2.1,", PROXY),
            ("", PROXY),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("[2a00::1]:4711", "2a00::1"),
            ("[2a00::1]", "2a00::1"),
            ("2a00::1", "2a00::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[192.0.2.1]", PROXY),
            ("192.0.2.1:99999", PROXY),
            ("2a00::1%eth0", PROXY),
            ("192.0.2.256", PROXY),
            ("\u{e9}", PROXY),
        ] {
            assert_eq!(behind_proxy(X_FORWARDED_FOR, list), expected, "{list}");
        }
        let long = format!("{}192.0.2.1", "203.0.113.9, ".repeat(640));
        assert_eq!(behind_proxy(X_FORWARDED_FOR, &long), "192.0.2.1");
        let several = [(X_FORWARDED_FOR, "203.0.113.9"), (X_FORWARDED_FOR, "192.0.2.1, 10.0.0.2")];
        assert_eq!(client(PROXY, &several).0, "192.0.2.1");
    }

    #[test]
    fn the_forwarded_header_is_ignored_if_x_forwarded_for_is_present() {
        // S-84
        for (list, expected) in [
            ("for=192.0.2.1;proto=https", "192.0.2.1"),
            ("for=203.0.113.9, proto=http ; For = \"[2a00::1]:80\"", "2a00::1"),
            ("for=192.0.2.1, for=10.0.0.3;by=10.0.0.4", "192.0.2.1"),
            ("for=192.0.2.1, for=_hidden", PROXY),
            ("for=192.0.2.1, proto=https", PROXY),
            ("for=\"192.0.2.1", PROXY),
            ("for=\"203.0.113.9, for=192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(behind_proxy(FORWARDED, list), expected, "{list}");
        }
        let both = [(FORWARDED, "for=203.0.113.9"), (X_FORWARDED_FOR, "192.0.2.1")];
        assert_eq!(client(PROXY, &both).0, "192.0.2.1");
    }
}
