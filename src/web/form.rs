//! Form bodies (`application/x-www-form-urlencoded`), which the OAuth endpoints accept.
//!
//! The rules are those of RFC 6749 §3.2: unknown parameters are ignored, parameters without a value are
//! treated as absent, and a request with a duplicate parameter is rejected. The known parameters with a
//! value are checked against the published schema, as a JSON body is.

use std::collections::HashSet;

use poem::{Request, RequestBody, Result};
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use serde_json::{Map, Value};

use super::BODY_MAX;
use super::examples::{self, RequestSchema};
use super::incoming::Incoming;
use super::problem::{Problem, ProblemCode};
use super::validate::{self, registry};

/// The media type of a form.
pub(super) const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// A form, checked against its schema.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: RequestSchema> Payload for Form<T> {
    const CONTENT_TYPE: &'static str = MEDIA_TYPE;

    /// Accepts the media type with any parameters. The encoding is always UTF-8 (RFC 6749 Appendix B).
    fn check_content_type(content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case(MEDIA_TYPE)
    }

    fn schema_ref() -> MetaSchemaRef {
        examples::request_schema::<T>()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: RequestSchema> ParsePayload for Form<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> Result<Self> {
        let received = Incoming::take(request, body, BODY_MAX)?.read(None).await?;
        let registry = registry::<T>();
        let value = Value::Object(parse(received.bytes(), &field_names(&registry, &T::schema_ref()))?);
        let errors = validate::check(&registry, &T::schema_ref(), &value);
        match T::parse_from_json(Some(value)) {
            Ok(form) if errors.is_empty() => Ok(Self(form)),
            _ => Err(Problem::invalid(errors).into()),
        }
    }
}

impl_apirequest_for_payload!(Form<T>, T: RequestSchema);

/// Returns the names of the fields of a schema.
fn field_names(registry: &Registry, schema: &MetaSchemaRef) -> Vec<&'static str> {
    let schema = match schema {
        MetaSchemaRef::Inline(_) => None,
        MetaSchemaRef::Reference(name) => registry.schemas.get(name),
    };
    schema.into_iter().flat_map(|schema| &schema.properties).map(|(name, _)| *name).collect()
}

/// Parses a form into the known fields that have a value.
fn parse(bytes: &[u8], known: &[&str]) -> Result<Map<String, Value>, Problem> {
    let malformed = |detail| Problem::new(ProblemCode::BadRequest, detail);
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("The form is not encoded in UTF-8."))?;
    let mut seen = HashSet::new();
    let mut fields = Map::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        // Percent-encoded bytes that are not UTF-8 are decoded to a replacement character.
        if [&name, &value].iter().any(|text| text.contains(['\0', char::REPLACEMENT_CHARACTER])) {
            return Err(malformed("The form is not encoded in UTF-8, or contains a NUL character."));
        }
        if known.contains(&&*name) && !value.is_empty() {
            fields.insert(name.clone().into_owned(), Value::String(value.into_owned()));
        }
        if !seen.insert(name) {
            return Err(malformed("The form contains a parameter more than once."));
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: &str) -> Option<String> {
        parse(form.as_bytes(), &["a", "b"]).ok().map(|fields| Value::Object(fields).to_string())
    }

    #[test]
    fn unknown_and_empty_form_parameters_are_ignored() {
        assert_eq!(read("a=1&c=2&b=").unwrap(), r#"{"a":"1"}"#);
        assert_eq!(read("a=x%2By+z%C3%A9").unwrap(), r#"{"a":"x+y zé"}"#);
        assert_eq!(read("").unwrap(), "{}");
    }

    #[test]
    fn a_duplicate_form_parameter_is_rejected_in_any_percent_encoding() {
        for form in ["a=1&a=1", "a=1&%61=2", "a=&a=1", "c=1&c=2"] {
            assert_eq!(read(form), None, "{form}");
        }
        assert!(parse(b"a=\xff", &["a"]).is_err());
    }

    #[test]
    fn nul_and_invalid_utf_8_in_a_form_are_rejected() {
        // S-58
        for form in ["a=%00", "a=x%00y", "a=%FF", "%00=1"] {
            assert_eq!(read(form), None, "{form}");
        }
    }

    #[test]
    fn a_form_with_many_parameters_is_parsed_quickly() {
        // S-75
        let many = (0..100_000).map(|name| name.to_string()).collect::<Vec<_>>().join("&");
        let started = std::time::Instant::now();
        assert!(read(&many).is_some());
        assert!(started.elapsed().as_secs() < 1, "{:?}", started.elapsed());
    }
}
