//! Device tokens: proof that a user has logged in on a device before (a "device cookie" of OWASP).
//!
//! A token is computed from the user, the session and the stored password hash. Tokens are not stored. A
//! token is valid for a year, or until the stored hash changes if that is earlier. A token does not replace
//! the password. If a login has a valid token, the throttle counts a failure of this login only for the
//! device of the token.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::clock::Clock;
use crate::secrets::{MacKey, MasterSecret, Purpose, constant_time_eq, sha256};

/// The maximum length of a text that is decoded; a token has 86 characters.
const MAX_LENGTH: usize = 128;
const CONTEXT: &[u8] = b"device v1\0";

/// A digest of the stored password hash of a user. Device tokens contain a digest of this tag, so they become
/// invalid when the stored hash changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CredentialTag([u8; 32]);

impl std::fmt::Debug for CredentialTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialTag(..)")
    }
}

impl CredentialTag {
    /// Returns the tag of a stored password hash.
    pub fn of_hash(password_hash: &str) -> Self {
        Self(sha256(password_hash.as_bytes()))
    }
}

/// The content of a device token. [`DeviceTokens::is_known`] checks whether it is valid for a user.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    /// The user who logged in on the device.
    pub user: Uuid,
    /// The session of that login, which identifies the device.
    pub id: Uuid,
    credential: [u8; 8],
}

/// Issues and verifies device tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeviceTokens {
    mac: MacKey,
    clock: Clock,
}

impl DeviceTokens {
    /// How long a token is valid.
    pub const VALIDITY: TimeDelta = TimeDelta::days(365);

    /// Creates the service, with a key that only device tokens use.
    pub fn new(secret: &MasterSecret, clock: Clock) -> Self {
        Self { mac: MacKey::from_secret(secret, Purpose::DeviceTokens), clock }
    }

    /// Returns a token for the device on which this session of the user was started.
    pub fn issue(&self, user: Uuid, session: Uuid, credential: CredentialTag) -> String {
        let expires = (self.clock.now() + Self::VALIDITY).timestamp();
        let credential = shortened(credential);
        let payload = [user.as_bytes(), session.as_bytes(), &credential[..], &expires.to_be_bytes()].concat();
        self.mac.sign(CONTEXT, &payload)
    }

    /// Returns the device of a token. Returns `None` if this server has not issued the token, or the token
    /// has expired.
    pub fn open(&self, token: &str) -> Option<Device> {
        let payload =
            self.mac.open_signed(CONTEXT, Some(token).filter(|token| token.len() <= MAX_LENGTH)?)?;
        let (user, rest) = payload.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (credential, rest) = rest.split_first_chunk()?;
        let expires = DateTime::<Utc>::from_timestamp(i64::from_be_bytes(rest.try_into().ok()?), 0)?;
        let device =
            Device { user: Uuid::from_bytes(*user), id: Uuid::from_bytes(*id), credential: *credential };
        (self.clock.trusted_now() < expires).then_some(device)
    }

    /// Returns whether the token is for this user, and the stored password hash has not changed since the
    /// token was issued.
    pub fn is_known(device: &Device, user: Uuid, credential: CredentialTag) -> bool {
        device.user == user && constant_time_eq(&device.credential, &shortened(credential))
    }
}

/// Returns the 8 bytes, derived from the tag, that a token contains.
fn shortened(CredentialTag(tag): CredentialTag) -> [u8; 8] {
    // Hash the tag again, so that the token contains no part of the digest of the stored hash.
    let hashed = sha256(&[b"device token\0", &tag[..]].concat());
    hashed.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_token_is_valid_for_a_year_and_only_with_the_same_user_and_password_and_master_secret() {
        // S-82
        let clock = Clock::fixed(DateTime::UNIX_EPOCH);
        let secret = |text: &str| MasterSecret::parse(text, "in a test").unwrap();
        let tokens = DeviceTokens::new(&secret("a secret of at least thirty-two bytes"), clock.clone());
        let (ada, bob, session) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let (old, new) = (CredentialTag::of_hash("$2b$04$old"), CredentialTag::of_hash("$2b$04$new"));
        let token = tokens.issue(ada, session, old);
        let device = tokens.open(&token).unwrap();
        assert_eq!((device.user, device.id), (ada, session));
        assert!(DeviceTokens::is_known(&device, ada, old));
        assert!(!DeviceTokens::is_known(&device, bob, old) && !DeviceTokens::is_known(&device, ada, new));
        let other = DeviceTokens::new(&secret("another secret of at least thirty-two bytes"), clock.clone());
        assert!(other.open(&token).is_none());
        for forged in ["", "x", &token[1..], &format!("{token}A"), &token.repeat(100)] {
            assert!(tokens.open(forged).is_none(), "{forged}");
        }
        clock.advance(TimeDelta::days(364));
        assert!(tokens.open(&token).is_some());
        clock.advance(TimeDelta::days(2));
        assert!(tokens.open(&token).is_none());
    }
}
