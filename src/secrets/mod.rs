//! The master secret, the keys derived from it, and encryption at rest.
//!
//! The master secret is stored outside the database. Each key is derived from the master secret for one
//! purpose (HKDF, RFC 5869), so no key serves two purposes and a new purpose needs no new secret. Secrets
//! shorter than 32 bytes are rejected.
//!
//! A server can know several secrets at a time ([`SecretSet`]), so that the master secret can be changed
//! while servers run. The current secret encrypts and signs. Ciphertexts and tags under every known secret
//! are accepted.

mod encrypted_stream;
mod file;
mod grouped_code;
mod mac_key;
mod mask;
mod purpose;

use std::path::Path;
use std::{fmt, io};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, digest, hkdf, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use encrypted_stream::{DecryptingReader, EncryptingWriter};
pub use file::{SecretFile, SecretSet};
pub use grouped_code::GroupedCode;
pub use mac_key::MacKey;
pub use mask::{MASK, mask_url};
pub use purpose::Purpose;

/// Minimum length of a secret in bytes.
pub const MIN_BYTES: usize = 32;

/// The reason why the master secret can't be loaded or changed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file can't be read, created, written or locked.
    #[error("failed to {action} the secret file {path}")]
    File {
        /// The path of the file.
        path: String,
        /// `read`, `create`, `write` or `lock`.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The file is a directory, a device, a pipe or a socket.
    #[error("the secret file {path} is not a regular file; set secret_file to the path of a regular file")]
    NotAFile {
        /// The path of the file.
        path: String,
    },
    /// Other users can replace the secret and then forge every token.
    #[error(
        "other users can write to the secret file {path} (mode {mode:o}); run chmod 600 on it, or replace \
         it if you don't trust its content"
    )]
    WritableByOthers {
        /// The path of the file.
        path: String,
        /// The permissions of the file.
        mode: u32,
    },
    /// The secret is too short.
    #[error("the secret {from} has {bytes} bytes; it needs at least {MIN_BYTES}")]
    TooShort {
        /// The source of the secret.
        from: String,
        /// The length of the secret, in bytes.
        bytes: usize,
    },
    /// The first line is marked as a next or former secret, a later line is not marked, or two lines are
    /// marked as the next secret.
    #[error(
        "line {line} of the secret {from} is invalid: the first line must be the current secret, \
         all other lines must begin with `old ` or `next `, and only one with `next `"
    )]
    Line {
        /// The source of the secret.
        from: String,
        /// The line number, from 1.
        line: usize,
    },
}

/// The current secret, from which all keys are derived, and the other accepted secrets: the next secret and
/// the former secrets.
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

impl MasterSecret {
    /// Parses a secret, or several lines as in the secret file. Ignores white space around a line. `from`
    /// names the source in errors.
    ///
    /// # Errors
    ///
    /// [`SecretError::TooShort`], [`SecretError::Line`].
    pub fn parse(text: &str, from: &str) -> Result<Self, SecretError> {
        Ok(SecretSet::parse(text, from)?.into())
    }

