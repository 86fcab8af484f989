//! Email addresses and usernames in request bodies. White space around them is removed.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde_json::Value;

use crate::accounts::{EMAIL_MAX, Email, USERNAME_MAX, USERNAME_MIN, USERNAME_PATTERN, Username};

/// An email address in a request body.
#[derive(Debug, Clone)]
pub struct EmailText(pub Email);

/// A username in a request body.
#[derive(Debug, Clone)]
pub struct UsernameText(pub Username);

fn email_schema() -> MetaSchema {
    MetaSchema { max_length: Some(EMAIL_MAX), ..MetaSchema::new_with_format("string", "email") }
}

fn username_schema() -> MetaSchema {
    MetaSchema {
        min_length: Some(USERNAME_MIN),
        max_length: Some(USERNAME_MAX),
        pattern: Some(USERNAME_PATTERN.to_owned()),
        ..MetaSchema::new("string")
    }
}

macro_rules! identifier_text {
    ($name:ident, $type_name:literal, $schema:ident) => {
        impl Type for $name {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> Cow<'static, str> {
                $type_name.into()
            }

            fn schema_ref() -> MetaSchemaRef {
                MetaSchemaRef::Inline(Box::new($schema()))
            }

            fn as_raw_value(&self) -> Option<&Self> {
                Some(self)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
                Box::new(std::iter::once(self))
            }
        }

        impl ParseFromJSON for $name {
            fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
                let text = value.as_ref().and_then(Value::as_str).unwrap_or_default();
                text.parse().map(Self).map_err(|_| ParseError::custom("not an identifier"))
            }
        }

        impl ToJSON for $name {
            fn to_json(&self) -> Option<Value> {
                Some(self.0.as_entered().into())
            }
        }
    };
}

identifier_text!(EmailText, "email", email_schema);
identifier_text!(UsernameText, "username", username_schema);
