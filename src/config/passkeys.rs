//! The relying party of passkeys: the domain that they belong to, and the origins that may use them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::Reader;
use super::parse::{Parsed, origins as web_origins};
use super::settings::ValueKind;

/// The prefix of the origin of an Android app.
const ANDROID: &str = "android:apk-key-hash:";
/// The maximum length of a domain name, in characters.
const DOMAIN_MAX: usize = 253;
/// The length of a SHA-256, in bytes.
const DIGEST_BYTES: usize = 32;

/// The settings of passkeys. A value that is not set is derived from the public URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasskeySettings {
    /// The domain, in lower case.
    pub rp_id: Option<String>,
    /// The origins, as browsers and Android send them.
    pub origins: Option<Vec<String>>,
}

impl PasskeySettings {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self { rp_id: r.optional("passkey_rp_id", rp_id), origins: r.optional("passkey_origins", origins) }
    }

    /// Returns the configured domain, or else the host of the public URL.
    pub fn rp_id(&self, public_url: &str) -> String {
        let host = || Some(Url::parse(public_url).ok()?.host_str()?.to_owned());
        self.rp_id.clone().or_else(host).unwrap_or_default()
    }

    /// Returns the configured origins, or else the origin of the public URL.
    pub fn origins(&self, public_url: &str) -> Vec<String> {
        let of_url = || Url::parse(public_url).iter().map(|url| url.origin().ascii_serialization()).collect();
        self.origins.clone().unwrap_or_else(of_url)
    }

    /// Returns whether a browser accepts the domain on a page of one of the origins. The host of the page
    /// must be the domain or a subdomain of it. Also returns `true` if only apps may use passkeys.
    pub(super) fn is_usable(&self, public_url: &str) -> bool {
        let (rp_id, origins) = (self.rp_id(public_url), self.origins(public_url));
        let is_below = |host: &str| host.strip_suffix(&rp_id).is_some_and(|rest| rest.ends_with('.'));
        let mut pages = origins.iter().filter(|origin| !origin.starts_with(ANDROID)).peekable();
        pages.peek().is_none()
            || pages
                .filter_map(|origin| Url::parse(origin).ok())
                .any(|page| page.host_str().is_some_and(|host| host == rp_id || is_below(host)))
    }
}

fn rp_id(text: &str, _: &ValueKind) -> Parsed<String> {
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_plain)
    };
    let is_domain = text.len() <= DOMAIN_MAX && text.split('.').all(is_label);
    if is_domain { Ok(text.to_owned()) } else { Err("is not a domain name in lower case".to_owned()) }
}

fn origins(text: &str, kind: &ValueKind) -> Parsed<Vec<String>> {
    let mut found = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.strip_prefix(ANDROID) {
            Some(hash) if is_digest(hash) => found.push(item.to_owned()),
            Some(_) => return Err("has an Android app without the base64url of a SHA-256".to_owned()),
            None => found.extend(web_origins(item, kind)?),
        }
    }
    Ok(found)
}

fn is_digest(hash: &str) -> bool {
    URL_SAFE_NO_PAD.decode(hash).is_ok_and(|bytes| bytes.len() == DIGEST_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: ValueKind = ValueKind::Text;

    #[test]
    fn a_passkey_domain_must_have_no_scheme_and_no_port() {
        for valid in ["localhost", "trips.example", "xn--mnchen-3ya.de", "127.0.0.1"] {
            assert_eq!(rp_id(valid, &ANY).as_deref(), Ok(valid));
        }
        let long = format!("{}.example", "a".repeat(250));
        for invalid in
            ["https://trips.example", "trips.example:8080", "Trips.example", "a..b", ".a", "", &long]
        {
            assert!(rp_id(invalid, &ANY).is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_passkey_origin_is_a_web_origin_or_an_android_app() {
        let hash = format!("{ANDROID}{}", URL_SAFE_NO_PAD.encode([7; DIGEST_BYTES]));
        let text = format!("https://Trips.example:443, {hash},http://localhost:8080");
        assert_eq!(origins(&text, &ANY).unwrap(), ["https://trips.example", &hash, "http://localhost:8080"]);
        for invalid in
            ["*", "https://trips.example/", "android:apk-key-hash:AAAA", "android:apk-key-hash:AB:CD"]
        {
            assert!(origins(invalid, &ANY).is_err(), "{invalid}");
        }
    }

    #[test]
    fn passkeys_are_usable_with_a_web_origin_of_the_domain_or_with_only_app_origins() {
        let app = format!("{ANDROID}{}", URL_SAFE_NO_PAD.encode([7; DIGEST_BYTES]));
        let is_usable = |rp_id: Option<&str>, origins: Option<&[&str]>| {
            let origins = origins.map(|all| all.iter().map(|&one| one.to_owned()).collect());
            let settings = PasskeySettings { rp_id: rp_id.map(str::to_owned), origins };
            settings.is_usable("https://trips.example.org:8443")
        };
        for rp_id in [None, Some("trips.example.org"), Some("example.org")] {
            assert!(is_usable(rp_id, None), "{rp_id:?}");
        }
        for rp_id in ["example.com", "ps.example.org", "my.trips.example.org", "127.0.0.1"] {
            assert!(!is_usable(Some(rp_id), None), "{rp_id}");
        }
        assert!(is_usable(None, Some(&["https://example.com", "https://trips.example.org"])));
        assert!(!is_usable(None, Some(&["https://example.org", &app])));
        assert!(is_usable(None, Some(&[&app])));
        for loopback in ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080"] {
            assert!(PasskeySettings::default().is_usable(loopback), "{loopback}");
        }
    }

    #[test]
    fn the_default_passkey_domain_and_origins_follow_from_the_public_url() {
        let settings = PasskeySettings::default();
        assert_eq!(settings.rp_id("https://trips.example:8443/api"), "trips.example");
        assert_eq!(settings.origins("https://trips.example:8443/api"), ["https://trips.example:8443"]);
    }
}
