//! The pages around the API: Swagger UI, the document, what each problem means.
//!
//! Everything comes from the binary; no page asks anybody else for anything, and the content
//! security policy holds the browser to that. Scripts and styles are files of their own, so that
//! nothing inline has to be allowed.

use std::sync::OnceLock;

use bytes::Bytes;
use poem::http::{StatusCode, header};
use poem::web::Path;
use poem::{Response, Result, Route, RouteMethod, get, handler};
use poem_openapi::OpenApiService;

use super::codes::Code;
use super::problem::Problem;
use super::spec;

const PAGE: &str = include_str!("index.html");
const INIT: &str = include_str!("init.js");
const STYLE: &str = include_str!("page.css");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The pages name their files with the version behind them, so they can be kept.
const KEEP: &str = "public, max-age=86400";

/// The document and Swagger UI, which can be switched off.
fn docs() -> [(&'static str, RouteMethod); 5] {
    [
        ("/", get(home)),
        ("/docs", get(docs_page)),
        ("/docs/:file", get(asset)),
        ("/openapi.json", get(openapi_json)),
        ("/openapi.yaml", get(openapi_yaml)),
    ]
}

/// The pages that problems point to, which are always there.
fn always() -> [(&'static str, RouteMethod); 4] {
    [
        ("/problems", get(problems)),
        ("/problems/:slug", get(problem)),
        ("/problems/page.css", get(page_style)),
        ("/favicon.ico", get(no_icon)),
    ]
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

#[handler]
fn home() -> Response {
    // Relative, so that it holds behind a proxy that serves us under a path of its own.
    Response::builder().status(StatusCode::FOUND).header(header::LOCATION, "docs").finish()
}

#[handler]
fn docs_page() -> Response {
    file("text/html; charset=utf-8", "no-cache", PAGE.replace("{version}", env!("CARGO_PKG_VERSION")))
}

#[handler]
fn asset(Path(name): Path<String>) -> Result<Response> {
    let cache = KEEP;
    match name.as_str() {
        "init.js" => Ok(file("text/javascript; charset=utf-8", cache, INIT)),
        "swagger-ui.js" => Ok(file("text/javascript; charset=utf-8", cache, swagger().script.clone())),
        "swagger-ui.css" => Ok(file("text/css; charset=utf-8", cache, swagger().style.clone())),
        _ => Err(Problem::not_found().into()),
    }
}

#[handler]
fn page_style() -> Response {
    file("text/css; charset=utf-8", KEEP, STYLE)
}

#[handler]
fn openapi_json() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    file("application/json", "no-cache", TEXT.get_or_init(|| spec::json().into()).clone())
}

#[handler]
fn openapi_yaml() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    file("application/yaml", "no-cache", TEXT.get_or_init(|| spec::yaml().into()).clone())
}

#[handler]
fn no_icon() -> Response {
    Response::builder().status(StatusCode::NO_CONTENT).finish()
}

#[handler]
fn problems() -> Response {
    let entry = |code: &Code| {
        format!(
            "<li><a href=\"problems/{}\"><code>{}</code></a> {}</li>",
            code.slug(),
            code.name(),
            code.title()
        )
    };
    let list: String = Code::ALL.iter().map(entry).collect();
    html(
        "Problems",
        "problems/page.css",
        &format!("<h1>Problems</h1><p>Every error of the API is one of these.</p><ul>{list}</ul>"),
    )
}

#[handler]
fn problem(Path(slug): Path<String>) -> Result<Response> {
    let code = Code::ALL.into_iter().find(|code| code.slug() == slug).ok_or_else(Problem::not_found)?;
    let body = format!(
        "<p><a href=\"../problems\">All problems</a></p><h1>{}</h1><p>{}</p><dl><dt>Code</dt><dd><code>{}</code></dd>\
         <dt>Status</dt><dd>{}</dd><dt>What an app does</dt><dd><code>{}</code></dd></dl>",
        code.title(),
        with_code(code.explanation()),
        code.name(),
        code.status(),
        code.client_action(),
    );
    Ok(html(code.title(), "page.css", &body))
}

/// As HTML, with what stands between backticks as code.
fn with_code(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut parts = escaped.split('`');
    let plain = parts.next().unwrap_or_default().to_owned();
    parts
        .enumerate()
        .fold(plain, |html, (number, part)| html + if number % 2 == 0 { "<code>" } else { "</code>" } + part)
}

fn html(title: &str, style: &str, body: &str) -> Response {
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} · Tripgate</title><link rel=\"stylesheet\" href=\"{style}\"></head><body><main>{body}</main></body></html>"
    );
    file("text/html; charset=utf-8", "public, max-age=3600", page)
}

/// Swagger UI's own files.
struct Swagger {
    script: Bytes,
    style: Bytes,
}

/// Taken once out of the page in which poem-openapi brings them inline.
fn swagger() -> &'static Swagger {
    static FILES: OnceLock<Swagger> = OnceLock::new();
    FILES.get_or_init(|| {
        let page = Bytes::from(OpenApiService::new((), "", "").swagger_ui_html());
        Swagger {
            script: between(&page, "<script", "</script>"),
            style: between(&page, "<style", "</style>"),
        }
    })
}

/// What stands inside the first such element, sharing the page's memory.
fn between(page: &Bytes, open: &str, close: &str) -> Bytes {
    let text = std::str::from_utf8(page).unwrap_or_default();
    let inside = text.find(open).and_then(|at| {
        let start = at + text.get(at..)?.find('>')? + 1;
        Some(start..start + text.get(start..)?.find(close)?)
    });
    inside.map(|range| page.slice(range)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swagger_ui_is_taken_apart_whole() {
        let files = swagger();
        assert!(files.script.len() > 1_000_000 && files.style.len() > 100_000);
        assert!(std::str::from_utf8(&files.script).unwrap().contains("SwaggerUIBundle"));
    }

    #[test]
    fn backticks_become_code_and_nothing_becomes_markup() {
        let html = with_code("`a<b>` & `c`, it's so");
        assert_eq!(html, "<code>a&lt;b&gt;</code> &amp; <code>c</code>, it's so");
        assert_eq!(with_code("plain"), "plain");
        // An odd one would leave its element open.
        for code in Code::ALL {
            assert_eq!(code.explanation().matches('`').count() % 2, 0, "{}", code.name());
        }
    }

    #[test]
    fn names_of_problems_differ() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
