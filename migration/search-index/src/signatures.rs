//! Bloom filters of the pieces of 1 to 3 characters of a text.
//!
//! The short signature contains the pieces of 1 and 2 characters. The long signature contains the pieces of 3
//! characters. Each piece has two 16-bit hashes, each of which sets a bit of byte `hash / 8 % length` of the
//! signature. Because of the modulo operation, a database can test a bit of a signature of any length.

use std::collections::HashSet;

/// The maximum length of a signature, in bytes. A signature of this length and the key of a trip together fit
/// into an entry of an index on every database. On SQLite, a longer entry would need an overflow page.
pub const SIGNATURE_MAX: usize = 896;
/// The signature of a trip whose text is unknown: every search considers it a candidate.
pub const MATCHES_ALL: [u8; 1] = [0xff];
/// The maximum number of bits that a search tests.
pub const PROBES_MAX: usize = 16;
/// The maximum length of the short signature, in bytes; few texts need more.
const SHORT_MAX: usize = 448;
/// The minimum length of a signature, in bytes.
const SIGNATURE_MIN: usize = 8;
/// The bytes of text for each byte of the long signature. An English text of 1,000 characters has about 550
/// different pieces of 3 characters, which set about 40 % of the bits.
const LONG_RATIO: usize = 4;
/// The bytes of text for each byte of the short signature.
const SHORT_RATIO: usize = 8;
/// The approximate maximum size of a short text, in bytes. On some databases, a search reads short texts
/// directly, which costs less than maintaining an index of their signatures.
const SHORT_TEXT_MAX: usize = 512;
/// The number of bits of a character.
const CHAR_BITS: u32 = 21;

/// The signature that a search tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The pieces of 1 and 2 characters.
    Short,
    /// The pieces of 3 characters.
    Long,
}

impl Column {
    /// Returns the maximum length of this signature for a short text, in bytes.
    pub const fn short_text_max(self) -> usize {
        match self {
            Self::Short => SHORT_TEXT_MAX / SHORT_RATIO,
            Self::Long => SHORT_TEXT_MAX / LONG_RATIO,
        }
    }
}

/// A bit that is set in the signature of every matching trip: `mask` in byte `byte % length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Probe {
    /// The index of the byte, modulo the length of the signature.
    pub byte: u16,
    /// One bit.
    pub mask: u8,
}

impl Probe {
    /// Returns the bit that a 16-bit hash selects.
    fn new(hash: u16) -> Self {
        Self { byte: hash >> 3, mask: 1 << (hash & 7) }
    }

    /// Returns whether the signature contains the bit.
    pub fn is_in(self, signature: &[u8]) -> bool {
        let at = usize::from(self.byte).checked_rem(signature.len());
        at.and_then(|at| signature.get(at)).is_some_and(|byte| byte & self.mask != 0)
    }

    /// Adds the bit to a signature.
    fn add_to(self, signature: &mut [u8]) {
        let at = usize::from(self.byte).checked_rem(signature.len());
        if let Some(byte) = at.and_then(|at| signature.get_mut(at)) {
            *byte |= self.mask;
        }
    }
}

/// The signatures of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// The pieces of 1 and 2 characters.
    pub short: Vec<u8>,
    /// The pieces of 3 characters.
    pub long: Vec<u8>,
}

impl Signatures {
    /// Returns the signatures of a [searchable](crate::searchable) text.
    pub fn of(text: &str) -> Self {
        let mut short = vec![0; length(text, SHORT_RATIO, SHORT_MAX)];
        let mut long = vec![0; length(text, LONG_RATIO, SIGNATURE_MAX)];
        for line in text.split('\n') {
            let mut last = Last::default();
            for (letter, number) in line.chars().zip(1_u32..) {
                last.push(letter);
                for length in 1..=number.min(3) {
                    let signature = if length == 3 { &mut long } else { &mut short };
                    for probe in last.bits(length) {
                        probe.add_to(signature);
                    }
                }
            }
        }
        Self { short, long }
    }
}

/// The last three characters of a text, with [`CHAR_BITS`] bits each.
#[derive(Debug, Clone, Copy, Default)]
struct Last(u64);

impl Last {
    fn push(&mut self, letter: char) {
        self.0 = (self.0 << CHAR_BITS | u64::from(u32::from(letter))) & ((1 << (3 * CHAR_BITS)) - 1);
    }

