//! Calendar dates as text: `YYYY-MM-DD` (RFC 3339 `full-date`), the format in the API and in the database.
//!
//! This module does not use chrono's format strings, because they are slow. A page of 20 trips contains forty
//! dates and forty instants. Format strings would take a twentieth of the time of the request.

use chrono::{Datelike, NaiveDate};

/// The length of a date as text, in bytes.
pub const LENGTH: usize = 10;

/// Parses a date. Rejects signs, spaces, fields with too few digits, and dates that don't exist.
pub fn parse(text: &str) -> Option<NaiveDate> {
    let number = |text: &[u8]| {
        text.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.as_bytes() else { return None };
    let year = i32::try_from(number(&[y1, y2, y3, y4])?).ok()?;
    NaiveDate::from_ymd_opt(year, number(&[m1, m2])?, number(&[d1, d2])?)
}

/// Writes a date of the years 0 to 9999 over the first [`LENGTH`] bytes of `text`.
pub fn write(text: &mut [u8], date: NaiveDate) {
    write_number(text, 0, 4, u32::try_from(date.year()).unwrap_or_default());
    if let Some(separator) = text.get_mut(4) {
        *separator = b'-';
    }
    write_number(text, 5, 2, date.month());
    if let Some(separator) = text.get_mut(7) {
        *separator = b'-';
    }
    write_number(text, 8, 2, date.day());
}

/// Writes the last `digits` digits of a number into `text`, beginning at the offset `from`, with leading
/// zeros.
pub fn write_number(text: &mut [u8], from: usize, digits: usize, mut number: u32) {
    for place in text.iter_mut().skip(from).take(digits).rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_existing_dates_in_the_form_yyyy_mm_dd_are_parsed() {
        for text in ["2026-11-22", "0001-01-01", "9999-12-31", "2024-02-29"] {
            assert_eq!(parse(text), text.parse().ok(), "{text}");
        }
        for text in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "",
            "2026-1-01",
            "+026-01-01",
            "2026-01-01 ",
            "20260101",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_date_is_written_exactly_as_chrono_writes_it_and_can_be_parsed_again(days in 0..2_932_897_u32) {
            let date = NaiveDate::default().checked_add_days(chrono::Days::new(days.into())).unwrap();
            let mut text = [0; LENGTH];
            write(&mut text, date);
            let text = std::str::from_utf8(&text).unwrap();
            prop_assert_eq!(text, date.to_string());
            prop_assert_eq!(parse(text), Some(date));
        }
    }
}
