//! Local dates and times. Their text contains no time zone: they refer to the time zone of the stop or, if
//! the stop has none, to the time zone of the trip.

use std::borrow::Cow;

use chrono::{NaiveDate, NaiveDateTime};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type};
use serde::Serialize;
use serde_json::Value;

use crate::calendar_date;

const PATTERN: &str =
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$";

/// A local date and time. Accepts `YYYY-MM-DDTHH:MM` and `YYYY-MM-DDTHH:MM:SS`, and is serialized with
/// seconds.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(transparent)]
pub struct LocalTime(pub NaiveDateTime);

/// Parses a local time in one of its two forms.
pub(super) fn local_time(text: &str) -> Option<NaiveDateTime> {
    let has_form = text.is_ascii() && matches!(text.len(), 16 | 19) && !text.contains(['+', ' ']);
    let format = if text.len() == 16 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" };
    // chrono accepts second 60, a leap second, which local times don't have.
    let is_leap = text.ends_with(":60") && text.len() == 19;
    if has_form && !is_leap { NaiveDateTime::parse_from_str(text, format).ok() } else { None }
}

impl Type for LocalTime {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "local_time".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            pattern: Some(PATTERN.to_owned()),
            ..MetaSchema::new_with_format("string", "date-time-local")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for LocalTime {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let parsed = value.as_ref().and_then(Value::as_str).and_then(local_time);
        parsed.map(Self).ok_or_else(|| ParseError::custom("not a local time"))
    }
}

impl ToJSON for LocalTime {
    fn to_json(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

/// A date in a query parameter, in the form `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy)]
pub struct DateParam(pub NaiveDate);

impl Type for DateParam {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "date_param".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromParameter for DateParam {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        calendar_date::parse(text).map(Self).ok_or_else(|| ParseError::custom("not a date"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_time_is_accepted_with_or_without_seconds_and_other_text_is_rejected() {
        for text in ["2027-04-02T09:30", "2027-04-02T09:30:59", "2028-02-29T00:00", "0000-01-01T23:59:59"] {
            let parsed = local_time(text).unwrap();
            assert!(serde_json::to_string(&LocalTime(parsed)).unwrap()[1..].starts_with(text), "{text}");
        }
        for text in [
            "2027-04-02",
            "2027-04-02 09:30",
            "2027-04-02T9:30",
            "2027-04-02T24:00",
            "2027-04-02T23:59:60",
            "2027-02-29T00:00",
            "2027-04-02T09:30Z",
            "2027-04-02T09:30:00Z",
            "2027-04-02T09:30:0",
            "2027-04-02T09:30:00.5",
            "+027-04-02T09:30",
            "2027-4-002T09:30",
            "",
        ] {
            assert!(local_time(text).is_none(), "{text}");
        }
    }
}
