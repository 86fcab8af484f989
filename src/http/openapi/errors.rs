//! The error responses of the document, which operations share.

use serde_json::{Map, Value, json};

use super::{reference_headers, set};
use crate::web::page::HTML;
use crate::web::problem::ProblemBody;
use crate::web::problem_code::ProblemCode;

/// The error responses that operations share, by their names in the document and statuses.
const SHARED: [(&str, u16); 17] = [
    ("BadRequest", 400),
    ("Unauthorized", 401),
    ("Forbidden", 403),
    ("NotFound", 404),
    ("NotAcceptable", 406),
    ("RequestTimeout", 408),
    ("Conflict", 409),
    ("Gone", 410),
    ("PreconditionFailed", 412),
    ("ContentTooLarge", 413),
    ("UnsupportedMediaType", 415),
    ("Invalid", 422),
    ("PreconditionRequired", 428),
    ("TooManyRequests", 429),
    ("InternalError", 500),
    ("ServiceUnavailable", 503),
    ("InsufficientStorage", 507),
];

/// The statuses of shared errors that can be a page, in operations that return pages to browsers. 406 is
/// always JSON.
const WITH_PAGE: [u16; 5] = [400, 404, 422, 500, 503];
/// The suffix of an error's name in the document if the error can be a page.
const PAGE_SUFFIX: &str = "OrPage";

/// Adds references to the shared errors that apply to an operation. `is_api` marks the operations below
/// `/api/v1`, which check `Accept` and depend on the database. `is_write` marks operations that can store data.
pub(super) fn share(operation: &mut Value, is_api: bool, is_write: bool) {
    let has_body = operation.get("requestBody").is_some();
    let schemes = operation.get("security").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_secured = !schemes.is_empty();
    // An empty object means that the credential is optional.
    let is_optional = schemes.iter().any(|scheme| scheme.as_object().is_some_and(Map::is_empty));
    let is_scoped = operation.get("x-required-scopes").is_some();
    let has_pages =
        operation.pointer("/responses/200/content").is_some_and(|types| types.get(HTML).is_some());
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, status) in SHARED {
        let applies = match status {
            401 => is_secured,
            403 => is_scoped,
            408 | 413 | 415 => has_body,
            406 | 503 => is_api,
            // Every operation that requires a credential accepts a password if the operator enables HTTP
            // Basic, and wrong passwords are throttled.
            429 => is_api && is_secured && !is_optional,
            507 => is_api && is_write,
            // Every request can be malformed, have an unknown query parameter, or cause an internal error.
            400 | 422 | 500 => true,
            _ => false,
        };
        let key = status.to_string();
        // An error that the handler declares has the form of the shared error, so it gets the same reference.
        if applies || responses.contains_key(&key) {
            let suffix = if has_pages && WITH_PAGE.contains(&status) { PAGE_SUFFIX } else { "" };
            responses.insert(key, json!({ "$ref": format!("#/components/responses/{name}{suffix}") }));
        }
    }
    responses.sort_keys();
}

/// Returns the shared error responses.
pub(super) fn shared() -> Value {
    let response = |status: u16| {
        let mut response = json!({
            "description": ProblemCode::meaning(status),
            "content": { "application/problem+json": { "schema": { "$ref": format!("#/components/schemas/{}", problem_name()) } } },
        });
        match status {
            401 => set(&mut response, "headers", reference_headers(&["WWW-Authenticate"])),
            // `WWW-Authenticate` is present only if the token lacks a scope.
            403 => set(
                &mut response,
                "headers",
                json!({ "WWW-Authenticate": { "description": "The missing scope (RFC 6750).", "schema": { "type": "string" } } }),
            ),
            429 => set(
                &mut response,
                "headers",
                reference_headers(&["Retry-After", "RateLimit", "RateLimit-Policy"]),
            ),
            409 | 503 | 507 => set(&mut response, "headers", reference_headers(&["Retry-After"])),
            _ => {}
        }
        response
    };
    let json = SHARED.iter().map(|(name, status)| ((*name).to_owned(), response(*status)));
    let with_page = SHARED
        .iter()
        .filter(|(_, status)| WITH_PAGE.contains(status))
        .map(|(name, status)| (format!("{name}{PAGE_SUFFIX}"), with_page(response(*status))));
    Value::Object(json.chain(with_page).collect())
}

/// Adds the page that a browser gets instead of the problem, and the headers of this page.
fn with_page(mut response: Value) -> Value {
    if let Some(content) = response.get_mut("content") {
        set(content, HTML, json!({ "schema": { "type": "string" } }));
    }
    let mut headers = response.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, description) in [
        ("Vary", "`Accept`: the response depends on this request header."),
        (
            "Content-Security-Policy",
            "Only for a page. The policy lets the page run no scripts and load nothing from other hosts.",
        ),
        (
            "Referrer-Policy",
            "Only for a page. `no-referrer`: the link is a secret, which a browser must not send to other sites.",
        ),
        ("X-Robots-Tag", "Only for a page. `noindex`: search engines must not index the page."),
    ] {
        headers
            .insert(name.to_owned(), json!({ "description": description, "schema": { "type": "string" } }));
    }
    set(&mut response, "headers", Value::Object(headers));
    response
}

fn problem_name() -> String {
    use poem_openapi::types::Type;
    ProblemBody::name().into_owned()
}
