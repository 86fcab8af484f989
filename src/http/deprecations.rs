//! Operations that are to go: the one list, from which the document marks them and their answers say so.
//!
//! An operation stands here from the release that deprecates it until the first one after its sunset, which
//! may remove both; `tripgate openapi --diff` lets it go then, and not before.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use poem::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// An operation that is to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deprecation {
    /// Its `operationId`.
    pub(super) operation: &'static str,
    /// From when on nobody should begin to use it.
    pub(super) since: NaiveDate,
    /// Until when it works at least: a year later or more.
    pub(super) sunset: NaiveDate,
}

/// All of them.
pub(super) const DEPRECATED: &[Deprecation] = &[];

/// `@` and seconds since 1970 (RFC 9745 §2.1).
const SINCE: HeaderName = HeaderName::from_static("deprecation");
/// A date as HTTP writes it (RFC 8594 §3).
const SUNSET: HeaderName = HeaderName::from_static("sunset");

impl Deprecation {
    /// Says in the operation, and in its own answers, what the headers will say.
    pub(super) fn mark(&self, operation: &mut Value) {
        let told = [("deprecated", json!(true)), ("x-sunset", json!(self.sunset))];
        if let Some(members) = operation.as_object_mut() {
            members.extend(told.map(|(name, value)| (name.to_owned(), value)));
        }
        let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
        for (_, response) in responses.into_iter().flatten() {
            // Those that operations share can't: the headers of one are not those of another.
            if let Some(response) = response.as_object_mut().filter(|it| !it.contains_key("$ref")) {
                let headers = response.entry("headers").or_insert(json!({}));
                for (name, said) in [
                    ("Deprecation", "Since when nobody should begin to use this (RFC 9745)."),
                    ("Sunset", "Until when it works at least (RFC 8594)."),
                ] {
                    let header =
                        json!({ "description": said, "required": true, "schema": { "type": "string" } });
                    if let Some(headers) = headers.as_object_mut() {
                        headers.insert(name.to_owned(), header);
                    }
                }
            }
        }
    }

    /// Says in an answer what the document says.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let midnight = |day: NaiveDate| -> DateTime<Utc> { day.and_time(NaiveTime::MIN).and_utc() };
        let since = format!("@{}", midnight(self.since).timestamp());
        let sunset = midnight(self.sunset).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        for (name, text) in [(SINCE, since), (SUNSET, sunset)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

/// What of these the operation is.
pub(super) fn of<'d>(list: &'d [Deprecation], operation: &str) -> Option<&'d Deprecation> {
    list.iter().find(|known| known.operation == operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openapi;

    fn going() -> [Deprecation; 1] {
        let day = |year| NaiveDate::from_ymd_opt(year, 5, 1).unwrap();
        [Deprecation { operation: "get_trip", since: day(2027), sunset: day(2028) }]
    }

    #[test]
    fn whoever_is_listed_is_there_and_has_a_year() {
        let document = openapi::document().to_string();
        for known in DEPRECATED {
            assert!(document.contains(&format!(r#""operationId":"{}""#, known.operation)), "{known:?}");
            assert!((known.sunset - known.since).num_days() >= 365, "{known:?}");
        }
    }

    #[test]
    fn the_document_marks_what_is_to_go_and_nothing_else() {
        let document = openapi::with_deprecations(&going());
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
    fn an_answer_says_since_when_and_until_when() {
        let mut headers = HeaderMap::new();
        of(&going(), "get_trip").unwrap().tell(&mut headers);
        assert_eq!(headers["deprecation"], "@1809129600");
        assert_eq!(headers["sunset"], "Mon, 01 May 2028 00:00:00 GMT");
        assert!(of(&going(), "update_trip").is_none());
    }
}
