//! The pages around the API: Swagger UI, the OpenAPI document and the problem pages.
//!
//! All files are embedded in the binary. No page loads anything from another host, which the content security
//! policy enforces. Scripts and styles are separate files, so that the policy allows nothing inline.

mod assets;
mod layout;
mod problems;

use std::sync::OnceLock;

use bytes::Bytes;
use poem::http::{StatusCode, header};
use poem::web::{Data, Path};
use poem::{Endpoint, EndpointExt, Response, Result, Route, RouteMethod, get, handler};

use self::assets::File;
use self::layout::Page;
use super::openapi;
use crate::web::page::HTML;
use crate::web::problem::Problem;

const INDEX: &str = include_str!("index.html");
/// The content security policy. Swagger UI has icons in `data:` URLs in its style. `unsafe-inline` is not
/// needed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The cache policy of static files, whose URLs contain a hash of their content.
const CACHED: &str = "public, max-age=86400";

/// Whether the document and Swagger UI are served.
#[derive(Clone, Copy)]
struct WithDocs(bool);

/// Returns the routes of the document and Swagger UI, which can be disabled.
fn docs() -> [(&'static str, RouteMethod); 5] {
    [
        ("/", get(home)),
        ("/docs", get(docs_page)),
        ("/docs/:file", get(docs_file)),
        ("/openapi.json", get(openapi_json)),
        ("/openapi.yaml", get(openapi_yaml)),
    ]
}

/// Returns the routes of the problem pages, which are always enabled.
fn always() -> [(&'static str, RouteMethod); 3] {
    [("/problems", get(problem_list)), ("/problems/:name", get(problem_page)), ("/favicon.ico", get(favicon))]
}

/// Returns the routes of the pages. `with_docs` enables the document and Swagger UI.
pub(super) fn routes(with_docs: bool) -> impl Endpoint {
    let pages = always().into_iter().chain(docs().into_iter().filter(|_| with_docs));
    pages.fold(Route::new(), |routes, (path, method)| routes.at(path, method)).data(WithDocs(with_docs))
}

/// Returns the paths of all pages. A segment that begins with `:` matches any value.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    always().into_iter().chain(docs()).map(|(path, _)| path)
}

fn file(content_type: &'static str, cache: &'static str, body: impl Into<poem::Body>) -> Response {
    Response::builder()
        .content_type(content_type)
        .header(header::CACHE_CONTROL, cache)
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::REFERRER_POLICY, "no-referrer")
        .body(body.into())
}

/// Returns the static file of that name.
fn static_file(files: &[File], name: &str) -> Option<Response> {
    let (_, media_type, text) = files.iter().find(|(known, ..)| *known == name)?;
    Some(file(media_type, CACHED, Bytes::from_static(text.as_bytes())))
}

#[handler]
fn home() -> Response {
    // Relative, so that it also works behind a proxy that serves the pages under a path prefix.
    Response::builder().status(StatusCode::FOUND).header(header::LOCATION, "docs").finish()
}

#[handler]
fn docs_page() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let page = || {
        let head = "  <link rel=\"stylesheet\" href=\"docs/swagger-ui.css?v={hash}\">\n  \
            <link rel=\"stylesheet\" href=\"docs/docs.css?v={hash}\">\n";
        Page { title: "Tripgate API", path: "/docs", current: "Docs", head, body: INDEX, with_docs: true }
            .html()
            .into()
    };
    file(HTML, "no-cache", TEXT.get_or_init(page).clone())
}

#[handler]
fn docs_file(Path(name): Path<String>) -> Result<Response> {
    Ok(static_file(&assets::DOCS, &name).ok_or_else(Problem::not_found)?)
}

#[handler]
fn openapi_json() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    file("application/json", "no-cache", TEXT.get_or_init(|| openapi::json().into()).clone())
}

#[handler]
fn openapi_yaml() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    file("application/yaml", "no-cache", TEXT.get_or_init(|| openapi::yaml().into()).clone())
}

#[handler]
fn favicon() -> Response {
    Response::builder().status(StatusCode::NO_CONTENT).finish()
}

#[handler]
fn problem_list(Data(with_docs): Data<&WithDocs>) -> Response {
    file(HTML, "no-cache", problems::list(with_docs.0))
}

#[handler]
fn problem_page(Path(name): Path<String>, Data(with_docs): Data<&WithDocs>) -> Result<Response> {
    let page = || problems::page(&name, with_docs.0).map(|page| file(HTML, "no-cache", page));
    Ok(static_file(&assets::SHARED, &name).or_else(page).ok_or_else(Problem::not_found)?)
}
