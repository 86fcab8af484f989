//! Splits a file into records. A record is one line of JSON, or one record of CSV (RFC 4180), whose quoted
//! fields can contain line breaks.
//!
//! A record occupies at most [`RECORD_MAX`] bytes of memory, even if a line of the file is longer.

use std::io::{self, BufRead};

/// The maximum length of a record, in bytes. The longest valid record has about 2,000 bytes.
pub(super) const RECORD_MAX: usize = 65_536;
/// The byte order mark of UTF-8, which some programs write.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A record, and the number of its first line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) line: u64,
    /// The bytes without the line break, or what is wrong with the record.
    pub(super) content: Result<Vec<u8>, &'static str>,
}

/// Reads the records of a file.
#[derive(Debug)]
pub(super) struct Records<R> {
    reader: R,
    is_csv: bool,
    lines: u64,
    bytes: u64,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(reader: R, is_csv: bool) -> Self {
        Self { reader, is_csv, lines: 0, bytes: 0 }
    }

    /// Returns the number of bytes that were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the next record that is not empty.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let line = self.lines + 1;
            let mut bytes = Vec::new();
            let Some(mut fits) = self.read_line(&mut bytes)? else { return Ok(None) };
            let mut is_open = self.is_csv && has_open_quote(&bytes);
            while fits && is_open {
                match self.read_line(&mut bytes)? {
                    Some(more_fits) => fits = more_fits,
                    None => break,
                }
                is_open = has_open_quote(&bytes);
            }
            if line == 1 && bytes.starts_with(MARK) {
                bytes.drain(..MARK.len());
            }
            while matches!(bytes.last(), Some(b'\n' | b'\r')) {
                bytes.pop();
            }
            let content = match bytes {
                _ if !fits => Err("is longer than 65536 bytes"),
                _ if is_open => Err("has a quote that is never closed"),
                bytes if bytes.iter().all(u8::is_ascii_whitespace) => continue,
                bytes => Ok(bytes),
            };
            return Ok(Some(Record { line, content }));
        }
    }

    /// Appends the next line with its line break. Returns whether the record still fits into [`RECORD_MAX`]
    /// bytes, or `None` at the end of the file.
    fn read_line(&mut self, into: &mut Vec<u8>) -> io::Result<Option<bool>> {
        let (mut fits, mut is_read) = (true, false);
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                self.lines += u64::from(is_read);
                return Ok(is_read.then_some(fits));
            }
            is_read = true;
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = available.split_at(end.map_or(available.len(), |at| at + 1)).0;
            fits = fits && into.len() + part.len() <= RECORD_MAX;
            if fits {
                into.extend_from_slice(part);
            }
            let used = part.len();
            self.reader.consume(used);
            self.bytes += used as u64;
            if end.is_some() {
                self.lines += 1;
                return Ok(Some(fits));
            }
        }
    }
}

/// Returns whether a quoted field continues on the next line. A doubled quote inside a field does not end the
/// field.
fn has_open_quote(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |is_open, byte| is_open != (*byte == b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], is_csv: bool) -> Vec<(u64, Result<String, &'static str>)> {
        let mut records = Records::new(bytes, is_csv);
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            found.push((record.line, record.content.map(|bytes| String::from_utf8(bytes).unwrap())));
        }
        assert_eq!(records.bytes(), bytes.len() as u64);
        found
    }

    #[test]
    fn a_record_of_several_lines_gets_the_number_of_its_first_line() {
        let text = b"\xef\xbb\xbfa,b\r\n\r\n\"x\ny \"\"z\"\"\",1\n  \nlast,2";
        let csv = read(text, true);
        let expected = [(1, "a,b"), (3, "\"x\ny \"\"z\"\"\",1"), (6, "last,2")];
        assert_eq!(csv, expected.map(|(line, text)| (line, Ok(text.to_owned()))));
        assert_eq!(read(b"{\"a\":\"1\\\"\"}\r\n{}", false).len(), 2);
        assert_eq!(read(b"", true), []);
    }

    #[test]
    fn an_overlong_line_and_an_unclosed_quote_are_reported_with_their_line_numbers() {
        // S-96
        let long = "x".repeat(1_000_000);
        let found = read(format!("a\n{long}\nb\n\"open\nc\n").as_bytes(), true);
        assert_eq!(found[0], (1, Ok("a".to_owned())));
        assert_eq!(found[1], (2, Err("is longer than 65536 bytes")));
        assert_eq!(found[2], (3, Ok("b".to_owned())));
        assert_eq!(found[3], (4, Err("has a quote that is never closed")));
        assert_eq!(found.len(), 4);
    }
}
