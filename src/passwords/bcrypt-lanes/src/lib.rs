//! Several independent bcrypt hashes in one loop on one core.
//!
//! Each step of bcrypt loads four words from tables, at addresses that the previous step has computed. One
//! hash therefore waits for its loads most of the time. [`Lanes`] interleaves up to [`Lanes::PER_LOOP`]
//! hashes, so that the loads of one overlap with those of the others.
//!
//! After `2^cost` rounds of a lane, [`Lane::digest`] returns the hash of that cost, and the lane can continue
//! to a higher cost. All lanes of a [`Lanes`] have had the same number of rounds.
//!
//! The results equal those of the `bcrypt` crate, with which the tests compare them. The states are
//! overwritten when they are dropped. As with every implementation of bcrypt, the addresses of loads depend
//! on the password.

mod pi;
#[cfg(test)]
mod tests;

use std::array;

use zeroize::Zeroize;

use pi::{PI, ROUND_KEYS};

/// The maximum number of bytes of a password that bcrypt uses.
const KEY_BYTES: usize = 72;

/// The text that bcrypt encrypts: `OrpheanBeholderScryDoubt`.
const TEXT: [[u32; 2]; 3] =
    [[0x4f72_7068, 0x6561_6e42], [0x6568_6f6c, 0x6465_7253], [0x6372_7944, 0x6f75_6274]];

/// The input of a hash.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The password without the terminating NUL. bcrypt ignores all bytes after the 72nd.
    pub password: &'a [u8],
    /// The salt.
    pub salt: [u8; 16],
}

/// Hashes that are computed together.
pub struct Lanes {
    /// The lanes in use, then those that were removed. Removing a lane from the vector would leave a copy of
    /// its state in memory.
    all: Vec<Lane>,
    in_use: usize,
    rounds: u64,
}

impl Lanes {
    /// The number of lanes in one loop. Further lanes run in another loop afterwards.
    ///
    /// Measured on two cores of an AMD EPYC (48 KiB of L1 data cache each), both busy, at cost 12, in hashes
    /// per second relative to the `bcrypt` crate: 2.0 with two lanes, 3.0 with three, 3.6 with four, 3.8 with
    /// five. A loop of four takes 1.1 times as long as one hash of the crate, a loop of five 1.3 times: with
    /// more lanes, each caller waits longer, and the gain is small. Four states take 17 KiB, which fits into
    /// the L1 data cache of most processors.
    pub const PER_LOOP: usize = 4;

    /// Starts a lane for each input. The lanes are numbered from 0, in the order of the inputs.
    pub fn start(inputs: &[Input<'_>]) -> Self {
        let mut all = vec![Lane::NEW; inputs.len()];
        for (number, (lane, input)) in all.iter_mut().zip(inputs).enumerate() {
            lane.number = number;
            lane.load(input);
        }
        Self { in_use: all.len(), all, rounds: 0 }
    }

    /// Returns whether all lanes were removed.
    pub fn is_empty(&self) -> bool {
        self.in_use == 0
    }

    /// Continues all lanes until they have had `2^cost` rounds. Does nothing if they have had at least that
    /// many rounds already.
    pub fn advance_to(&mut self, cost: u32) {
        let rounds = 1_u64.checked_shl(cost).unwrap_or(u64::MAX);
        let more = rounds.saturating_sub(self.rounds);
        for group in self.lanes_in_use().chunks_mut(Self::PER_LOOP) {
            run(group, more);
        }
        self.rounds = self.rounds.max(rounds);
    }

    /// Removes the lanes for which `keep` returns false. `keep` receives the number of a lane.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, &Lane) -> bool) {
        let mut at = 0;
        while let Some(lane) = self.lanes_in_use().get(at) {
            if keep(lane.number, lane) {
                at += 1;
            } else {
                self.in_use -= 1;
                if let Some([removed, .., last]) = self.all.get_mut(at..=self.in_use) {
                    removed.swap_with(last);
                }
            }
        }
    }

    fn lanes_in_use(&mut self) -> &mut [Lane] {
        self.all.get_mut(..self.in_use).unwrap_or_default()
    }
}

/// The state of one hash.
#[derive(Clone)]
pub struct Lane {
    number: usize,
    /// The round keys and the S-boxes.
    state: [u32; PI.len()],
    password: [u32; ROUND_KEYS],
    salt: [u32; ROUND_KEYS],
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.state.zeroize();
        self.password.zeroize();
        self.salt.zeroize();
    }
}

impl Lane {
    const NEW: Self = Self { number: 0, state: PI, password: [0; ROUND_KEYS], salt: [0; ROUND_KEYS] };

    fn load(&mut self, input: &Input<'_>) {
        fill(&mut self.password, input.password.iter().copied().chain([0]).take(KEY_BYTES));
        fill(&mut self.salt, input.salt.into_iter());
        expand::<1, true>(array::from_mut(self), Key::Password);
    }

