//! The list of deprecated operations. The OpenAPI document marks them, and their responses carry the headers
//! `Deprecation` and `Sunset`.
//!
//! An operation is listed from the release that deprecates it until the first release after its sunset, which
//! may remove the operation and its entry. `tripgate openapi --diff` accepts the removal then, and not
//! before.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use poem::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// A deprecated operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deprecation {
    /// The `operationId`.
    pub(super) operation: &'static str,
    /// The date since which the operation is deprecated.
    pub(super) since: NaiveDate,
    /// The earliest date of the removal, at least a year later.
    pub(super) sunset: NaiveDate,
}

/// All deprecated operations.
pub(super) const DEPRECATED: &[Deprecation] = &[];

/// The header with the date of the deprecation, as `@` and a Unix time (RFC 9745 §2.1).
const SINCE: HeaderName = HeaderName::from_static("deprecation");
/// The header with the earliest date of the removal, as an HTTP date (RFC 8594 §3).
const SUNSET: HeaderName = HeaderName::from_static("sunset");

impl Deprecation {
    /// Marks the operation of the document as deprecated, and adds the headers to its responses.
    pub(super) fn mark(&self, operation: &mut Value) {
        let marks = [("deprecated", json!(true)), ("x-sunset", json!(self.sunset))];
        if let Some(fields) = operation.as_object_mut() {
            fields.extend(marks.map(|(name, value)| (name.to_owned(), value)));
        }
        let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
        for (_, response) in responses.into_iter().flatten() {
            // Shared responses are left out: other operations use them too.
            if let Some(response) = response.as_object_mut().filter(|response| !response.contains_key("$ref"))
            {
                let headers = response.entry("headers").or_insert(json!({}));
                for (name, description) in [
                    ("Deprecation", "The date since which this operation is deprecated (RFC 9745)."),
                    ("Sunset", "The earliest date on which this operation is removed (RFC 8594)."),
                ] {
                    let header = json!({ "description": description, "required": true, "schema": { "type": "string" } });
                    if let Some(headers) = headers.as_object_mut() {
                        headers.insert(name.to_owned(), header);
                    }
                }
            }
        }
    }

    /// Adds the headers to a response.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        let midnight = |date: NaiveDate| -> DateTime<Utc> { date.and_time(NaiveTime::MIN).and_utc() };
        let since = format!("@{}", midnight(self.since).timestamp());
        let sunset = midnight(self.sunset).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        for (name, text) in [(SINCE, since), (SUNSET, sunset)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

/// Returns the entry of an operation, if it is deprecated.
pub(super) fn find<'d>(list: &'d [Deprecation], operation: &str) -> Option<&'d Deprecation> {
    list.iter().find(|known| known.operation == operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openapi;

    fn deprecated() -> [Deprecation; 1] {
        let date = |year| NaiveDate::from_ymd_opt(year, 5, 1).unwrap();
        [Deprecation { operation: "get_trip", since: date(2027), sunset: date(2028) }]
    }

    #[test]
    fn every_deprecated_operation_exists_and_stays_for_a_year() {
        let document = openapi::document().to_string();
        for known in DEPRECATED {
            assert!(document.contains(&format!(r#""operationId":"{}""#, known.operation)), "{known:?}");
            assert!((known.sunset - known.since).num_days() >= 365, "{known:?}");
        }
    }

    #[test]
    fn the_document_marks_only_deprecated_operations() {
        let document = openapi::with_deprecations(&deprecated());
        let get = document.pointer("/paths/~1api~1v1~1trips~1{id}/get").unwrap();
        assert_eq!(get["deprecated"], true);
        assert_eq!(get["x-sunset"], "2028-05-01");
        for name in ["Deprecation", "Sunset"] {
            assert_eq!(get["responses"]["200"]["headers"][name]["required"], true);
        }
        assert_eq!(document.to_string().matches(r#""deprecated":true"#).count(), 1);
        assert!(openapi::with_deprecations(&[]) == openapi::with_deprecations(DEPRECATED));
    }

    #[test]
    fn a_response_has_the_dates_of_the_deprecation_and_the_sunset() {
        let mut headers = HeaderMap::new();
        find(&deprecated(), "get_trip").unwrap().add_headers(&mut headers);
        assert_eq!(headers["deprecation"], "@1809129600");
        assert_eq!(headers["sunset"], "Mon, 01 May 2028 00:00:00 GMT");
        assert!(find(&deprecated(), "update_trip").is_none());
    }
}
