//! The problem pages: the list at `/problems`, and a page for each code.
//!
//! The texts are in `problem_code.rs` and `problems.md`. The code that renders real problems also renders the
//! examples, so real problems and examples always have the same form.

use std::fmt::Write as _;

use poem::http::StatusCode;

use super::layout::{Page, escaped, with_code};
use crate::web::examples;
use crate::web::problem::{FieldError, Problem};
use crate::web::problem_code::ProblemCode;

const TEXTS: &str = include_str!("problems.md");
/// The request id in the examples.
const REQUEST_ID: &str = "01990f2e-7c1a-7d33-9a51-6f0f4b8f2a10";
/// Each `client_action` with its meaning.
const ACTIONS: [(&str, &str); 6] = [
    ("fix_input", "Correct the request. The same request would fail again."),
    ("refresh", "Refresh the access token and repeat the request."),
    ("reauthenticate", "Ask the user to log in again."),
    ("step_up", "Let the user authenticate again, and repeat the request with the new access token."),
    ("retry", "Repeat the same request later."),
    ("none", "The app cannot solve this by itself. Show the problem to the user."),
];

/// The texts of a code in `problems.md`.
struct Guide<'a> {
    causes: Vec<&'a str>,
    advice: Vec<&'a str>,
    headers: Vec<(&'a str, &'a str)>,
    detail: &'a str,
    errors: Vec<FieldError>,
}

impl Guide<'static> {
    /// Returns the texts for a code.
    fn for_code(code: ProblemCode) -> Option<Self> {
        let is_chapter = |text: &&str| text.lines().next() == Some(code.name());
        Some(Self::parse(TEXTS.split("\n## ").find(is_chapter)?))
    }
}

