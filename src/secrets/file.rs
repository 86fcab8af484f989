//! Where the master secret is kept: a file that only its owner reads, of one line or several.
//!
//! The first line is the current secret. A line that begins with `next ` holds one that is known but not
//! in use yet, so that every replica can know it before the first one uses it; lines that begin with
//! `old ` hold former ones. The file is only ever replaced whole, and by one process at a time: nobody
//! reads half a secret, and no crash loses one.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{MIN_BYTES, SecretError, random_bytes};

const NEXT: &str = "next ";
const OLD: &str = "old ";

/// The secrets that are known, each at least [`MIN_BYTES`] long.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretSet {
    /// Seals and signs.
    pub current: String,
    /// Is to become the current one.
    pub next: Option<String>,
    /// Were the current one, the latest first.
    pub old: Vec<String>,
}

impl fmt::Debug for SecretSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSet").field("old", &self.old.len()).finish_non_exhaustive()
    }
}

impl SecretSet {
    /// Reads them; empty lines don't count.
    ///
    /// # Errors
    ///
    /// [`SecretError::TooShort`], [`SecretError::Line`].
    pub fn parse(text: &str, from: &str) -> Result<Self, SecretError> {
        let long_enough = |secret: &str| match secret.len() {
            bytes @ ..MIN_BYTES => Err(SecretError::TooShort { from: from.to_owned(), bytes }),
            _ => Ok(secret.to_owned()),
        };
        let bad = |line| SecretError::Line { from: from.to_owned(), line };
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty());
        let (at, first) = lines.next().unwrap_or((1, ""));
        if first.starts_with(NEXT) || first.starts_with(OLD) {
            return Err(bad(at));
        }
        let mut read = Self { current: long_enough(first)?, next: None, old: Vec::new() };
        for (at, line) in lines {
            if let Some(old) = line.strip_prefix(OLD) {
                read.old.push(long_enough(old.trim_start())?);
            } else if let (Some(next), None) = (line.strip_prefix(NEXT), &read.next) {
                read.next = Some(long_enough(next.trim_start())?);
            } else {
                return Err(bad(at));
            }
        }
        Ok(read)
    }

    fn text(&self) -> String {
        let next = self.next.iter().map(|secret| format!("{NEXT}{secret}\n"));
        let old = self.old.iter().map(|secret| format!("{OLD}{secret}\n"));
        std::iter::once(format!("{}\n", self.current)).chain(next).chain(old).collect()
    }
}

/// The file, for whoever changes it: nobody else can at the same time.
#[derive(Debug)]
pub struct SecretFile {
    path: PathBuf,
    lines: SecretSet,
    /// Its directory, locked until this is dropped.
    _directory: File,
}

impl SecretFile {
    /// Locks and reads it.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub fn open(path: &Path) -> Result<Self, SecretError> {
        // Through a link to the file itself, which is what is replaced.
        let path = path.canonicalize().map_err(failed(path, "read"))?;
        let directory = File::open(folder(&path)).map_err(failed(&path, "locked"))?;
        directory.try_lock().map_err(|error| failed(&path, "locked")(error.into()))?;
        let lines = read(&path)?;
        Ok(Self { path, lines, _directory: directory })
    }

    /// What it says.
    pub fn lines(&self) -> &SecretSet {
        &self.lines
    }

    /// Adds a secret that is to become the current one; `false` if there is one already.
    ///
    /// # Errors
    ///
    /// [`SecretError::File`].
    pub fn prepare(&mut self) -> Result<bool, SecretError> {
        if self.lines.next.is_some() {
            return Ok(false);
        }
        self.replace(SecretSet { next: Some(fresh()), ..self.lines.clone() })?;
        Ok(true)
    }

    /// Makes the next secret the current one, a fresh one if there is none; `true` if it was prepared.
    ///
    /// # Errors
    ///
    /// [`SecretError::File`].
    pub fn advance(&mut self) -> Result<bool, SecretError> {
        let SecretSet { current, next, old } = self.lines.clone();
        let was_prepared = next.is_some();
        let old = std::iter::once(current).chain(old).collect();
        self.replace(SecretSet { current: next.unwrap_or_else(fresh), next: None, old })?;
        Ok(was_prepared)
    }

    fn replace(&mut self, lines: SecretSet) -> Result<(), SecretError> {
        let write = || -> io::Result<()> {
            let draft = draft(&self.path, &lines.text())?;
            if let Err(error) = fs::rename(&draft, &self.path) {
                fs::remove_file(&draft)?;
                return Err(error);
            }
            File::open(folder(&self.path))?.sync_all()
        };
        write().map_err(failed(&self.path, "written"))?;
        self.lines = lines;
        Ok(())
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> SecretError {
    let path = path.display().to_string();
    move |source| SecretError::File { path, what, source }
}

fn fresh() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

pub(super) fn read(path: &Path) -> Result<SecretSet, SecretError> {
    let text = fs::read_to_string(path).map_err(failed(path, "read"))?;
    let lines = SecretSet::parse(&text, &format!("in {}", path.display()))?;
    let mode = fs::metadata(path).map_err(failed(path, "read"))?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others can read the secret; 600 is meant");
    }
    Ok(lines)
}

