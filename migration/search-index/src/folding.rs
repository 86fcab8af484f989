//! Folds texts, so that a search ignores case and accents on every database.

use unicode_normalization::UnicodeNormalization;

/// Returns `text` without case, accents and control characters. One space separates the words.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        // This path is faster and has the same result, because ASCII needs no normalization.
        let letters = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
        return single_spaced(&letters.collect::<String>().to_ascii_lowercase());
    }
    fold_letters(text)
}

fn fold_letters(text: &str) -> String {
    let is_accent = |letter: &char| ('\u{300}'..='\u{36f}').contains(letter);
    let letters = text.nfd().filter(|letter| !is_accent(letter)).flat_map(char::to_lowercase);
    let folded: String = letters
        .map(|letter| match letter {
            'ς' => 'σ',
            letter if letter.is_control() => ' ',
            letter => letter,
        })
        .filter(|letter| !is_accent(letter))
        .nfc()
        .collect();
    single_spaced(&folded.replace('ß', "ss"))
}

/// Returns the words of a text, separated by one space.
fn single_spaced(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(word);
    }
    all
}

/// Returns the text that a search compares: each of `texts` folded, one per line. No folded text contains a
/// line break, so a search can't match across two texts.
pub fn searchable<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut all = String::new();
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            all.push('\n');
        }
        all.push_str(&fold(text));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fold_lowercases_letters_and_removes_accents() {
        for (text, folded) in [
            ("Évora", "evora"),
            ("E\u{301}VORA", "evora"),
            ("São Tomé e Príncipe", "sao tome e principe"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδός", "οδοσ"),
            ("İstanbul", "istanbul"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("  a\t\u{0}b\r\nc ", "a b c"),
            ("서울", "서울"),
            ("が", "が"),
            ("100%_\\", "100%_\\"),
            ("\u{301}", ""),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn each_text_becomes_one_line_of_the_searchable_text() {
        assert_eq!(searchable(["Évora", "a\nb", ""]), "evora\na b\n");
        assert_eq!(searchable([]), "");
    }

    proptest! {
        #[test]
        fn folding_a_folded_text_does_not_change_it(text in "\\PC{0,20}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn the_fast_path_for_ascii_folds_a_text_like_the_general_path(text in "[\\x00-\\x7f]{0,40}") {
            prop_assert_eq!(fold(&text), fold_letters(&text));
        }
    }
}
