//! Parses texts into typed values. An error text continues a sentence that begins with the value. The allowed
//! values come from the table of settings.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::{Url, form_urlencoded};

use super::settings::ValueKind;
use super::{LogFormat, Secret, SigningAlg, Signup};
use crate::secrets::MIN_BYTES;

/// A parsed value, or the reason why the text is invalid.
pub(super) type Parsed<T> = Result<T, String>;

pub(super) fn address(text: &str, _: &ValueKind) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| "is not an IP address with a port".to_owned())
}

pub(super) fn base_url(text: &str, _: &ValueKind) -> Parsed<String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is neither http nor https".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains a user or a password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Returns the URL in the form that the drivers accept: `mariadb` becomes `mysql`.
pub(super) fn database_url(text: &str, _: &ValueKind) -> Parsed<Secret> {
    let (scheme, rest) = text.split_once(':').ok_or("has no scheme")?;
    match scheme {
        "sqlite" => sqlite_file(rest).map(|()| Secret::new(text)),
        "postgres" | "postgresql" | "mysql" | "mariadb" => {
            check_password_encoding(rest)?;
            Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
            if !rest.starts_with("//") {
                return Err("has no // after its scheme".to_owned());
            }
            let scheme = if scheme == "mariadb" { "mysql" } else { scheme };
            Ok(Secret::new(format!("{scheme}:{rest}")))
        }
        _ => Err("has a scheme that is not supported".to_owned()),
    }
}

/// Checks that no `/`, `?` or `#` in the user or the password ends the authority of the URL. Otherwise the
/// URL would name a different host.
fn check_password_encoding(rest: &str) -> Parsed<()> {
    let rest = rest.trim_start_matches('/');
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    if authority.contains('@') || !after.contains('@') {
        return Ok(());
    }
    Err("has a character in its password that must be percent-encoded: / as %2F, ? as %3F, # as %23, @ as %40, \
        % as %25"
        .to_owned())
}

/// Checks that the rest of a `sqlite:` URL names a file. With an in-memory database, each connection would
/// open a separate database.
fn sqlite_file(rest: &str) -> Parsed<()> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.trim_start_matches('/').is_empty() {
        return Err("names no database file".to_owned());
    }
    // The driver percent-decodes the path and the query before it passes them to SQLite.
    let in_memory = |text: &str| {
        form_urlencoded::parse(text.as_bytes()).any(|(name, value)| {
            [&name, &value].iter().any(|part| part.contains(":memory:"))
                || (name == "mode" && value == "memory")
        })
    };
    if in_memory(path) || in_memory(query) {
        return Err("names an in-memory database, which connections cannot share".to_owned());
    }
    Ok(())
}

/// Returns the URL of the default database. Escapes `%` and `?`, which have a meaning in URLs.
pub(super) fn sqlite_url(data_dir: &Path) -> String {
    let dir = data_dir.to_string_lossy();
    let dir = dir.replace('%', "%25").replace('?', "%3F");
    format!("sqlite://{}/tripgate.db", dir.trim_end_matches('/'))
}

pub(super) fn secret(text: &str, _: &ValueKind) -> Parsed<Secret> {
    if text.len() < MIN_BYTES {
        return Err(format!("has only {} bytes", text.len()));
    }
    Ok(Secret::new(text))
}

