//! Formats the time at the start of a log line, as `2026-11-22T01:16:00.123456Z`.
//!
//! Many lines are written in the same second, so each thread caches the text of the last second.

use std::cell::Cell;
use std::fmt;

use chrono::{DateTime, SecondsFormat};

use crate::clock::unix_time;

/// Length of `2026-11-22T01:16:00`. Only a year with five digits would need more.
const SECOND_BYTES: usize = 19;

thread_local! {
    /// The time of this thread's last log line in whole Unix seconds, and the formatted text of that time.
    static LAST: Cell<(u64, [u8; SECOND_BYTES])> = const { Cell::new((u64::MAX, [b'0'; SECOND_BYTES])) };
}

/// Writes the current system time.
pub(super) fn write_now(out: &mut impl fmt::Write) -> fmt::Result {
    let now = unix_time();
    write(out, now.as_secs(), now.subsec_micros())
}

fn write(out: &mut impl fmt::Write, second: u64, mut micros: u32) -> fmt::Result {
    let (last, mut text) = LAST.get();
    if last != second {
        text = date_and_time(second).ok_or(fmt::Error)?;
        LAST.set((second, text));
    }
    out.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)?;
    let mut fraction = *b".000000Z";
    for digit in fraction.iter_mut().skip(1).take(6).rev() {
        *digit += u8::try_from(micros % 10).unwrap_or_default();
        micros /= 10;
    }
    out.write_str(std::str::from_utf8(&fraction).map_err(|_| fmt::Error)?)
}

fn date_and_time(second: u64) -> Option<[u8; SECOND_BYTES]> {
    let at = DateTime::from_timestamp(i64::try_from(second).ok()?, 0)?;
    let text = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    text.as_bytes().first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_timestamp_is_written_exactly_as_chrono_writes_it(
            second in 0..253_402_300_800_u64,
            micros in 0..1_000_000_u32,
            other_micros in 0..1_000_000_u32,
        ) {
            for micros in [micros, other_micros] {
                let mut text = String::new();
                write(&mut text, second, micros).unwrap();
                let at = DateTime::from_timestamp(second.cast_signed(), micros * 1000).unwrap();
                prop_assert_eq!(text, at.to_rfc3339_opts(SecondsFormat::Micros, true));
            }
        }
    }
}
