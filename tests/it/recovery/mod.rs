//! Mailed codes and links: confirmation, recovery, login by code, and changes of address.

mod address;
mod confirm;
mod languages;
mod limits;
mod login_code;
mod mailbox;
mod reset;
mod signup_modes;
mod throttle;
mod timing;

use serde_json::{Value, json};

use crate::harness::{Call, Client, PASSWORD, TestApp};

const CONFIRM: &str = "/api/v1/auth/email/confirm";
const RESEND: &str = "/api/v1/auth/email/resend";
const UNDO: &str = "/api/v1/auth/email/undo";
const FORGOT: &str = "/api/v1/auth/password/forgot";
const RESET: &str = "/api/v1/auth/password/reset";
const LOGIN_CODE: &str = "/api/v1/auth/login/code";
const LOGIN_BY_CODE: &str = "/api/v1/auth/login/code/confirm";
const CHANGE: &str = "/api/v1/me/email";
const LOGIN: &str = "/api/v1/auth/login";
const ME: &str = "/api/v1/me";

const NEW_PASSWORD: &str = "a louder harbour at dawn";
const ADA: &str = "ada@example.org";

/// Starts a server without limits on mails, because the clock does not advance between the mails of a test.
async fn start() -> TestApp {
    TestApp::with(|settings| settings.limits = false).await
}

/// The id of a flow, and the code and the token in its mail.
struct Mailed {
    flow: String,
    code: String,
    token: String,
}

impl Mailed {
    fn with_code(&self, more: Value) -> Value {
        merged(json!({ "flow_id": self.flow, "code": self.code }), more)
    }

    fn with_token(&self, more: Value) -> Value {
        merged(json!({ "token": self.token }), more)
    }
}

/// Returns an object with the fields of both objects.
fn merged(mut one: Value, other: Value) -> Value {
    let Value::Object(other) = other else { panic!("{other} is no object") };
    one.as_object_mut().unwrap().extend(other);
    one
}

/// Sends an address to an operation that mails a code, and returns the id of the flow.
async fn begin(client: &Client, path: &str, email: &str) -> String {
    let started = client.post(path).json(&json!({ "email": email })).await.expect(202);
    assert_eq!(started.header("cache-control"), "no-store");
    started.json()["flow_id"].as_str().unwrap().to_owned()
}

/// Begins a flow, and reads the mail to this address.
async fn mailed(app: &TestApp, client: &Client, path: &str, email: &str) -> Mailed {
    let flow = begin(client, path, email).await;
    let mail = app.mail_to(email).await;
    Mailed {
        flow,
        code: mail.code().to_owned(),
        token: if mail.link.is_some() { mail.token().to_owned() } else { String::new() },
    }
}

/// Returns the flow that the sign-up of this client began, with the code and the token from the mail.
async fn of_signup(app: &TestApp, client: &Client) -> Mailed {
    let flow = client.grant()["flow_id"].as_str().unwrap().to_owned();
    let mail = app.mail_to(client.grant()["user"]["email"].as_str().unwrap()).await;
    Mailed { flow, code: mail.code().to_owned(), token: mail.token().to_owned() }
}

/// Signs up and confirms the address.
async fn confirmed(app: &TestApp, name: &str) -> Client {
    let client = app.sign_up(name).await;
    let mail = of_signup(app, &client).await;
    post(app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    client
}

#[expect(clippy::needless_pass_by_value, reason = "callers build the body in place")]
fn post(app: &TestApp, path: &str, body: Value) -> Call {
    app.anonymous().post(path).json(&body)
}

async fn is_verified(app: &TestApp, identifier: &str, password: &str) -> bool {
    let call = app.anonymous().get("/api/v1/auth/verify").basic(identifier, password);
    call.await.expect(200).json()["email_verified"] == true
}

/// Returns a code that differs from this one.
fn wrong(code: &str) -> String {
    format!("{:08}", (code.parse::<u32>().unwrap() + 1) % 100_000_000)
}

/// The password of every account that the harness creates.
const OLD_PASSWORD: &str = PASSWORD;