/// Written beside its place and then linked into it: of two processes that start together one wins,
/// and nobody ever reads half a secret.
pub(super) fn make(path: &Path) -> Result<(), SecretError> {
    let lines = SecretSet { current: fresh(), next: None, old: Vec::new() };
    let link = || -> io::Result<()> {
        let draft = draft(path, &lines.text())?;
        let linked = match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        fs::remove_file(&draft)?;
        linked
    };
    link().map_err(failed(path, "made"))
}

fn draft(path: &Path, text: &str) -> io::Result<PathBuf> {
    let draft = path.with_extension(URL_SAFE_NO_PAD.encode(random_bytes::<6>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        fs::remove_file(&draft)?;
        return Err(error);
    }
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MasterSecret;

    const ONE: &str = "the first secret, of at least 32 bytes";
    const TWO: &str = "the second secret, of at least 32 bytes";

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_reads_it() {
        // S-36
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let first = MasterSecret::read_or_create(&path).unwrap();
        let second = MasterSecret::read_or_create(&path).unwrap();
        assert_eq!(first.current, second.current);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn lines_are_read_as_they_are_written_and_no_other_is_guessed_at() {
        let lines =
            SecretSet { current: ONE.into(), next: Some(TWO.into()), old: vec![TWO.into(), ONE.into()] };
        assert_eq!(SecretSet::parse(&lines.text(), "here").unwrap(), lines);
        assert_eq!(SecretSet::parse(&format!("\n  {ONE} \r\n\n"), "here").unwrap().old.len(), 0);
        for bad in [
            format!("{ONE}\n{TWO}"),
            format!("old {ONE}"),
            format!("next {ONE}\n{TWO}"),
            format!("{ONE}\nnext {TWO}\nnext {TWO}"),
        ] {
            assert!(matches!(SecretSet::parse(&bad, "here"), Err(SecretError::Line { .. })), "{bad}");
        }
        for short in [String::new(), "\n".to_owned(), format!("{ONE}\nold short"), format!("{ONE}\nnext x")] {
            // S-36
            assert!(matches!(SecretSet::parse(&short, "here"), Err(SecretError::TooShort { .. })), "{short}");
        }
    }

    #[test]
    fn a_secret_is_replaced_and_none_is_forgotten() {
        // S-36
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, ONE).unwrap();
        let mut file = SecretFile::open(&path).unwrap();
        assert!(matches!(SecretFile::open(&path), Err(SecretError::File { what: "locked", .. })));
        assert!(!file.advance().unwrap());
        assert!(file.prepare().unwrap() && !file.prepare().unwrap());
        let next = file.lines().next.clone();
        assert!(file.advance().unwrap());
        assert_eq!(Some(&file.lines().current), next.as_ref());
        assert_eq!((file.lines().old.len(), file.lines().old.last().unwrap().as_str()), (2, ONE));
        assert_eq!(&read(&path).unwrap(), file.lines());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(file);
        SecretFile::open(&path).unwrap();
    }
}
