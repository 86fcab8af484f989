//! The cache key of a verified token: the whole token.
//!
//! A lookup compares every byte. The hash uses only the end of the token, where the signature is: signatures
//! differ between tokens, and only this server can create a valid signature. A hash of the whole token would
//! not distribute the entries better.

use std::fmt;
use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;

/// The number of bytes to hash, at the end of the token. With ES256, all of them belong to the signature, which
/// has 86 characters.
const END_BYTES: usize = 64;

/// A verified token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct CacheKey(pub(super) Box<str>);

/// A token to look up.
#[derive(Clone, Copy)]
pub(super) struct CacheKeyRef<'a>(pub(super) &'a str);

impl Hash for CacheKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes = self.0.as_bytes();
        state.write(bytes.last_chunk::<END_BYTES>().map_or(bytes, |end| end));
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        CacheKeyRef(&self.0).hash(state);
    }
}

impl Equivalent<CacheKey> for CacheKeyRef<'_> {
    fn equivalent(&self, key: &CacheKey) -> bool {
        *self.0 == *key.0
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token is a credential: never log it.
        f.write_str("CacheKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quick_cache::sync::Cache;

    proptest! {
        #[test]
        fn a_lookup_in_the_token_cache_finds_only_the_identical_token(
            token in "[A-Za-z0-9._-]{1,200}",
            other in "[A-Za-z0-9._-]{1,200}",
        ) {
            let cache = Cache::new(10);
            cache.insert(CacheKey(token.as_str().into()), ());
            prop_assert!(cache.get(&CacheKeyRef(&token)).is_some());
            // A token with the same signature and another payload is not found.
            let end = token.get(token.len().saturating_sub(END_BYTES)..).unwrap();
            for forged in [format!("{other}{end}"), format!("{token}{other}"), other] {
                prop_assert_eq!(cache.get(&CacheKeyRef(&forged)).is_some(), forged == token);
            }
        }
    }
}
