//! The layout of all pages: head, header and style.
//!
//! Every link is relative, so that the pages also work behind a proxy that serves them under a path prefix.
//! The URLs of static files contain a hash of their content, so that browsers can cache the files and never
//! combine them with the page of another version.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use super::assets;

const SHELL: &str = include_str!("shell.html");

/// The parts that differ from page to page.
pub(super) struct Page<'a> {
    /// The title in the browser.
    pub(super) title: &'a str,
    /// The relative path from the page to the root of the server: empty, or `../`.
    pub(super) root: &'a str,
    /// The navigation entry of the page.
    pub(super) current: &'a str,
    /// Additional HTML in the head.
    pub(super) head: &'a str,
    /// The HTML under the header.
    pub(super) body: &'a str,
    /// Whether the documentation is served and linked.
    pub(super) with_docs: bool,
}

impl Page<'_> {
    /// Renders the page.
    pub(super) fn html(&self) -> String {
        let all = [("Docs", "docs"), ("Problems", "problems"), ("openapi.json", "openapi.json")];
        let link = |(name, path): (&str, &str)| {
            let current = if name == self.current { " aria-current=\"page\"" } else { "" };
            format!("<a href=\"{}{path}\"{current}>{name}</a>", self.root)
        };
        let is_served = |(name, _): &(&str, &str)| self.with_docs || *name == "Problems";
        let links: String = all.into_iter().filter(is_served).map(link).collect();
        SHELL
            .replace("{head}", self.head)
            .replace("{body}", self.body.trim_end())
            .replace("{title}", self.title)
            .replace("{links}", &links)
            .replace("{home}", if self.with_docs { "docs" } else { "problems" })
            .replace("{root}", self.root)
            .replace("{version}", env!("CARGO_PKG_VERSION"))
            .replace("{hash}", content_hash())
    }
}

/// Returns a hash of the content of all files.
fn content_hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let mut hasher = DefaultHasher::new();
        assets::ALL.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    });
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
    fn backticks_become_code_and_markup_is_escaped() {
        let html = with_code("`a<b>` & `c`, it's so");
        assert_eq!(html, "<code>a&lt;b&gt;</code> &amp; <code>c</code>, it's so");
        assert_eq!(with_code("plain"), "plain");
    }

    #[test]
    fn a_page_has_no_placeholders_and_links_only_what_is_served() {
        for with_docs in [true, false] {
            let body = "<main></main>";
            let page = Page { title: "T", root: "../", current: "Problems", head: "", body, with_docs };
            let html = page.html();
            assert!(!html.contains('{') && !html.contains('}'), "{html}");
            assert_eq!(html.matches("href=\"../docs\"").count(), if with_docs { 2 } else { 0 });
            assert_eq!(html.contains("openapi.json"), with_docs);
            assert!(html.contains("<a href=\"../problems\" aria-current=\"page\">"));
        }
    }
}
