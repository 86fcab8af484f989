//! Passwords: what is accepted as one, and hashing away from everything else.
//!
//! bcrypt takes a quarter of a second of a core. It runs on threads of its own, as many as there are
//! cores, at the lowest priority, behind a queue that is only as long as callers may be made to wait;
//! beyond that the answer is "overloaded" at once. Nothing is ever truncated: bcrypt sees 71 bytes
//! at most, and a longer password is refused where it is set.
//!
//! A failed verification always does the work of the dearest hash there is, or of the configured cost
//! if that is higher: its time tells neither whether there is such a user nor how old their hash is.

mod hash_pool;
mod policy;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use hash_pool::Overloaded;
pub use policy::{MAX_BYTES, Password, PolicyViolation, check};

use crate::secrets::random_bytes;
use hash_pool::HashPool;

/// The lowest cost that bcrypt knows.
pub const COST_MIN: u32 = 4;
/// The highest cost that the settings allow, so a stored hash that asks for more is none of ours: to
/// verify it would take a thread for minutes or days.
pub const COST_MAX: u32 = 15;

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Passwords {
    pool: HashPool,
    cost: u32,
    /// The highest cost met so far, the configured one among them.
    max_cost: Arc<AtomicU32>,
    min_chars: usize,
}

/// How a verification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Another password, or a hash that is none.
    Mismatch,
    /// The right one.
    Match,
    /// The right one, hashed at a cost that is not the configured one.
    MatchNeedsRehash,
}

impl Passwords {
    /// `cost` is bcrypt's (each step doubles the time), `min_chars` the least length of a new
    /// password, `max_wait` how long a caller may wait for a hash before being turned away.
    pub fn new(cost: u32, min_chars: usize, max_wait: Duration) -> Self {
        let max_cost = Arc::new(AtomicU32::new(cost));
        Self { pool: HashPool::start(cost, max_wait), cost, max_cost, min_chars }
    }

    /// Takes note that there are hashes of this cost. Those of a higher cost than the configured one
    /// remain when it is lowered, until their owners log in.
    pub fn observe_cost(&self, cost: u32) {
        if (COST_MIN..=COST_MAX).contains(&cost) {
            self.max_cost.fetch_max(cost, Ordering::Relaxed);
        }
    }

    /// Checks a new password against the policy.
    ///
    /// # Errors
    ///
    /// The first [`PolicyViolation`].
    pub fn check(&self, password: &str, identifiers: &[&str]) -> Result<Password, PolicyViolation> {
        check(password, identifiers, self.min_chars)
    }

    /// Hashes with a fresh random salt.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], if the queue is full or the machine too busy to keep the promised wait.
    pub async fn hash(&self, password: Password) -> Result<String, Overloaded> {
        let cost = self.cost;
        self.pool.run(move || hash(&password, cost)).await
    }

    /// Verifies against a stored hash, which brings its own cost and salt. A stored text that is no
    /// bcrypt hash verifies nothing.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], if the queue is full or the machine too busy to keep the promised wait.
    pub async fn verify(&self, password: Password, stored: String) -> Result<Verified, Overloaded> {
        let (wanted, max_cost) = (self.cost, Arc::clone(&self.max_cost));
        self.pool.run(move || verify(&password, &stored, wanted, &max_cost)).await
    }

    /// Does the work of a verification for nobody, so that an unknown user takes as long as a wrong
    /// password.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], if the queue is full or the machine too busy to keep the promised wait.
    pub async fn verify_dummy(&self, password: Password) -> Result<(), Overloaded> {
        // The verification adds what is missing to the dearest hash.
        self.verify(password, dummy(self.cost)).await.map(|_| ())
    }
}

#[expect(clippy::disallowed_methods, reason = "the one home of bcrypt")]
fn hash(password: &Password, cost: u32) -> String {
    // It fails without randomness for the salt, and for what neither `Password` nor the settings let
    // through; there is nothing to store then, and the pool turns the panic into a 503.
    #[expect(clippy::expect_used, reason = "no hash is better than a wrong one")]
    bcrypt::non_truncating_hash(password.as_str(), cost).expect("bcrypt hashes what was checked")
}

#[expect(clippy::disallowed_methods, reason = "the one home of bcrypt")]
fn verify(password: &Password, stored: &str, wanted: u32, max_cost: &AtomicU32) -> Verified {
    let cost = cost_of(stored);
    let verified = cost.map(|_| bcrypt::non_truncating_verify(password.as_str(), stored));
    let (Some(cost), Some(Ok(is_right))) = (cost, verified) else {
        work(max_cost.load(Ordering::Relaxed));
        return Verified::Mismatch;
    };
    let max_cost = max_cost.fetch_max(cost, Ordering::Relaxed).max(cost);
    match (is_right, cost == wanted) {
        (true, true) => Verified::Match,
        (true, false) => Verified::MatchNeedsRehash,
        (false, _) => {
            // A cheaper hash was refused sooner. The work that is missing to the dearest is done on
            // dummies (2^c + 2^c + 2^(c+1) + … = 2^dearest), or the time would tell that there is such
            // a user.
            (cost..max_cost).for_each(work);
            Verified::Mismatch
        }
    }
}

