//! From an operator's text to a typed value. A refusal says what is wrong as the end of a sentence
//! that begins with the value; what is allowed stands in the table.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::{Url, form_urlencoded};

use super::settings::ValueKind;
use super::{LogFormat, Secret, SigningAlg, Signup};
use crate::secrets::MIN_BYTES;

/// A value, or what is wrong with the text.
pub(super) type Parsed<T> = Result<T, String>;

const LATER: &str = "is not available in this version";

pub(super) fn address(text: &str, _: &ValueKind) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| "is not an IP address with a port".to_owned())
}

pub(super) fn base_url(text: &str, _: &ValueKind) -> Parsed<String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is neither http nor https".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password in it".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The URL as the drivers want it: `mariadb` is spelt `mysql`.
pub(super) fn database_url(text: &str, _: &ValueKind) -> Parsed<Secret> {
    let (scheme, rest) = text.split_once(':').ok_or("has no scheme")?;
    match scheme {
        "sqlite" => sqlite_file(rest).map(|()| Secret::new(text)),
        "postgres" | "postgresql" | "mysql" | "mariadb" => {
            Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
            if !rest.starts_with("//") {
                return Err("has no // after its scheme".to_owned());
            }
            let scheme = if scheme == "mariadb" { "mysql" } else { scheme };
            Ok(Secret::new(format!("{scheme}:{rest}")))
        }
        _ => Err("names a database that is not supported".to_owned()),
    }
}

/// What follows `sqlite:` must name a file: a database in memory is another one for each connection.
fn sqlite_file(rest: &str) -> Parsed<()> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.trim_start_matches('/').is_empty() {
        return Err("names no database file".to_owned());
    }
    // Both are percent-decoded before SQLite sees them.
    let in_memory = |text: &str| {
        form_urlencoded::parse(text.as_bytes()).any(|(name, value)| {
            [&name, &value].iter().any(|part| part.contains(":memory:"))
                || (name == "mode" && value == "memory")
        })
    };
    if in_memory(path) || in_memory(query) {
        return Err("names a database in memory, which every connection would have to itself".to_owned());
    }
    Ok(())
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
        return Err("holds a NUL".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn readable_file(text: &str, takes: &ValueKind) -> Parsed<PathBuf> {
    let path = path(text, takes)?;
    let file = File::open(&path).map_err(|error| format!("can't be read: {error}"))?;
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(path),
        Ok(_) => Err("is not a file".to_owned()),
        Err(error) => Err(format!("can't be read: {error}")),
    }
}

pub(super) fn text(text: &str, _: &ValueKind) -> Parsed<String> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    Ok(text.to_owned())
}

/// The accepted word itself.
pub(super) fn choice(text: &str, takes: &ValueKind) -> Parsed<String> {
    match takes {
        ValueKind::OneOf { now, .. } if now.contains(&text) => Ok(text.to_owned()),
        ValueKind::OneOf { later, .. } if later.contains(&text) => Err(LATER.to_owned()),
        _ => Err("is not one of the known words".to_owned()),
    }
}

pub(super) fn signup(text: &str, takes: &ValueKind) -> Parsed<Signup> {
    choice(text, takes).map(|word| match word.as_str() {
        "open" => Signup::Open,
        _ => Signup::Closed,
    })
}

pub(super) fn signing_alg(text: &str, takes: &ValueKind) -> Parsed<SigningAlg> {
    choice(text, takes).map(|word| match word.as_str() {
        "EdDSA" => SigningAlg::EdDsa,
        "RS256" => SigningAlg::Rs256,
        "HS256" => SigningAlg::Hs256,
        _ => SigningAlg::Es256,
    })
}

pub(super) fn log_format(text: &str, takes: &ValueKind) -> Parsed<LogFormat> {
    choice(text, takes).map(|word| match word.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    })
}

pub(super) fn number<N: TryFrom<u64>>(text: &str, takes: &ValueKind) -> Parsed<N> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number".to_owned());
    }
    let number: u64 = text.parse().map_err(|_| "is too large".to_owned())?;
    if let ValueKind::Number { min, max } = takes {
        if number < *min {
            return Err("is too small".to_owned());
        }
        if number > *max {
            return Err("is too large".to_owned());
        }
    }
    N::try_from(number).map_err(|_| "is too large".to_owned())
}

pub(super) fn boolean(text: &str, _: &ValueKind) -> Parsed<bool> {
    match text {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err("is neither on nor off".to_owned()),
    }
}

pub(super) fn off_only(text: &str, takes: &ValueKind) -> Parsed<()> {
    if boolean(text, takes)? {
        return Err(LATER.to_owned());
    }
    Ok(())
}

