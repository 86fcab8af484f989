//! Message authentication with keys that are derived from the master secret.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{MasterSecret, Purpose, constant_time_eq};

/// Minimum length of an accepted tag, and length of the tag in a signed text, in bytes.
const TAG_BYTES: usize = 16;

/// Computes and verifies message authentication tags (HMAC-SHA-256, RFC 2104). Cheap to clone.
#[derive(Clone, Debug)]
pub struct MacKey(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    current: hmac::Key,
    others: Vec<hmac::Key>,
}

impl MacKey {
    /// Creates a MAC key from one derived key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self::with_others(key, Vec::new())
    }

    /// Creates a MAC key that signs under the current secret and accepts tags under every known secret.
    pub fn from_secret(secret: &MasterSecret, purpose: Purpose) -> Self {
        let others = secret.derive_others(purpose).map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        Self::with_others(&secret.derive(purpose), others.collect())
    }

    fn with_others(key: &[u8; 32], others: Vec<hmac::Key>) -> Self {
        Self(Arc::new(Keys { current: hmac::Key::new(hmac::HMAC_SHA256, key), others }))
    }

    /// Returns the 32-byte tag of a message.
    pub fn tag(&self, message: &[u8]) -> impl AsRef<[u8]> {
        hmac::sign(&self.0.current, message)
    }

    /// Returns whether `tag` is the message's tag or a prefix of it with at least 16 bytes. Compares in
    /// constant time.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        let is_prefix = |key| {
            let expected = hmac::sign(key, message);
            let expected = expected.as_ref().get(..tag.len());
            expected.is_some_and(|expected| constant_time_eq(expected, tag))
        };
        tag.len() >= TAG_BYTES && std::iter::once(&self.0.current).chain(&self.0.others).any(is_prefix)
    }

    /// Returns `payload` and its tag as URL-safe text. `context` distinguishes the uses of the key: messages
    /// of other uses must not begin with `context`.
    pub fn sign(&self, context: &[u8], payload: &[u8]) -> String {
        let message = [context, payload].concat();
        let tag = self.tag(&message);
        let tag = tag.as_ref().get(..TAG_BYTES).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([payload, tag].concat())
    }

    /// Returns the payload if `signed` carries a valid tag for this context.
    pub fn open_signed(&self, context: &[u8], signed: &str) -> Option<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(signed).ok()?;
        let tag = bytes.split_off(bytes.len().checked_sub(TAG_BYTES)?);
        self.verify(&[context, &bytes].concat(), &tag).then_some(bytes)
    }
}
