//! The characters that texts of users may contain.
//!
//! A one-line text, such as a title or a name, appears in lists, mails and logs. It contains no control
//! character, no line or paragraph separator, and no character that changes the direction of the surrounding
//! text (embeddings, overrides and isolates, Unicode Technical Report 36 §2.4). The direction marks that
//! Arabic and Hebrew texts need are allowed. Notes are texts with several lines: they can contain line breaks
//! and tabs, but no other control characters.
//!
//! The rules are regular expressions, because the OpenAPI document publishes them.

/// The pattern of a one-line text.
pub const LINE_PATTERN: &str = r"^[^\u0000-\u001F\u007F-\u009F\u2028-\u202E\u2066-\u2069]*$";
/// The pattern of a text with several lines.
pub const NOTES_PATTERN: &str = r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*$";

/// Returns whether [`LINE_PATTERN`] matches.
pub fn is_line(text: &str) -> bool {
    !text.chars().any(|character| {
        character.is_control() || matches!(character, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    })
}

/// Returns whether [`NOTES_PATTERN`] matches.
pub fn is_notes(text: &str) -> bool {
    !text.chars().any(|character| character.is_control() && !matches!(character, '\t' | '\n' | '\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn the_schema_patterns_and_the_check_functions_accept_the_same_characters() {
        // A-8
        let (line, notes) = (Regex::new(LINE_PATTERN).unwrap(), Regex::new(NOTES_PATTERN).unwrap());
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            assert_eq!(is_line(&text), line.is_match(&text), "{character:?}");
            assert_eq!(is_notes(&text), notes.is_match(&text), "{character:?}");
        }
    }

    #[test]
    fn one_line_texts_with_control_characters_or_bidi_overrides_are_rejected() {
        // A-8
        for character in "\0\t\n\r\u{1b}\u{7f}\u{85}\u{9f}\u{2028}\u{202a}\u{202e}\u{2066}\u{2069}".chars() {
            assert!(!is_line(&format!("a{character}b")), "{character:?}");
        }
        for text in ["", "שלום \u{200f}עולם", "مرحبا \u{61c}", "👩‍👩‍👧‍👦", "e\u{301} \u{feff}\u{10ffff}"]
        {
            assert!(is_line(text), "{text:?}");
        }
    }

    #[test]
    fn notes_may_contain_line_breaks_and_tabs_but_no_other_control_characters() {
        // A-8
        assert!(is_notes("a\tb\r\nc\n\u{2028}\u{202e}"));
        for character in "\0\u{8}\u{b}\u{c}\u{1b}\u{7f}\u{85}".chars() {
            assert!(!is_notes(&format!("a{character}b")), "{character:?}");
        }
    }
}
