//! The file of the master secret. The server creates the file so that only its owner can read it, and rejects
//! a file that other users can write.
//!
//! The first line is the current secret. A line that begins with `next ` contains the next secret. Servers
//! accept this secret but do not use it yet, so that every replica knows it before the first replica uses it.
//! Lines that begin with `old ` contain former secrets. The file is replaced atomically, and by one process
//! at a time, so no process reads a partial secret, and a crash loses no secret.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::OFlags;

use super::{MIN_BYTES, SecretError, random_bytes};

const NEXT: &str = "next ";
const OLD: &str = "old ";

/// The accepted secrets, each at least [`MIN_BYTES`] long.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretSet {
    /// The secret that encrypts and signs.
    pub current: String,
    /// The secret that becomes the current secret at the next rotation.
    pub next: Option<String>,
    /// Former current secrets, latest first.
    pub old: Vec<String>,
}

impl fmt::Debug for SecretSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSet").field("old", &self.old.len()).finish_non_exhaustive()
    }
}

impl SecretSet {
    /// Parses the text of a secret file. Ignores empty lines.
    ///
    /// # Errors
    ///
    /// [`SecretError::TooShort`], [`SecretError::Line`].
    pub fn parse(text: &str, from: &str) -> Result<Self, SecretError> {
        let long_enough = |secret: &str| match secret.len() {
            bytes @ ..MIN_BYTES => Err(SecretError::TooShort { from: from.to_owned(), bytes }),
            _ => Ok(secret.to_owned()),
        };
        let invalid = |line| SecretError::Line { from: from.to_owned(), line };
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty());
        let (at, first) = lines.next().unwrap_or((1, ""));
        if first.starts_with(NEXT) || first.starts_with(OLD) {
            return Err(invalid(at));
        }
        let mut set = Self { current: long_enough(first)?, next: None, old: Vec::new() };
        for (at, line) in lines {
            if let Some(old) = line.strip_prefix(OLD) {
                set.old.push(long_enough(old.trim_start())?);
            } else if let (Some(next), None) = (line.strip_prefix(NEXT), &set.next) {
                set.next = Some(long_enough(next.trim_start())?);
            } else {
                return Err(invalid(at));
            }
        }
        Ok(set)
    }

    fn to_text(&self) -> String {
        let next = self.next.iter().map(|secret| format!("{NEXT}{secret}\n"));
        let old = self.old.iter().map(|secret| format!("{OLD}{secret}\n"));
        std::iter::once(format!("{}\n", self.current)).chain(next).chain(old).collect()
    }
}

/// A secret file, locked against changes by other processes.
#[derive(Debug)]
pub struct SecretFile {
    path: PathBuf,
    secrets: SecretSet,
    /// The file's directory. It stays locked until this value is dropped.
    _directory: File,
}

