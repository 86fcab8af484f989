//! The stored forms by which trips are sorted and searched.

use chrono::{Datelike, NaiveDate};
use unicode_normalization::UnicodeNormalization;

use super::{TITLE_MAX, TripFields};

/// The sort key of a trip without a first day: greater than all others.
pub(super) const NO_START: i64 = 9_000_000;

/// Returns `text` without case, accents and control characters, its words separated by one space.
pub(super) fn fold(text: &str) -> String {
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
    folded.replace('ß', "ss").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The stored values by which a trip is sorted and searched.
#[derive(Debug)]
pub(super) struct SortKeys {
    pub(super) start: i64,
    pub(super) title: String,
    pub(super) search: String,
}

impl SortKeys {
    pub(super) fn new(fields: &TripFields) -> Self {
        let title = fold(&fields.title);
        let mut search = title.clone();
        for text in [&fields.destination, &fields.notes].into_iter().flatten() {
            // No folded text contains a line break, so a search can't match across two fields.
            search.push('\n');
            search.push_str(&fold(text));
        }
        let title: String = title.chars().take(TITLE_MAX).collect();
        // Truncation can leave a space at the end, and some databases ignore trailing spaces in comparisons.
        Self { start: start_key(fields.start_date), title: title.trim_end().to_owned(), search }
    }
}

/// Returns the day as days since 1970-01-01, which all databases compare alike.
pub(super) fn start_key(day: Option<NaiveDate>) -> i64 {
    day.map_or(NO_START, days)
}

pub(super) fn days(day: NaiveDate) -> i64 {
    i64::from(day.num_days_from_ce()) - i64::from(NaiveDate::default().num_days_from_ce())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fold_removes_case_and_accents() {
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

    proptest! {
        #[test]
        fn fold_is_idempotent(text in "\\PC{0,20}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn start_keys_sort_like_days_and_before_no_start(one in 0..3_652_000_i32, other in 0..3_652_000_i32) {
            let day = |number| NaiveDate::from_num_days_from_ce_opt(number + 1);
            prop_assert_eq!(start_key(day(one)).cmp(&start_key(day(other))), one.cmp(&other));
            prop_assert!(start_key(day(one)) < start_key(None));
        }
    }
}
