//! A strict JSON parser (RFC 8259, I-JSON of RFC 7493).
//!
//! It rejects input that parsers treat differently: duplicate fields, NUL characters, lone surrogates,
//! numbers beyond the range of a double, and more than 128 levels of nesting. It also limits the number of
//! values, because a parsed value takes ten times the memory of its text.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why the input is rejected. The messages contain no part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The input is not UTF-8 or not JSON, or a number or the nesting exceeds its limit.
    #[error("is not well-formed JSON (line {line}, column {column})")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// An object contains the same field twice.
    #[error("has a duplicate field")]
    DuplicateField,
    /// A string or a field name contains U+0000.
    #[error("contains a NUL character")]
    Nul,
    /// There are more than 500,000 values.
    #[error("has too many values")]
    TooManyValues,
}

/// Maximum number of values in the input. A trip has eleven, and each of its stops eight.
const MAX_VALUES: usize = 500_000;

const DUPLICATE: &str = "duplicate field";
const NUL: &str = "NUL character";
const TOO_MANY: &str = "too many values";

/// Parses JSON strictly.
///
/// # Errors
///
/// [`JsonError`].
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let remaining = Cell::new(MAX_VALUES);
    let parsed = Strict { remaining: &remaining }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| {
        let message = error.to_string();
        if message.starts_with(DUPLICATE) {
            JsonError::DuplicateField
        } else if message.starts_with(NUL) {
            JsonError::Nul
        } else if message.starts_with(TOO_MANY) {
            JsonError::TooManyValues
        } else {
            JsonError::Malformed { line: error.line(), column: error.column() }
        }
    })
}

#[derive(Clone, Copy)]
struct Strict<'c> {
    /// Number of values that may follow.
    remaining: &'c Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let remaining = self.remaining.get().checked_sub(1).ok_or_else(|| de::Error::custom(TOO_MANY))?;
        self.remaining.set(remaining);
        deserializer.deserialize_any(self)
    }
}

fn reject_nul<E: de::Error>(text: &str) -> Result<&str, E> {
    if text.contains('\0') { Err(E::custom(NUL)) } else { Ok(text) }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        reject_nul(value).map(|text| Value::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        reject_nul::<E>(&value)?;
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            reject_nul::<A::Error>(&name)?;
            let value = fields.next_value_seed(self)?;
            if all.insert(name, value).is_some() {
                return Err(de::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn input_that_parsers_treat_differently_is_rejected() {
        // S-58
        let deep = "[".repeat(100_000);
        let many = format!("[{}1]", "1,".repeat(MAX_VALUES - 1));
        for (text, error) in [
            (r#"{"a":1,"a":1}"#, "duplicate"),
            (r#"[{"b":{"a":1,"\u0061":2}}]"#, "duplicate"),
            (r#"{"a":"x\u0000"}"#, "NUL"),
            (r#"{"x\u0000":1}"#, "NUL"),
            (r#""\ud800""#, "well-formed"),
            (r#""\udc00\ud800""#, "well-formed"),
            ("1e400", "well-formed"),
            ("-1e400", "well-formed"),
            ("", "well-formed"),
            ("{}{}", "well-formed"),
            ("{'a':1}", "well-formed"),
            ("NaN", "well-formed"),
            ("\u{feff}{}", "well-formed"),
            (deep.as_str(), "well-formed"),
            (many.as_str(), "too many"),
        ] {
            let message = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(error), "{message}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_surrogate_pair_is_one_character() {
        assert_eq!(parse(br#""\ud83e\udd80""#).unwrap(), "🦀");
    }

    proptest! {
        #[test]
        fn accepted_input_parses_as_with_the_lenient_parser(text in r#"[\[\]{}:,"a0-9. \\u-]{0,40}"#) {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
