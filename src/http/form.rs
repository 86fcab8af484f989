//! Forms: bodies in `application/x-www-form-urlencoded`, as the OAuth endpoints take them.
//!
//! The rules are those of RFC 6749 §3.2: a parameter that is not known is ignored, one without a value
//! counts as absent, and one that stands there twice refuses the whole. What remains is checked against
//! the schema that the document shows, like a JSON body.

use std::collections::HashSet;

use poem::{Request, RequestBody, Result};
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use serde_json::{Map, Value};

use super::body::{read, registry};
use super::examples::{self, RequestSchema};
use super::problem::{Problem, ProblemCode};
use super::validate;

/// The media type of a form.
pub(super) const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// A form, checked against its schema.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: RequestSchema> Payload for Form<T> {
    const CONTENT_TYPE: &'static str = MEDIA_TYPE;

    /// Exactly that; what it says of the encoding does not count (RFC 6749 Appendix B: it is UTF-8).
    fn check_content_type(content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case(MEDIA_TYPE)
    }

    fn schema_ref() -> MetaSchemaRef {
        examples::asked::<T>()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: RequestSchema> ParsePayload for Form<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> Result<Self> {
        let bytes = read(request, body).await?;
        let registry = registry::<T>();
        let value = Value::Object(members(&bytes, &known(&registry, &T::schema_ref()))?);
        let faults = validate::check(&registry, &T::schema_ref(), &value);
        match T::parse_from_json(Some(value)) {
            Ok(form) if faults.is_empty() => Ok(Self(form)),
            _ => Err(Problem::invalid(faults).into()),
        }
    }
}

impl_apirequest_for_payload!(Form<T>, T: RequestSchema);

/// The names of the members of a schema.
fn known(registry: &Registry, schema: &MetaSchemaRef) -> Vec<&'static str> {
    let schema = match schema {
        MetaSchemaRef::Inline(_) => None,
        MetaSchemaRef::Reference(name) => registry.schemas.get(name),
    };
    schema.into_iter().flat_map(|schema| &schema.properties).map(|(name, _)| *name).collect()
}

fn members(bytes: &[u8], known: &[&str]) -> Result<Map<String, Value>, Problem> {
    let malformed = |why| Problem::new(ProblemCode::BadRequest, why);
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("The form is not in UTF-8."))?;
    let mut seen = HashSet::new();
    let mut members = Map::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        // What is no UTF-8 behind its percent signs is read as a replacement character.
        if [&name, &value].iter().any(|text| text.contains(['\0', char::REPLACEMENT_CHARACTER])) {
            return Err(malformed("The form is not in UTF-8, or contains a NUL character."));
        }
        if known.contains(&&*name) && !value.is_empty() {
            members.insert(name.clone().into_owned(), Value::String(value.into_owned()));
        }
        if !seen.insert(name) {
            return Err(malformed("A parameter stands in the form twice."));
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: &str) -> Option<String> {
        members(form.as_bytes(), &["a", "b"]).ok().map(|members| Value::Object(members).to_string())
    }

    #[test]
    fn what_is_not_known_or_empty_is_left_out() {
        assert_eq!(read("a=1&c=2&b=").unwrap(), r#"{"a":"1"}"#);
        assert_eq!(read("a=x%2By+z%C3%A9").unwrap(), r#"{"a":"x+y zé"}"#);
        assert_eq!(read("").unwrap(), "{}");
    }

    #[test]
    fn what_stands_there_twice_refuses_the_whole_however_it_is_written() {
        for form in ["a=1&a=1", "a=1&%61=2", "a=&a=1", "c=1&c=2"] {
            assert_eq!(read(form), None, "{form}");
        }
        assert!(members(b"a=\xff", &["a"]).is_err());
    }

    #[test]
    fn no_nul_and_no_broken_text_gets_through() {
        // S-58
        for form in ["a=%00", "a=x%00y", "a=%FF", "%00=1"] {
            assert_eq!(read(form), None, "{form}");
        }
    }

    #[test]
    fn many_names_are_compared_in_no_time() {
        // S-75
        let many = (0..100_000).map(|name| name.to_string()).collect::<Vec<_>>().join("&");
        let begun = std::time::Instant::now();
        assert!(read(&many).is_some());
        assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
    }
}
