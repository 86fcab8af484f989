//! The `Accept` header: which representation of a resource a client wants (RFC 9110 §12.5.1).

use poem::http::{HeaderMap, header};
use poem::{FromRequest, Request, RequestBody, Result};

/// The representation that a client prefers, for an operation that returns JSON or HTML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// JSON, for programs. This is the default.
    Json,
    /// An HTML page, for browsers.
    Html,
}

impl<'a> FromRequest<'a> for Representation {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(Self::preferred(request.headers()))
    }
}

impl Representation {
    /// Returns HTML only if the client gives HTML a higher weight than JSON. A client that accepts anything
    /// gets JSON.
    pub fn preferred(headers: &HeaderMap) -> Self {
        let html = weight(headers, "text", "html");
        if html > 0.0 && html > weight(headers, "application", "json") { Self::Html } else { Self::Json }
    }
}

/// Returns whether the client accepts HTML.
pub fn accepts_html(headers: &HeaderMap) -> bool {
    weight(headers, "text", "html") > 0.0
}

/// Returns whether the client accepts JSON, or lists `application/problem+json` with a weight above 0. A
/// client that sends no `Accept` header accepts everything.
pub fn accepts_json(headers: &HeaderMap) -> bool {
    let is_problem = |range: &str| range.eq_ignore_ascii_case("application/problem+json");
    weight(headers, "application", "json") > 0.0
        || ranges(headers).any(|(range, weight)| is_problem(range) && weight > 0.0)
}

/// Returns the weight of a media type, from 0 (not acceptable) to 1. The most specific media range in
/// `Accept` applies.
fn weight(headers: &HeaderMap, kind: &str, subtype: &str) -> f32 {
    let precision = |range: &str| match range.split_once('/')? {
        ("*", "*") => Some(0),
        (first, "*") if first.eq_ignore_ascii_case(kind) => Some(1),
        (first, second) if first.eq_ignore_ascii_case(kind) && second.eq_ignore_ascii_case(subtype) => {
            Some(2)
        }
        _ => None,
    };
    if !headers.contains_key(header::ACCEPT) {
        return 1.0;
    }
    let matching = ranges(headers).filter_map(|(range, weight)| Some((precision(range)?, weight)));
    matching.max_by_key(|(precision, _)| *precision).map_or(0.0, |(_, weight)| weight)
}

/// Returns the media ranges with their weights. A weight that is not a number is treated as 1.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = (&str, f32)> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|parameter| {
            let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
            weight.parse::<f32>().ok().filter(|weight| weight.is_finite())
        });
        (name, weight.unwrap_or(1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::HeaderValue;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn json_is_accepted_if_the_most_specific_media_range_has_a_weight_above_0() {
        assert!(accepts_json(&HeaderMap::new()));
        for value in [
            "*/*",
            "application/json",
            "text/html, */*;q=0.8",
            "Application/JSON; charset=utf-8",
            "application/*",
            "application/problem+json",
            "*/*;q=0, application/json",
            "application/*;q=0, application/json;q=0.1, */*;q=0",
        ] {
            assert!(accepts_json(&accept(value)), "{value}");
        }
        for value in [
            "text/html",
            "application/json;q=0",
            "image/*, text/*",
            "application/xml",
            "application/json;q=0, */*",
            "*/*, application/json;q=0, application/*",
            "application/*;q=0, */*",
        ] {
            assert!(!accepts_json(&accept(value)), "{value}");
        }
    }

    #[test]
    fn html_is_chosen_only_if_it_is_preferred_to_json() {
        assert_eq!(Representation::preferred(&HeaderMap::new()), Representation::Json);
        for value in [
            "text/html",
            "text/*",
            "TEXT/HTML, application/json;q=0.9",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "application/json;q=0, text/html;q=0.1",
        ] {
            assert_eq!(Representation::preferred(&accept(value)), Representation::Html, "{value}");
        }
        for value in [
            "*/*",
            "",
            "application/json",
            "application/json, text/html",
            "text/html, application/json",
            "application/json, text/plain, */*",
            "text/html;q=0, */*",
            "text/html;q=0.5, */*;q=0.5",
            "text/html;q=x, */*",
            "text/plain",
            "text/html;q=0",
        ] {
            assert_eq!(Representation::preferred(&accept(value)), Representation::Json, "{value}");
        }
    }
}
