//! Bloom filters of the pieces of 1 to 4 characters of a text.
//!
//! The short signature contains the pieces of 1 and 2 characters, the long one those of 3 and 4. Each piece
//! sets bits in a bitmap of [`BITMAP_BYTES`], which is then folded: byte `i` is added to byte `i % length` of
//! the signature. A database can therefore test a bit of a signature of any length by a remainder.

use std::collections::HashSet;

/// The maximum length of a signature, in bytes. With the key of a trip it fits into an entry of an index on
/// every database; on SQLite, a longer entry needs a page of its own.
pub const SIGNATURE_MAX: usize = 896;
/// The signature of a trip whose text is unknown: every search considers it a candidate.
pub const MATCHES_ALL: [u8; 1] = [0xff];
/// The maximum number of bits that a search tests.
pub const PROBES_MAX: usize = 16;
/// The minimum length of a signature, in bytes.
const SIGNATURE_MIN: usize = 8;
/// The bytes of text for each byte of the long signature. A trip of 1,000 English characters has some 1,300
/// different pieces of 3 and 4 characters, and so sets half of the bits.
const LONG_RATIO: usize = 4;
/// The bytes of text for each byte of the short signature.
const SHORT_RATIO: usize = 8;
/// The size of the bitmap before it is folded: a bit for each 16-bit hash.
const BITMAP_BYTES: usize = 1 << 13;
/// The number of bits of a character.
const CHAR_BITS: u32 = 21;

/// Which signature a search tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The pieces of 1 and 2 characters.
    Short,
    /// The pieces of 3 and 4 characters.
    Long,
}

/// A bit that is set in the signature of every matching trip: `mask` in byte `byte % length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Probe {
    /// The byte before folding.
    pub byte: u16,
    /// One bit.
    pub mask: u8,
}

impl Probe {
    /// Returns the bit of a 16-bit hash.
    fn new(hash: u16) -> Self {
        Self { byte: hash >> 3, mask: 1 << (hash & 7) }
    }

    /// Returns whether the signature contains the bit.
    pub fn is_in(self, signature: &[u8]) -> bool {
        let at = usize::from(self.byte).checked_rem(signature.len());
        at.and_then(|at| signature.get(at)).is_some_and(|byte| byte & self.mask != 0)
    }
}

/// The signatures of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// The pieces of 1 and 2 characters.
    pub short: Vec<u8>,
    /// The pieces of 3 and 4 characters.
    pub long: Vec<u8>,
}

impl Signatures {
    /// Returns the signatures of a [searchable](crate::searchable) text.
    pub fn of(text: &str) -> Self {
        let (mut short, mut long) = ([0; BITMAP_BYTES], [0; BITMAP_BYTES]);
        for line in text.split('\n') {
            let mut last = Last::default();
            for (index, letter) in line.chars().enumerate() {
                last.push(letter);
                let hash = last.hash(1);
                set(&mut short, first(hash));
                set(&mut short, second(hash));
                if index >= 1 {
                    let hash = last.hash(2);
                    set(&mut short, first(hash));
                    set(&mut short, second(hash));
                }
                if index >= 2 {
                    set(&mut long, first(last.hash(3)));
                }
                if index >= 3 {
                    set(&mut long, first(last.hash(4)));
                }
            }
        }
        Self { short: folded(&short, text.len() / SHORT_RATIO), long: folded(&long, text.len() / LONG_RATIO) }
    }
}

/// The last characters of a text.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    /// The last three, [`CHAR_BITS`] each.
    three: u64,
    /// The one before them.
    fourth: u64,
}

impl Last {
    fn push(&mut self, letter: char) {
        self.fourth = self.three >> (2 * CHAR_BITS);
        self.three = (self.three << CHAR_BITS | u64::from(u32::from(letter))) & ((1 << (3 * CHAR_BITS)) - 1);
    }