pub(super) fn path(text: &str, _: &ValueKind) -> Parsed<PathBuf> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains('\0') {
        return Err("contains a NUL character".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn readable_file(text: &str, kind: &ValueKind) -> Parsed<PathBuf> {
    let path = path(text, kind)?;
    let file = File::open(&path).map_err(|error| format!("cannot be read: {error}"))?;
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(path),
        Ok(_) => Err("is not a file".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

pub(super) fn text(text: &str, _: &ValueKind) -> Parsed<String> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("contains a control character".to_owned());
    }
    Ok(text.to_owned())
}

/// Returns the text if it is one of the accepted words.
pub(super) fn choice(text: &str, kind: &ValueKind) -> Parsed<String> {
    match kind {
        ValueKind::OneOf(accepted) if accepted.contains(&text) => Ok(text.to_owned()),
        _ => Err("is not one of the known words".to_owned()),
    }
}

pub(super) fn signup(text: &str, kind: &ValueKind) -> Parsed<Signup> {
    choice(text, kind).map(|word| match word.as_str() {
        "open" => Signup::Open,
        "confirm_first" => Signup::ConfirmFirst,
        "invite" => Signup::Invite,
        _ => Signup::Closed,
    })
}

pub(super) fn signing_alg(text: &str, kind: &ValueKind) -> Parsed<SigningAlg> {
    choice(text, kind).map(|word| match word.as_str() {
        "EdDSA" => SigningAlg::EdDsa,
        "RS256" => SigningAlg::Rs256,
        "HS256" => SigningAlg::Hs256,
        _ => SigningAlg::Es256,
    })
}

pub(super) fn log_format(text: &str, kind: &ValueKind) -> Parsed<LogFormat> {
    choice(text, kind).map(|word| match word.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    })
}

pub(super) fn number<N: TryFrom<u64>>(text: &str, kind: &ValueKind) -> Parsed<N> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number".to_owned());
    }
    let number: u64 = text.parse().map_err(|_| "is too large".to_owned())?;
    if let ValueKind::Number { min, max } = kind {
        if number < *min {
            return Err("is too small".to_owned());
        }
        if number > *max {
            return Err("is too large".to_owned());
        }
    }
    N::try_from(number).map_err(|_| "is too large".to_owned())
}

pub(super) fn millis(text: &str, kind: &ValueKind) -> Parsed<Duration> {
    number(text, kind).map(Duration::from_millis)
}

pub(super) fn boolean(text: &str, _: &ValueKind) -> Parsed<bool> {
    match text {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err("is neither on nor off".to_owned()),
    }
}

/// Parses origins. Returns them in the form that browsers send (RFC 6454, section 6.2).
pub(super) fn origins(text: &str, _: &ValueKind) -> Parsed<Vec<String>> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(origin).collect()
}

/// Parses networks. An address without a prefix length is a network of one address.
pub(super) fn networks(text: &str, _: &ValueKind) -> Parsed<Vec<IpNet>> {
    let network = |item: &str| {
        let parsed = item.parse::<IpNet>().map(|network| network.trunc());
        parsed.or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
    };
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let networks: Parsed<Vec<IpNet>> = items
        .map(|item| network(item).map(canonical).map_err(|_| "has an item that is not a network".to_owned()))
        .collect();
    networks.and_then(|found| if found.is_empty() { Err("has no network".to_owned()) } else { Ok(found) })
}

/// Converts a network of IPv4-mapped addresses (RFC 4291 §2.5.5.2) to the IPv4 network, because the address
/// of a connection is compared in its IPv4 form.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped(),
        IpNet::V4(_) => None,
    };
    let prefix = network.prefix_len().checked_sub(MAPPED_PREFIX);
    let canonical = mapped.zip(prefix).and_then(|(address, prefix)| IpNet::new(address.into(), prefix).ok());
    canonical.unwrap_or(network)
}

fn origin(text: &str) -> Parsed<String> {
    if text.contains('*') {
        return Err("contains a *; name every origin".to_owned());
    }
    let invalid = || "has an item that is not an origin".to_owned();
    let url = Url::parse(text).map_err(|_| invalid())?;
    let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
    let host = url.host_str().filter(|host| !host.is_empty());
    if host.is_none() || rest.contains(['/', '?', '#', '@', '\\']) {
        return Err(invalid());
    }
    // Apps in a web view send origins such as `capacitor://localhost`. The URL standard treats such origins
    // as opaque and serializes them as `null`.
    if url.origin().is_tuple() {
        Ok(url.origin().ascii_serialization())
    } else {
        let (scheme, rest) = (scheme.to_ascii_lowercase(), rest.to_ascii_lowercase());
        Ok(format!("{scheme}://{rest}"))
    }
}

