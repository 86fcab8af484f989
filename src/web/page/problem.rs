//! A problem as an HTML page, for a person who opened a link in a browser.

use askama::Template;
use poem::Response;
use poem::http::{HeaderName, StatusCode, header};

use super::{Layout, private, render};
use crate::web::problem::Problem;

/// The headers of a problem that are sent both with its HTML page and with its JSON.
const COMMON: [HeaderName; 2] = [header::ALLOW, header::RETRY_AFTER];

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    layout: Layout,
    status: u16,
    title: &'a str,
    detail: &'a str,
    request_id: &'a str,
    /// The path of a page to link to.
    home: Option<&'a str>,
}

/// Renders a problem as a page for a request with this path and id. `home` is the path of a page to link to.
pub fn page(problem: &Problem, path: &str, request_id: &str, home: Option<&str>) -> Response {
    let status = problem.code().status();
    let html = render(&ProblemPage {
        layout: Layout::at(path),
        status,
        title: problem.code().title(),
        detail: problem.detail(),
        request_id,
        home,
    });
    let mut page = private(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), html);
    for (name, value) in problem.headers().filter(|(name, _)| COMMON.contains(name)) {
        page.headers_mut().append(name.clone(), value.clone());
    }
    page
}
