//! A strict JSON parser (RFC 8259, I-JSON of RFC 7493).
//!
//! The parser rejects input that different parsers interpret differently: duplicate fields, NUL characters,
//! lone surrogates, numbers beyond the range of a double, and more than 128 levels of nesting. It also limits
//! the number of values, because a parsed value can take fifty times the memory of its text.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// The reason why the input is rejected. The messages contain no part of the input.
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
    /// There are more values than the caller allows.
    #[error("has too many values")]
    TooManyValues,
    /// The list has more items than the caller allows.
    #[error("has too many items")]
    TooManyItems,
}

/// The limits of [`parse_list`].
#[derive(Debug, Clone, Copy)]
pub struct ListLimits {
    /// The maximum number of items of the list.
    pub items: usize,
    /// The maximum number of values in one item.
    pub item_values: usize,
    /// The maximum number of values outside of the list.
    pub other_values: usize,
}

const DUPLICATE: &str = "duplicate field";
const NUL: &str = "NUL character";
const TOO_MANY: &str = "too many values";
const TOO_MANY_ITEMS: &str = "too many items";

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        let message = error.to_string();
        if message.starts_with(DUPLICATE) {
            Self::DuplicateField
        } else if message.starts_with(NUL) {
            Self::Nul
        } else if message.starts_with(TOO_MANY_ITEMS) {
            Self::TooManyItems
        } else if message.starts_with(TOO_MANY) {
            Self::TooManyValues
        } else {
            Self::Malformed { line: error.line(), column: error.column() }
        }
    }
}

/// Parses JSON strictly. Rejects JSON with more than `max_values` values.
///
/// # Errors
///
/// [`JsonError`].
pub fn parse(text: &[u8], max_values: usize) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let remaining = Cell::new(max_values);
    let value = Strict { remaining: &remaining }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Strictly parses an object whose field `list` is a long list. Passes each item of the list to `on_item` as
/// soon as the item is parsed, so that only one item is in memory. Returns the object with an empty list in
/// this field.
///
/// If the value is not an object, or its field `list` is not a list, returns the value unchanged.
///
/// # Errors
///
/// [`JsonError`]. The items before the error have been passed to `on_item`.
pub fn parse_list(
    text: &[u8],
    list: &str,
    limits: ListLimits,
    on_item: impl FnMut(Value),
) -> Result<Value, JsonError> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return parse(text, limits.other_values);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // Find the end of the list without building its items.
    let fields =
        deserializer.deserialize_map(WithList { list, remaining: &Cell::new(limits.other_values) })?;
    deserializer.end()?;
    let (mut fields, raw) = fields;
    if let Some(raw) = raw {
        let value = if raw.get().starts_with('[') {
            let mut items = serde_json::Deserializer::from_str(raw.get());
            items.deserialize_seq(Items { limits, on_item })?;
            Value::Array(Vec::new())
        } else {
            parse(raw.get().as_bytes(), limits.other_values)?
        };
        fields.insert(list.to_owned(), value);
    }
    Ok(Value::Object(fields))
}

/// Parses an object, but leaves the value of one field unparsed.
struct WithList<'l> {
    list: &'l str,
    remaining: &'l Cell<usize>,
}

impl<'de> Visitor<'de> for WithList<'_> {
    type Value = (Map<String, Value>, Option<&'de RawValue>);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let (mut all, mut list) = (Map::new(), None);
        while let Some(name) = fields.next_key::<String>()? {
            reject_nul::<A::Error>(&name)?;
            let is_duplicate = if name == self.list {
                list.replace(fields.next_value()?).is_some()
            } else {
                all.insert(name, fields.next_value_seed(Strict { remaining: self.remaining })?).is_some()
            };
            if is_duplicate {
                return Err(de::Error::custom(DUPLICATE));
            }
        }
        Ok((all, list))
    }
}

/// Parses the items of a list one by one.
struct Items<F> {
    limits: ListLimits,
    on_item: F,
}

impl<'de, F: FnMut(Value)> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        for _ in 0..self.limits.items {
            let remaining = Cell::new(self.limits.item_values);
            match items.next_element_seed(Strict { remaining: &remaining })? {
                Some(item) => (self.on_item)(item),
                None => return Ok(()),
            }
        }
        match items.next_element::<de::IgnoredAny>()? {
            Some(_) => Err(de::Error::custom(TOO_MANY_ITEMS)),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy)]
struct Strict<'c> {
    /// The number of further values that are allowed.
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

    const MAX: usize = 1000;
    const LIMITS: ListLimits = ListLimits { items: 3, item_values: 4, other_values: 5 };

    #[test]
    fn json_that_parsers_interpret_differently_is_rejected() {
        // S-58
        let deep = "[".repeat(100_000);
        let many = format!("[{}1]", "1,".repeat(MAX - 1));
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
            let message = parse(text.as_bytes(), MAX).unwrap_err().to_string();
            assert!(message.contains(error), "{message}");
        }
        assert!(parse(b"\"\xff\"", MAX).is_err());
    }

    #[test]
    fn a_surrogate_pair_is_one_character() {
        assert_eq!(parse(br#""\ud83e\udd80""#, MAX).unwrap(), "🦀");
    }

    /// Returns the items that were parsed, and the result.
    fn list(text: &str) -> (Vec<Value>, Result<Value, JsonError>) {
        let mut items = Vec::new();
        let result = parse_list(text.as_bytes(), "list", LIMITS, |item| items.push(item));
        (items, result)
    }

    #[test]
    fn the_items_of_a_list_are_parsed_strictly_and_each_has_a_limit() {
        // A-5
        let (items, rest) = list(r#" {"a":[1,2],"list":[[1,2,3],{},[4]],"b":true}"#);
        assert_eq!(items, [serde_json::json!([1, 2, 3]), serde_json::json!({}), serde_json::json!([4])]);
        assert_eq!(rest.unwrap(), serde_json::json!({ "a": [1, 2], "b": true, "list": [] }));
        for (text, error) in [
            (r#"{"list":[1,[1,2,3,4]]}"#, JsonError::TooManyValues),
            (r#"{"list":[1,2,3,4]}"#, JsonError::TooManyItems),
            (r#"{"list":[1],"a":[1,2,3,4,5]}"#, JsonError::TooManyValues),
            (r#"{"list":[1],"list":[2]}"#, JsonError::DuplicateField),
            (r#"{"list":[{"a":1,"a":2}]}"#, JsonError::DuplicateField),
            (r#"{"list":["\u0000"]}"#, JsonError::Nul),
        ] {
            assert_eq!(list(text).1, Err(error), "{text}");
        }
        for text in
            [r#"{"list":[1,]}"#, r#"{"list":[1}"#, r#"{"list":[1]} x"#, r#"{"list":[1e400]}"#, "{", ""]
        {
            assert!(matches!(list(text).1, Err(JsonError::Malformed { .. })), "{text}");
        }
        for text in ["[1]", "null", r#"{"list":{}}"#, r#"{"list":7}"#, "{}"] {
            assert_eq!(list(text), (Vec::new(), Ok(serde_json::from_str(text).unwrap())), "{text}");
        }
    }

    proptest! {
        #[test]
        fn accepted_json_has_the_same_value_as_with_the_parser_of_serde_json(text in r#"[\[\]{}:,"a0-9. \\u-]{0,40}"#) {
            if let Ok(value) = parse(text.as_bytes(), MAX) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
