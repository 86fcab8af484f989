//! What came back, and what tests ask of it.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// What an app may be told to do.
const CLIENT_ACTIONS: [&str; 5] = ["fix_input", "refresh", "reauthenticate", "retry", "none"];

/// A response with its whole body.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body as it came.
    pub(crate) body: Vec<u8>,
    /// What was asked, for messages.
    pub(crate) asked: String,
}

impl Reply {
    /// The one value of a header; an empty text if there is none.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{}: {name} came twice", self.asked);
        value
    }

    /// The body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{}: {error} in {:?}", self.asked, self.text()),
        }
    }

    /// Itself, if it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.asked, String::from_utf8_lossy(&self.body));
        self
    }

    /// Itself, if it is a problem of this code, in every part of its shape.
    #[track_caller]
    pub(crate) fn problem(self, code: &str) -> Self {
        if let Err(fault) = self.problem_shape(code) {
            panic!("{}: {fault} in {} {}", self.asked, self.status, self.text());
        }
        self
    }

    fn problem_shape(&self, code: &str) -> Result<(), String> {
        let body: Value = serde_json::from_slice(&self.body).map_err(|error| error.to_string())?;
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let invalid = self.status == 422;
        let mut members = vec!["type", "title", "status", "detail", "code", "request_id", "client_action"];
        members.extend(invalid.then_some("errors"));
        members.sort_unstable();
        let mut found: Vec<&str> =
            body.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        found.sort_unstable();
        let rules = [
            (text("code") == code, "another code"),
            (found == members, "members too many or too few"),
            (self.header("content-type") == "application/problem+json", "another content type"),
            (self.header("cache-control") == "no-store", "a cache may keep it"),
            (body["status"] == self.status, "another status in the body"),
            (text("type") == format!("/problems/{}", code.replace('_', "-")), "another type"),
            (!text("title").is_empty() && !text("detail").is_empty(), "no words"),
            (
                !text("request_id").is_empty() && text("request_id") == self.header("x-request-id"),
                "another request id in the header",
            ),
            (CLIENT_ACTIONS.contains(&text("client_action")), "an unknown client_action"),
            (!invalid || !self.faults().is_empty(), "nothing said of what is invalid"),
        ];
        let broken: Vec<&str> = rules.iter().filter(|(holds, _)| !holds).map(|(_, rule)| *rule).collect();
        if broken.is_empty() {
            Ok(())
        } else {
            Err(format!("wanted the problem {code}, found {}", broken.join(", ")))
        }
    }

    /// Pointer and code of everything that is wrong with the input.
    pub(crate) fn faults(&self) -> Vec<(String, String)> {
        let body = self.json();
        let text = |fault: &Value, name: &str| fault[name].as_str().unwrap_or_default().to_owned();
        body["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|fault| (text(fault, "pointer"), text(fault, "code")))
            .collect()
    }
}
