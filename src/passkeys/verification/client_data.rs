//! The client data: what the browser or the operating system says about a ceremony (Web Authentication §5.8.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::rejection::Rejection;
use super::relying_party::Expected;
use crate::secrets::sha256;

/// The maximum length of the client data, in bytes.
const LENGTH_MAX: usize = 8 * 1024;
/// The value of `type` in a registration.
pub(super) const CREATE: &str = "webauthn.create";
/// The value of `type` in an authentication.
pub(super) const GET: &str = "webauthn.get";

/// The fields that the verification needs. The specification adds fields over time, so unknown fields are
/// ignored.
#[derive(Debug, Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(rename = "crossOrigin")]
    cross_origin: Option<bool>,
    #[serde(rename = "topOrigin")]
    top_origin: Option<String>,
}

/// Checks the client data. Returns its SHA-256. The comments name the steps of §7.1 (registration) and §7.2
/// (authentication).
pub(super) fn check(json: &[u8], kind: &str, expected: Expected<'_>) -> Result<[u8; 32], Rejection> {
    if json.len() > LENGTH_MAX {
        return Err(Rejection::ClientData);
    }
    // §7.1 steps 5 and 6, §7.2 steps 8 and 9: the algorithm "UTF-8 decode" removes a byte order mark.
    let text = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let data: ClientData = serde_json::from_slice(text).map_err(|_| Rejection::ClientData)?;
    // §7.1 step 7, §7.2 step 10.
    if data.kind != kind {
        return Err(Rejection::Type);
    }
    // §7.1 step 8, §7.2 step 11.
    if data.challenge != URL_SAFE_NO_PAD.encode(expected.challenge) {
        return Err(Rejection::Challenge);
    }
    // §7.1 step 9, §7.2 step 12.
    expected.check_origin(&data.origin)?;
    // §7.1 steps 10 and 11, §7.2 steps 13 and 14: pages of this server are never embedded in pages of another
    // origin.
    if data.cross_origin == Some(true) || data.top_origin.is_some() {
        return Err(Rejection::CrossOrigin);
    }
    // §7.1 step 12, §7.2 step 20.
    Ok(sha256(json))
}
