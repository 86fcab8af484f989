//! Texts of users in request bodies: texts of one line, and notes with several lines. [`crate::plain_text`]
//! has the rules.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde_json::Value;

use crate::plain_text::{LINE_PATTERN, NOTES_PATTERN, is_line, is_notes};

/// A text of one line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line(String);

/// A text that may have several lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes(String);

macro_rules! text {
    ($name:ident, $type_name:literal, $pattern:ident, $is_valid:ident) => {
        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl $name {
            /// Returns the text if it has no forbidden character.
            pub fn parse(text: impl Into<String>) -> Option<Self> {
                let text = text.into();
                $is_valid(&text).then_some(Self(text))
            }
        }

        impl Type for $name {
            const IS_REQUIRED: bool = true;
            type RawValueType = String;
            type RawElementValueType = String;

            fn name() -> Cow<'static, str> {
                $type_name.into()
            }

            fn schema_ref() -> MetaSchemaRef {
                let schema = MetaSchema { pattern: Some($pattern.to_owned()), ..MetaSchema::new("string") };
                MetaSchemaRef::Inline(Box::new(schema))
            }

            fn as_raw_value(&self) -> Option<&String> {
                Some(&self.0)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a String> + 'a> {
                Box::new(std::iter::once(&self.0))
            }
        }

        impl ParseFromJSON for $name {
            fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
                match value {
                    Some(Value::String(text)) => Self::parse(text),
                    _ => None,
                }
                .ok_or_else(|| ParseError::custom("not a plain text"))
            }
        }

        impl ToJSON for $name {
            fn to_json(&self) -> Option<Value> {
                Some(self.0.as_str().into())
            }
        }
    };
}

text!(Line, "line", LINE_PATTERN, is_line);
text!(Notes, "notes", NOTES_PATTERN, is_notes);
