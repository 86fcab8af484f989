//! What each problem means: `/problems`, and a page for each code.
//!
//! The words stand in `codes.rs` and `problems.md`; the example is made by the code that makes the
//! real answer, so that it can't have another shape.

use std::fmt::Write as _;

use poem::http::StatusCode;

use super::layout::{Page, escaped, with_code};
use crate::http::problem::{FieldError, Problem};
use crate::http::problem_code::ProblemCode;

const WORDS: &str = include_str!("problems.md");
/// Names the request of each example.
const REQUEST_ID: &str = "01990f2e-7c1a-7d33-9a51-6f0f4b8f2a10";
/// Each `client_action`, and what it asks for.
const ACTIONS: [(&str, &str); 5] = [
    ("fix_input", "Send something else: the same request fails again."),
    ("refresh", "Refresh the access token, then send the same request again."),
    ("reauthenticate", "Ask the user to log in again."),
    ("retry", "Send the same request again, later."),
    ("none", "Nothing that the app could do by itself. Tell the user."),
];

/// What is said of a code besides its facts.
struct Guide<'a> {
    why: Vec<&'a str>,
    advice: Vec<&'a str>,
    headers: Vec<(&'a str, &'a str)>,
    detail: &'a str,
    faults: Vec<FieldError>,
}

impl Guide<'static> {
    fn of(code: ProblemCode) -> Option<Self> {
        let chapter = |text: &&str| text.lines().next() == Some(code.name());
        Some(Self::read(WORDS.split("\n## ").find(chapter)?))
    }
}

impl<'a> Guide<'a> {
    fn read(chapter: &'a str) -> Self {
        let part = |name: &str| {
            let found = chapter.split("\n### ").find_map(|part| part.strip_prefix(name));
            found.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty())
        };
        let points = |name| part(name).filter_map(|line| line.strip_prefix("- ")).collect();
        let mut guide = Self {
            why: points("Why\n"),
            advice: points("Advice\n"),
            headers: Vec::new(),
            detail: "",
            faults: Vec::new(),
        };
        for (name, value) in part("Example\n").filter_map(|line| line.split_once(": ")) {
            match name {
                "detail" => guide.detail = value,
                "error" => guide.faults.extend(fault(value)),
                _ => guide.headers.push((name, value)),
            }
        }
        guide
    }

    /// Such an answer as it goes over the wire.
    fn example(&self, code: ProblemCode) -> String {
        let problem = Problem::new(code, self.detail.to_owned()).with_errors(self.faults.clone());
        let reason = StatusCode::from_u16(code.status()).ok().and_then(|status| status.canonical_reason());
        let mut text = format!("HTTP/1.1 {} {}\n", code.status(), reason.unwrap_or_default());
        text.push_str("Content-Type: application/problem+json\n");
        for (name, value) in &self.headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        let body = serde_json::to_string_pretty(&problem.body(REQUEST_ID)).unwrap_or_default();
        text + "\n" + &body
    }
}

/// Out of its pointer, its code and its detail.
fn fault(line: &str) -> Option<FieldError> {
    let (pointer, rest) = line.split_once(' ')?;
    let (code, detail) = rest.split_once(' ')?;
    Some(FieldError::new(pointer, code, detail))
}

