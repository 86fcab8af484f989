//! Checks password hashes of other systems.

use bcrypt::HashParts;

use super::{COST_MAX, COST_MIN, IDENTIFIER, parse_cost};

/// The identifiers of bcrypt at the beginning of a hash. All three mean the same algorithm. New hashes have
/// the second identifier.
const PREFIXES: [&str; 3] = ["$2a$", IDENTIFIER, "$2y$"];

/// Why a hash can't be used. The messages don't contain the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// The hash is of another algorithm.
    #[error("must be a bcrypt hash that begins with $2a$, $2b$ or $2y$")]
    OtherAlgorithm,
    /// The cost is out of range. A hash with a higher cost could occupy a thread for minutes or days. bcrypt
    /// does not support a lower cost.
    #[error("must have a cost of {COST_MIN} to {COST_MAX}")]
    Cost,
    /// The hash is cut off, or contains invalid characters.
    #[error("must have the 60 characters of a complete bcrypt hash")]
    Malformed,
}

/// Checks that passwords can be verified against a hash.
///
/// # Errors
///
/// [`InvalidHash`].
pub fn check_hash(hash: &str) -> Result<(), InvalidHash> {
    if !PREFIXES.iter().any(|prefix| hash.starts_with(prefix)) {
        return Err(InvalidHash::OtherAlgorithm);
    }
    // Check that the cost consists of digits, because the parser also accepts a sign, as in `+9`.
    let has_digits = hash.as_bytes().get(4..6).is_some_and(|cost| cost.iter().all(u8::is_ascii_digit));
    if !has_digits || hash.parse::<HashParts>().is_err() {
        return Err(InvalidHash::Malformed);
    }
    parse_cost(hash).map(|_| ()).ok_or(InvalidHash::Cost)
}

#[cfg(test)]
mod tests {
    use super::super::dummy;
    use super::*;

    #[test]
    fn only_complete_bcrypt_hashes_with_a_supported_cost_are_accepted() {
        // S-96
        let whole = dummy(12);
        for prefix in PREFIXES {
            assert_eq!(check_hash(&whole.replacen("$2b$", prefix, 1)), Ok(()));
        }
        for (hash, reason) in [
            (String::new(), InvalidHash::OtherAlgorithm),
            (whole.replacen("$2b$", "$2x$", 1), InvalidHash::OtherAlgorithm),
            ("$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA".to_owned(), InvalidHash::OtherAlgorithm),
            ("bcrypt$$2b$12$abc".to_owned(), InvalidHash::OtherAlgorithm),
            (whole.replacen("$12$", "$31$", 1), InvalidHash::Cost),
            (whole.replacen("$12$", "$03$", 1), InvalidHash::Cost),
            (whole.replacen("$12$", "$+9$", 1), InvalidHash::Malformed),
            (whole[..59].to_owned(), InvalidHash::Malformed),
            (format!("{whole}."), InvalidHash::Malformed),
        ] {
            assert_eq!(check_hash(&hash), Err(reason), "{hash}");
        }
        let with = |at: usize, letter: &str| format!("{}{letter}{}", &whole[..at], &whole[at + 1..]);
        // The unused bits of the last letters of the salt and of the digest are not 0.
        assert_eq!(check_hash(&with(28, "/")), Err(InvalidHash::Malformed));
        assert_eq!(check_hash(&with(59, "/")), Err(InvalidHash::Malformed));
        assert_eq!(check_hash(&with(20, "!")), Err(InvalidHash::Malformed));
    }
}
