//! A verified token as the key under which it is remembered.
//!
//! Only a token that is the same in every byte is found. Where to look for it is told by its end
//! alone, which is its signature: no two tokens share one, and nobody but us can choose one, so that
//! a digest of the whole would find nothing more.

use std::fmt;
use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;

/// How much of the end tells tokens apart: nearly all of an ES256 signature.
const END_BYTES: usize = 64;

/// A token that was verified.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct CacheKey(pub(super) Box<str>);

/// A token that is looked for.
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
        // A token is as good as a password.
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
        fn only_the_same_token_is_found(token in "[A-Za-z0-9._-]{1,200}", other in "[A-Za-z0-9._-]{1,200}") {
            let cache = Cache::new(10);
            cache.insert(CacheKey(token.as_str().into()), ());
            prop_assert!(cache.get(&CacheKeyRef(&token)).is_some());
            // The same signature under another payload.
            let end = token.get(token.len().saturating_sub(END_BYTES)..).unwrap();
            for forged in [format!("{other}{end}"), format!("{token}{other}"), other] {
                prop_assert_eq!(cache.get(&CacheKeyRef(&forged)).is_some(), forged == token);
            }
        }
    }
}
