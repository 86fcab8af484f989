//! Ids in paths and bodies, in their canonical form: a UUID in lower case, with hyphens.
//!
//! Any other spelling of a UUID is rejected. In a path, the response is 404, as for text that is not a UUID.
//! In a body, the error is `invalid_format`, because [`crate::web`] checks the pattern of the schema. A
//! client that compares ids as strings, or caches responses by path, therefore never sees one resource under
//! two ids.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type};
use serde_json::Value;
use uuid::Uuid;

/// An id in a path, in canonical form. Any other text results in 404.
#[derive(Debug, Clone, Copy)]
pub struct PathId(Uuid);

impl PathId {
    /// Returns the UUID.
    pub fn uuid(&self) -> Uuid {
        self.0
    }
}

impl Type for PathId {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "path_id".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("The id as the API returned it: in lower case, with hyphens."),
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

impl ParseFromParameter for PathId {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        let id = Uuid::try_parse(text).map_err(ParseError::custom)?;
        // The parser also accepts upper case, braces, `urn:uuid:` and a form without hyphens.
        if id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) != text {
            return Err(ParseError::custom("not in the canonical form"));
        }
        Ok(Self(id))
    }
}

/// The pattern of a UUIDv7 in canonical form (RFC 9562 §5.7).
pub(super) const V7: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
/// The pattern of any UUID in canonical form.
const ANY: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// An id in a body, in canonical form.
#[derive(Debug, Clone, Copy)]
pub struct BodyId<const IS_V7: bool>(pub Uuid);

/// An id that the client generates for a new resource. It must be a UUIDv7.
pub type ClientMadeId = BodyId<true>;
/// The id of an existing resource or of an operation. It may be any UUID.
pub type AnyId = BodyId<false>;

impl<const IS_V7: bool> Type for BodyId<IS_V7> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        if IS_V7 { "client_made_id" } else { "any_id" }.into()
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
