//! Passwords: what is accepted as one, and hashing away from everything else.
//!
//! bcrypt takes a quarter of a second of a core. It runs on threads of its own, as many as there are
//! cores, at the lowest priority, behind a queue that is only as long as callers may be made to wait;
//! beyond that the answer is "overloaded" at once. Nothing is ever truncated: bcrypt sees 71 bytes
//! at most, and a longer password is refused where it is set.

mod policy;
mod pool;

use std::time::Duration;

pub use policy::{MAX_BYTES, Password, PolicyFault, check};
pub use pool::Overloaded;

use crate::secrets::random_bytes;
use pool::Pool;

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Passwords {
    pool: Pool,
    cost: u32,
    min_chars: usize,
}

/// How a verification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Another password, or a hash that is none.
    No,
    /// The right one.
    Yes,
    /// The right one, hashed at a lower cost than is wanted by now.
    YesButCheap,
}

impl Passwords {
    /// `cost` is bcrypt's (each step doubles the time), `min_chars` the least length of a new
    /// password, `max_wait` how long a caller may wait for a hash before being turned away.
    pub fn new(cost: u32, min_chars: usize, max_wait: Duration) -> Self {
        Self { pool: Pool::start(cost, max_wait), cost, min_chars }
    }

    /// Checks a new password against the policy.
    ///
    /// # Errors
    ///
    /// The first [`PolicyFault`].
    pub fn check(&self, password: &str, identifiers: &[&str]) -> Result<Password, PolicyFault> {
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
        let wanted = self.cost;
        self.pool.run(move || verify(&password, &stored, wanted)).await
    }

    /// Does the work of a verification for nobody, so that an unknown user takes as long as a wrong
    /// password.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], if the queue is full or the machine too busy to keep the promised wait.
    pub async fn verify_nothing(&self, password: Password) -> Result<(), Overloaded> {
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
fn verify(password: &Password, stored: &str, wanted: u32) -> Verified {
    match bcrypt::non_truncating_verify(password.as_str(), stored) {
        Ok(true) if cost_of(stored).is_some_and(|cost| cost < wanted) => Verified::YesButCheap,
        Ok(true) => Verified::Yes,
        Ok(false) => {
            // A hash of lower cost was refused sooner. The work that is missing to the wanted cost is
            // done on dummies (2^c + 2^c + 2^(c+1) + … = 2^wanted), or the time would tell that
            // there is such a user.
            (cost_of(stored).unwrap_or(wanted)..wanted).for_each(work);
            Verified::No
        }
        Err(_) => {
            work(wanted);
            Verified::No
        }
    }
}

/// Does the work of one verification at that cost.
#[expect(clippy::disallowed_methods, reason = "the one home of bcrypt")]
fn work(cost: u32) {
    // What comes out is known: nobody has this password.
    let _ = bcrypt::non_truncating_verify("", &dummy(cost));
}

/// The cost that stands in `$2b$12$…`.
fn cost_of(stored: &str) -> Option<u32> {
    stored.split('$').nth(2)?.parse().ok()
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

    fn hashing() -> Passwords {
        Passwords::new(4, 8, Duration::from_secs(5))
    }

    #[tokio::test]
    async fn the_same_password_hashes_differently_and_verifies() {
        // S-9
        let passwords = hashing();
        let one = passwords.hash(password("correct horse")).await.unwrap();
        let two = passwords.hash(password("correct horse")).await.unwrap();
        assert_ne!(one, two);
        assert!(one.starts_with("$2b$04$"));
        assert_eq!(passwords.verify(password("correct horse"), one.clone()).await.unwrap(), Verified::Yes);
        assert_eq!(passwords.verify(password("Correct horse"), one).await.unwrap(), Verified::No);
    }

    #[tokio::test]
    async fn a_hash_of_lower_cost_says_so() {
        // S-9
        let old = hashing().hash(password("correct horse")).await.unwrap();
        let passwords = Passwords::new(5, 8, Duration::from_secs(5));
        assert_eq!(passwords.verify(password("correct horse"), old).await.unwrap(), Verified::YesButCheap);
    }

    #[tokio::test]
    async fn a_corrupt_hash_verifies_nothing() {
        // S-9
        for stored in
            ["", "x", "$2b$", "$2b$99$abc", "$2b$04$short", "\u{0}", "$2b$04$!!!!!!!!!!!!!!!!!!!!!!!!!!!!"]
        {
            assert_eq!(
                hashing().verify(password("correct horse"), stored.into()).await.unwrap(),
                Verified::No
            );
        }
    }

    #[test]
    fn a_hash_of_lower_cost_and_a_corrupt_one_take_their_time_too() {
        // S-10
        let time = |stored: &str| {
            let started = std::time::Instant::now();
            assert_eq!(verify(&password("correct horse"), stored, 10), Verified::No);
            started.elapsed().as_secs_f64()
        };
        let (unknown, cheap, corrupt) = (time(&dummy(10)), time(&dummy(4)), time("corrupt"));
        for known in [cheap, corrupt] {
            assert!(known > unknown * 0.5 && known < unknown * 2.0, "{unknown} and {known} seconds");
        }
    }

    #[test]
    fn the_dummy_is_a_hash_of_the_wanted_cost_that_takes_its_time() {
        // S-10
        let stored = dummy(12);
        assert_eq!(stored.len(), 60);
        let started = std::time::Instant::now();
        assert_eq!(verify(&password("correct horse"), &stored, 12), Verified::No);
        assert!(started.elapsed() > Duration::from_millis(50), "the dummy was not computed");
    }
}
