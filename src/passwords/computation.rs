//! The two computations of this module: the hash of a new password, and the verification of a password.
//!
//! Each computation can run alone, in the bcrypt crate, or in a lane beside other computations
//! ([`bcrypt_lanes`]).

use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::alphabet;
use base64::engine::{GeneralPurpose, general_purpose};
use bcrypt::HashParts;
use bcrypt_lanes::{Input, Lane};

use super::{IDENTIFIER, Password, Verified, dummy, parse_cost};
use crate::secrets::{constant_time_eq, random_bytes};

/// The encoding of salts and digests in bcrypt hashes.
const ENCODING: GeneralPurpose = GeneralPurpose::new(&alphabet::BCRYPT, general_purpose::NO_PAD);

/// The number of bytes of a digest in a bcrypt hash.
const DIGEST_BYTES: usize = 23;

/// A computation of bcrypt that can run alone or in a lane.
pub(super) trait Computation: Send + 'static {
    /// The result.
    type Output: Send + 'static;

    /// Returns the maximum cost: the computation needs at most `2^cost` rounds.
    fn cost(&self) -> u32;

    /// Runs the computation.
    fn run_alone(&self) -> Self::Output;

    /// Returns the input of the computation's lane.
    fn input(&self) -> Input<'_>;

    /// Returns the result if `lane`, which has had `2^cost` rounds, determines the result. The caller calls
    /// this function at each cost, up to the cost of the computation, until it returns a result.
    fn check(&self, cost: u32, lane: &Lane) -> Option<Self::Output>;
}

/// Computes the hash of a new password.
pub(super) struct NewHash {
    password: Password,
    salt: [u8; 16],
    cost: u32,
}

impl NewHash {
    pub(super) fn new(password: Password, cost: u32) -> Self {
        Self { password, salt: random_bytes(), cost }
    }
}

impl Computation for NewHash {
    type Output = String;

    fn cost(&self) -> u32 {
        self.cost
    }

    #[expect(clippy::disallowed_methods, reason = "the only module that calls bcrypt")]
    fn run_alone(&self) -> String {
        // bcrypt fails only for input that `Password` and the settings exclude. Without a hash, nothing can
        // be stored. The pool turns the panic into `Overloaded`, which becomes a 503.
        #[expect(clippy::expect_used, reason = "a panic is better than a wrong hash")]
        let hash = bcrypt::non_truncating_hash_with_salt(self.password.as_str(), self.cost, self.salt)
            .expect("bcrypt accepts the checked input");
        hash.to_string()
    }

    fn input(&self) -> Input<'_> {
        Input { password: self.password.as_str().as_bytes(), salt: self.salt }
    }

    fn check(&self, cost: u32, lane: &Lane) -> Option<String> {
        let is_done = cost == self.cost;
        is_done.then(|| {
            let (salt, digest) = (ENCODING.encode(self.salt), ENCODING.encode(stored_digest(lane)));
            format!("{IDENTIFIER}{cost:02}${salt}{digest}")
        })
    }
}

/// Verifies a password against a stored hash.
///
/// Both alone and in a lane, a mismatch takes `2^max_cost` rounds, whatever the cost of the stored hash is. A
/// match takes only the rounds of the stored hash.
pub(super) struct Verification {
    password: Password,
    stored: String,
    /// `None` if the stored hash is corrupt.
    parts: Option<Parts>,
    configured: u32,
    max_cost: u32,
}

/// The parts of a stored hash.
struct Parts {
    cost: u32,
    salt: [u8; 16],
    digest: [u8; DIGEST_BYTES],
}

impl Verification {
    /// Creates a verification. Raises `max_cost` to the cost of the stored hash, if that cost is higher.
    pub(super) fn new(password: Password, stored: String, configured: u32, max_cost: &AtomicU32) -> Self {
        let parts = Parts::parse(&stored);
        let max_cost = match &parts {
            Some(parts) => max_cost.fetch_max(parts.cost, Ordering::Relaxed).max(parts.cost),
            None => max_cost.load(Ordering::Relaxed),
        };
        Self { password, stored, parts, configured, max_cost }
    }

    fn matched(&self, cost: u32) -> Verified {
        // A hash from another system can have another identifier of the same algorithm.
        if cost == self.configured && self.stored.starts_with(IDENTIFIER) {
            Verified::Match
        } else {
            Verified::MatchNeedsRehash
        }
    }
}

impl Computation for Verification {
    type Output = Verified;

    fn cost(&self) -> u32 {
        self.max_cost
    }

    #[expect(clippy::disallowed_methods, reason = "the only module that calls bcrypt")]
    fn run_alone(&self) -> Verified {
        let Some(Parts { cost, .. }) = self.parts else {
            verify_at_cost(self.max_cost);
            return Verified::Mismatch;
        };
        let is_match = bcrypt::non_truncating_verify(self.password.as_str(), &self.stored);
        if is_match.unwrap_or(false) {
            return self.matched(cost);
        }
        // A hash of a lower cost is verified faster, which would reveal that the user exists. Dummy hashes
        // add the remaining work up to the highest cost: 2^c + 2^c + 2^(c+1) + … = 2^max_cost.
        (cost..self.max_cost).for_each(verify_at_cost);
        Verified::Mismatch
    }

