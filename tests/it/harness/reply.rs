//! A response, and the checks that tests make on it.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// The values of `client_action`.
const CLIENT_ACTIONS: [&str; 6] = ["fix_input", "refresh", "reauthenticate", "step_up", "retry", "none"];

/// A response with its whole body.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, unchanged.
    pub(crate) body: Vec<u8>,
    /// The method and path of the request, for assertion messages.
    pub(crate) request: String,
}

impl Reply {
    /// Returns the only value of a header, or an empty string if the header is absent.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{}: {name} is present twice", self.request);
        value
    }

    /// Returns the body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Returns the account in the body without its `usage`, which only `GET /me` returns.
    pub(crate) fn account(&self) -> Value {
        let mut account = self.json();
        account.as_object_mut().unwrap().remove("usage");
        account
    }

    /// Returns the body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{}: {error} in {:?}", self.request, self.text()),
        }
    }

    /// Returns whether the response is 503 `busy`: nothing was changed, and the client can repeat the request.
    pub(super) fn is_busy(&self) -> bool {
        self.status == 503 && self.json()["code"] == "busy"
    }

    /// Asserts the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.request, String::from_utf8_lossy(&self.body));
        self
    }

    /// Asserts that the response is a problem with this code and the documented fields.
    #[track_caller]
    pub(crate) fn problem(self, code: &str) -> Self {
        if let Err(violation) = self.check_problem(code) {
            panic!("{}: {violation} in {} {}", self.request, self.status, self.text());
        }
        self
    }

    fn check_problem(&self, code: &str) -> Result<(), String> {
        let body: Value = serde_json::from_slice(&self.body).map_err(|error| error.to_string())?;
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let invalid = self.status == 422;
        let mut expected = vec!["type", "title", "status", "detail", "code", "request_id", "client_action"];
        expected.extend(invalid.then_some("errors"));
        if body.get("mfa_token").is_some() {
            expected.extend(["mfa_token", "methods"]);
        }
        let is_truncated = body["errors"].as_array().is_some_and(|errors| errors.len() == 100);
        expected.extend(body.get("errors_truncated").filter(|_| is_truncated).map(|_| "errors_truncated"));
        expected.sort_unstable();
        let mut found: Vec<&str> =
            body.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        found.sort_unstable();
        let rules = [
            (text("code") == code, "a different code"),
            (found == expected, "unexpected or missing fields"),
            (self.header("content-type") == "application/problem+json", "a different content type"),
            (self.header("cache-control") == "no-store", "a cacheable response"),
            (body["status"] == self.status, "a different status in the body"),
            (text("type") == format!("/problems/{}", code.replace('_', "-")), "a different type"),
            (!text("title").is_empty() && !text("detail").is_empty(), "an empty title or detail"),
            (
                !text("request_id").is_empty() && text("request_id") == self.header("x-request-id"),
                "a different request id in the header",
            ),
            (CLIENT_ACTIONS.contains(&text("client_action")), "an unknown client_action"),
            (!invalid || !self.field_errors().is_empty(), "no field errors"),
        ];
        let violations: Vec<&str> = rules.iter().filter(|(holds, _)| !holds).map(|(_, rule)| *rule).collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(format!("expected the problem {code}, found {}", violations.join(", ")))
        }
    }

    /// Returns the pointer and code of every field error.
    pub(crate) fn field_errors(&self) -> Vec<(String, String)> {
        let body = self.json();
        let text = |error: &Value, name: &str| error[name].as_str().unwrap_or_default().to_owned();
        body["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| (text(error, "pointer"), text(error, "code")))
            .collect()
    }
}
