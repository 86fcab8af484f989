//! Conditional requests (RFC 9110 §13): whether the client has what it asks for already.

/// Whether `If-None-Match` names this entity tag. For reading, weak and strong tags compare alike
/// (RFC 9110 §13.1.2).
pub fn is_known(if_none_match: Option<&str>, etag: &str) -> bool {
    let bare = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let etag = bare(etag);
    // No entity tag of ours has a comma in it.
    if_none_match
        .is_some_and(|list| list.split(',').map(str::trim).any(|tag| tag == "*" || bare(tag) == etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_if_the_list_names_it() {
        for list in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*", " \"a\" "] {
            assert!(is_known(Some(list), "\"a\""), "{list}");
        }
        for list in ["", "\"b\"", "a", "\"A\"", "\"a"] {
            assert!(!is_known(Some(list), "\"a\""), "{list}");
        }
        assert!(!is_known(None, "\"a\""));
    }
}
