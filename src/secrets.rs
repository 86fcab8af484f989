//! The master secret, the keys derived from it, and encryption at rest.
//!
//! One secret is kept outside the database; every key is derived from it for one purpose (HKDF,
//! RFC 5869), so that no key serves two ends and a new purpose needs no new secret. A secret shorter
//! than 32 bytes is refused.

mod mask;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, digest, hkdf, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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
        /// `read` or `made`.
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
}

/// The one secret that everything else is derived from.
#[derive(Clone)]
pub struct MasterSecret(Vec<u8>);

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
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::KeyRing => b"tripgate key ring v1",
            Self::RefreshTokens => b"tripgate refresh tokens v1",
            Self::Cursors => b"tripgate cursors v1",
        }
    }
}

impl MasterSecret {
    /// Takes a secret that the operator gave; white space around it does not count.
    ///
    /// # Errors
    ///
    /// [`SecretError::TooShort`].
    pub fn given(text: &str, from: &str) -> Result<Self, SecretError> {
        let bytes = text.trim().as_bytes();
        if bytes.len() < MIN_BYTES {
            return Err(SecretError::TooShort { from: from.to_owned(), bytes: bytes.len() });
        }
        Ok(Self(bytes.to_vec()))
    }

    /// Reads the secret at `path`.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let file_error =
            |source| SecretError::File { path: path.display().to_string(), what: "read", source };
        let text = fs::read_to_string(path).map_err(file_error)?;
        let secret = Self::given(&text, &format!("in {}", path.display()))?;
        let mode = fs::metadata(path).map_err(file_error)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others can read the secret; 600 is meant");
        }
        Ok(secret)
    }

    /// Reads the secret at `path`, and makes it first (mode 0600) if there is none.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub fn read_or_make(path: &Path) -> Result<Self, SecretError> {
        if !path.exists() {
            make(path).map_err(|source| SecretError::File {
                path: path.display().to_string(),
                what: "made",
                source,
            })?;
        }
        Self::read(path)
    }

    /// The key for one purpose: 32 bytes (HKDF-SHA-256, RFC 5869).
    ///
    /// # Panics
    ///
    /// Never: HKDF gives 32 bytes for any input.
    pub fn derive(&self, purpose: Purpose) -> [u8; 32] {
        struct Length;
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                32
            }
        }
        let mut key = [0; 32];
        let filled = hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
            .extract(&self.0)
            .expand(&[purpose.label()], Length)
            .and_then(|material| material.fill(&mut key));
        assert!(filled.is_ok(), "HKDF gives 32 bytes for any input");
        key
    }
}

/// Written beside its place and then linked into it: of two processes that start together one wins,
/// and nobody ever reads half a secret.
fn make(path: &Path) -> io::Result<()> {
    let draft = path.with_extension(URL_SAFE_NO_PAD.encode(random_bytes::<6>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = writeln!(file, "{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()))
        .and_then(|()| file.sync_all())
        .and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    fs::remove_file(&draft)?;
    written
}

/// Encrypts what is kept in the database (AES-256-GCM).
#[derive(Debug)]
pub struct Vault(RandomizedNonceKey);

impl Vault {
    /// A vault under one derived key.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key);
        let Ok(key) = key else { unreachable!("AES-256 takes every key of 32 bytes") };
        Self(key)
    }

    /// Encrypts `plain`; `name` says what it is and must be given again to open it.
    ///
    /// # Errors
    ///
    /// None that can occur for what is kept here (it would take 64 GiB).
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, Sealed> {
        let mut sealed = plain.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(name), &mut sealed).map_err(|_| Sealed)?;
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut sealed);
        Ok(whole)
    }

    /// Decrypts what [`Vault::seal`] gave.
    ///
    /// # Errors
    ///
    /// [`Sealed`], if it was sealed under another key or name, or changed since.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, Sealed> {
        let (nonce, body) = sealed.split_at_checked(12).ok_or(Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Sealed)?;
        let mut plain = body.to_vec();
        let length = self.0.open_in_place(nonce, Aad::from(name), &mut plain).map_err(|_| Sealed)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// The vault did not open.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it was encrypted under another master secret, or changed since")]
pub struct Sealed;

/// Computes and checks authentication codes (HMAC-SHA-256, RFC 2104).
#[derive(Clone, Debug)]
pub struct Authenticator(hmac::Key);

impl Authenticator {
    /// An authenticator under one derived key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The code of a message: 32 bytes.
    pub fn code(&self, message: &[u8]) -> impl AsRef<[u8]> {
        hmac::sign(&self.0, message)
    }

    /// Whether `code` is, or begins, the code of the message; in constant time.
    pub fn matches(&self, message: &[u8], code: &[u8]) -> bool {
        let right = self.code(message);
        let right = right.as_ref().get(..code.len());
        code.len() >= 16 && right.is_some_and(|right| equal(right, code))
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
    fn a_secret_is_made_once_and_only_its_owner_reads_it() {
        // S-36
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let first = MasterSecret::read_or_make(&path).unwrap();
        let second = MasterSecret::read_or_make(&path).unwrap();
        assert_eq!(first.0, second.0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
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
        let codes = Authenticator::new(&[7; 32]);
        let code = codes.code(b"message");
        assert!(codes.matches(b"message", code.as_ref()));
        assert!(codes.matches(b"message", &code.as_ref()[..16]));
        assert!(!codes.matches(b"message", &code.as_ref()[..15]));
        assert!(!codes.matches(b"message", b""));
        assert!(!codes.matches(b"massage", code.as_ref()));
    }
}