    /// Reads the secret file at `path`.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        Ok(file::read(path)?.into())
    }

    /// Reads the secret file at `path`. Creates it first (mode 0600) if it does not exist.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub fn read_or_create(path: &Path) -> Result<Self, SecretError> {
        if !path.exists() {
            file::create(path)?;
        }
        Self::read(path)
    }

    /// Derives a 32-byte key for one purpose from the current secret (HKDF-SHA-256, RFC 5869).
    pub fn derive(&self, purpose: Purpose) -> [u8; 32] {
        derive(&self.current, purpose)
    }

    /// Derives a key from the known secret with this fingerprint, for one purpose and one salt. Returns `None` if no
    /// known secret has the fingerprint.
    pub fn derive_salted(&self, fingerprint: &str, purpose: Purpose, salt: &[u8]) -> Option<[u8; 32]> {
        let place = self.fingerprints().iter().position(|known| known == fingerprint)?;
        let secret = std::iter::once(&self.current).chain(&self.others).nth(place)?;
        Some(derive_with(secret, purpose, salt))
    }

    /// Returns a fingerprint of each known secret. The fingerprint of the current secret is the first. A
    /// fingerprint identifies a secret and reveals nothing about it.
    pub fn fingerprints(&self) -> Vec<String> {
        let keys = std::iter::once(self.derive(Purpose::Fingerprint));
        let encode = |key: [u8; 32]| URL_SAFE_NO_PAD.encode(key.first_chunk::<12>().unwrap_or(&[0; 12]));
        keys.chain(self.derive_others(Purpose::Fingerprint)).map(encode).collect()
    }

    /// Derives a key for one purpose from each of the other known secrets.
    fn derive_others(&self, purpose: Purpose) -> impl Iterator<Item = [u8; 32]> {
        self.others.iter().map(move |secret| derive(secret, purpose))
    }
}

impl From<SecretSet> for MasterSecret {
    fn from(secrets: SecretSet) -> Self {
        let others = secrets.next.into_iter().chain(secrets.old);
        Self { current: secrets.current.into_bytes(), others: others.map(String::into_bytes).collect() }
    }
}

fn derive(secret: &[u8], purpose: Purpose) -> [u8; 32] {
    derive_with(secret, purpose, &[])
}

fn derive_with(secret: &[u8], purpose: Purpose, salt: &[u8]) -> [u8; 32] {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut key = [0; 32];
    let filled = hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[purpose.label()], Length)
        .and_then(|material| material.fill(&mut key));
    assert!(filled.is_ok(), "HKDF derives 32 bytes from any input");
    key
}

/// Encrypts data at rest (AES-256-GCM).
#[derive(Debug)]
pub struct Vault {
    current: RandomizedNonceKey,
    others: Vec<RandomizedNonceKey>,
}

impl Vault {
    /// Creates a vault that uses one derived key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { current: aes(key), others: Vec::new() }
    }

    /// Creates a vault that encrypts under the current secret and decrypts under every known secret.
    pub fn from_secret(secret: &MasterSecret, purpose: Purpose) -> Self {
        let others = secret.derive_others(purpose).map(|key| aes(&key)).collect();
        Self { current: aes(&secret.derive(purpose)), others }
    }

    /// Encrypts `plain`. The ciphertext is bound to `name`, so decryption requires the same name.
    ///
    /// # Errors
    ///
    /// [`DecryptError`], if `plain` is longer than 64 GiB, which does not occur here.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let mut sealed = plain.to_vec();
        let nonce =
            self.current.seal_in_place_append_tag(Aad::from(name), &mut sealed).map_err(|_| DecryptError)?;
        let mut message = nonce.as_ref().to_vec();
        message.append(&mut sealed);
        Ok(message)
    }

    /// Decrypts a result of [`Vault::seal`].
    ///
    /// # Errors
    ///
    /// [`DecryptError`], if `sealed` was encrypted under an unknown key or for another name, or was modified.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let others = || self.others.iter().find_map(|key| open(key, name, sealed).ok());
        open(&self.current, name, sealed).or_else(|_| others().ok_or(DecryptError))
    }

    /// Returns whether `sealed` was encrypted under the current secret.
    pub fn is_current(&self, name: &str, sealed: &[u8]) -> bool {
        open(&self.current, name, sealed).is_ok()
    }
}

fn aes(key: &[u8; 32]) -> RandomizedNonceKey {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key);
    let Ok(key) = key else { unreachable!("AES-256 accepts every 32-byte key") };
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

/// The data can't be decrypted.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the data is encrypted under another master secret, or was modified")]
pub struct DecryptError;

