//! The route of a request: the path of its operation or page as a template. The set of routes is fixed, so
//! metrics can have a time series for each route.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::operations::operation_paths;
use super::path_table::PathTable;
use crate::metrics::UNMATCHED;

/// The paths of all operations by their ids.
static PATHS: LazyLock<HashMap<&'static str, String>> = LazyLock::new(|| operation_paths().collect());

/// Returns the route of the operation that has handled the request. Without an operation, returns the route
/// of `path`.
pub(super) fn route(operation: Option<&'static str>, path: &str) -> &'static str {
    let known = operation.and_then(|operation| PATHS.get(operation)).map(String::as_str);
    known.or_else(|| PathTable::get().route(path)).unwrap_or(UNMATCHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_of_a_request_is_the_path_template_of_its_operation_or_page() {
        // S-97
        assert_eq!(route(Some("get_trip"), "/anything"), "/api/v1/trips/{id}");
        for (path, expected) in [
            ("/api/v1/trips/01a20107-0000-7000-8000-000000000000", "/api/v1/trips/{id}"),
            ("/problems/not-found", "/problems/{name}"),
            ("/docs", "/docs"),
            ("/", "/"),
            ("/api/v1/nothing", UNMATCHED),
            ("/wp-login.php", UNMATCHED),
        ] {
            assert_eq!(route(None, path), expected, "{path}");
        }
    }

    #[test]
    fn the_route_of_every_operation_is_its_path_in_the_openapi_document() {
        for path in PATHS.values() {
            assert_eq!(PathTable::get().route(path), Some(path.as_str()));
        }
    }
}