/// Refuses whatever it is given.
pub(super) fn later(_: &str, _: &ValueKind) -> Parsed<()> {
    Err("is refused: this setting is not available in this version".to_owned())
}

/// Origins in the form in which browsers send them (RFC 6454, section 6.2).
pub(super) fn origins(text: &str, _: &ValueKind) -> Parsed<Vec<String>> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(origin).collect()
}

fn origin(text: &str) -> Parsed<String> {
    if text.contains('*') {
        return Err("has a *; every origin has to be named".to_owned());
    }
    let wrong = || "has an item that is not an origin".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let host = url.host_str().filter(|host| !host.is_empty());
    if host.is_none() || rest.contains(['/', '?', '#', '@', '\\']) {
        return Err(wrong());
    }
    // Apps built on a web view send origins such as `capacitor://localhost`, which are opaque to
    // the URL standard.
    if url.origin().is_tuple() {
        Ok(url.origin().ascii_serialization())
    } else {
        let (scheme, rest) = (scheme.to_ascii_lowercase(), rest.to_ascii_lowercase());
        Ok(format!("{scheme}://{rest}"))
    }
}

/// A filter in full. A lone word that is no level would be taken for a target and would silence
/// everything else, so it is refused as the typing error it most likely is.
pub(super) fn filter(text: &str, _: &ValueKind) -> Parsed<String> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    let is_word = |part: &str| !part.contains('=') && part.parse::<LevelFilter>().is_err();
    if !text.contains('[') && text.split(',').map(str::trim).any(is_word) {
        return Err("has a level that is not known".to_owned());
    }
    EnvFilter::builder().parse(text).map_err(|_| "is not a log filter".to_owned())?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: ValueKind = ValueKind::Text;

    #[test]
    fn a_base_url_loses_its_last_slash_and_refuses_what_is_no_base() {
        assert_eq!(base_url("https://A.example/", &ANY).unwrap(), "https://a.example");
        assert_eq!(base_url("https://a.example/api/", &ANY).unwrap(), "https://a.example/api");
        for bad in ["a.example", "ftp://a", "https://a?x", "https://a#x", "https://u:p@a", ""] {
            assert!(base_url(bad, &ANY).is_err(), "{bad}");
        }
    }

    #[test]
    fn database_urls_name_a_supported_database() {
        let url = |text| database_url(text, &ANY).map(|url| url.expose().to_owned());
        assert_eq!(url("mariadb://u:p@h/d").unwrap(), "mysql://u:p@h/d");
        for good in ["sqlite://data/x.db", "sqlite:///x.db", "postgresql://h/d", "mysql://h/d"] {
            assert_eq!(url(good).unwrap(), good);
        }
        let memory = [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://%3Amemory%3a",
            "sqlite:file::memory:?cache=shared",
            "sqlite://x.db?cache=shared&mode=memory",
            "sqlite://x.db?mode=%6demory",
        ];
        for bad in memory {
            assert!(url(bad).unwrap_err().contains("in memory"), "{bad}");
        }
        for good in ["sqlite://memory", "sqlite://x.db?mode=rwc", "sqlite://memory.db?mode=rw"] {
            assert_eq!(url(good).unwrap(), good);
        }
        for bad in [
            "sqlite://",
            "sqlite://?mode=rwc",
            "data/x.db",
            "oracle://h/d",
            "postgres:h",
            "mysql://h:port/d",
            "",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_are_listed_one_by_one_and_a_star_is_refused() {
        assert_eq!(
            origins("https://A.example:443, capacitor://localhost,http://[::1]:3000", &ANY).unwrap(),
            ["https://a.example", "capacitor://localhost", "http://[::1]:3000"]
        );
        for bad in ["*", "https://*.a.example", "null", "https://a/", "https://u@a", "https://", "a.example"]
        {
            assert!(origins(bad, &ANY).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for good in ["off", "info", "warn,tripgate=debug", "tripgate[call{path=x}]=trace"] {
            assert!(filter(good, &ANY).is_ok(), "{good}");
        }
        for bad in ["debgu", "info,tripgate", "tripgate=loud", ""] {
            assert!(filter(bad, &ANY).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_keep_to_their_range() {
        let cost = ValueKind::Number { min: 4, max: 15 };
        assert_eq!(number::<u32>("4", &cost), Ok(4));
        for bad in ["3", "16", "-4", "+4", " 4", "4.0", "", "99999999999999999999999"] {
            assert!(number::<u32>(bad, &cost).is_err(), "{bad}");
        }
    }
}
