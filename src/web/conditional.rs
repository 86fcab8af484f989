//! Conditional requests (RFC 9110 §13). `If-None-Match` avoids sending a state that the client has already.
//! `If-Match` prevents a change to a state that the client has not seen.
//!
//! A malformed condition is rejected. If the server ignored such a condition, the request would change the
//! resource whatever its state is.

use poem::http::{HeaderName, HeaderValue, header};
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::problem::{Problem, ProblemCode};

/// Formats an entity tag for a header.
pub fn etag(opaque: &str) -> String {
    format!("\"{opaque}\"")
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: any state of an existing resource.
    Any,
    /// A list of tags.
    List(Vec<EntityTag>),
}

/// An entity tag (RFC 9110 §8.8.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTag {
    is_weak: bool,
    opaque: String,
}

impl EntityTags {
    /// Parses the value of the header. Returns `None` if the value is malformed.
    fn parse(mut text: &[u8]) -> Option<Self> {
        let blank = |text: &[u8]| text.iter().take_while(|byte| b" \t".contains(byte)).count();
        if text.trim_ascii() == b"*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        loop {
            text = text.get(blank(text)..)?;
            if let Some((b',', rest)) = text.split_first() {
                text = rest;
                continue;
            }
            if text.is_empty() {
                break;
            }
            let strong = text.strip_prefix(b"W/");
            let is_weak = strong.is_some();
            let inner = strong.unwrap_or(text).strip_prefix(b"\"")?;
            let end = inner.iter().position(|byte| *byte == b'"')?;
            let (opaque, rest) = inner.split_at_checked(end)?;
            if opaque.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
                return None;
            }
            tags.push(EntityTag { is_weak, opaque: String::from_utf8_lossy(opaque).into_owned() });
            text = rest.get(1..)?;
            text = text.get(blank(text)..)?;
            if !matches!(text.first(), None | Some(b',')) {
                return None;
            }
        }
        (!tags.is_empty()).then_some(Self::List(tags))
    }

    /// Returns the strong tags. Weak tags never match in `If-Match` (RFC 9110 §13.1.1). Returns `None` for
    /// `*`.
    pub fn strong(self) -> Option<Vec<String>> {
        match self {
            Self::Any => None,
            Self::List(tags) => {
                Some(tags.into_iter().filter(|tag| !tag.is_weak).map(|tag| tag.opaque).collect())
            }
        }
    }
}

/// Reads a condition. If the header occurs several times, the values form one list (RFC 9110 §5.3).
fn read(request: &Request, name: &HeaderName) -> Result<Option<EntityTags>, Problem> {
    let mut lines = request.headers().get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    let whole = lines.map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b","[..]);
    EntityTags::parse(&whole).map(Some).ok_or_else(|| {
        let detail =
            "If-Match and If-None-Match must be *, or a comma-separated list of entity tags in quotes.";
        Problem::new(ProblemCode::BadRequest, detail)
    })
}

/// `If-Match`: the resource must be in one of the states that the header lists. If `EXCLUSIVE` is true, the
/// operation rejects every request that has `If-None-Match`, with or without `If-Match`.
#[derive(Debug)]
pub struct IfMatch<const EXCLUSIVE: bool = true>(pub Option<EntityTags>);

/// `If-None-Match`: the states that the client has already, or `*` if the resource must not exist. If
/// `EXCLUSIVE` is true, the operation rejects every request that has `If-Match`, with or without
/// `If-None-Match`.
#[derive(Debug)]
pub struct IfNoneMatch<const EXCLUSIVE: bool = true>(pub Option<EntityTags>);

impl<const EXCLUSIVE: bool> IfNoneMatch<EXCLUSIVE> {
    /// Returns whether the condition names this tag. Weak and strong tags are compared in the same way (RFC
    /// 9110 §13.1.2).
    pub fn matches(&self, opaque: &str) -> bool {
        match &self.0 {
            None => false,
            Some(EntityTags::Any) => true,
            Some(EntityTags::List(tags)) => tags.iter().any(|tag| tag.opaque == opaque),
        }
    }
}

fn schema() -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")))
}

macro_rules! condition_header {
    ($name:ident, $header:expr, $other:expr) => {
        impl<'a, const EXCLUSIVE: bool> ApiExtractor<'a> for $name<EXCLUSIVE> {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
            type ParamType = String;
            type ParamRawType = String;

            fn param_in() -> Option<MetaParamIn> {
                Some(MetaParamIn::Header)
            }

            fn param_schema_ref() -> Option<MetaSchemaRef> {
                Some(schema())
            }

            async fn from_request(
                request: &'a Request,
                _: &mut RequestBody,
                _: ExtractParamOptions<String>,
            ) -> Result<Self> {
                if EXCLUSIVE && request.headers().contains_key($other) {
                    let detail = format!("This operation accepts {} only, not {}.", $header, $other);
                    return Err(Problem::new(ProblemCode::BadRequest, detail).into());
                }
                Ok(Self(read(request, &$header)?))
            }
        }
    };
}

condition_header!(IfMatch, header::IF_MATCH, header::IF_NONE_MATCH);
condition_header!(IfNoneMatch, header::IF_NONE_MATCH, header::IF_MATCH);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(list: &str, opaque: &str) -> Option<bool> {
        EntityTags::parse(list.as_bytes()).map(|tags| IfNoneMatch::<true>(Some(tags)).matches(opaque))
    }

    fn strong(list: &str) -> Option<Vec<String>> {
        EntityTags::parse(list.as_bytes()).unwrap().strong()
    }

    #[test]
    fn an_etag_matches_if_the_list_contains_it() {
        for list in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*", " \"a\" ", ",\"b,c\" ,, \"a\","] {
            assert_eq!(matches(list, "a"), Some(true), "{list}");
        }
        for list in ["\"b\"", "\"A\"", "\"\"", "\"b,a\"", "\"é\""] {
            assert_eq!(matches(list, "a"), Some(false), "{list}");
        }
        assert!(!IfNoneMatch::<true>(None).matches("a"));
    }

    #[test]
    fn a_malformed_list_of_etags_is_rejected() {
        for list in
            ["", " ", ",", "a", "\"a", "a\"", "\"a\" \"b\"", "w/\"a\"", "W/a", "\"a b\"", "*, \"a\"", "**"]
        {
            assert_eq!(matches(list, "a"), None, "{list}");
        }
    }

    #[test]
    fn a_weak_etag_never_matches_in_if_match() {
        // S-60
        assert_eq!(strong("W/\"a\", \"b\", \"c\""), Some(vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(strong("W/\"a\""), Some(vec![]));
        assert_eq!(strong("*"), None);
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_bytes_as_a_list_of_etags_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            EntityTags::parse(&bytes);
        }
    }
}