impl<'a> Guide<'a> {
    fn parse(chapter: &'a str) -> Self {
        let part = |name: &str| {
            let found = chapter.split("\n### ").find_map(|part| part.strip_prefix(name));
            found.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty())
        };
        let points = |name| part(name).filter_map(|line| line.strip_prefix("- ")).collect();
        let mut guide = Self {
            causes: points("Causes\n"),
            advice: points("Advice\n"),
            headers: Vec::new(),
            detail: "",
            errors: Vec::new(),
        };
        for (name, value) in part("Example\n").filter_map(|line| line.split_once(": ")) {
            match name {
                "detail" => guide.detail = value,
                "error" => guide.errors.extend(parse_error(value)),
                _ => guide.headers.push((name, value)),
            }
        }
        guide
    }

    /// Renders an example of the whole response.
    fn example(&self, code: ProblemCode) -> String {
        let mut problem = Problem::new(code, self.detail.to_owned()).with_errors(self.errors.clone());
        if code == ProblemCode::MfaRequired {
            let methods = ["totp", "recovery_code"].map(str::to_owned).to_vec();
            problem = problem.with_mfa(examples::MFA_TOKEN.to_owned(), methods);
        }
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

/// Parses a pointer, a code and a detail, separated by spaces.
fn parse_error(line: &str) -> Option<FieldError> {
    let (pointer, rest) = line.split_once(' ')?;
    let (code, detail) = rest.split_once(' ')?;
    Some(FieldError::new(pointer, code, detail))
}

/// Renders the list of all problems by status. `/problems#404` is the part with status 404.
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
    let action = |(name, meaning): (&str, &str)| format!("<dt><code>{name}</code></dt><dd>{meaning}</dd>\n");
    let actions = ACTIONS.map(action).concat();
    let body = format!(
        "<main class=\"prose\">\n<h1>Problems</h1>\n<p class=\"lead\">Every error response of the API is one of \
         these problems, in the format of RFC 9457. Its <code>type</code> is the path of its page.</p>\n<p>An app decides \
         by <code>code</code>, or simply by <code>client_action</code>:</p>\n<dl class=\"facts\">\n{actions}</dl>\n{groups}</main>"
    );
    Page {
        title: "Problems · Tripgate",
        path: "/problems",
        current: "Problems",
        head: "",
        body: &body,
        with_docs,
    }
    .html()
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

/// Renders the page of the problem whose `type` ends with `slug`.
pub(super) fn page(slug: &str, with_docs: bool) -> Option<String> {
    let code = ProblemCode::ALL.into_iter().find(|code| code.slug() == slug)?;
    let guide = Guide::for_code(code)?;
    let action =
        ACTIONS.iter().find(|(name, _)| *name == code.client_action()).map_or("", |(_, meaning)| *meaning);
    let body = format!(
        "<main class=\"prose\">\n<p class=\"back\"><a href=\"../problems#{status}\">All problems</a></p>\n\
         <h1><b class=\"status s{class}\">{status}</b> {title}</h1>\n<p class=\"lead\">{meaning}</p>\n\
         <dl class=\"facts\">\n<dt>Code</dt><dd><code>{name}</code></dd>\n\
         <dt>What to do</dt><dd><code>{client_action}</code> {action}</dd>\n</dl>\n\
         <h2>Why it happens</h2>\n{causes}<h2>What an app should do</h2>\n{advice}\
         <h2>Example</h2>\n<pre tabindex=\"0\"><code>{example}</code></pre>\n</main>",
        status = code.status(),
        class = code.status() / 100,
        title = code.title(),
        meaning = with_code(code.explanation()),
        name = code.name(),
        client_action = code.client_action(),
        causes = points(&guide.causes),
        advice = points(&guide.advice),
        example = escaped(&guide.example(code)),
    );
    let title = format!("{} · Tripgate", code.title());
    Some(
        Page { title: &title, path: "/problems/x", current: "Problems", head: "", body: &body, with_docs }
            .html(),
    )
}

fn points(texts: &[&str]) -> String {
    let items: Vec<String> = texts.iter().map(|text| format!("<li>{}</li>\n", with_code(text))).collect();
    format!("<ul>\n{}</ul>\n", items.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::StoreError;
    use crate::passwords::Overloaded;
    use crate::trips::TripsError;
    use crate::web::idempotency_key::in_progress;

    #[test]
    fn every_problem_code_has_a_chapter_and_every_chapter_has_a_problem_code() {
        for code in ProblemCode::ALL {
            let guide = Guide::for_code(code).unwrap_or_else(|| panic!("{} has no chapter", code.name()));
            assert!(!guide.causes.is_empty() && !guide.advice.is_empty(), "{}", code.name());
            assert!(!guide.detail.is_empty(), "{}", code.name());
            assert_eq!(guide.errors.is_empty(), code.status() != 422, "{}", code.name());
            assert!(ACTIONS.iter().any(|(name, _)| *name == code.client_action()), "{}", code.name());
            // An unpaired backtick would leave a code element open.
            for text in guide.causes.iter().chain(&guide.advice).chain(&[code.explanation()]) {
                assert_eq!(text.matches('`').count() % 2, 0, "{text}");
                // The parser ignores further lines of an item, so a text with such lines ends too early.
                assert!(text.ends_with(['.', ':']), "{text}");
            }
        }
        let mut chapters: Vec<&str> =
            TEXTS.split("\n## ").skip(1).filter_map(|text| text.lines().next()).collect();
        let mut names: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.name()).collect();
        chapters.sort_unstable();
        names.sort_unstable();
        assert_eq!(chapters, names);
        names.dedup();
        assert_eq!(names.len(), ProblemCode::ALL.len());
    }

    // `tests/it/contract/problems.rs` checks the examples that this test leaves out, most of them against a
    // running server.
    #[test]
    fn the_documented_examples_of_problems_that_are_hard_to_produce_equal_the_real_problems() {
        let real: [Problem; 8] = [
            Problem::internal("x"),
            StoreError::unavailable().into(),
            StoreError::OutcomeUnknown(None).into(),
            StoreError::conflict().into(),
            Overloaded { retry_after_secs: 1 }.into(),
            in_progress(),
            TripsError::TooManySearches.into(),
            TripsError::SearchTimedOut(StoreError::timed_out()).into(),
        ];
        for problem in real {
            let guide = Guide::for_code(problem.code()).unwrap();
            assert_eq!(problem.body("").detail, guide.detail);
            let response = problem.render("");
            for (name, value) in guide.headers {
                assert_eq!(response.headers().get(name).unwrap(), value, "{}", problem.code().name());
            }
        }
    }
}
