//! The pages around the API: Swagger UI, the document, what each problem means.
//!
//! Everything comes from the binary; no page asks anybody else for anything, and the content
//! security policy holds the browser to that. Scripts and styles are files of their own, so that
//! nothing inline has to be allowed.

mod assets;
mod layout;
mod problems;

use std::sync::OnceLock;

use bytes::Bytes;
use poem::http::{StatusCode, header};
use poem::web::{Data, Path};
use poem::{Response, Result, Route, RouteMethod, get, handler};

use self::assets::File;
use self::layout::Page;
use super::openapi;
use super::problem::Problem;
use crate::app::App;

const INDEX: &str = include_str!("index.html");
/// Swagger UI draws its icons from `data:` URLs in its style. Neither it nor we need `unsafe-inline`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The pages name their files with a tag of what is in them, so they can be kept.
const KEEP: &str = "public, max-age=86400";
const HTML: &str = "text/html; charset=utf-8";

/// The document and Swagger UI, which can be switched off.
fn docs() -> [(&'static str, RouteMethod); 5] {
    [
        ("/", get(home)),
        ("/docs", get(docs_page)),
        ("/docs/:file", get(docs_file)),
        ("/openapi.json", get(openapi_json)),
        ("/openapi.yaml", get(openapi_yaml)),
    ]
}

/// The pages that problems point to, which are always there.
fn always() -> [(&'static str, RouteMethod); 3] {
    [("/problems", get(problem_list)), ("/problems/:name", get(problem_page)), ("/favicon.ico", get(no_icon))]
}

/// The routes of the pages; without the document and Swagger UI unless `with_docs`.
pub(super) fn routes(with_docs: bool) -> Route {
    let pages = always().into_iter().chain(docs().into_iter().filter(|_| with_docs));
    pages.fold(Route::new(), |routes, (path, method)| routes.at(path, method))
}

/// Where all of them lie; what begins with `:` stands for anything.
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

/// The file of that name.
fn kept(files: &[File], wanted: &str) -> Option<Response> {
    let (_, kind, text) = files.iter().find(|(name, ..)| *name == wanted)?;
    Some(file(kind, KEEP, Bytes::from_static(text.as_bytes())))
}

#[handler]
fn home() -> Response {
    // Relative, so that it holds behind a proxy that serves us under a path of its own.
    Response::builder().status(StatusCode::FOUND).header(header::LOCATION, "docs").finish()
}

#[handler]
fn docs_page() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let page = || {
        let head = "  <link rel=\"stylesheet\" href=\"docs/swagger-ui.css?v={tag}\">\n  \
            <link rel=\"stylesheet\" href=\"docs/docs.css?v={tag}\">\n";
        Page { title: "Tripgate API", root: "", here: "Docs", head, body: INDEX, with_docs: true }
            .html()
            .into()
    };
    file(HTML, "no-cache", TEXT.get_or_init(page).clone())
}

#[handler]
fn docs_file(Path(name): Path<String>) -> Result<Response> {
    Ok(kept(&assets::DOCS, &name).ok_or_else(Problem::not_found)?)
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
fn no_icon() -> Response {
    Response::builder().status(StatusCode::NO_CONTENT).finish()
}

#[handler]
fn problem_list(Data(app): Data<&App>) -> Response {
    file(HTML, "no-cache", problems::list(app.docs))
}

#[handler]
fn problem_page(Path(name): Path<String>, Data(app): Data<&App>) -> Result<Response> {
    let page = || problems::page(&name, app.docs).map(|page| file(HTML, "no-cache", page));
    Ok(kept(&assets::SHARED, &name).or_else(page).ok_or_else(Problem::not_found)?)
}
