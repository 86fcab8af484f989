//! The languages that a client accepts.

use poem::Request;
use poem::http::header;

use crate::mail::Languages;

/// Returns the languages of a request.
pub fn languages(request: &Request) -> Languages {
    Languages::accepted(request.header(header::ACCEPT_LANGUAGE))
}
