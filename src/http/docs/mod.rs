//! The pages around the API: Swagger UI, the OpenAPI document and the problem pages.
//!
//! All files are embedded in the binary. The content security policy prevents the pages from loading anything
//! from another host. Scripts and styles are separate files, so that the policy allows nothing inline.

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
use super::{account_pages, openapi};
use crate::web::page::HTML;
use crate::web::problem::Problem;

const INDEX: &str = include_str!("index.html");
/// The content security policy. It allows `data:` URLs for images, because the style of Swagger UI contains
/// icons in such URLs. `unsafe-inline` is not needed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The cache policy of static files, whose URLs contain a hash of their content.
const CACHED: &str = "public, max-age=86400";

/// The settings that the pages depend on.
#[derive(Clone, Copy)]
pub(super) struct PageSettings {
    /// Whether the document and Swagger UI are served.
    pub(super) docs: bool,
    /// Whether every operation accepts HTTP Basic credentials.
    pub(super) basic_on_api: bool,
}

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

/// Returns the routes of the pages.
pub(super) fn routes(settings: PageSettings) -> impl Endpoint {
    let pages = always().into_iter().chain(account_pages::routes());
    let pages = pages.chain(docs().into_iter().filter(|_| settings.docs));
    pages.fold(Route::new(), |routes, (path, method)| routes.at(path, method)).data(settings)
}

/// Returns the paths of all pages. A segment that begins with `:` matches any value.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    always().into_iter().chain(account_pages::routes()).chain(docs()).map(|(path, _)| path)
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
    let mut response = file(media_type, CACHED, Bytes::from_static(text.as_bytes()));
    if let Some((_, copies)) = assets::COMPRESSED.iter().find(|(known, _)| *known == name) {
        response.set_data(*copies);
    }
    Some(response)
}

#[handler]
fn home() -> Response {
    // The URL is relative, so that it also works behind a proxy that serves the pages under a path prefix.
    Response::builder().status(StatusCode::FOUND).header(header::LOCATION, "docs").finish()
}

#[handler]
fn docs_page(Data(settings): Data<&PageSettings>) -> Response {
    let head = "  <link rel=\"stylesheet\" href=\"docs/swagger-ui.css?v={hash}\">\n  \
        <link rel=\"stylesheet\" href=\"docs/docs.css?v={hash}\">\n";
    let body = INDEX.replace("{basic_on_api}", if settings.basic_on_api { "true" } else { "false" });
    let (title, path) = ("Tripgate API", "/docs");
    file(HTML, "no-cache", Page { title, path, current: "Docs", head, body: &body, with_docs: true }.html())
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
fn problem_list(Data(settings): Data<&PageSettings>) -> Response {
    file(HTML, "no-cache", problems::list(settings.docs))
}

#[handler]
fn problem_page(Path(name): Path<String>, Data(settings): Data<&PageSettings>) -> Result<Response> {
    let page = || problems::page(&name, settings.docs).map(|page| file(HTML, "no-cache", page));
    Ok(static_file(&assets::SHARED, &name).or_else(page).ok_or_else(Problem::not_found)?)
}
