//! The nonces of Digest (RFC 7616 §3.3): the time of issue, a random id, and a MAC over the time and the id.
//!
//! Issuing a nonce stores nothing. A nonce is stored when a request with a valid response uses it. Every
//! replica accepts the nonces that other replicas issued.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::clock::{Clock, from_millis};
use crate::secrets::{MacKey, random_bytes};

/// The prefix that separates nonces from other messages under the same MAC key.
const CONTEXT: &[u8] = b"digest nonce v1";
/// How long a nonce is valid.
const LIFETIME: TimeDelta = TimeDelta::minutes(5);
/// The maximum difference between the clocks of two replicas.
const SKEW: TimeDelta = TimeDelta::seconds(30);
/// How long the use of a nonce is stored. This is longer than the lifetime of a nonce, because an expired
/// nonce becomes valid again if the clock is set back.
pub(super) const RETENTION: TimeDelta = TimeDelta::days(7);

/// A nonce whose MAC is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonce {
    /// The random id.
    pub(super) id: Uuid,
    /// When the nonce was issued.
    pub(super) issued_at: DateTime<Utc>,
}

/// Issues and verifies nonces.
#[derive(Debug)]
pub(super) struct Nonces {
    mac: MacKey,
    clock: Clock,
}

impl Nonces {
    pub(super) fn new(mac: MacKey, clock: Clock) -> Self {
        Self { mac, clock }
    }

    /// Returns a new nonce.
    pub(super) fn issue(&self) -> String {
        let issued_at = self.clock.now().timestamp_millis().to_be_bytes();
        self.mac.sign(CONTEXT, &[issued_at.as_slice(), &random_bytes::<16>()].concat())
    }

    /// Returns the nonce if a replica of this server issued it and it has not expired.
    pub(super) fn verify(&self, text: &str) -> Option<Nonce> {
        let payload = self.mac.open_signed(CONTEXT, text)?;
        let (issued_at, id) = payload.split_first_chunk::<8>()?;
        let nonce =
            Nonce { id: Uuid::from_slice(id).ok()?, issued_at: from_millis(i64::from_be_bytes(*issued_at)) };
        let now = self.clock.now();
        (nonce.issued_at <= now + SKEW && now < nonce.issued_at + LIFETIME).then_some(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_valid_for_five_minutes_and_a_modified_nonce_is_rejected() {
        // S-94
        let clock = Clock::fixed(from_millis(1_700_000_000_000));
        let nonces = Nonces::new(MacKey::new(&[1; 32]), clock.clone());
        let issued = nonces.issue();
        assert!(nonces.verify(&issued).is_some());
        assert_ne!(nonces.issue(), issued);
        for at in 0..issued.len() {
            let new = if issued.as_bytes()[at] == b'A' { 'B' } else { 'A' };
            let modified = format!("{}{new}{}", &issued[..at], &issued[at + 1..]);
            assert_eq!(nonces.verify(&modified), None, "{modified}");
        }
        assert_eq!(Nonces::new(MacKey::new(&[2; 32]), clock.clone()).verify(&issued), None);
        clock.advance(TimeDelta::seconds(299));
        assert!(nonces.verify(&issued).is_some());
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(nonces.verify(&issued), None);
        clock.jump(TimeDelta::seconds(-331));
        assert_eq!(nonces.verify(&issued), None, "from the future");
    }
}
