//! Writes mails to files if no mail server is configured. A developer can open the files in a mail program.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Writes a mail to `<dir>/<id>.eml`, and replaces the file of an earlier attempt. A reader sees the whole
/// file or none. Returns the path of the file.
pub(super) fn write(dir: &Path, id: Uuid, message: &[u8]) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let (path, temporary) = (dir.join(format!("{id}.eml")), dir.join(format!(".{id}.tmp")));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(message).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, &path)) {
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    File::open(dir)?.sync_all()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_written_as_one_complete_file() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = dir.path().join("outbox");
        let id = Uuid::from_u128(1);
        for text in ["a first and longer attempt", "second"] {
            let path = write(&outbox, id, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(&outbox).unwrap().count(), 1);
    }
}
