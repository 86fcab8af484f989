//! JSON as strictly as the contract wants it (RFC 8259, I-JSON of RFC 7493).
//!
//! Refuses what parsers disagree about: a member twice, a NUL character, a lone surrogate, a number
//! that no double holds, more than 128 levels; and more values than anybody needs, because each takes ten
//! times the room that it takes as text.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text is refused, without a word of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8, not JSON, or beyond what is accepted; where, if known (line and column from 1).
    #[error("is not well-formed JSON (line {line}, column {column})")]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A member stands twice in one object.
    #[error("has a member twice in one object")]
    DuplicateMember,
    /// U+0000 in a string or a name.
    #[error("contains a NUL character")]
    Nul,
    /// More values than are taken.
    #[error("has too many values")]
    TooMany,
}

/// The most values of one text: a trip has eleven, and each of its stops eight.
const VALUES_MAX: usize = 500_000;

const DUPLICATE: &str = "duplicate member";
const NUL: &str = "NUL character";
const TOO_MANY: &str = "too many values";

/// Parses strictly.
///
/// # Errors
///
/// [`JsonError`].
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let left = Cell::new(VALUES_MAX);
    let parsed = Strict { left: &left }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| {
        let message = error.to_string();
        if message.starts_with(DUPLICATE) {
            JsonError::DuplicateMember
        } else if message.starts_with(NUL) {
            JsonError::Nul
        } else if message.starts_with(TOO_MANY) {
            JsonError::TooMany
        } else {
            JsonError::Malformed { line: error.line(), column: error.column() }
        }
    })
}

#[derive(Clone, Copy)]
struct Strict<'l> {
    /// How many values there may still be.
    left: &'l Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| de::Error::custom(TOO_MANY))?;
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

fn without_nul<E: de::Error>(text: &str) -> Result<&str, E> {
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
        without_nul(value).map(|text| Value::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        without_nul::<E>(&value)?;
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

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            without_nul::<A::Error>(&name)?;
            let value = members.next_value_seed(self)?;
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
    fn what_parsers_disagree_about_is_refused() {
        // S-58
        let deep = "[".repeat(100_000);
        let many = format!("[{}1]", "1,".repeat(VALUES_MAX - 1));
        for (text, error) in [
            (r#"{"a":1,"a":1}"#, "twice"),
            (r#"[{"b":{"a":1,"\u0061":2}}]"#, "twice"),
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
            let refused = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(error), "{refused}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_surrogate_pair_is_one_character() {
        assert_eq!(parse(br#""\ud83e\udd80""#).unwrap(), "🦀");
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_lenient_parser_on_what_it_accepts(text in r#"[\[\]{}:,"a0-9. \\u-]{0,40}"#) {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
