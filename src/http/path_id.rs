//! An id in a path, in the one form in which ids are given out: lower case, with hyphens.
//!
//! Any other spelling of the same UUID names nothing, as does what is none: a client that compares
//! ids as texts, or keeps answers by their path, then never meets one thing under two names.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type};
use serde_json::Value;
use uuid::Uuid;

/// The id of something, out of a path; anything else there is 404.
#[derive(Debug, Clone, Copy)]
pub struct Id(Uuid);

impl Id {
    /// The id itself.
    pub fn uuid(&self) -> Uuid {
        self.0
    }
}

impl Type for Id {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "id".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("Exactly as it was given: in lower case, with hyphens."),
            ..MetaSchema::new_with_format("string", "uuid")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromParameter for Id {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        let id = Uuid::try_parse(text).map_err(ParseError::custom)?;
        // The parser takes upper case, braces, `urn:uuid:` and a form without hyphens too.
        if id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) != text {
            return Err(ParseError::custom("not in the form in which ids are given"));
        }
        Ok(Self(id))
    }
}

/// A UUIDv7 in the one form in which ids are given out (RFC 9562 §5.7).
pub(super) const V7: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
/// Any UUID in that form.
const ANY: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// An id in a body, in the one form in which ids are given out.
#[derive(Debug, Clone, Copy)]
pub struct BodyId<const IS_V7: bool>(pub Uuid);

/// An id that a client has made for something that is found by it.
pub type ClientMadeId = BodyId<true>;
/// The id of something that is there, or that has no place in time.
pub type AnyId = BodyId<false>;

impl<const IS_V7: bool> Type for BodyId<IS_V7> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        if IS_V7 { "made_id" } else { "given_id" }.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            pattern: Some(if IS_V7 { V7 } else { ANY }.to_owned()),
            ..MetaSchema::new_with_format("string", "uuid")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<const IS_V7: bool> ParseFromJSON for BodyId<IS_V7> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let text = value.as_ref().and_then(Value::as_str).unwrap_or_default();
        Uuid::try_parse(text).map(Self).map_err(ParseError::custom)
    }
}

impl<const IS_V7: bool> ToJSON for BodyId<IS_V7> {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.to_string().into())
    }
}
