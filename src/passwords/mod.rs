//! Password hashing.
//!
//! A bcrypt hash of the default cost uses one core for a quarter of a second. bcrypt runs on dedicated
//! threads, one for each core, at the lowest priority. If several calls wait, a thread computes up to four
//! hashes together, in hardly more time than one hash ([`bcrypt_lanes`]). The queue of the threads has a
//! limit for the expected wait: a call that would wait longer fails with [`Overloaded`] immediately.
//! Passwords are never truncated: bcrypt gets at most 71 bytes, and a longer new password is rejected.
//!
//! A failed verification always takes as long as a verification at the highest cost of all stored hashes, or
//! at the configured cost if that is higher. Its duration therefore reveals neither whether the user exists
//! nor the cost of the stored hash. Verifications share batches, whatever the costs of their stored hashes
//! are, because the lane of a wrong password always runs up to the highest cost.

mod computation;
mod foreign_hash;
mod hash_pool;
mod lanes;
mod password;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use foreign_hash::{InvalidHash, check_hash};
pub use hash_pool::Overloaded;
pub use password::{MAX_BYTES, Password};

use crate::secrets::random_bytes;
use computation::{NewHash, Verification};
use hash_pool::HashPool;

/// The lowest cost that bcrypt supports.
pub const COST_MIN: u32 = 4;
/// The highest cost that the settings allow. A stored hash with a higher cost is treated as corrupt, because
/// its verification could occupy a thread for minutes or days.
pub const COST_MAX: u32 = 15;

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Passwords {
    pool: HashPool,
    cost: u32,
    /// The highest cost observed so far, including the configured one.
    max_cost: Arc<AtomicU32>,
}

/// The identifier of the algorithm in new hashes.
const IDENTIFIER: &str = "$2b$";

/// The result of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// The password is wrong, or the stored hash is corrupt.
    Mismatch,
    /// The password is correct.
    Match,
    /// The password is correct, but its hash does not have the configured cost, or is from another system.
    MatchNeedsRehash,
}

impl Passwords {
    /// Starts the hashing threads. `cost` is the cost of bcrypt; each step doubles the time. `max_wait` is
    /// the maximum expected wait; a call that would wait longer is rejected.
    pub fn new(cost: u32, max_wait: Duration) -> Self {
        let max_cost = Arc::new(AtomicU32::new(cost));
        Self { pool: HashPool::start(cost, max_wait), cost, max_cost }
    }

    /// Records that stored hashes of this cost exist. If the configured cost is lowered, more expensive
    /// hashes remain until their owners log in.
    pub fn observe_cost(&self, cost: u32) {
        if (COST_MIN..=COST_MAX).contains(&cost) {
            self.max_cost.fetch_max(cost, Ordering::Relaxed);
        }
    }

    /// Hashes a password with a new random salt.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], if the expected or the actual wait exceeds the limit.
    pub async fn hash(&self, password: Password) -> Result<String, Overloaded> {
        self.pool.run(NewHash::new(password, self.cost)).await
    }

    /// Verifies a password against a stored hash, which contains its cost and salt. A corrupt hash matches no
    /// password.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], if the expected or the actual wait exceeds the limit.
    pub async fn verify(&self, password: Password, stored: String) -> Result<Verified, Overloaded> {
        self.pool.run(Verification::new(password, stored, self.cost, &self.max_cost)).await
    }

    /// Does the same work as a failed verification, so that a login of an unknown user takes as long as a
    /// login with a wrong password.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], if the expected or the actual wait exceeds the limit.
    pub async fn verify_dummy(&self, password: Password) -> Result<(), Overloaded> {
        // The verification adds the remaining work up to the highest cost.
        self.verify(password, dummy(self.cost)).await.map(|_| ())
    }
}

/// Returns the cost in `$2b$12$…`, if it is in the supported range.
fn parse_cost(stored: &str) -> Option<u32> {
    let cost = stored.split('$').nth(2)?.parse().ok()?;
    (COST_MIN..=COST_MAX).contains(&cost).then_some(cost)
}

/// Returns a hash that matches no password: a random salt and a random digest in bcrypt's alphabet.
fn dummy(cost: u32) -> String {
    const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letters = |bytes: &[u8]| -> String {
        bytes
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte % 64)))
            .map(|letter| char::from(*letter))
            .collect()
    };
    // 22 letters encode 128 bits of salt, and 31 encode 184 bits of digest. The unused bits of the last
    // letter of each must be zero: in `.` all bits are zero.
    format!("$2b${cost:02}${}.{}.", letters(&random_bytes::<21>()), letters(&random_bytes::<30>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    fn at(cost: u32) -> Passwords {
        Passwords::new(cost, Duration::from_mins(1))
    }

    fn hashing() -> Passwords {
        at(4)
    }

    #[tokio::test]
    async fn two_hashes_of_one_password_differ_and_a_hash_matches_only_its_password() {
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
    async fn a_password_hash_with_another_bcrypt_cost_needs_a_rehash() {
        // S-9
        for (old, new) in [(4, 5), (5, 4)] {
            let stored = at(old).hash(password("correct horse")).await.unwrap();
            let verified = at(new).verify(password("correct horse"), stored).await.unwrap();
            assert_eq!(verified, Verified::MatchNeedsRehash, "{old} to {new}");
        }
    }

    #[tokio::test]
    async fn a_corrupt_hash_matches_no_password() {
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

    #[tokio::test]
    async fn verification_for_an_unknown_user_computes_a_hash_of_the_highest_observed_cost() {
        // S-10
        let passwords = at(4);
        let max_cost = || passwords.max_cost.load(Ordering::Relaxed);
        // A corrupt hash with a high cost does not raise the highest observed cost.
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
    fn the_dummy_hash_is_valid_and_has_the_given_cost() {
        // S-10
        assert_eq!(dummy(12).len(), 60);
        assert_eq!(parse_cost(&dummy(12)), Some(12));
        assert!(bcrypt_accepts(&dummy(4)));
    }

    #[expect(clippy::disallowed_methods, reason = "the only module that calls bcrypt")]
    fn bcrypt_accepts(stored: &str) -> bool {
        bcrypt::non_truncating_verify("", stored).is_ok()
    }
}