    /// Returns the hash of the last `length` characters, at most 4: two rounds of multiplicative hashing.
    /// Nothing depends on resistance to chosen texts.
    fn hash(self, length: u32) -> u64 {
        let (three, fourth) = match length {
            1 | 2 => (self.three & ((1 << (length * CHAR_BITS)) - 1), 0),
            3 => (self.three, 0),
            _ => (self.three, self.fourth + 1),
        };
        let mixed = (three ^ u64::from(length) << 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = mixed ^ fourth.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
    }
}

/// Returns the bit of a piece.
fn first(hash: u64) -> Probe {
    Probe::new((hash >> 48 & 0xffff) as u16)
}

/// Returns the second bit of a short piece. It has two, because a search for one has little else to test.
fn second(hash: u64) -> Probe {
    Probe::new((hash >> 32 & 0xffff) as u16)
}

fn set(bitmap: &mut [u8; BITMAP_BYTES], Probe { byte, mask }: Probe) {
    if let Some(byte) = bitmap.get_mut(usize::from(byte)) {
        *byte |= mask;
    }
}

/// Folds a bitmap to about `length` bytes.
fn folded(bitmap: &[u8; BITMAP_BYTES], length: usize) -> Vec<u8> {
    let length = length.clamp(SIGNATURE_MIN, SIGNATURE_MAX);
    let mut signature = vec![0; length];
    for part in bitmap.chunks(length) {
        for (byte, added) in signature.iter_mut().zip(part) {
            *byte |= added;
        }
    }
    signature
}

/// Returns the signature to test in a search for a folded text that is not empty, and the bits to test: at
/// most [`PROBES_MAX`], spread over the text.
pub fn probes(folded_text: &str) -> (Column, Vec<Probe>) {
    let (column, lengths): (_, &[u32]) = match folded_text.chars().count() {
        0 | 1 => (Column::Short, &[1]),
        // The pieces of 2 characters imply those of 1.
        2 => (Column::Short, &[2]),
        3 => (Column::Long, &[3]),
        // Longer pieces are rarer.
        _ => (Column::Long, &[4, 3]),
    };
    let mut all: Vec<Probe> = Vec::new();
    for length in lengths {
        let mut last = Last::default();
        for (letter, number) in folded_text.chars().zip(1..) {
            last.push(letter);
            if number >= *length {
                let hash = last.hash(*length);
                all.push(first(hash));
                all.extend((column == Column::Short).then(|| second(hash)));
            }
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
    fn signatures_exclude_most_other_texts() {
        let words = |word: u32| format!("{:x} ", (word % 300).wrapping_mul(2_654_435_761));
        let text = searchable([(0..1_100).map(words).collect::<String>().as_str()]);
        assert!(text.len() > 9_000);
        let queries = ["z", "zz", "a-", "zurich", "hotel", "museum", "a ghi", "7z", "%", "_a"];
        let candidates: Vec<&str> = queries.into_iter().filter(|q| is_candidate(q, &text)).collect();
        assert!(candidates.len() <= 1, "{candidates:?}");
        assert!(!is_candidate(&("a".repeat(199) + "b"), &"a".repeat(10_000)));
    }

    #[test]
    fn the_bits_of_a_text_never_change() {
        // Signatures are stored, so this test must only change together with a migration step.
        let Signatures { short, long } = Signatures::of("porto\n%");
        assert_eq!(short, [1, 18, 6, 8, 34, 66, 20, 162]);
        assert_eq!(long, [0, 64, 4, 129, 0, 4, 0, 0]);
    }

    #[test]
    fn the_unknown_signature_is_a_candidate_of_every_search() {
        for q in ["a", "zz", "porto", "a long search text with many words"] {
            assert!(probes(q).1.iter().all(|probe| probe.is_in(&MATCHES_ALL)), "{q}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_a_candidate_of_every_part_of_it(texts in prop::collection::vec("[a-cÀé가🦀%_ \\PC]{0,60}", 1..4), start in 0..60_usize, length in 1..60_usize) {
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