    /// Exchanges the contents of two lanes word by word. Exchanging the lanes as a whole would copy one of them to
    /// the stack, where its state would remain.
    fn swap_with(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.number, &mut other.number);
        self.state.swap_with_slice(&mut other.state);
        self.password.swap_with_slice(&mut other.password);
        self.salt.swap_with_slice(&mut other.salt);
    }

    /// Returns the digest after the rounds that the lane has had. bcrypt hashes in text form contain the
    /// first 23 bytes of the digest.
    pub fn digest(&self) -> [u8; 24] {
        let mut words = TEXT;
        for [left, right] in &mut words {
            for _ in 0..64 {
                let ([l], [r]) = encrypt(array::from_ref(self), [*left], [*right]);
                (*left, *right) = (l, r);
            }
        }
        let mut digest = [0; 24];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(words.as_flattened()) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    /// The function `F` of Blowfish.
    #[expect(clippy::inline_always, reason = "a call costs more than its work")]
    #[expect(clippy::indexing_slicing, reason = "a byte is less than 256")]
    #[inline(always)]
    fn substitute(&self, word: u32) -> u32 {
        let [a, b, c, d] = word.to_be_bytes().map(usize::from);
        let boxed = |number: usize, byte: usize| self.state[ROUND_KEYS + 256 * number + byte];
        (boxed(0, a).wrapping_add(boxed(1, b)) ^ boxed(2, c)).wrapping_add(boxed(3, d))
    }
}

/// Fills `words` with the bytes. After the last byte, continues with the first byte again.
fn fill(words: &mut [u32; ROUND_KEYS], bytes: impl Iterator<Item = u8> + Clone) {
    let mut bytes = bytes.cycle();
    for word in words {
        *word = bytes.by_ref().take(4).fold(0, |word, byte| (word << 8) | u32::from(byte));
    }
}

/// The key of an expansion.
#[derive(Clone, Copy)]
enum Key {
    Password,
    Salt,
}

/// Runs `rounds` rounds in at most [`Lanes::PER_LOOP`] lanes.
fn run(lanes: &mut [Lane], rounds: u64) {
    // The number of lanes is a constant in each loop, so that the compiler holds the two halves of each
    // lane's block in registers.
    if let Ok(lanes) = <&mut [Lane; 4]>::try_from(&mut *lanes) {
        run_loop(lanes, rounds);
    } else if let Ok(lanes) = <&mut [Lane; 3]>::try_from(&mut *lanes) {
        run_loop(lanes, rounds);
    } else if let Ok(lanes) = <&mut [Lane; 2]>::try_from(&mut *lanes) {
        run_loop(lanes, rounds);
    } else {
        for lane in lanes {
            run_loop(array::from_mut(lane), rounds);
        }
    }
}

fn run_loop<const N: usize>(lanes: &mut [Lane; N], rounds: u64) {
    for _ in 0..rounds {
        expand::<N, false>(lanes, Key::Password);
        expand::<N, false>(lanes, Key::Salt);
    }
}

/// Replaces the state of each lane: bcrypt's `ExpandKey`. `SALTED` is true for the expansion that begins a
/// hash.
#[expect(clippy::inline_always, reason = "the loops around it need one copy for each number of lanes")]
#[expect(clippy::indexing_slicing, reason = "all indices are below the lengths of the arrays")]
#[inline(always)]
fn expand<const N: usize, const SALTED: bool>(lanes: &mut [Lane; N], key: Key) {
    for lane in &mut *lanes {
        let key = match key {
            Key::Password => &lane.password,
            Key::Salt => &lane.salt,
        };
        lane.state.iter_mut().zip(key).for_each(|(word, key)| *word ^= key);
    }
    let (mut left, mut right) = ([0; N], [0; N]);
    for at in (0..PI.len()).step_by(2) {
        if SALTED {
            for n in 0..N {
                left[n] ^= lanes[n].salt[at % 4];
                right[n] ^= lanes[n].salt[at % 4 + 1];
            }
        }
        (left, right) = encrypt(lanes, left, right);
        for n in 0..N {
            lanes[n].state[at] = left[n];
            lanes[n].state[at + 1] = right[n];
        }
    }
}

/// Encrypts one block in each lane. `left` and `right` contain the two halves of each block.
#[expect(clippy::inline_always, reason = "the loops around it need one copy for each number of lanes")]
#[expect(clippy::indexing_slicing, reason = "all indices are below the lengths of the arrays")]
#[inline(always)]
fn encrypt<const N: usize>(
    lanes: &[Lane; N],
    mut left: [u32; N],
    mut right: [u32; N],
) -> ([u32; N], [u32; N]) {
    for key in (0..ROUND_KEYS - 2).step_by(2) {
        for n in 0..N {
            left[n] ^= lanes[n].state[key];
            right[n] ^= lanes[n].substitute(left[n]);
        }
        for n in 0..N {
            right[n] ^= lanes[n].state[key + 1];
            left[n] ^= lanes[n].substitute(right[n]);
        }
    }
    for n in 0..N {
        left[n] ^= lanes[n].state[ROUND_KEYS - 2];
        right[n] ^= lanes[n].state[ROUND_KEYS - 1];
    }
    (right, left)
}