/// Compares two byte strings in time that does not depend on where they differ.
pub fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// Returns the SHA-256 digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Returns cryptographically secure random bytes.
///
/// # Panics
///
/// If the system's random number generator fails, because no safe operation is possible without it.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    assert!(rand::fill(&mut bytes).is_ok(), "the system's random number generator failed");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> MasterSecret {
        MasterSecret::parse(text, "in a test").unwrap()
    }

    #[test]
    fn a_master_secret_that_is_too_short_is_rejected() {
        // S-36
        let error = MasterSecret::parse("0123456789012345678901234567890 ", "TRIPGATE_SECRET").unwrap_err();
        assert_eq!(error.to_string(), "the secret TRIPGATE_SECRET has 31 bytes; it needs at least 32");
    }

    #[test]
    fn derived_keys_differ_by_purpose_and_by_secret() {
        let one = secret("a secret of at least thirty-two bytes");
        let two = secret("another secret of at least thirty-two bytes");
        assert_ne!(one.derive(Purpose::Cursors), one.derive(Purpose::KeyRing));
        assert_ne!(one.derive(Purpose::Cursors), two.derive(Purpose::Cursors));
        assert_eq!(one.derive(Purpose::Cursors), one.derive(Purpose::Cursors));
    }

    #[test]
    fn keys_with_different_salts_differ_and_the_fingerprint_selects_the_secret() {
        // S-98
        let former = "a former secret of at least thirty-two bytes";
        let rotated = secret(&format!("a secret of at least thirty-two bytes\nold {former}"));
        let former = secret(former);
        let of = |secret: &MasterSecret, salt: &[u8]| {
            secret.derive_salted(&former.fingerprints()[0], Purpose::Backups, salt)
        };
        assert_eq!(of(&rotated, b"one"), of(&former, b"one"));
        assert_ne!(of(&rotated, b"one"), of(&rotated, b"two"));
        assert!(of(&rotated, b"one").is_some());
        assert_eq!(rotated.derive_salted("unknown", Purpose::Backups, b"one"), None);
    }

    #[test]
    fn sealed_data_opens_only_if_it_is_unmodified_and_key_and_name_are_the_same() {
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
    fn a_mac_tag_verifies_only_its_own_message_and_must_have_at_least_16_bytes() {
        let key = MacKey::new(&[7; 32]);
        let tag = key.tag(b"message");
        assert!(key.verify(b"message", tag.as_ref()));
        assert!(key.verify(b"message", &tag.as_ref()[..16]));
        assert!(!key.verify(b"message", &tag.as_ref()[..15]));
        assert!(!key.verify(b"message", b""));
        assert!(!key.verify(b"massage", tag.as_ref()));
    }

    #[test]
    fn former_secrets_decrypt_and_verify_but_only_the_current_one_encrypts_and_signs() {
        let (one, two) =
            ("a secret of at least thirty-two bytes", "another secret of at least thirty-two bytes");
        let (before, after) = (secret(one), secret(&format!("{two}\nold {one}")));
        let vault = Vault::from_secret(&after, Purpose::KeyRing);
        let sealed = Vault::from_secret(&before, Purpose::KeyRing).seal("key 1", b"private").unwrap();
        assert_eq!(vault.open("key 1", &sealed).unwrap(), b"private");
        assert!(!vault.is_current("key 1", &sealed));
        assert!(vault.open("key 2", &sealed).is_err());
        let sealed = vault.seal("key 1", b"private").unwrap();
        assert!(vault.is_current("key 1", &sealed));
        assert!(Vault::from_secret(&before, Purpose::KeyRing).open("key 1", &sealed).is_err());

        let new = MacKey::from_secret(&after, Purpose::Cursors);
        let old = MacKey::from_secret(&before, Purpose::Cursors);
        assert!(new.verify(b"message", old.tag(b"message").as_ref()));
        assert!(!old.verify(b"message", new.tag(b"message").as_ref()));
        let other_purpose = MacKey::from_secret(&before, Purpose::RefreshTokens);
        assert!(!new.verify(b"message", other_purpose.tag(b"message").as_ref()));
    }
}
