//! The file of a backup: a line that names the format, a line with the header as JSON, the compressed
//! content, the length of the content, the SHA-256 of everything before it, and an end mark. The content can
//! be encrypted. The encryption then also authenticates the two lines before the content.
//!
//! A truncated file lacks the end mark; any other accidental change breaks the checksum. The file is written under
//! another name and renamed when it is complete.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::db::PacedFile;
use crate::secrets::{DecryptingReader, EncryptingWriter};

const FORMAT: &str = "tripgate backup 1";
const ENCRYPTED_FORMAT: &str = "tripgate backup 2";
/// The algorithm of an encrypted backup.
pub(super) const ALGORITHM: &str = "AES-256-GCM";
const FORMAT_PREFIX: &str = "tripgate backup ";
const END: &[u8; 8] = b"TGBK-END";
/// The length of the data after the content: the length of the content, the checksum and the end mark.
const TRAILER_BYTES: u64 = 8 + 32 + 8;
/// The maximum length of the two lines at the beginning.
const HEAD_MAX: u64 = 1 << 20;
/// The compression level: the default of zstd.
const LEVEL: i32 = 3;

/// The header of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of Tripgate that made the backup.
    pub version: String,
    /// When the backup was made.
    pub created_at: DateTime<Utc>,
    /// `sqlite`, `postgres` or `mysql`.
    pub kind: String,
    /// The name of the last applied step of the schema.
    pub schema: String,
    /// The fingerprint of the master secret; empty if there was none.
    pub secret: String,
    /// The number of rows of each table; only for SQLite.
    pub tables: BTreeMap<String, i64>,
    /// `None` if the content is not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
}

/// How the content of a backup is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Always `AES-256-GCM`.
    pub algorithm: String,
    /// The salt with which the key is derived from the master secret.
    pub salt: String,
}

/// A key that encrypts one backup.
pub(super) type Key = [u8; 32];

/// A writer or reader that computes the SHA-256 of the bytes that pass through it.
struct Hashed<T> {
    inner: T,
    hash: digest::Context,
    bytes: u64,
}

impl<T> Hashed<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: digest::Context::new(&digest::SHA256), bytes: 0 }
    }

    fn record(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.record(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes a backup to `path`, which must not exist. Returns the size of the file in bytes.
pub(super) fn write(
    path: &Path,
    header: &Header,
    key: Option<&Key>,
    content: &mut dyn Read,
) -> Result<u64, BackupError> {
    let temporary = path.with_extension("partial");
    let written = write_to(&temporary, header, key, content).and_then(|bytes| {
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())?;
        Ok(bytes)
    });
    written.map_err(|source| {
        drop(fs::remove_file(&temporary));
        BackupError::io("write", path, source)
    })
}

fn write_to(path: &Path, header: &Header, key: Option<&Key>, content: &mut dyn Read) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut out = Hashed::new(BufWriter::new(PacedFile::new(file)));
    writeln!(out, "{}", if key.is_some() { ENCRYPTED_FORMAT } else { FORMAT })?;
    serde_json::to_writer(&mut out, header)?;
    writeln!(out)?;
    let begin = out.bytes;
    match key {
        Some(key) => {
            let name = out.hash.clone().finish();
            let mut encrypting = EncryptingWriter::new(&mut out, key, name.as_ref());
            compress(content, &mut encrypting)?;
            encrypting.finish()?;
        }
        None => compress(content, &mut out)?,
    }
    let length = out.bytes - begin;
    out.write_all(&length.to_be_bytes())?;
    let Hashed { mut inner, hash, bytes } = out;
    inner.write_all(hash.finish().as_ref())?;
    inner.write_all(END)?;
    inner.flush()?;
    inner.get_ref().sync_all()?;
    Ok(bytes + TRAILER_BYTES - 8)
}

fn compress(content: &mut dyn Read, out: &mut impl Write) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(out, LEVEL)?;
    io::copy(content, &mut encoder)?;
    encoder.finish()?;
    Ok(())
}

/// The two lines at the beginning of a backup.
struct Head {
    header: Header,
    bytes: u64,
    /// The SHA-256 of the two lines. The encryption of the content authenticates this hash.
    hash: digest::Digest,
}

/// Reads the two lines at the beginning.
fn read_head(reader: &mut impl BufRead, path: &Path) -> Result<Head, BackupError> {
    let failed = |source| BackupError::io("read", path, source);
    let foreign = || BackupError::NotABackup { path: path.display().to_string() };
    let mut head = reader.take(HEAD_MAX);
    let (mut format, mut header) = (Vec::new(), Vec::new());
    head.read_until(b'\n', &mut format).map_err(failed)?;
    let format = String::from_utf8(format).map_err(|_| foreign())?;
    if !format.starts_with(FORMAT_PREFIX) {
        return Err(foreign());
    }
    if ![FORMAT, ENCRYPTED_FORMAT].contains(&format.trim_end()) {
        return Err(BackupError::NewerFormat { path: path.display().to_string() });
    }
    head.read_until(b'\n', &mut header).map_err(failed)?;
    let bytes = (format.len() + header.len()) as u64;
    let hash = digest::digest(&digest::SHA256, &[format.as_bytes(), &header].concat());
    let damaged = || BackupError::Damaged { path: path.display().to_string() };
    serde_json::from_slice(&header).map(|header| Head { header, bytes, hash }).map_err(|_| damaged())
}

