//! Slows down the writing of large files, so that the disk and the processors stay available for requests.

use std::fs::File;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

/// The number of bytes after which a file is synced. A sync of a larger piece would delay the commits of
/// concurrent transactions noticeably.
const PIECE_BYTES: u64 = 4 << 20;
/// The maximum duration of a pause.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Limits the pace at which one file is written.
#[derive(Debug)]
pub(super) struct Pace {
    unsynced: u64,
    resumed: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { unsynced: 0, resumed: Instant::now() }
    }
}

impl Pace {
    /// Counts bytes that were written to `file`. After each piece, waits until the piece is on the disk, and
    /// then pauses for as long as the piece took, up to [`MAX_PAUSE`].
    ///
    /// # Errors
    ///
    /// The error of the operating system when it syncs the file.
    pub(super) fn wrote(&mut self, bytes: u64, file: &File) -> io::Result<()> {
        self.unsynced += bytes;
        if self.unsynced >= PIECE_BYTES {
            self.unsynced = 0;
            file.sync_data()?;
            // Limit the pause: if the process was suspended meanwhile, the piece seems to have taken longer.
            thread::sleep(self.resumed.elapsed().min(MAX_PAUSE));
            self.resumed = Instant::now();
        }
        Ok(())
    }
}

/// A file that is written at a limited pace.
#[derive(Debug)]
pub struct PacedFile {
    file: File,
    pace: Pace,
}

impl PacedFile {
    /// Creates a writer that writes `file` at a limited pace.
    pub fn new(file: File) -> Self {
        Self { file, pace: Pace::default() }
    }

    /// Waits until the file is on the disk.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl Write for PacedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.pace.wrote(written as u64, &self.file)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_written_at_a_limited_pace_has_the_whole_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut paced = PacedFile::new(File::create(&path).unwrap());
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(9 << 20).collect();
        for piece in content.chunks(700_001) {
            paced.write_all(piece).unwrap();
        }
        paced.sync_all().unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
    }

    #[test]
    fn the_pause_after_each_piece_lasts_as_long_as_writing_the_piece() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("file")).unwrap();
        let mut pace = Pace::default();
        let began = Instant::now();
        thread::sleep(Duration::from_millis(50));
        pace.wrote(PIECE_BYTES - 1, &file).unwrap();
        let before = began.elapsed();
        pace.wrote(1, &file).unwrap();
        assert!(began.elapsed() >= before * 2, "{before:?}, {:?}", began.elapsed());
    }
}
