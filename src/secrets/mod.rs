//! The master secret, the keys derived from it, and encryption at rest.
//!
//! One secret is kept outside the database; every key is derived from it for one purpose (HKDF,
//! RFC 5869), so that no key serves two ends and a new purpose needs no new secret. A secret shorter
//! than 32 bytes is refused.
//!
//! So that it can be changed while servers run, more than one may be known at a time ([`SecretSet`]): the
//! current one seals and signs, and what any known one sealed or signed is accepted.

mod file;
mod mask;

use std::path::Path;
use std::{fmt, io};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, digest, hkdf, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use file::{SecretFile, SecretSet};
pub use mask::{MASK, mask_url};

/// The shortest secret that is accepted, in bytes.
pub const MIN_BYTES: usize = 32;

/// Why there is no master secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file can't be read or made.
    #[error("the secret file {path} can't be {what}: {source}")]
    File {
        /// Of the file.
        path: String,
        /// `read`, `made`, `written` or `locked`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Too easy to guess.
    #[error("the secret {from} has {bytes} bytes; at least {MIN_BYTES} are needed")]
    TooShort {
        /// Where it came from.
        from: String,
        /// How many it has.
        bytes: usize,
    },
    /// A line that is neither the current secret nor marked as another one.
    #[error(
        "line {line} of the secret {from} can't be read: the first line is the current secret, any other begins with `old ` or `next `"
    )]
    Line {
        /// Where it came from.
        from: String,
        /// Which line, from 1.
        line: usize,
    },
}

/// The secret that everything else is derived from, and those whose work is still accepted.
#[derive(Clone)]
pub struct MasterSecret {
    current: Vec<u8>,
    others: Vec<Vec<u8>>,
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterSecret(..)")
    }
}

/// What a derived key is for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// Encrypting private keys at rest.
    KeyRing,
    /// The last part of refresh tokens.
    RefreshTokens,
    /// Authenticating page cursors.
    Cursors,
    /// The last part of links that show a trip.
    Shares,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::KeyRing => b"tripgate key ring v1",
            Self::RefreshTokens => b"tripgate refresh tokens v1",
            Self::Cursors => b"tripgate cursors v1",
            Self::Shares => b"tripgate shares v1",
        }
    }
}

impl MasterSecret {
    /// Takes what the operator gave: a secret, or several lines as in the file. White space around a
    /// line does not count.
    ///
    /// # Errors
    ///
    /// [`SecretError::TooShort`], [`SecretError::Line`].
    pub fn given(text: &str, from: &str) -> Result<Self, SecretError> {
        Ok(SecretSet::parse(text, from)?.into())
    }

    /// Reads the secret at `path`.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        Ok(file::read(path)?.into())
    }

    /// Reads the secret at `path`, and makes it first (mode 0600) if there is none.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub fn read_or_create(path: &Path) -> Result<Self, SecretError> {
        if !path.exists() {
            file::make(path)?;
        }
        Self::read(path)
    }

    /// The current secret's key for one purpose: 32 bytes (HKDF-SHA-256, RFC 5869).
    pub fn derive(&self, purpose: Purpose) -> [u8; 32] {
        derive(&self.current, purpose)
    }

    /// The keys for one purpose of all other secrets that are known.
    fn derive_others(&self, purpose: Purpose) -> impl Iterator<Item = [u8; 32]> {
        self.others.iter().map(move |secret| derive(secret, purpose))
    }
}

impl From<SecretSet> for MasterSecret {
    fn from(lines: SecretSet) -> Self {
        let others = lines.next.into_iter().chain(lines.old);
        Self { current: lines.current.into_bytes(), others: others.map(String::into_bytes).collect() }
    }
}

fn derive(secret: &[u8], purpose: Purpose) -> [u8; 32] {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut key = [0; 32];
    let filled = hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(secret)
        .expand(&[purpose.label()], Length)
        .and_then(|material| material.fill(&mut key));
    assert!(filled.is_ok(), "HKDF gives 32 bytes for any input");
    key
}

