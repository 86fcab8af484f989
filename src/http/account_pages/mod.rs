//! The pages that the links in mails open: confirming an address, choosing a password, undoing a change of
//! address, and ending a session.
//!
//! The token is in the fragment of the URL, so no server sees it before the user presses the button of the
//! page. Opening a page changes nothing, so a program that opens the links in mails does not consume their
//! tokens. The pages are always served, even if the documentation is disabled.

mod associations;

use std::sync::LazyLock;

use askama::Template;
use bytes::Bytes;
use poem::http::{StatusCode, header};
use poem::web::Path;
use poem::{IntoResponse, Response, Result, RouteMethod, get, handler};

pub(super) use associations::{AppAssociations, is_association};

use crate::web::page::{HTML, Layout, hash_of, render};
use crate::web::problem::Problem;

const SCRIPT: &str = include_str!("account.js");
const STYLE: &str = include_str!("account.css");
/// The content security policy. `connect-src` allows the script to call the API of this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The cache policy of the script and the style, whose URLs contain a hash of their content.
const CACHED: &str = "public, max-age=86400";

/// The texts of a page.
struct Texts {
    title: &'static str,
    lead: &'static str,
    /// The path of the operation, relative to the root of the server.
    operation: &'static str,
    /// Whether the user enters a password.
    has_password: bool,
    /// Whether the user chooses between the password of the account and a new one.
    has_choice: bool,
    password_label: &'static str,
    autocomplete: &'static str,
    button: &'static str,
    done_title: &'static str,
    done: &'static str,
}

const CONFIRM: Texts = Texts {
    title: "Confirm your email address",
    lead: "Enter the password of the account to confirm that the email address is yours.",
    operation: "api/v1/auth/email/confirm",
    has_password: true,
    has_choice: true,
    password_label: "Password",
    autocomplete: "current-password",
    button: "Confirm the address",
    done_title: "Your email address is confirmed",
    done: "You can close this page and return to the app.",
};

const RESET: Texts = Texts {
    title: "Choose a new password",
    lead: "Setting the password logs out all devices. Log in with the new password afterwards.",
    operation: "api/v1/auth/password/reset",
    has_password: true,
    has_choice: false,
    password_label: "New password",
    autocomplete: "new-password",
    button: "Set the password",
    done_title: "Your password is changed",
    done: "You can close this page and log in to the app with the new password.",
};

const UNDO: Texts = Texts {
    title: "Undo the change of address",
    lead: "Your account gets this email address back, and all devices are logged out.",
    operation: "api/v1/auth/email/undo",
    has_password: false,
    has_choice: false,
    password_label: "",
    autocomplete: "off",
    button: "Undo the change",
    done_title: "Your email address is back",
    done: "Another person may know your password. Choose a new one now: use “Forgot password” in the app.",
};

const END_SESSION: Texts = Texts {
    title: "End the session",
    lead: "The device that the email names is logged out.",
    operation: "api/v1/auth/session/end",
    has_password: false,
    has_choice: false,
    password_label: "",
    autocomplete: "off",
    button: "End this session",
    done_title: "The session has ended",
    done: "Another person may know your password. Choose a new one now: use “Forgot password” in the app.",
};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    layout: Layout,
    page: &'a Texts,
    /// A hash of the script and the style.
    hash: &'static str,
}

/// Returns the routes of the pages and the association files.
pub(super) fn routes() -> [(&'static str, RouteMethod); 7] {
    let [apple, android] = associations::routes();
    [
        ("/account/confirm", get(confirm)),
        ("/account/reset", get(reset)),
        ("/account/undo", get(undo)),
        ("/account/session", get(session)),
        ("/account/:file", get(file)),
        apple,
        android,
    ]
}

fn page(path: &str, texts: &Texts) -> Response {
    static HASH: LazyLock<String> = LazyLock::new(|| hash_of(&[SCRIPT, STYLE]));
    let html = render(&AccountPage { layout: Layout::at(path), page: texts, hash: &HASH });
    Response::builder()
        .status(StatusCode::OK)
        .content_type(HTML)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::REFERRER_POLICY, "no-referrer")
        .header("x-robots-tag", "noindex")
        .body(html)
        .into_response()
}

#[handler]
fn confirm() -> Response {
    page("/account/confirm", &CONFIRM)
}

#[handler]
fn reset() -> Response {
    page("/account/reset", &RESET)
}

#[handler]
fn undo() -> Response {
    page("/account/undo", &UNDO)
}

#[handler]
fn session() -> Response {
    page("/account/session", &END_SESSION)
}

#[handler]
fn file(Path(name): Path<String>) -> Result<Response> {
    let (media_type, text) = match name.as_str() {
        "account.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "account.css" => ("text/css; charset=utf-8", STYLE),
        _ => return Err(Problem::not_found().into()),
    };
    Ok(Response::builder()
        .content_type(media_type)
        .header(header::CACHE_CONTROL, CACHED)
        .header(header::REFERRER_POLICY, "no-referrer")
        .body(Bytes::from_static(text.as_bytes())))
}