    /// Returns the bits of the last `length` characters, computed by two rounds of multiplicative hashing.
    /// The hash need not resist texts that are chosen to collide, because a collision only makes a search
    /// compare one more text.
    fn bits(self, length: u32) -> [Probe; 2] {
        let piece = self.0 & ((1 << (length * CHAR_BITS)) - 1);
        let mixed = (piece << 1 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(length);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        [Probe::new((mixed >> 48) as u16), Probe::new((mixed >> 32 & 0xffff) as u16)]
    }
}

/// Returns the length of a signature. The signatures of long texts have different lengths. If all signatures
/// had the same length, a bit that a search tests could also be a bit of a frequent piece. This bit would be
/// set in the signature of almost every trip, so that the test would exclude almost no trip.
fn length(text: &str, ratio: usize, max: usize) -> usize {
    (text.len() / ratio).clamp(SIGNATURE_MIN, max - text.len() % (max / 16))
}

/// Returns the signature to test in a search for a folded text that is not empty, and the bits to test: at
/// most [`PROBES_MAX`], spread over the text.
pub fn probes(folded_text: &str) -> (Column, Vec<Probe>) {
    let length = u32::try_from(folded_text.chars().take(3).count()).unwrap_or(3).max(1);
    let column = if length == 3 { Column::Long } else { Column::Short };
    let mut last = Last::default();
    let mut all: Vec<Probe> = Vec::new();
    for (letter, number) in folded_text.chars().zip(1_u32..) {
        last.push(letter);
        if number >= length {
            // Only pieces of the full length are tested, because they contain the shorter pieces.
            all.extend(last.bits(length));
        }
    }
    let mut seen = HashSet::new();
    all.retain(|probe| seen.insert(*probe));
    let step = all.len().div_ceil(PROBES_MAX).max(1);
    (column, all.into_iter().step_by(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fold, searchable};
    use proptest::prelude::*;

    /// Returns whether a search for `q` considers a trip with this text a candidate.
    fn is_candidate(q: &str, text: &str) -> bool {
        let signatures = Signatures::of(text);
        let (column, probes) = probes(q);
        let signature = if column == Column::Short { &signatures.short } else { &signatures.long };
        assert!((SIGNATURE_MIN..=SIGNATURE_MAX).contains(&signature.len()));
        assert!((1..=PROBES_MAX).contains(&probes.len()));
        probes.iter().all(|probe| probe.is_in(signature))
    }

    #[test]
    fn signatures_exclude_most_texts_that_do_not_contain_the_search_text() {
        let words = |word: u32| format!("{:x} ", (word % 300).wrapping_mul(2_654_435_761));
        let text = searchable([(0..1_100).map(words).collect::<String>().as_str()]);
        assert!(text.len() > 9_000);
        let queries = ["z", "zz", "a-", "zurich", "hotel", "museum", "a ghi", "7z", "%", "_a"];
        let candidates: Vec<&str> = queries.into_iter().filter(|q| is_candidate(q, &text)).collect();
        assert!(candidates.len() <= 1, "{candidates:?}");
        assert!(!is_candidate(&("a".repeat(199) + "b"), &"a".repeat(10_000)));
    }

    #[test]
    fn the_signature_of_a_text_never_changes() {
        // Signatures are stored, so this test must only change together with a migration step.
        let Signatures { short, long } = Signatures::of("porto\n%");
        assert_eq!(short, [69, 0, 32, 40, 42, 9, 40, 64]);
        assert_eq!(long, [4, 8, 16, 0, 0, 3, 0, 32]);
    }

    #[test]
    fn a_row_with_an_unknown_signature_is_a_candidate_for_every_search() {
        for q in ["a", "zz", "porto", "a long search text with many words"] {
            assert!(probes(q).1.iter().all(|probe| probe.is_in(&MATCHES_ALL)), "{q}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_a_candidate_for_a_search_for_any_part_of_it(texts in prop::collection::vec("[a-cÀé가🦀%_ \\PC]{0,60}", 1..4), start in 0..60_usize, length in 1..60_usize) {
            let text = searchable(texts.iter().map(String::as_str));
            for line in text.split('\n') {
                let part: String = line.chars().skip(start).take(length).collect();
                let q = fold(&part);
                if !q.is_empty() && text.contains(&q) {
                    prop_assert!(is_candidate(&q, &text), "{q:?} in {text:?}");
                }
            }
        }
    }
}
