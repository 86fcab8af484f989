//! Instants in request bodies: RFC 3339 with a time zone offset.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde_json::Value;

/// An instant, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(pub DateTime<Utc>);

/// Parses an instant between the years 1970 and 9999.
pub(super) fn instant(text: &str) -> Option<DateTime<Utc>> {
    // chrono also accepts a space in place of the `T`.
    let has_form =
        text.is_ascii() && text.as_bytes().get(10).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'T'));
    let parsed = DateTime::parse_from_rfc3339(text).ok().filter(|_| has_form)?.to_utc().trunc_subsecs(3);
    (1970..=9999).contains(&parsed.year()).then_some(parsed)
}

impl Type for Instant {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "instant".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for Instant {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let parsed = value.as_ref().and_then(Value::as_str).and_then(instant);
        parsed.map(Self).ok_or_else(|| ParseError::custom("not an instant"))
    }
}

impl ToJSON for Instant {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_needs_an_offset_and_is_truncated_to_milliseconds() {
        let millis = |text: &str| instant(text).map(|at| at.timestamp_millis());
        assert_eq!(millis("2027-04-02T09:30:00Z"), Some(1_806_658_200_000));
        assert_eq!(millis("2027-04-02T11:30:00.0009+02:00"), Some(1_806_658_200_000));
        for invalid in [
            "",
            "2027-04-02",
            "2027-04-02T09:30:00",
            "2027-04-02 09:30:00Z",
            "2027-02-30T09:30:00Z",
            "1969-12-31T23:59:59Z",
            "+12027-04-02T09:30:00Z",
            "2027-04-02T09:30Z",
        ] {
            assert_eq!(instant(invalid), None, "{invalid}");
        }
    }
}
