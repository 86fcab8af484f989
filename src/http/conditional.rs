//! Conditional requests (RFC 9110 §13): whether the client has what it asks for already, and whether
//! what it changes is still what it knows.
//!
//! A condition that can't be read is refused, never ignored: who sent one did not mean "whatever is there".

use poem::http::{HeaderName, HeaderValue, header};
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::problem::{Problem, ProblemCode};

/// An entity tag as it stands in a header.
pub fn etag(opaque: &str) -> String {
    format!("\"{opaque}\"")
}

/// What `If-Match` or `If-None-Match` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// Whatever there is: `*`.
    Any,
    /// These.
    List(Vec<EntityTag>),
}

/// An entity tag (RFC 9110 §8.8.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTag {
    is_weak: bool,
    opaque: String,
}

impl Tags {
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

    /// The tags that something may be changed by: a weak one never is (RFC 9110 §13.1.1). `None` for `*`.
    pub fn strong(self) -> Option<Vec<String>> {
        match self {
            Self::Any => None,
            Self::List(tags) => {
                Some(tags.into_iter().filter(|tag| !tag.is_weak).map(|tag| tag.opaque).collect())
            }
        }
    }
}

/// The header of that name, however many lines it is spread over.
fn read(request: &Request, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut lines = request.headers().get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    let whole = lines.map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b","[..]);
    Tags::parse(&whole).map(Some).ok_or_else(|| {
        let detail = "If-Match and If-None-Match take entity tags in quotes, a comma apart, or *.";
        Problem::new(ProblemCode::BadRequest, detail)
    })
}

/// `If-Match`: what is to be changed must be in one of these states. If it stands `EXCLUSIVE`, the operation does
/// not take the other condition, and refuses it.
#[derive(Debug)]
pub struct IfMatch<const EXCLUSIVE: bool = true>(pub Option<Tags>);

/// `If-None-Match`: the states that the client has already, or `*` for nothing at all. `EXCLUSIVE` as for
/// [`IfMatch`].
#[derive(Debug)]
pub struct IfNoneMatch<const EXCLUSIVE: bool = true>(pub Option<Tags>);

impl<const EXCLUSIVE: bool> IfNoneMatch<EXCLUSIVE> {
    /// Whether it names the state of this tag. For reading, weak and strong ones compare alike
    /// (RFC 9110 §13.1.2).
    pub fn matches(&self, opaque: &str) -> bool {
        match &self.0 {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::List(tags)) => tags.iter().any(|tag| tag.opaque == opaque),
        }
    }
}

fn schema() -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")))
}

macro_rules! header_of_tags {
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
                    let detail = format!("Of the two conditions this operation takes {} alone.", $header);
                    return Err(Problem::new(ProblemCode::BadRequest, detail).into());
                }
                Ok(Self(read(request, &$header)?))
            }
        }
    };
}

header_of_tags!(IfMatch, header::IF_MATCH, header::IF_NONE_MATCH);
header_of_tags!(IfNoneMatch, header::IF_NONE_MATCH, header::IF_MATCH);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(list: &str, opaque: &str) -> Option<bool> {
        Tags::parse(list.as_bytes()).map(|tags| IfNoneMatch::<true>(Some(tags)).matches(opaque))
    }

    fn strong(list: &str) -> Option<Vec<String>> {
        Tags::parse(list.as_bytes()).unwrap().strong()
    }

    #[test]
    fn a_tag_is_known_if_the_list_names_it() {
        for list in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*", " \"a\" ", ",\"b,c\" ,, \"a\","] {
            assert_eq!(known(list, "a"), Some(true), "{list}");
        }
        for list in ["\"b\"", "\"A\"", "\"\"", "\"b,a\"", "\"é\""] {
            assert_eq!(known(list, "a"), Some(false), "{list}");
        }
        assert!(!IfNoneMatch::<true>(None).matches("a"));
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for list in
            ["", " ", ",", "a", "\"a", "a\"", "\"a\" \"b\"", "w/\"a\"", "W/a", "\"a b\"", "*, \"a\"", "**"]
        {
            assert_eq!(known(list, "a"), None, "{list}");
        }
    }

    #[test]
    fn a_weak_tag_changes_nothing() {
        // S-60
        assert_eq!(strong("W/\"a\", \"b\", \"c\""), Some(vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(strong("W/\"a\""), Some(vec![]));
        assert_eq!(strong("*"), None);
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            Tags::parse(&bytes);
        }
    }
}
