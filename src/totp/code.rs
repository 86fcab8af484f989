//! The secret of an authenticator app: its codes, and the texts by which the app is enrolled.

use chrono::{DateTime, Utc};
use qrcode::QrCode;
use qrcode::render::svg;
use totp_rs::{Builder, Totp};
use url::{Host, Url};

use crate::secrets::{MacKey, random_bytes};

/// The length of the secret: 160 bits, as RFC 4226 §4 recommends.
const SECRET_BYTES: usize = 20;
/// The length of the key of the recovery codes, in bytes.
const KEY_BYTES: usize = 32;
/// The width of the QR code, in CSS pixels.
const QR_WIDTH: u32 = 240;
/// The issuer if the public URL has no host that an app can show.
const DEFAULT_ISSUER: &str = "Tripgate";

/// The secret of an authenticator app, and the key of the recovery codes.
pub(super) struct Secret {
    secret: [u8; SECRET_BYTES],
    recovery_key: [u8; KEY_BYTES],
}

/// What a user needs to enrol an authenticator app.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The secret in Base32, for typing.
    pub secret: String,
    /// The `otpauth` URI, which an app on the same device can open.
    pub uri: String,
    /// The same URI as a QR code, an SVG document.
    pub qr_svg: String,
}

impl Secret {
    pub(super) fn random() -> Self {
        Self { secret: random_bytes(), recovery_key: random_bytes() }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.secret.as_slice(), &self.recovery_key].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (secret, recovery_key) = bytes.split_at_checked(SECRET_BYTES)?;
        Some(Self { secret: secret.try_into().ok()?, recovery_key: recovery_key.try_into().ok()? })
    }

    /// Returns the key of the recovery codes.
    pub(super) fn recovery_key(&self) -> MacKey {
        MacKey::new(&self.recovery_key)
    }

    /// Returns the time step of the code, if it is the current step, the step before or the step after (RFC
    /// 6238 §5.2). Ignores spaces, because apps show the code in two groups.
    pub(super) fn check(&self, code: &str, now: DateTime<Utc>) -> Option<i64> {
        let code: String = code.chars().filter(|character| *character != ' ').collect();
        let seconds = u64::try_from(now.timestamp()).ok()?;
        let step = self.totp("", "").check(&code, seconds)?;
        i64::try_from(step).ok()
    }

    /// Returns the generator of codes. It uses SHA-1, 6 digits and steps of 30 seconds, because many apps
    /// ignore other parameters.
    fn totp(&self, issuer: &str, account: &str) -> Totp {
        Builder::new()
            .with_secret(self.secret.to_vec())
            .with_issuer(Some(issuer))
            .with_account_name(account)
            .build_noncompliant()
    }
}

/// Returns the host of the public URL, which distinguishes the entries in an app.
pub(super) fn issuer(public_url: &str) -> String {
    let url = Url::parse(public_url).ok();
    // The label in the URI can't contain a colon, so an IPv6 address can't be the issuer.
    let host = url.as_ref().and_then(Url::host).filter(|host| !matches!(host, Host::Ipv6(_)));
    host.map_or_else(|| DEFAULT_ISSUER.to_owned(), |host| host.to_string())
}

/// Returns the texts by which an app is enrolled. `account` is the name that the app shows.
pub(super) fn enrolment(secret: &Secret, issuer: &str, account: &str) -> Enrolment {
    let totp = secret.totp(issuer, &account.replace(':', " "));
    let uri = totp.to_url().unwrap_or_default();
    let qr_svg = QrCode::new(&uri).map_or_else(
        |_| String::new(),
        |code| code.render::<svg::Color>().min_dimensions(QR_WIDTH, QR_WIDTH).build(),
    );
    Enrolment { secret: totp.secret().to_base32(), uri, qr_svg }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_millis;

    fn at(seconds: i64) -> DateTime<Utc> {
        from_millis(seconds * 1000)
    }

    fn rfc_secret() -> Secret {
        Secret { secret: *b"12345678901234567890", recovery_key: [0; 32] }
    }

    #[test]
    fn the_codes_equal_the_test_vectors_of_rfc_6238() {
        // S-51: RFC 6238, appendix B. Each code is the last 6 of the 8 digits in the appendix.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(rfc_secret().check(code, at(seconds)), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_is_accepted_only_in_its_own_time_step_and_in_the_steps_before_and_after() {
        // S-51
        let secret = rfc_secret();
        for (seconds, expected) in [
            (1_111_111_078, None),
            (1_111_111_080, Some(37_037_037)),
            (1_111_111_139, Some(37_037_037)),
            (1_111_111_140, Some(37_037_037)),
            (1_111_111_169, Some(37_037_037)),
            (1_111_111_170, None),
        ] {
            assert_eq!(secret.check("050471", at(seconds)), expected, "{seconds}");
        }
        for wrong in ["050472", "50471", "0504711", "+50471", "", "05047１"] {
            assert_eq!(secret.check(wrong, at(1_111_111_111)), None, "{wrong}");
        }
        assert!(secret.check("050 471", at(1_111_111_111)).is_some());
    }

    #[test]
    fn the_otpauth_uri_contains_the_issuer_and_the_account() {
        let enrolment =
            enrolment(&rfc_secret(), &issuer("https://trips.example.org:8443/"), "grace@example.org");
        assert_eq!(enrolment.secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            enrolment.uri,
            "otpauth://totp/trips.example.org:grace%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=trips.example.org"
        );
        assert!(enrolment.qr_svg.contains("<svg") && enrolment.qr_svg.ends_with("</svg>"));
        assert_eq!(issuer("http://[::1]:8080"), "Tripgate");
    }

    #[test]
    fn a_totp_secret_can_be_restored_from_its_bytes() {
        let secret = Secret::random();
        let copy = Secret::from_bytes(&secret.to_bytes()).unwrap();
        assert_eq!(copy.to_bytes(), secret.to_bytes());
        assert!(Secret::from_bytes(&secret.to_bytes()[1..]).is_none());
    }
}