/// Does the work of one verification at that cost.
#[expect(clippy::disallowed_methods, reason = "the one home of bcrypt")]
fn work(cost: u32) {
    // What comes out is known: nobody has this password.
    let _ = bcrypt::non_truncating_verify("", &dummy(cost));
}

/// The cost that stands in `$2b$12$…`, if it can be one of ours.
fn cost_of(stored: &str) -> Option<u32> {
    let cost = stored.split('$').nth(2)?.parse().ok()?;
    (COST_MIN..=COST_MAX).contains(&cost).then_some(cost)
}

/// A hash that no password has: random salt and random digest in bcrypt's own alphabet.
fn dummy(cost: u32) -> String {
    const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letters = |bytes: &[u8]| -> String {
        bytes
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte % 64)))
            .map(|letter| char::from(*letter))
            .collect()
    };
    // 22 letters hold 128 bits of salt, 31 hold 184 bits of digest; the last letter of each has
    // spare bits, which must be zero: `.` has none set.
    format!("$2b${cost:02}${}.{}.", letters(&random_bytes::<21>()), letters(&random_bytes::<30>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::given(text).unwrap()
    }

    fn at(cost: u32) -> Passwords {
        Passwords::new(cost, 8, Duration::from_secs(5))
    }

    fn hashing() -> Passwords {
        at(4)
    }

    #[tokio::test]
    async fn the_same_password_hashes_differently_and_verifies() {
        // S-9
        let passwords = hashing();
        let one = passwords.hash(password("correct horse")).await.unwrap();
        let two = passwords.hash(password("correct horse")).await.unwrap();
        assert_ne!(one, two);
        assert!(one.starts_with("$2b$04$"));
        assert_eq!(passwords.verify(password("correct horse"), one.clone()).await.unwrap(), Verified::Match);
        assert_eq!(passwords.verify(password("Correct horse"), one).await.unwrap(), Verified::Mismatch);
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_says_so() {
        // S-9
        for (old, new) in [(4, 5), (5, 4)] {
            let stored = at(old).hash(password("correct horse")).await.unwrap();
            let verified = at(new).verify(password("correct horse"), stored).await.unwrap();
            assert_eq!(verified, Verified::MatchNeedsRehash, "{old} to {new}");
        }
    }

    #[tokio::test]
    async fn a_corrupt_hash_verifies_nothing() {
        // S-9
        for stored in
            ["", "x", "$2b$", "$2b$99$abc", "$2b$04$short", "\u{0}", "$2b$04$!!!!!!!!!!!!!!!!!!!!!!!!!!!!"]
        {
            assert_eq!(
                hashing().verify(password("correct horse"), stored.into()).await.unwrap(),
                Verified::Mismatch
            );
        }
    }

    /// Seconds that it takes to refuse a password; the best of some tries.
    fn seconds(stored: &str, wanted: u32, max_cost: u32) -> f64 {
        let max_cost = AtomicU32::new(max_cost);
        let once = || {
            let started = std::time::Instant::now();
            assert_eq!(verify(&password("correct horse"), stored, wanted, &max_cost), Verified::Mismatch);
            started.elapsed().as_secs_f64()
        };
        (0..3).map(|_| once()).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn every_hash_is_refused_after_the_work_of_the_dearest() {
        // S-10
        for (wanted, max_cost) in [(10, 10), (6, 10)] {
            let unknown = seconds(&dummy(max_cost), wanted, max_cost);
            for stored in [dummy(4), dummy(6), dummy(10), "corrupt".to_owned(), dummy(COST_MAX + 1)] {
                let known = seconds(&stored, wanted, max_cost);
                assert!(known > unknown * 0.5 && known < unknown * 2.0, "{unknown} and {known}: {stored}");
            }
        }
    }

    #[tokio::test]
    async fn an_unknown_user_takes_as_long_as_the_dearest_hash_that_was_met() {
        // S-10
        let passwords = at(4);
        let max_cost = || passwords.max_cost.load(Ordering::Relaxed);
        // What only looks like a dear hash is none.
        for corrupt in ["$2b$12$short", "$2b$31$", &dummy(31)] {
            passwords.verify(password("correct horse"), corrupt.to_owned()).await.unwrap();
        }
        passwords.observe_cost(31);
        assert_eq!(max_cost(), 4);
        passwords.verify(password("correct horse"), dummy(5)).await.unwrap();
        assert_eq!(max_cost(), 5);
        passwords.observe_cost(12);
        passwords.observe_cost(6);
        assert_eq!(max_cost(), 12);
        let started = std::time::Instant::now();
        passwords.verify_dummy(password("correct horse")).await.unwrap();
        assert!(started.elapsed() > Duration::from_millis(50), "the dummy was not computed");
    }

    #[test]
    fn the_dummy_is_a_hash_of_the_wanted_cost() {
        // S-10
        assert_eq!(dummy(12).len(), 60);
        assert_eq!(cost_of(&dummy(12)), Some(12));
        assert!(bcrypt_takes(&dummy(4)));
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of bcrypt")]
    fn bcrypt_takes(stored: &str) -> bool {
        bcrypt::non_truncating_verify("", stored).is_ok()
    }
}
