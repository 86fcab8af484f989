//! The time at the beginning of a line of the log, as `2026-11-22T01:16:00.123456Z`.
//!
//! Many lines stand in one second: only what differs within it is worked out for each.

use std::cell::Cell;
use std::fmt;

use chrono::{DateTime, SecondsFormat};

use crate::clock::unix_time;

/// `2026-11-22T01:16:00`; only a year of five digits would need more.
const SECOND_BYTES: usize = 19;

thread_local! {
    /// The second of this thread's last line, and its text.
    static LAST: Cell<(u64, [u8; SECOND_BYTES])> = const { Cell::new((u64::MAX, [b'0'; SECOND_BYTES])) };
}

/// Writes the machine's time.
pub(super) fn write_now(out: &mut impl fmt::Write) -> fmt::Result {
    let since = unix_time();
    write(out, since.as_secs(), since.subsec_micros())
}

fn write(out: &mut impl fmt::Write, second: u64, mut micros: u32) -> fmt::Result {
    let (last, mut text) = LAST.get();
    if last != second {
        text = date_and_time(second).ok_or(fmt::Error)?;
        LAST.set((second, text));
    }
    out.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)?;
    let mut rest = *b".000000Z";
    for place in rest.iter_mut().skip(1).take(6).rev() {
        *place += u8::try_from(micros % 10).unwrap_or_default();
        micros /= 10;
    }
    out.write_str(std::str::from_utf8(&rest).map_err(|_| fmt::Error)?)
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
        fn a_time_is_written_as_chrono_would(second in 0..253_402_300_800_u64, micros in 0..1_000_000_u32, again in 0..1_000_000_u32) {
            for micros in [micros, again] {
                let mut text = String::new();
                write(&mut text, second, micros).unwrap();
                let at = DateTime::from_timestamp(second.cast_signed(), micros * 1000).unwrap();
                prop_assert_eq!(text, at.to_rfc3339_opts(SecondsFormat::Micros, true));
            }
        }
    }
}
