//! The layout of the documentation and the problem pages: a header with navigation.

use std::sync::LazyLock;

use askama::Template;

use super::assets;
use crate::web::page::{Layout, hash_of, render};

/// The parts that differ from page to page.
pub(super) struct Page<'a> {
    /// The title in the browser.
    pub(super) title: &'a str,
    /// The path of the page.
    pub(super) path: &'a str,
    /// The navigation entry of the page.
    pub(super) current: &'a str,
    /// Additional HTML in the head.
    pub(super) head: &'a str,
    /// The HTML under the header.
    pub(super) body: &'a str,
    /// Whether the documentation is served and linked.
    pub(super) with_docs: bool,
}

#[derive(Template)]
#[template(path = "documentation.html")]
struct Documentation<'a> {
    layout: Layout,
    title: &'a str,
    links: Vec<Link>,
    current: &'a str,
    head: String,
    body: String,
    with_docs: bool,
    version: &'static str,
}

/// An entry of the navigation: its text, and its path from the root.
struct Link {
    name: &'static str,
    path: &'static str,
}

/// The navigation.
const LINKS: [Link; 3] = [
    Link { name: "Docs", path: "docs" },
    Link { name: "Problems", path: "problems" },
    Link { name: "openapi.json", path: "openapi.json" },
];

impl Page<'_> {
    /// Renders the page. Replaces `{hash}` in its HTML by the hash of the files of the documentation.
    pub(super) fn html(&self) -> String {
        let is_served = |link: &Link| self.with_docs || link.name == "Problems";
        let with_hash = |html: &str| html.replace("{hash}", content_hash());
        render(&Documentation {
            layout: Layout::at(self.path),
            title: self.title,
            links: LINKS.into_iter().filter(is_served).collect(),
            current: self.current,
            head: with_hash(self.head),
            body: with_hash(self.body.trim_end()),
            with_docs: self.with_docs,
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}

/// Returns a hash of the content of the files of the documentation.
fn content_hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| hash_of(&assets::DOCS.map(|(_, _, text)| text)));
    &HASH
}

/// Escapes text as HTML, with text between backticks as code.
pub(super) fn with_code(text: &str) -> String {
    let escaped = escaped(text);
    let mut parts = escaped.split('`');
    let plain = parts.next().unwrap_or_default().to_owned();
    parts
        .enumerate()
        .fold(plain, |html, (number, part)| html + if number % 2 == 0 { "<code>" } else { "</code>" } + part)
}

/// Escapes text as HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_backticks_is_rendered_as_code_and_markup_is_escaped() {
        let html = with_code("`a<b>` & `c`, it's so");
        assert_eq!(html, "<code>a&lt;b&gt;</code> &amp; <code>c</code>, it's so");
        assert_eq!(with_code("plain"), "plain");
    }

    #[test]
    fn a_page_contains_no_placeholders_and_links_only_to_pages_that_are_served() {
        for with_docs in [true, false] {
            let body = "<main></main>";
            let page =
                Page { title: "T", path: "/problems/x", current: "Problems", head: "", body, with_docs };
            let html = page.html();
            assert!(!html.contains('{') && !html.contains('}'), "{html}");
            assert_eq!(html.matches("href=\"../docs\"").count(), if with_docs { 2 } else { 0 });
            assert_eq!(html.contains("openapi.json"), with_docs);
            assert!(html.contains("<a href=\"../problems\" aria-current=\"page\">"));
        }
    }
}