impl SecretFile {
    /// Locks and reads the file.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub fn open(path: &Path) -> Result<Self, SecretError> {
        // Resolve symbolic links, because the rename must replace the file and not the link.
        let path = path.canonicalize().map_err(failed(path, "read"))?;
        let directory = File::open(directory_of(&path)).map_err(failed(&path, "lock"))?;
        directory.try_lock().map_err(|error| failed(&path, "lock")(error.into()))?;
        let secrets = read(&path)?;
        Ok(Self { path, secrets, _directory: directory })
    }

    /// Returns the secrets in the file.
    pub fn secrets(&self) -> &SecretSet {
        &self.secrets
    }

    /// Generates the next secret and writes it to the file. Returns `false` if the file already has a next
    /// secret.
    ///
    /// # Errors
    ///
    /// [`SecretError::File`].
    pub fn prepare(&mut self) -> Result<bool, SecretError> {
        if self.secrets.next.is_some() {
            return Ok(false);
        }
        self.replace(SecretSet { next: Some(random_secret()), ..self.secrets.clone() })?;
        Ok(true)
    }

    /// Replaces the current secret with the next secret, or with a new random secret if there is no next
    /// secret. Returns whether there was a next secret.
    ///
    /// # Errors
    ///
    /// [`SecretError::File`].
    pub fn advance(&mut self) -> Result<bool, SecretError> {
        let SecretSet { current, next, old } = self.secrets.clone();
        let was_prepared = next.is_some();
        let old = std::iter::once(current).chain(old).collect();
        self.replace(SecretSet { current: next.unwrap_or_else(random_secret), next: None, old })?;
        Ok(was_prepared)
    }

    fn replace(&mut self, secrets: SecretSet) -> Result<(), SecretError> {
        let write = || -> io::Result<()> {
            let temporary = write_temporary(&self.path, &secrets.to_text())?;
            if let Err(error) = fs::rename(&temporary, &self.path) {
                fs::remove_file(&temporary)?;
                return Err(error);
            }
            File::open(directory_of(&self.path))?.sync_all()
        };
        write().map_err(failed(&self.path, "write"))?;
        self.secrets = secrets;
        Ok(())
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> SecretError {
    let path = path.display().to_string();
    move |source| SecretError::File { path, action, source }
}

fn random_secret() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

/// Reads a secret file. Rejects a path that is not a regular file, and a file that other users can write.
pub(super) fn read(path: &Path) -> Result<SecretSet, SecretError> {
    // Without O_NONBLOCK, opening a FIFO blocks until another process opens it for writing.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut file = opened.map_err(failed(path, "read"))?;
    // Check the opened file and not the path, because another process can replace the file at any time.
    let metadata = file.metadata().map_err(failed(path, "read"))?;
    if !metadata.is_file() {
        return Err(SecretError::NotAFile { path: path.display().to_string() });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(SecretError::WritableByOthers { path: path.display().to_string(), mode });
    }
    if mode & 0o044 != 0 {
        let (path, mode) = (path.display(), format!("{mode:o}"));
        tracing::warn!(%path, mode, "other users can read the secret file; set its mode to 600");
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed(path, "read"))?;
    SecretSet::parse(&text, &format!("in {}", path.display()))
}

/// Creates the file with a random secret, unless the file exists. Writes a temporary file and links it to
/// `path`. If two processes start at the same time, the second process therefore uses the secret of the first
/// process, and no process reads a partial secret.
pub(super) fn create(path: &Path) -> Result<(), SecretError> {
    let secrets = SecretSet { current: random_secret(), next: None, old: Vec::new() };
    let link = || -> io::Result<()> {
        let temporary = write_temporary(path, &secrets.to_text())?;
        let linked = match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        fs::remove_file(&temporary)?;
        linked
    };
    link().map_err(failed(path, "create"))
}

/// Writes a file beside `path`, syncs it, and returns its path.
fn write_temporary(path: &Path, text: &str) -> io::Result<PathBuf> {
    let temporary = path.with_extension(URL_SAFE_NO_PAD.encode(random_bytes::<6>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        fs::remove_file(&temporary)?;
        return Err(error);
    }
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MasterSecret;

    const ONE: &str = "the first secret, of at least 32 bytes";
    const TWO: &str = "the second secret, of at least 32 bytes";

    #[test]
    fn a_secret_is_created_once_and_only_its_owner_can_read_it() {
        // S-36
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let first = MasterSecret::read_or_create(&path).unwrap();
        let second = MasterSecret::read_or_create(&path).unwrap();
        assert_eq!(first.current, second.current);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_text_of_a_secret_file_can_be_parsed_again_and_invalid_secrets_are_rejected() {
        let secrets =
            SecretSet { current: ONE.into(), next: Some(TWO.into()), old: vec![TWO.into(), ONE.into()] };
        assert_eq!(SecretSet::parse(&secrets.to_text(), "here").unwrap(), secrets);
        assert_eq!(SecretSet::parse(&format!("\n  {ONE} \r\n\n"), "here").unwrap().old.len(), 0);
        for invalid in [
            format!("{ONE}\n{TWO}"),
            format!("old {ONE}"),
            format!("next {ONE}\n{TWO}"),
            format!("{ONE}\nnext {TWO}\nnext {TWO}"),
        ] {
            assert!(matches!(SecretSet::parse(&invalid, "here"), Err(SecretError::Line { .. })), "{invalid}");
        }
        for short in [String::new(), "\n".to_owned(), format!("{ONE}\nold short"), format!("{ONE}\nnext x")] {
            // S-36
            assert!(matches!(SecretSet::parse(&short, "here"), Err(SecretError::TooShort { .. })), "{short}");
        }
    }

    #[test]
    fn advancing_makes_the_prepared_secret_current_and_keeps_the_former_secrets() {
        // S-36
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, ONE).unwrap();
        let mut file = SecretFile::open(&path).unwrap();
        assert!(matches!(SecretFile::open(&path), Err(SecretError::File { action: "lock", .. })));
        assert!(!file.advance().unwrap());
        assert!(file.prepare().unwrap() && !file.prepare().unwrap());
        let next = file.secrets().next.clone();
        assert!(file.advance().unwrap());
        assert_eq!(Some(&file.secrets().current), next.as_ref());
        assert_eq!((file.secrets().old.len(), file.secrets().old.last().unwrap().as_str()), (2, ONE));
        assert_eq!(&read(&path).unwrap(), file.secrets());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        drop(file);
        SecretFile::open(&path).unwrap();
    }
}
