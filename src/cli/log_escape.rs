//! Escapes characters in log lines and in the output of commands, so that data from a client can't forge a
//! line or control a terminal.

use std::fmt::{self, Write as _};

/// Escapes every character that could end the line or control a terminal.
pub(super) struct Escaped<W>(pub(super) W);

impl<W: fmt::Write> fmt::Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.chars().any(is_unsafe) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|c| {
            if is_unsafe(c) { write!(self.0, "{}", c.escape_default()) } else { self.0.write_char(c) }
        })
    }
}

/// Escapes the characters that [`Escaped`] escapes, and those that JSON requires to be escaped, for the
/// inside of a JSON string.
pub(super) struct JsonEscaped<W>(pub(super) W);

impl<W: fmt::Write> fmt::Write for JsonEscaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if text.bytes().all(is_plain) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(self.0, "\\{c}"),
            // Each of these characters has at most 16 bits.
            c if is_unsafe(c) => write!(self.0, "\\u{:04x}", u32::from(c)),
            c => self.0.write_char(c),
        })
    }
}

/// Returns whether `c` is a control character, a line separator or a mark that changes text direction.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the text with unsafe characters escaped, for one line of output.
pub(super) fn escaped(text: &str) -> String {
    let mut out = Escaped(String::new());
    // Writing to a String can't fail.
    let _ = out.write_str(text);
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_escaped_json_string_has_the_same_value_and_no_unsafe_character(text in "\\PC*|.*|[\\x00-\\x1f\"\\\\\u{7f}-\u{9f}\u{2028}-\u{202e}]*") {
            let mut out = JsonEscaped(String::new());
            out.write_str(&text).unwrap();
            prop_assert!(!out.0.chars().any(is_unsafe), "{:?}", out.0);
            let parsed: String = serde_json::from_str(&format!("\"{}\"", out.0)).unwrap();
            prop_assert_eq!(parsed, text);
        }
    }
}
