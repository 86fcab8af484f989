//! The responses to requests that the listener rejects before they reach the middleware.

use std::net::IpAddr;

use poem::Response;
use poem::http::header::{self, HeaderValue};

use super::middleware::{REQUEST_ID, UNKNOWN};
use crate::clock::Clock;
use crate::web::problem::{Problem, ProblemCode};

/// Returns the response to a malformed request.
pub fn bad_request(peer: IpAddr, detail: &'static str) -> Response {
    refuse(peer, &Problem::new(ProblemCode::BadRequest, detail))
}

/// Returns the response to a request whose head is too large.
pub fn head_too_large(peer: IpAddr) -> Response {
    refuse(peer, &Problem::new(ProblemCode::HeadersTooLarge, "The headers of the request are too large."))
}

/// Returns the response to a request that arrives while the maximum number of connections is open.
pub fn overloaded(peer: IpAddr) -> Response {
    let detail = "The server has too many connections at the moment. Please try again.";
    refuse(peer, &Problem::new(ProblemCode::Overloaded, detail).retry_after(1))
}

/// Renders a problem with the common headers, and writes the access log line. The address in the line is that
/// of the peer, because the forwarding headers were not read.
fn refuse(peer: IpAddr, problem: &Problem) -> Response {
    let id = Clock::system().new_id().to_string();
    let mut response = problem.render(&id);
    tracing::info!(
        target: "tripgate::access",
        request_id = id,
        client_address = %peer.to_canonical(),
        status = response.status().as_u16(),
    );
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::try_from(id).unwrap_or(UNKNOWN));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
