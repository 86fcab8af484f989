//! Warns if the settings do not match the proxy in front of the server.
//!
//! Without these warnings, two mistakes could stay unnoticed. Without `trusted_proxies`, all clients share
//! the address of the proxy. With a wrong `public_url`, tokens name an issuer that clients do not expect.
//! Each warning is logged at most once an hour, because clients can cause it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use poem::Request;
use poem::http::header::HOST;
use poem::http::uri::Authority;
use url::{Host, Url};

use crate::clock::Clock;
use crate::web::client_address::Identified;

/// The minimum time between two warnings of the same kind.
const REPEAT_AFTER: Duration = Duration::from_hours(1);
/// The maximum length of a logged host, in bytes.
const HOST_MAX: usize = 100;

/// Logs the warnings.
#[derive(Debug)]
pub(super) struct ProxyWarnings {
    clock: Clock,
    /// The host of the public URL, in lower case.
    public_host: Option<String>,
    untrusted_at: AtomicU64,
    foreign_host_at: AtomicU64,
}

impl ProxyWarnings {
    pub(super) fn new(clock: Clock, public_url: &str) -> Self {
        let url = Url::parse(public_url).ok();
        let public_host = url.and_then(|url| url.host_str().map(str::to_ascii_lowercase));
        Self { clock, public_host, untrusted_at: AtomicU64::default(), foreign_host_at: AtomicU64::default() }
    }

    /// Warns if the request indicates that `trusted_proxies` or `public_url` is wrong.
    pub(super) fn observe(&self, request: &Request, identified: Identified) {
        if identified.is_untrusted && self.is_due(&self.untrusted_at) {
            tracing::warn!(
                peer = %identified.peer,
                "ignored forwarding headers, because the peer is not in trusted_proxies: using the address of the peer as the client address"
            );
        }
        if let Some(host) = self.foreign_host(request)
            && self.is_due(&self.foreign_host_at)
        {
            tracing::warn!(
                host = host.get(..HOST_MAX).unwrap_or(host),
                public_host = self.public_host,
                "a client uses another host than public_url: tokens and links contain the host of public_url"
            );
        }
    }

    /// Returns the host of the request, without its port, if it is neither loopback nor the host of the
    /// public URL. Ignores health checks, because they use the address of the machine.
    fn foreign_host<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let uri = request.uri();
        let in_header = || request.headers().get(HOST).and_then(|value| value.to_str().ok());
        let host = in_header().or_else(|| uri.authority().map(Authority::as_str))?;
        let host = without_port(host);
        let is_public = self.public_host.as_deref().is_some_and(|public| host.eq_ignore_ascii_case(public));
        (!is_public && !is_loopback(host) && !uri.path().starts_with("/health/")).then_some(host)
    }

    /// Returns true at most once per [`REPEAT_AFTER`].
    fn is_due(&self, last: &AtomicU64) -> bool {
        // Add 1, because 0 means "never" and the monotonic clock can start at 0.
        let now = self.clock.monotonic().as_secs() + 1;
        let before = last.load(Ordering::Relaxed);
        (before == 0 || now.saturating_sub(before) >= REPEAT_AFTER.as_secs())
            && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

fn is_loopback(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => IpAddr::from(address).to_canonical().is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(host: &str) -> bool {
        let warnings =
            ProxyWarnings::new(Clock::fixed(chrono::DateTime::UNIX_EPOCH), "https://Trips.example/x");
        warnings.foreign_host(&Request::builder().header("host", host).uri_str("/docs").finish()).is_some()
    }

    #[test]
    fn every_host_except_the_public_host_and_loopback_hosts_is_foreign() {
        // N-3
        for host in
            ["trips.example", "TRIPS.example:8443", "localhost:80", "127.0.0.1", "127.9.9.9:8080", "[::1]:80"]
        {
            assert!(!foreign(host), "{host}");
        }
        for host in ["10.0.0.5:8080", "api.trips.example", "[2001:db8::1]", "trips.example.org"] {
            assert!(foreign(host), "{host}");
        }
    }

    #[test]
    fn a_warning_about_a_proxy_is_logged_at_most_once_an_hour() {
        let clock = Clock::fixed(chrono::DateTime::UNIX_EPOCH);
        let warnings = ProxyWarnings::new(clock.clone(), "https://trips.example");
        let due = || warnings.is_due(&warnings.untrusted_at);
        assert!(due() && !due());
        clock.advance(chrono::TimeDelta::minutes(59));
        assert!(!due());
        clock.advance(chrono::TimeDelta::minutes(2));
        assert!(due() && !due());
    }
}