/// All problems by their status: `/problems#404` leads to those of 404.
pub(super) fn list(with_docs: bool) -> String {
    let mut statuses: Vec<u16> = ProblemCode::ALL.iter().map(|code| code.status()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let mut groups = String::new();
    for status in statuses {
        let _ = write!(
            groups,
            "<section id=\"{status}\"><h2><b class=\"status s{}\">{status}</b> ",
            status / 100
        );
        let _ = write!(groups, "{}</h2>\n<ul class=\"rows\">\n", ProblemCode::meaning(status));
        groups.extend(ProblemCode::ALL.into_iter().filter(|code| code.status() == status).map(row));
        groups.push_str("</ul></section>\n");
    }
    let action = |(name, what): (&str, &str)| format!("<dt><code>{name}</code></dt><dd>{what}</dd>\n");
    let actions = ACTIONS.map(action).concat();
    let body = format!(
        "<main class=\"prose\">\n<h1>Problems</h1>\n<p class=\"lead\">Every error of the API is one of these, in the one \
         shape of RFC 9457. Its <code>type</code> leads to its page here.</p>\n<p>An app decides by <code>code</code>, \
         or simply by <code>client_action</code>:</p>\n<dl class=\"facts\">\n{actions}</dl>\n{groups}</main>"
    );
    Page { title: "Problems · Tripgate", root: "", here: "Problems", head: "", body: &body, with_docs }.html()
}

fn row(code: ProblemCode) -> String {
    format!(
        "<li><a href=\"problems/{}\">{}</a> <code>{}</code> <span>{}</span></li>\n",
        code.slug(),
        code.title(),
        code.name(),
        code.client_action()
    )
}

/// The page of the problem whose `type` ends so.
pub(super) fn page(slug: &str, with_docs: bool) -> Option<String> {
    let code = ProblemCode::ALL.into_iter().find(|code| code.slug() == slug)?;
    let guide = Guide::of(code)?;
    let action = ACTIONS.iter().find(|(name, _)| *name == code.client_action()).map_or("", |(_, what)| *what);
    let body = format!(
        "<main class=\"prose\">\n<p class=\"back\"><a href=\"../problems#{status}\">All problems</a></p>\n\
         <h1><b class=\"status s{class}\">{status}</b> {title}</h1>\n<p class=\"lead\">{meaning}</p>\n\
         <dl class=\"facts\">\n<dt>ProblemCode</dt><dd><code>{name}</code></dd>\n\
         <dt>What to do</dt><dd><code>{client_action}</code> {action}</dd>\n</dl>\n\
         <h2>Why it happens</h2>\n{why}<h2>What an app should do</h2>\n{advice}\
         <h2>Example</h2>\n<pre tabindex=\"0\"><code>{example}</code></pre>\n</main>",
        status = code.status(),
        class = code.status() / 100,
        title = code.title(),
        meaning = with_code(code.explanation()),
        name = code.name(),
        client_action = code.client_action(),
        why = points(&guide.why),
        advice = points(&guide.advice),
        example = escaped(&guide.example(code)),
    );
    let title = format!("{} · Tripgate", code.title());
    Some(Page { title: &title, root: "../", here: "Problems", head: "", body: &body, with_docs }.html())
}

fn points(texts: &[&str]) -> String {
    let items: Vec<String> = texts.iter().map(|text| format!("<li>{}</li>\n", with_code(text))).collect();
    format!("<ul>\n{}</ul>\n", items.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::StoreError;
    use crate::http::idempotency_key::in_progress;
    use crate::passwords::Overloaded;

    #[test]
    fn every_code_has_its_words_and_every_chapter_a_code() {
        for code in ProblemCode::ALL {
            let guide = Guide::of(code).unwrap_or_else(|| panic!("{} has no chapter", code.name()));
            assert!(!guide.why.is_empty() && !guide.advice.is_empty(), "{}", code.name());
            assert!(!guide.detail.is_empty(), "{}", code.name());
            assert_eq!(guide.faults.is_empty(), code.status() != 422, "{}", code.name());
            assert!(ACTIONS.iter().any(|(name, _)| *name == code.client_action()), "{}", code.name());
            // An odd backtick would leave its element open.
            for text in guide.why.iter().chain(&guide.advice).chain(&[code.explanation()]) {
                assert_eq!(text.matches('`').count() % 2, 0, "{text}");
            }
        }
        let mut chapters: Vec<&str> =
            WORDS.split("\n## ").skip(1).filter_map(|text| text.lines().next()).collect();
        let mut names: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.name()).collect();
        chapters.sort_unstable();
        names.sort_unstable();
        assert_eq!(chapters, names);
        names.dedup();
        assert_eq!(names.len(), ProblemCode::ALL.len());
    }

    // The others can be had from a running server: `tests/it/docs.rs`.
    #[test]
    fn what_only_a_broken_server_answers_is_shown_as_it_is() {
        let real: [Problem; 5] = [
            Problem::internal("x"),
            StoreError::unavailable().into(),
            StoreError::conflict().into(),
            Overloaded { retry_after_secs: 1 }.into(),
            in_progress(),
        ];
        for problem in real {
            let guide = Guide::of(problem.code()).unwrap();
            assert_eq!(problem.body("").detail, guide.detail);
            let answer = problem.render("");
            for (name, value) in guide.headers {
                assert_eq!(answer.headers().get(name).unwrap(), value, "{}", problem.code().name());
            }
        }
    }
}
