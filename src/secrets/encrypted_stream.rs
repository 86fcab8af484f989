//! Encryption of a stream of any length: AES-256-GCM over pieces of 64 KiB.
//!
//! The nonce of a piece contains the index of the piece, and whether the piece is the last one. Therefore a
//! stream is rejected if pieces are reordered, repeated or missing, including the last piece (the STREAM
//! construction of Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its
//! Nonce-Reuse Misuse-Resistance", 2015). After an error, the writer and the reader return only errors. The
//! index of the pieces begins at 0 in every stream, so each stream must have its own key, which is derived
//! from a random salt.

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::DecryptError;

const PIECE_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;

/// The key of one stream, and the index of its next piece.
struct Pieces {
    key: LessSafeKey,
    name: Vec<u8>,
    number: u64,
    has_failed: bool,
}

impl Pieces {
    fn new(key: &[u8; 32], name: &[u8]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key);
        let Ok(key) = key else { unreachable!("AES-256 accepts every 32-byte key") };
        Self { key: LessSafeKey::new(key), name: name.to_vec(), number: 0, has_failed: false }
    }

    fn check(&self) -> io::Result<()> {
        if self.has_failed { Err(io::Error::other("the stream has failed before")) } else { Ok(()) }
    }

    fn next_nonce(&mut self, is_last: bool) -> Nonce {
        let mut nonce = [0; 12];
        let (number, flag) = nonce.split_at_mut(8);
        number.copy_from_slice(&self.number.to_be_bytes());
        flag.copy_from_slice(&u32::from(is_last).to_be_bytes());
        self.number += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&mut self, piece: &mut Vec<u8>, is_last: bool) -> io::Result<()> {
        let nonce = self.next_nonce(is_last);
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::from(&self.name), piece);
        sealed.map_err(|_| io::Error::other("failed to encrypt a piece of the stream"))
    }

    fn open(&mut self, piece: &mut Vec<u8>, is_last: bool) -> io::Result<()> {
        let nonce = self.next_nonce(is_last);
        let opened = self.key.open_in_place(nonce, Aad::from(&self.name), piece);
        let length = opened.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, DecryptError))?.len();
        piece.truncate(length);
        Ok(())
    }
}

/// Encrypts the bytes that are written to it. Call [`EncryptingWriter::finish`] at the end.
pub struct EncryptingWriter<W> {
    inner: W,
    pieces: Pieces,
    pending: Vec<u8>,
}

impl<W: Write> EncryptingWriter<W> {
    /// Creates a writer for a stream with this key. The stream is bound to `name`: decryption requires the
    /// same name.
    pub fn new(inner: W, key: &[u8; 32], name: &[u8]) -> Self {
        Self { inner, pieces: Pieces::new(key, name), pending: Vec::with_capacity(PIECE_BYTES + TAG_BYTES) }
    }

    /// Writes the last piece.
    ///
    /// # Errors
    ///
    /// The errors of the inner writer.
    pub fn finish(mut self) -> io::Result<()> {
        self.write_piece(true)
    }

    fn write_piece(&mut self, is_last: bool) -> io::Result<()> {
        self.pieces.check()?;
        self.pieces.has_failed = true;
        self.pieces.seal(&mut self.pending, is_last)?;
        self.inner.write_all(&self.pending)?;
        self.pending.clear();
        self.pieces.has_failed = false;
        Ok(())
    }
}

impl<W: Write> Write for EncryptingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pieces.check()?;
        // A full piece waits until more bytes follow, because the nonce of the last piece is different.
        if self.pending.len() == PIECE_BYTES && !bytes.is_empty() {
            self.write_piece(false)?;
        }
        let taken = bytes.len().min(PIECE_BYTES - self.pending.len());
        self.pending.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Decrypts the output of an [`EncryptingWriter`]. If a piece can't be decrypted, reading fails with an
/// [`io::Error`] that contains [`DecryptError`].
pub struct DecryptingReader<R> {
    inner: R,
    pieces: Pieces,
    /// The ciphertext of the next piece, and the first byte after it.
    next: Vec<u8>,
    plain: io::Cursor<Vec<u8>>,
    is_at_end: bool,
}

impl<R: Read> DecryptingReader<R> {
    /// Creates a reader for a stream with this key and name.
    pub fn new(inner: R, key: &[u8; 32], name: &[u8]) -> Self {
        let pieces = Pieces::new(key, name);
        Self { inner, pieces, next: Vec::new(), plain: io::Cursor::default(), is_at_end: false }
    }

    fn read_piece(&mut self) -> io::Result<()> {
        const SEALED_BYTES: usize = PIECE_BYTES + TAG_BYTES;
        self.pieces.check()?;
        self.pieces.has_failed = true;
        // Read one byte more than a piece, to learn whether another piece follows.
        let missing = SEALED_BYTES + 1 - self.next.len();
        self.inner.by_ref().take(missing as u64).read_to_end(&mut self.next)?;
        let rest = self.next.split_off(self.next.len().min(SEALED_BYTES));
        let mut piece = std::mem::replace(&mut self.next, rest);
        self.is_at_end = self.next.is_empty();
        self.pieces.open(&mut piece, self.is_at_end)?;
        self.plain = io::Cursor::new(piece);
        self.pieces.has_failed = false;
        Ok(())
    }
}

impl<R: Read> Read for DecryptingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.plain.read(buffer)?;
            if count > 0 || buffer.is_empty() || self.is_at_end && !self.pieces.has_failed {
                return Ok(count);
            }
            self.read_piece()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn encrypt(plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        let mut writer = EncryptingWriter::new(&mut sealed, &KEY, b"name");
        writer.write_all(plain).unwrap();
        writer.finish().unwrap();
        sealed
    }

    fn decrypt(sealed: &[u8], key: &[u8; 32], name: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        DecryptingReader::new(sealed, key, name).read_to_end(&mut plain).map(|_| plain)
    }

    #[test]
    fn empty_short_and_long_encrypted_streams_can_be_decrypted() {
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let plain: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let sealed = encrypt(&plain);
            assert_eq!(sealed.len(), length + length.div_ceil(PIECE_BYTES).max(1) * TAG_BYTES);
            assert_eq!(decrypt(&sealed, &KEY, b"name").unwrap(), plain);
        }
    }

    #[test]
    fn a_modified_truncated_or_reordered_stream_is_rejected() {
        // S-98
        let whole = encrypt(&vec![0; 2 * PIECE_BYTES + 10]);
        let piece = PIECE_BYTES + TAG_BYTES;
        let (first, second, last) = (&whole[..piece], &whole[piece..2 * piece], &whole[2 * piece..]);
        for changed in [
            [first, second].concat(),
            [first, last].concat(),
            [second, first, last].concat(),
            [first, first, last].concat(),
            [first, second, last, last].concat(),
            [first, second, &last[..last.len() - 1]].concat(),
            first[..100].to_vec(),
            Vec::new(),
        ] {
            decrypt(&changed, &KEY, b"name").unwrap_err();
        }
        for at in [0, piece - 1, piece, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            decrypt(&changed, &KEY, b"name").unwrap_err();
        }
        let mut reader = DecryptingReader::new(&whole[1..], &KEY, b"name".as_slice());
        for _ in 0..2 {
            reader.read(&mut [0; 10]).unwrap_err();
        }
        decrypt(&whole, &[8; 32], b"name").unwrap_err();
        decrypt(&whole, &KEY, b"other name").unwrap_err();
    }
}
