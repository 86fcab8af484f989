//! What all pages have around them: the same head, header and style.
//!
//! Every link is relative, so that the pages hold behind a proxy that serves them under a path of
//! its own. Their files carry a tag of what is in them, so that they can be kept for long and a new
//! binary never meets an old file.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use super::assets;

const SHELL: &str = include_str!("shell.html");

/// A page before its shell: what differs from page to page.
pub(super) struct Page<'a> {
    /// As the browser shows it.
    pub(super) title: &'a str,
    /// From the page to the server's root: empty, or `../`.
    pub(super) root: &'a str,
    /// The entry of the header that it belongs to.
    pub(super) here: &'a str,
    /// More of the head, in HTML.
    pub(super) head: &'a str,
    /// What stands under the header, in HTML.
    pub(super) body: &'a str,
    /// Whether there is a documentation to lead to.
    pub(super) with_docs: bool,
}

impl Page<'_> {
    /// The whole page.
    pub(super) fn html(&self) -> String {
        let all = [("Docs", "docs"), ("Problems", "problems"), ("openapi.json", "openapi.json")];
        let link = |(name, path): (&str, &str)| {
            let current = if name == self.here { " aria-current=\"page\"" } else { "" };
            format!("<a href=\"{}{path}\"{current}>{name}</a>", self.root)
        };
        let there = |(name, _): &(&str, &str)| self.with_docs || *name == "Problems";
        let links: String = all.into_iter().filter(there).map(link).collect();
        SHELL
            .replace("{head}", self.head)
            .replace("{body}", self.body.trim_end())
            .replace("{title}", self.title)
            .replace("{links}", &links)
            .replace("{home}", if self.with_docs { "docs" } else { "problems" })
            .replace("{root}", self.root)
            .replace("{version}", env!("CARGO_PKG_VERSION"))
            .replace("{tag}", tag())
    }
}

/// Another one whenever one of the files is another.
fn tag() -> &'static str {
    static TAG: LazyLock<String> = LazyLock::new(|| {
        let mut hasher = DefaultHasher::new();
        assets::ALL.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    });
    &TAG
}

/// As HTML, with what stands between backticks as code.
pub(super) fn with_code(text: &str) -> String {
    let escaped = escaped(text);
    let mut parts = escaped.split('`');
    let plain = parts.next().unwrap_or_default().to_owned();
    parts
        .enumerate()
        .fold(plain, |html, (number, part)| html + if number % 2 == 0 { "<code>" } else { "</code>" } + part)
}

/// As HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_become_code_and_nothing_becomes_markup() {
        let html = with_code("`a<b>` & `c`, it's so");
        assert_eq!(html, "<code>a&lt;b&gt;</code> &amp; <code>c</code>, it's so");
        assert_eq!(with_code("plain"), "plain");
    }

    #[test]
    fn no_placeholder_is_left_and_no_link_leads_to_what_is_switched_off() {
        for with_docs in [true, false] {
            let body = "<main></main>";
            let page = Page { title: "T", root: "../", here: "Problems", head: "", body, with_docs };
            let html = page.html();
            assert!(!html.contains('{') && !html.contains('}'), "{html}");
            assert_eq!(html.matches("href=\"../docs\"").count(), if with_docs { 2 } else { 0 });
            assert_eq!(html.contains("openapi.json"), with_docs);
            assert!(html.contains("<a href=\"../problems\" aria-current=\"page\">"));
        }
    }
}
