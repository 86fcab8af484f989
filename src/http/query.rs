//! Checks the query of a request before its handler runs.

use std::collections::HashSet;

use url::form_urlencoded::parse;

use super::path_table::OperationInfo;
use crate::web::query::UnknownParameters;

/// The query parameter for an access token. The setting `query_token` enables this parameter. No operation
/// rejects the parameter: an operation that does not use the parameter ignores it.
const TOKEN: &str = "token";

/// Returns true if the query has percent-encoded bytes that are not UTF-8. The decoder replaces such bytes by
/// a replacement character.
pub(super) fn is_not_utf_8(query: &str) -> bool {
    let is_replaced = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    query.contains('%')
        && parse(query.as_bytes()).any(|(name, value)| is_replaced(&name) || is_replaced(&value))
}

/// Returns whether the query has a parameter more than once, except parameters that the operation allows more
/// than once. Parsers disagree about which of the values applies.
pub(super) fn has_duplicate_parameter(query: &str, may_repeat: impl Fn(&str) -> bool) -> bool {
    let mut names = HashSet::new();
    parse(query.as_bytes()).any(|(name, _)| {
        let is_duplicate = names.contains(&name) && !may_repeat(&name);
        names.insert(name);
        is_duplicate
    })
}

/// Returns the parameters of the query that the operation does not have, if there are any.
pub(super) fn unknown_parameters(query: &str, operation: &OperationInfo) -> Option<UnknownParameters> {
    let is_unknown = |name: &str| name != TOKEN && !operation.query_parameters().any(|known| known == name);
    let names: Vec<_> =
        parse(query.as_bytes()).map(|(name, _)| name).filter(|name| is_unknown(name)).collect();
    if names.is_empty() {
        return None;
    }
    let known: Vec<&str> = operation.query_parameters().collect();
    Some(UnknownParameters::new(names.iter().map(AsRef::as_ref), &known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_duplicate_query_parameter_is_detected_in_any_percent_encoding() {
        let is_rejected = |query| has_duplicate_parameter(query, |name| name == "list");
        assert!(is_rejected("limit=1&%6cimit=2") && is_rejected("a=1&b=2&a=3"));
        assert!(!is_rejected("") && !is_rejected("limit=1&cursor=limit"));
        assert!(!is_rejected("list=1&list=2") && is_rejected("list=1&list=2&a&a"));
    }

    #[test]
    fn a_query_with_many_parameters_is_checked_quickly() {
        // S-75
        let many = (0..100_000).map(|name| name.to_string()).collect::<Vec<_>>().join("&");
        let started = Instant::now();
        assert!(!has_duplicate_parameter(&many, |_| false));
        assert!(started.elapsed().as_secs() < 1, "{:?}", started.elapsed());
    }
}