/// Encrypts what is kept in the database (AES-256-GCM).
#[derive(Debug)]
pub struct Vault {
    current: RandomizedNonceKey,
    others: Vec<RandomizedNonceKey>,
}

impl Vault {
    /// A vault under one derived key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { current: aes(key), others: Vec::new() }
    }

    /// Seals under the current secret, opens what was sealed under any known one.
    pub fn of(secret: &MasterSecret, purpose: Purpose) -> Self {
        let others = secret.derive_others(purpose).map(|key| aes(&key)).collect();
        Self { current: aes(&secret.derive(purpose)), others }
    }

    /// Encrypts `plain`; `name` says what it is and must be given again to open it.
    ///
    /// # Errors
    ///
    /// None that can occur for what is kept here (it would take 64 GiB).
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let mut sealed = plain.to_vec();
        let nonce =
            self.current.seal_in_place_append_tag(Aad::from(name), &mut sealed).map_err(|_| DecryptError)?;
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut sealed);
        Ok(whole)
    }

    /// Decrypts what [`Vault::seal`] gave.
    ///
    /// # Errors
    ///
    /// [`DecryptError`], if it was sealed under a key that is not known, for another name, or changed since.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let others = || self.others.iter().find_map(|key| open(key, name, sealed).ok());
        open(&self.current, name, sealed).or_else(|_| others().ok_or(DecryptError))
    }

    /// Whether it was sealed under the current secret.
    pub fn is_current(&self, name: &str, sealed: &[u8]) -> bool {
        open(&self.current, name, sealed).is_ok()
    }
}

fn aes(key: &[u8; 32]) -> RandomizedNonceKey {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key);
    let Ok(key) = key else { unreachable!("AES-256 takes every key of 32 bytes") };
    key
}

fn open(key: &RandomizedNonceKey, name: &str, sealed: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let (nonce, body) = sealed.split_at_checked(12).ok_or(DecryptError)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DecryptError)?;
    let mut plain = body.to_vec();
    let length = key.open_in_place(nonce, Aad::from(name), &mut plain).map_err(|_| DecryptError)?.len();
    plain.truncate(length);
    Ok(plain)
}

/// The vault did not open.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it was encrypted under another master secret, or changed since")]
pub struct DecryptError;

/// The shortest code that is taken, and as much of one as is put into a text, in bytes.
const CODE_BYTES: usize = 16;

/// Computes and checks authentication codes (HMAC-SHA-256, RFC 2104).
#[derive(Clone, Debug)]
pub struct MacKey {
    current: hmac::Key,
    others: Vec<hmac::Key>,
}

impl MacKey {
    /// An authenticator under one derived key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { current: hmac::Key::new(hmac::HMAC_SHA256, key), others: Vec::new() }
    }

    /// Computes codes under the current secret, accepts those of any known one.
    pub fn of(secret: &MasterSecret, purpose: Purpose) -> Self {
        let others = secret.derive_others(purpose).map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        Self { others: others.collect(), ..Self::new(&secret.derive(purpose)) }
    }

    /// The code of a message: 32 bytes.
    pub fn code(&self, message: &[u8]) -> impl AsRef<[u8]> {
        hmac::sign(&self.current, message)
    }

    /// Whether `code` is, or begins, the code of the message; in constant time.
    pub fn matches(&self, message: &[u8], code: &[u8]) -> bool {
        let begins = |key| {
            let right = hmac::sign(key, message);
            let right = right.as_ref().get(..code.len());
            right.is_some_and(|right| equal(right, code))
        };
        code.len() >= CODE_BYTES && std::iter::once(&self.current).chain(&self.others).any(begins)
    }

    /// `said` as a text for a URL that nobody else can make. `context` is what it is good for: no other text
    /// under the same key begins with it.
    pub fn seal(&self, context: &[u8], said: &[u8]) -> String {
        let whole = [context, said].concat();
        let code = self.code(&whole);
        let code = code.as_ref().get(..CODE_BYTES).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([said, code].concat())
    }

    /// What [`MacKey::seal`] was given in this context; `None` for any other text.
    pub fn open(&self, context: &[u8], text: &str) -> Option<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let code = bytes.split_off(bytes.len().checked_sub(CODE_BYTES)?);
        self.matches(&[context, &bytes].concat(), &code).then_some(bytes)
    }
}