/// Parses a log filter. `EnvFilter` treats a word that is not a level as a target, and then logs only this
/// target. Such a word is most likely a misspelled level, so it is rejected.
pub(super) fn filter(text: &str, _: &ValueKind) -> Parsed<String> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    let is_word = |part: &str| !part.contains('=') && part.parse::<LevelFilter>().is_err();
    if !text.contains('[') && text.split(',').map(str::trim).any(is_word) {
        return Err("contains an unknown level".to_owned());
    }
    EnvFilter::builder().parse(text).map_err(|_| "is not a log filter".to_owned())?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: ValueKind = ValueKind::Text;

    #[test]
    fn a_base_url_must_be_an_http_or_https_url_and_loses_its_trailing_slash() {
        assert_eq!(base_url("https://A.example/", &ANY).unwrap(), "https://a.example");
        assert_eq!(base_url("https://a.example/api/", &ANY).unwrap(), "https://a.example/api");
        for invalid in ["a.example", "ftp://a", "https://a?x", "https://a#x", "https://u:p@a", ""] {
            assert!(base_url(invalid, &ANY).is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_database_url_must_name_a_supported_database() {
        let url = |text| database_url(text, &ANY).map(|url| url.expose().to_owned());
        assert_eq!(url("mariadb://u:p@h/d").unwrap(), "mysql://u:p@h/d");
        for valid in ["sqlite://data/x.db", "sqlite:///x.db", "postgresql://h/d", "mysql://h/d"] {
            assert_eq!(url(valid).unwrap(), valid);
        }
        let memory = [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://%3Amemory%3a",
            "sqlite:file::memory:?cache=shared",
            "sqlite://x.db?cache=shared&mode=memory",
            "sqlite://x.db?mode=%6demory",
        ];
        for invalid in memory {
            assert!(url(invalid).unwrap_err().contains("in-memory"), "{invalid}");
        }
        for valid in ["sqlite://memory", "sqlite://x.db?mode=rwc", "sqlite://memory.db?mode=rw"] {
            assert_eq!(url(valid).unwrap(), valid);
        }
        for invalid in [
            "sqlite://",
            "sqlite://?mode=rwc",
            "data/x.db",
            "oracle://h/d",
            "postgres:h",
            "mysql://h:port/d",
            "",
        ] {
            assert!(url(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn origins_are_separated_by_commas_and_must_not_contain_wildcards() {
        assert_eq!(
            origins("https://A.example:443, capacitor://localhost,http://[::1]:3000", &ANY).unwrap(),
            ["https://a.example", "capacitor://localhost", "http://[::1]:3000"]
        );
        for invalid in
            ["*", "https://*.a.example", "null", "https://a/", "https://u@a", "https://", "a.example"]
        {
            assert!(origins(invalid, &ANY).is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_network_without_a_prefix_length_is_a_single_address() {
        let shown =
            |text| networks(text, &ANY).map(|all| all.iter().map(IpNet::to_string).collect::<Vec<_>>());
        assert_eq!(
            shown("10.1.2.3/8, 127.0.0.1,2001:db8::1/32,::1").unwrap(),
            ["10.0.0.0/8", "127.0.0.1/32", "2001:db8::/32", "::1/128"]
        );
        assert_eq!(
            shown("::ffff:10.1.2.3/104,::ffff:192.0.2.1,::/0").unwrap(),
            ["10.0.0.0/8", "192.0.2.1/32", "::/0"]
        );
        for invalid in ["10.0.0.0/33", "localhost", "10.0.0.1-10.0.0.9", "10.0.0.1:80", "*", ",", " , "] {
            assert!(networks(invalid, &ANY).is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_misspelled_log_level_is_rejected() {
        for valid in ["off", "info", "warn,tripgate=debug", "tripgate[call{path=x}]=trace"] {
            assert!(filter(valid, &ANY).is_ok(), "{valid}");
        }
        for invalid in ["debgu", "info,tripgate", "tripgate=loud", ""] {
            assert!(filter(invalid, &ANY).is_err(), "{invalid}");
        }
    }

    #[test]
    fn numbers_outside_their_range_are_rejected() {
        let cost = ValueKind::Number { min: 4, max: 15 };
        assert_eq!(number::<u32>("4", &cost), Ok(4));
        for invalid in ["3", "16", "-4", "+4", " 4", "4.0", "", "99999999999999999999999"] {
            assert!(number::<u32>(invalid, &cost).is_err(), "{invalid}");
        }
    }
}