    fn input(&self) -> Input<'_> {
        let salt = self.parts.as_ref().map_or_else(random_bytes, |parts| parts.salt);
        Input { password: self.password.as_str().as_bytes(), salt }
    }

    fn check(&self, cost: u32, lane: &Lane) -> Option<Verified> {
        let parts = self.parts.as_ref().filter(|parts| parts.cost == cost);
        if parts.is_some_and(|parts| constant_time_eq(&parts.digest, &stored_digest(lane))) {
            return Some(self.matched(cost));
        }
        // The lane of a mismatch continues to the highest cost, for the same reason as in `run_alone`.
        (cost == self.max_cost).then_some(Verified::Mismatch)
    }
}

impl Parts {
    /// Returns `None` if the hash is corrupt.
    fn parse(stored: &str) -> Option<Self> {
        let cost = parse_cost(stored)?;
        let salt = stored.parse::<HashParts>().ok()?.get_salt_raw();
        let digest = ENCODING.decode(stored.get(29..)?).ok()?.try_into().ok()?;
        Some(Self { cost, salt, digest })
    }
}

/// Returns the digest of a lane without the last byte, which bcrypt hashes do not contain.
fn stored_digest(lane: &Lane) -> [u8; DIGEST_BYTES] {
    let [digest @ .., _] = lane.digest();
    digest
}

/// Takes as long as one verification of a hash of the bcrypt cost `cost`.
#[expect(clippy::disallowed_methods, reason = "the only module that calls bcrypt")]
fn verify_at_cost(cost: u32) {
    // The result is always a mismatch.
    let _ = bcrypt::non_truncating_verify("", &dummy(cost));
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bcrypt_lanes::Lanes;

    use super::super::{COST_MAX, COST_MIN};
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    /// Runs a computation in a lane; returns its result and the cost at which the lane ended.
    fn in_lane<C: Computation>(computation: &C) -> (C::Output, u32) {
        let other = Input { password: b"other", salt: [1; 16] };
        let mut lanes = Lanes::start(&[other, computation.input()]);
        for cost in COST_MIN..=computation.cost() {
            lanes.advance_to(cost);
            let mut result = None;
            lanes.retain(|number, lane| {
                if number == 1 {
                    result = computation.check(cost, lane);
                }
                true
            });
            if let Some(result) = result {
                return (result, cost);
            }
        }
        panic!("the lane has no result");
    }

    fn hash(text: &str, cost: u32) -> String {
        NewHash::new(password(text), cost).run_alone()
    }

    #[test]
    fn a_new_hash_is_the_same_whether_computed_alone_or_in_a_lane() {
        // S-9
        for text in ["", "correct horse", "pässwörd", &"x".repeat(71)] {
            for cost in 4..7 {
                let new = NewHash::new(password(text), cost);
                assert_eq!(in_lane(&new), (new.run_alone(), cost), "{text}");
            }
        }
    }

    #[test]
    fn a_verification_has_the_same_result_whether_computed_alone_or_in_a_lane() {
        // S-9
        let foreign = |hash: String| hash.replacen("$2b$", "$2y$", 1);
        for (stored, verified, cost) in [
            (hash("correct horse", 6), Verified::Match, 6),
            (hash("correct horse", 5), Verified::MatchNeedsRehash, 5),
            (hash("correct horse", 7), Verified::MatchNeedsRehash, 7),
            (foreign(hash("correct horse", 6)), Verified::MatchNeedsRehash, 6),
            (hash("Correct horse", 6), Verified::Mismatch, 8),
            (foreign(hash("correct horsf", 4)), Verified::Mismatch, 8),
        ] {
            let verification = Verification::new(password("correct horse"), stored, 6, &AtomicU32::new(8));
            assert_eq!(verification.run_alone(), verified, "{}", verification.stored);
            assert_eq!(in_lane(&verification), (verified, cost), "{}", verification.stored);
        }
    }

    #[test]
    fn the_lane_of_every_failed_verification_runs_up_to_the_highest_cost() {
        // S-10
        for stored in [hash("Correct horse", 4), hash("Correct horse", 7), dummy(6), "corrupt".to_owned()] {
            let verification =
                Verification::new(password("correct horse"), stored.clone(), 6, &AtomicU32::new(8));
            assert_eq!(verification.cost(), 8, "{stored}");
            assert_eq!(in_lane(&verification), (Verified::Mismatch, 8), "{stored}");
        }
    }

    /// Returns the duration of a failed verification in seconds: the minimum of two measurements.
    fn seconds(stored: &str, configured: u32, max_cost: u32) -> f64 {
        let max_cost = AtomicU32::new(max_cost);
        let once = || {
            let started = Instant::now();
            let verification =
                Verification::new(password("correct horse"), stored.to_owned(), configured, &max_cost);
            assert_eq!(verification.run_alone(), Verified::Mismatch);
            started.elapsed().as_secs_f64()
        };
        (0..2).map(|_| once()).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn every_failed_verification_takes_as_long_as_a_hash_with_the_highest_cost() {
        // S-10
        for (configured, max_cost) in [(10, 10), (6, 10)] {
            for stored in [dummy(4), dummy(6), dummy(10), "corrupt".to_owned(), dummy(COST_MAX + 1)] {
                // Other processes can delay individual measurements, so one good ratio in eight attempts is enough.
                let ratio = || {
                    seconds(&stored, configured, max_cost) / seconds(&dummy(max_cost), configured, max_cost)
                };
                assert!((0..8).any(|_| (0.5..2.0).contains(&ratio())), "{stored}");
            }
        }
    }
}
