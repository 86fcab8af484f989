//! The relying party: this server from the point of view of authenticators and browsers.

use super::rejection::Rejection;
use crate::secrets::sha256;

/// The relying party.
#[derive(Debug, Clone)]
pub struct RelyingParty {
    id: String,
    id_hash: [u8; 32],
    origins: Vec<String>,
}

impl RelyingParty {
    /// Creates a relying party. `id` is a host name; `origins` are the origins of the pages and apps whose
    /// passkeys are accepted, in the form that browsers and operating systems send.
    pub fn new(id: String, origins: Vec<String>) -> Self {
        Self { id_hash: sha256(id.as_bytes()), id, origins }
    }

    /// Returns the id, a host name.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The values that a response must match.
#[derive(Debug, Clone, Copy)]
pub(in crate::passkeys) struct Expected<'a> {
    pub(in crate::passkeys) relying_party: &'a RelyingParty,
    /// The challenge that was issued.
    pub(in crate::passkeys) challenge: &'a [u8],
    /// Whether the device must have verified the user. Always true outside of tests; some test vectors of the
    /// specification have responses without user verification.
    pub(in crate::passkeys) user_verification: bool,
}

impl Expected<'_> {
    pub(super) fn check_origin(&self, origin: &str) -> Result<(), Rejection> {
        // Compare exactly: a comparison of prefixes or of hosts would accept pages of other servers.
        let is_known = self.relying_party.origins.iter().any(|known| known == origin);
        if is_known { Ok(()) } else { Err(Rejection::Origin) }
    }

    pub(super) fn check_rp_id_hash(&self, hash: &[u8]) -> Result<(), Rejection> {
        if hash == self.relying_party.id_hash { Ok(()) } else { Err(Rejection::RpIdHash) }
    }
}
