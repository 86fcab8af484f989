//! HTML pages: their layout, style and response headers.
//!
//! The templates are in `src/web/page/templates/` and escape every value. A page loads nothing from other
//! hosts and has no inline code or style, which the content security policy enforces. Every link is relative,
//! so that the pages also work behind a proxy that serves them under a path prefix. The URLs of static files
//! contain a hash of their content, so that browsers can cache the files and never combine them with the page
//! of another version.

pub mod problem;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use askama::Template;
use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response};

/// The style of all pages, served as `problems/page.css`.
pub const STYLE: &str = include_str!("page.css");
/// The logo, served as `problems/mark.svg`.
pub const MARK: &str = include_str!("mark.svg");
/// The media type of a page.
pub const HTML: &str = "text/html; charset=utf-8";
/// The content security policy of a page without scripts.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";
/// The maximum number of `../` in the URLs of a page, so that a long path cannot make the page large. A page
/// at a deeper path has no style.
const DEPTH_MAX: usize = 32;

/// The values that the layout of a page needs.
#[derive(Debug)]
pub struct Layout {
    /// The relative path from the page to the root of the server: one `../` for each folder in the path of
    /// the page, or an empty text for a page in the root.
    pub root: String,
}

impl Layout {
    /// Returns the layout for a page with this path, which begins with a slash.
    pub fn at(path: &str) -> Self {
        let depth = path.matches('/').count().saturating_sub(1);
        Self { root: "../".repeat(depth.min(DEPTH_MAX)) }
    }

    /// Returns a hash of the content of the static files.
    pub fn hash(&self) -> &'static str {
        static HASH: LazyLock<String> = LazyLock::new(|| hash_of(&[STYLE, MARK]));
        &HASH
    }
}

/// Returns a hash of the texts, for the URLs of static files.
pub fn hash_of(texts: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Renders a template. Rendering can't fail, because it writes to a string.
pub fn render(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}

/// Returns a page that caches don't store and search engines don't index. Browsers send no referrer from this
/// page.
pub fn private(status: StatusCode, html: String) -> Response {
    Response::builder()
        .status(status)
        .content_type(HTML)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::REFERRER_POLICY, "no-referrer")
        .header("x-robots-tag", "noindex")
        .body(html)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_refers_to_the_root_by_a_relative_path() {
        for (path, root) in
            [("/", ""), ("/docs", ""), ("/problems/x", "../"), ("/api/v1/shared/x", "../../../")]
        {
            assert_eq!(Layout::at(path).root, root, "{path}");
        }
        assert_eq!(Layout::at(&"/x".repeat(5_000)).root.len(), 3 * DEPTH_MAX);
    }
}
