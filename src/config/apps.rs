//! The apps that may open the links of the server and use its passwords and passkeys.

use super::parse::Parsed;
use super::settings::ValueKind;

/// The length of a SHA-256 in hexadecimal digits.
const FINGERPRINT_DIGITS: usize = 64;

/// An Android app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AndroidApp {
    /// The name of its package.
    pub package: String,
    /// The SHA-256 of its signing certificate: bytes in upper-case hexadecimal, separated by colons.
    pub fingerprint: String,
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Returns whether a text consists of at least two names, separated by dots.
fn is_dotted(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    text.contains('.') && text.split('.').all(is_name)
}

/// Parses Apple app ids: the team id of 10 characters, a dot, and the bundle id.
pub(super) fn apple_app_ids(text: &str, _: &ValueKind) -> Parsed<Vec<String>> {
    let app = |item: &str| {
        let (team, bundle) = item.split_once('.')?;
        let is_team =
            team.len() == 10 && team.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        (is_team && is_dotted(bundle)).then(|| item.to_owned())
    };
    let invalid = || "has an item that is not a team id and a bundle id".to_owned();
    items(text).map(|item| app(item).ok_or_else(invalid)).collect()
}

/// Parses Android apps: the package, an equals sign, and the SHA-256 of the signing certificate.
pub(super) fn android_apps(text: &str, _: &ValueKind) -> Parsed<Vec<AndroidApp>> {
    let app = |item: &str| {
        let (package, fingerprint) = item.split_once('=')?;
        let digits: String =
            fingerprint.chars().filter(|c| *c != ':').collect::<String>().to_ascii_uppercase();
        let is_sha256 =
            digits.len() == FINGERPRINT_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bytes: Vec<&str> =
            digits.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok()).collect();
        (is_dotted(package) && is_sha256)
            .then(|| AndroidApp { package: package.to_owned(), fingerprint: bytes.join(":") })
    };
    let invalid = || "has an item that is not a package and a SHA-256".to_owned();
    items(text).map(|item| app(item).ok_or_else(invalid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: ValueKind = ValueKind::Text;

    #[test]
    fn an_apple_app_id_needs_a_team_id_and_a_bundle_id() {
        let apps = apple_app_ids("ABCDE12345.org.example.trips, 0123456789.org.example.trips-beta", &ANY);
        assert_eq!(apps.unwrap(), ["ABCDE12345.org.example.trips", "0123456789.org.example.trips-beta"]);
        for invalid in [
            "org.example.trips",
            "ABCDE12345",
            "abcde12345.org.example",
            "ABCDE12345.org",
            "ABCDE12345.org..x",
        ] {
            assert!(apple_app_ids(invalid, &ANY).is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_certificate_fingerprint_may_contain_colons_and_lower_case_letters() {
        let plain = "ab".repeat(32);
        let apps = android_apps(&format!("org.example.trips={plain}"), &ANY).unwrap();
        assert_eq!(apps[0].fingerprint, ["AB"; 32].join(":"));
        let colons = ["aB"; 32].join(":");
        assert_eq!(android_apps(&format!("org.example.trips={colons}"), &ANY).unwrap(), apps);
        for invalid in [
            "org.example.trips",
            "trips=ab",
            "org.example=ab",
            &format!("trips={plain}"),
            &format!("a.b={}", "é".repeat(32)),
        ] {
            assert!(android_apps(invalid, &ANY).is_err(), "{invalid}");
        }
    }
}