/// Whether two texts are the same, in a time that tells nothing of where they differ.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Unguessable bytes.
///
/// # Panics
///
/// If the machine has no randomness to give; nothing safe could be done without.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    assert!(rand::fill(&mut bytes).is_ok(), "the machine's random number generator failed");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> MasterSecret {
        MasterSecret::given(text, "in a test").unwrap()
    }

    #[test]
    fn a_short_secret_is_refused() {
        // S-36
        let error = MasterSecret::given("0123456789012345678901234567890 ", "TRIPGATE_SECRET").unwrap_err();
        assert_eq!(error.to_string(), "the secret TRIPGATE_SECRET has 31 bytes; at least 32 are needed");
    }

    #[test]
    fn keys_differ_by_purpose_and_by_secret() {
        let one = secret("a secret of at least thirty-two bytes");
        let two = secret("another secret of at least thirty-two bytes");
        assert_ne!(one.derive(Purpose::Cursors), one.derive(Purpose::KeyRing));
        assert_ne!(one.derive(Purpose::Cursors), two.derive(Purpose::Cursors));
        assert_eq!(one.derive(Purpose::Cursors), one.derive(Purpose::Cursors));
    }

    #[test]
    fn a_vault_opens_only_under_its_key_and_name() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal("key 1", b"private").unwrap();
        assert_eq!(vault.open("key 1", &sealed).unwrap(), b"private");
        assert!(vault.open("key 2", &sealed).is_err());
        assert!(Vault::new(&[8; 32]).open("key 1", &sealed).is_err());
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(vault.open("key 1", &changed).is_err());
        assert!(vault.open("key 1", &sealed[..5]).is_err());
    }

    #[test]
    fn a_code_matches_only_its_message_and_never_when_cut_short() {
        let codes = MacKey::new(&[7; 32]);
        let code = codes.code(b"message");
        assert!(codes.matches(b"message", code.as_ref()));
        assert!(codes.matches(b"message", &code.as_ref()[..16]));
        assert!(!codes.matches(b"message", &code.as_ref()[..15]));
        assert!(!codes.matches(b"message", b""));
        assert!(!codes.matches(b"massage", code.as_ref()));
    }

    #[test]
    fn what_a_former_secret_made_is_accepted_and_the_current_one_makes_what_is_new() {
        let (one, two) =
            ("a secret of at least thirty-two bytes", "another secret of at least thirty-two bytes");
        let (before, after) = (secret(one), secret(&format!("{two}\nold {one}")));
        let vault = Vault::of(&after, Purpose::KeyRing);
        let sealed = Vault::of(&before, Purpose::KeyRing).seal("key 1", b"private").unwrap();
        assert_eq!(vault.open("key 1", &sealed).unwrap(), b"private");
        assert!(!vault.is_current("key 1", &sealed));
        assert!(vault.open("key 2", &sealed).is_err());
        let sealed = vault.seal("key 1", b"private").unwrap();
        assert!(vault.is_current("key 1", &sealed));
        assert!(Vault::of(&before, Purpose::KeyRing).open("key 1", &sealed).is_err());

        let codes = MacKey::of(&after, Purpose::Cursors);
        let old = MacKey::of(&before, Purpose::Cursors);
        assert!(codes.matches(b"message", old.code(b"message").as_ref()));
        assert!(!old.matches(b"message", codes.code(b"message").as_ref()));
        let elsewhere = MacKey::of(&before, Purpose::RefreshTokens);
        assert!(!codes.matches(b"message", elsewhere.code(b"message").as_ref()));
    }
}
