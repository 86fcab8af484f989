//! Compresses responses to GET. For the large static files, sends copies that the build has compressed, whatever their
//! size. Compresses all other JSON, YAML, pages, scripts and style sheets with gzip, except:
//!
//! - Responses that must not be stored. They contain credentials, and the length of a compressed response can
//!   reveal its content (BREACH).
//! - Small responses, because compression saves little, and very large responses, because compression would
//!   occupy a worker thread.
//! - Single resources with a strong entity tag. Compression would make the tag weak, and clients send the tag back in
//!   `If-Match`, where a weak tag never matches.
//!
//! The entity tag of a compressed list becomes weak, because the bytes differ and the meaning does not (RFC
//! 9110 §8.8.1).

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Body, Response};

/// The minimum size of a response that is compressed, in bytes. A smaller response fits into one packet.
const MIN_BYTES: usize = 1024;
/// The maximum size of a response that is compressed, in bytes. Compressing a response of this size takes up
/// to 10 ms, during which the request waits.
const MAX_BYTES: usize = 512 * 1024;
/// The level of gzip. This level saves almost as many bytes as the default level, in a third of the time.
const LEVEL: u32 = 4;
/// The media types that compress well.
const COMPRESSIBLE: [&str; 6] = [
    "application/json",
    "application/problem+json",
    "application/yaml",
    "text/html",
    "text/css",
    "text/javascript",
];
/// The path of the list of trips. The list is compressed although it has an entity tag, because no operation accepts
/// that tag in `If-Match`.
const LIST: &str = "/api/v1/trips";

/// The encodings that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    brotli: bool,
    gzip: bool,
}

/// The compressed copies of a static file, attached to its response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copies {
    pub(super) brotli: &'static [u8],
    pub(super) gzip: &'static [u8],
}

impl Accepted {
    /// Reads `Accept-Encoding` (RFC 9110 §12.5.3).
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let items = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let mut accepted = Self { brotli: false, gzip: false };
        for item in items.flat_map(|value| value.split(',')) {
            let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
            let quality = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
            let is_accepted = quality.is_ok_and(|quality| quality > 0.0);
            match coding.trim() {
                coding if coding.eq_ignore_ascii_case("br") => accepted.brotli = is_accepted,
                coding if coding.eq_ignore_ascii_case("gzip") => accepted.gzip = is_accepted,
                _ => {}
            }
        }
        accepted
    }
}

/// Compresses the response to a GET or HEAD request, if that is useful and safe.
pub(super) fn compress(response: &mut Response, accepted: Accepted, path: &str) {
    if !is_compressible(response) {
        return;
    }
    if let Some(copies) = response.data::<Copies>().copied() {
        vary(response);
        match accepted {
            Accepted { brotli: true, .. } => replace(response, "br", Bytes::from_static(copies.brotli)),
            Accepted { gzip: true, .. } => replace(response, "gzip", Bytes::from_static(copies.gzip)),
            _ => {}
        }
        return;
    }
    let tag = response.headers().get(header::ETAG);
    let is_list = path == LIST;
    if tag.is_some_and(|tag| !tag.as_bytes().starts_with(b"W/")) && !is_list {
        return;
    }
    // The body is in memory, so the first poll returns it.
    let Some(Ok(body)) = response.take_body().into_bytes().now_or_never() else { return };
    let is_worthwhile = (MIN_BYTES..=MAX_BYTES).contains(&body.len());
    if is_worthwhile {
        vary(response);
    }
    match Some(&body).filter(|_| is_worthwhile && accepted.gzip).and_then(|body| gzip(body)) {
        Some(smaller) => {
            weaken_tag(response.headers_mut());
            replace(response, "gzip", smaller);
        }
        None => response.set_body(Body::from(body)),
    }
}

/// Returns whether the response has a body of a suitable type and may be stored.
fn is_compressible(response: &Response) -> bool {
    let headers = response.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    let is_secret = text(header::CACHE_CONTROL).split(',').any(|part| part.trim() == "no-store");
    response.status() == StatusCode::OK
        && !is_secret
        && !headers.contains_key(header::CONTENT_ENCODING)
        && COMPRESSIBLE.contains(&media_type)
}

fn gzip(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::new(LEVEL));
    encoder.write_all(body).ok()?;
    Some(encoder.finish().ok()?.into())
}

fn vary(response: &mut Response) {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

fn weaken_tag(headers: &mut HeaderMap) {
    let weak = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    let weak = weak.map(|tag| [b"W/", tag.as_bytes()].concat());
    if let Some(weak) = weak.and_then(|weak| HeaderValue::from_bytes(&weak).ok()) {
        headers.insert(header::ETAG, weak);
    }
}

fn replace(response: &mut Response, coding: &'static str, body: Bytes) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    headers.remove(header::CONTENT_LENGTH);
    response.set_body(Body::from(body));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &'static str) -> (bool, bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        let Accepted { brotli, gzip } = Accepted::of(&headers);
        (brotli, gzip)
    }

    #[test]
    fn only_content_codings_with_a_positive_quality_value_are_accepted() {
        assert_eq!(accepted("gzip, deflate, br"), (true, true));
        assert_eq!(accepted("br;q=0, GZIP;q=0.5"), (false, true));
        assert_eq!(accepted("gzip; q=0"), (false, false));
        assert_eq!(accepted("identity"), (false, false));
        assert_eq!(accepted("gzip;q=x"), (false, false));
    }
}
