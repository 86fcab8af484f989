//! A JSON object that another specification defines, such as the JSON of Web Authentication. The OpenAPI
//! document does not describe its fields and the server does not check them, because that specification adds
//! fields over time.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde::Serialize;
use serde_json::{Map, Value};

/// A JSON object with any fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct JsonObject(Value);

impl JsonObject {
    /// Returns the value if it is an object.
    pub fn new(value: Value) -> Option<Self> {
        value.is_object().then_some(Self(value))
    }

    /// Returns an object without fields.
    pub fn empty() -> Self {
        Self(Value::Object(Map::new()))
    }

    /// Returns the value.
    pub fn value(&self) -> &Value {
        &self.0
    }
}

impl Type for JsonObject {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "json_object".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let any = MetaSchemaRef::Inline(Box::new(MetaSchema::ANY));
        let schema = MetaSchema { additional_properties: Some(Box::new(any)), ..MetaSchema::new("object") };
        MetaSchemaRef::Inline(Box::new(schema))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for JsonObject {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        value.and_then(Self::new).ok_or_else(|| ParseError::custom("not an object"))
    }
}

impl ToJSON for JsonObject {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.clone())
    }
}
