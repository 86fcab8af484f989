//! Checks password hashes of other systems.

use super::{COST_MAX, COST_MIN, parse_cost};

/// The alphabet of bcrypt's base64, in the order of the values.
const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// The identifiers of the algorithm. All three mean the same algorithm; new hashes have the second.
const PREFIXES: [&str; 3] = ["$2a$", "$2b$", "$2y$"];
/// The length of a hash: the identifier, the cost, 22 letters of salt and 31 letters of digest.
const HASH_LEN: usize = 60;
/// The index of the last letter of the salt. Its 4 lowest bits are unused.
const SALT_END: usize = 28;

/// Why a hash can't be used. The messages don't contain the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// The hash is of another algorithm.
    #[error("must be a bcrypt hash that begins with $2a$, $2b$ or $2y$")]
    OtherAlgorithm,
    /// A verification would occupy a thread for minutes or days, or is too weak.
    #[error("must have a cost of {COST_MIN} to {COST_MAX}")]
    Cost,
    /// The hash is cut off, or contains other characters.
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
    let bytes = hash.as_bytes();
    let value = |at: usize| bytes.get(at).and_then(|byte| ALPHABET.iter().position(|letter| letter == byte));
    let is_whole = bytes.len() == HASH_LEN
        && bytes.get(6) == Some(&b'$')
        && bytes.get(4..6).is_some_and(|cost| cost.iter().all(u8::is_ascii_digit))
        && (7..HASH_LEN).all(|at| value(at).is_some());
    // With other unused bits, the decoder would reject the hash.
    let is_canonical = value(SALT_END).is_some_and(|bits| bits % 16 == 0)
        && value(HASH_LEN - 1).is_some_and(|bits| bits % 4 == 0);
    match parse_cost(hash) {
        _ if !is_whole || !is_canonical => Err(InvalidHash::Malformed),
        None => Err(InvalidHash::Cost),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::dummy;
    use super::*;

    #[test]
    fn only_whole_bcrypt_hashes_of_a_supported_cost_are_accepted() {
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
        let with_last = |at: usize, letter: &str| format!("{}{letter}{}", &whole[..at], &whole[at + 1..]);
        assert_eq!(check_hash(&with_last(SALT_END, "/")), Err(InvalidHash::Malformed));
        assert_eq!(check_hash(&with_last(HASH_LEN - 1, "/")), Err(InvalidHash::Malformed));
        assert_eq!(check_hash(&with_last(20, "!")), Err(InvalidHash::Malformed));
    }
}