/// Returns the header of a backup, without checking the rest.
pub(super) fn header(path: &Path) -> Result<Header, BackupError> {
    let file = File::open(path).map_err(|source| BackupError::io("read", path, source))?;
    Ok(read_head(&mut BufReader::new(file), path)?.header)
}

/// Checks the whole file and returns its header.
pub(super) fn check(path: &Path) -> Result<Header, BackupError> {
    let failed = |source| BackupError::io("read", path, source);
    let damaged = || BackupError::Damaged { path: path.display().to_string() };
    let truncated = || BackupError::Truncated { path: path.display().to_string() };
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    // Check the format first, so that a file in another format is not reported as a damaged backup.
    let head = read_head(&mut BufReader::new(&file), path);
    if let Err(error @ (BackupError::NotABackup { .. } | BackupError::NewerFormat { .. })) = head {
        return Err(error);
    }
    let hashed_bytes = size.checked_sub(TRAILER_BYTES - 8).ok_or_else(truncated)?;
    let mut trailer = [0; 40];
    file.seek(SeekFrom::Start(hashed_bytes)).and_then(|_| file.read_exact(&mut trailer)).map_err(failed)?;
    if !trailer.ends_with(END) {
        return Err(truncated());
    }
    file.rewind().map_err(failed)?;
    let mut hashed = Hashed::new(io::sink());
    io::copy(&mut BufReader::new(&file).take(hashed_bytes), &mut hashed).map_err(failed)?;
    if !trailer.starts_with(hashed.hash.finish().as_ref()) {
        return Err(damaged());
    }
    head.map(|head| head.header)
}

/// Writes the content of a checked backup to `out`. `key` is required if the content is encrypted.
pub(super) fn extract(path: &Path, key: Option<&Key>, out: &mut dyn Write) -> Result<(), BackupError> {
    let failed = |source| BackupError::io("read", path, source);
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut reader = BufReader::new(file);
    let head = read_head(&mut reader, path)?;
    reader.seek(SeekFrom::Start(head.bytes)).map_err(failed)?;
    let content = reader.take(size.saturating_sub(head.bytes + TRAILER_BYTES));
    let extracted = match key {
        Some(key) => decompress(DecryptingReader::new(content, key, head.hash.as_ref()), out),
        None => decompress(content, out),
    };
    extracted.map_err(failed)
}

fn decompress(content: impl Read, out: &mut dyn Write) -> io::Result<()> {
    io::copy(&mut zstd::Decoder::new(content)?, out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(schema: &str) -> Header {
        Header {
            version: "0.1.0".to_owned(),
            created_at: DateTime::UNIX_EPOCH,
            kind: "sqlite".to_owned(),
            schema: schema.to_owned(),
            secret: "f".to_owned(),
            tables: BTreeMap::new(),
            encryption: None,
        }
    }

    fn backup(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("x.backup");
        let header = header_of("m1");
        let bytes = write(&path, &header, None, &mut b"some content".as_slice()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
        assert_eq!(check(&path).unwrap(), header);
        path
    }

    #[test]
    fn the_content_of_a_written_backup_can_be_extracted() {
        let dir = tempfile::tempdir().unwrap();
        let mut content = Vec::new();
        extract(&backup(dir.path()), None, &mut content).unwrap();
        assert_eq!(content, b"some content");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_changed_byte_and_every_truncation_of_a_backup_is_detected() {
        // S-98
        let dir = tempfile::tempdir().unwrap();
        let path = backup(dir.path());
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(check(&path).is_err(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(check(&path).is_err(), "length {at}");
        }
        fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
        assert!(matches!(check(&path), Err(BackupError::Truncated { .. })));
    }

    #[test]
    fn an_encrypted_backup_with_a_changed_header_is_rejected() {
        // S-98
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = (dir.path().join("x.backup"), [7; 32]);
        let encryption = Encryption { algorithm: ALGORITHM.to_owned(), salt: "salt".to_owned() };
        let header = Header { encryption: Some(encryption), ..header_of("m1") };
        write(&path, &header, Some(&key), &mut b"some content".as_slice()).unwrap();
        let mut content = Vec::new();
        extract(&path, Some(&key), &mut content).unwrap();
        assert_eq!(content, b"some content");
        extract(&path, Some(&[8; 32]), &mut io::sink()).unwrap_err();
        // An attacker can change the header and compute the checksum again.
        let whole = fs::read(&path).unwrap();
        let at = whole.windows(4).position(|bytes| bytes == b"\"m1\"").unwrap();
        let mut changed = whole[..whole.len() - 40].to_vec();
        changed[at + 2] = b'2';
        let checksum = digest::digest(&digest::SHA256, &changed);
        fs::write(&path, [&changed, checksum.as_ref(), END].concat()).unwrap();
        assert_eq!(check(&path).unwrap().schema, "m2");
        extract(&path, Some(&key), &mut io::sink()).unwrap_err();
    }
}
