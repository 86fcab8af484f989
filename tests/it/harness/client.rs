//! A client, and a builder for one request.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::conformance;
use super::coverage::SentRequest;
use super::database;
use super::group::Group;
use super::reply::Reply;

/// How often a request is repeated while its response is 503 `busy`.
const MAX_BUSY: usize = 20;

/// A client of a group of servers, with or without a token. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    group: Arc<Group>,
    grant: Value,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(http: &reqwest::Client, group: &Arc<Group>) -> Self {
        Self { http: http.clone(), group: Arc::clone(group), grant: Value::Null, token: None }
    }

    /// Returns the same client with the tokens of a `TokenGrant`.
    pub(crate) fn with_grant(&self, grant: &Value) -> Self {
        Self {
            token: Some(grant["access_token"].as_str().unwrap().to_owned()),
            grant: grant.clone(),
            ..self.clone()
        }
    }

    /// Returns the same client with another access token, valid or not.
    pub(crate) fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// Returns the `TokenGrant` of the signup or login.
    pub(crate) fn grant(&self) -> &Value {
        &self.grant
    }

    /// Returns the access token.
    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    /// Returns the id of the account.
    pub(crate) fn id(&self) -> &str {
        self.grant["user"]["id"].as_str().unwrap()
    }

    /// Returns the claims of the access token.
    pub(crate) fn claims(&self) -> Value {
        let payload = URL_SAFE_NO_PAD.decode(self.token().split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice(&payload).unwrap()
    }

    /// Returns whether the server accepts the access token.
    pub(crate) async fn is_alive(&self) -> bool {
        self.get("/api/v1/auth/session").await.status == 200
    }

    /// Returns whether the refresh token of the session works.
    pub(crate) async fn can_refresh(&self) -> bool {
        let body = serde_json::json!({ "refresh_token": self.grant["refresh_token"] });
        let anonymous = Self { token: None, ..self.clone() };
        anonymous.post("/api/v1/auth/refresh").json(&body).await.status == 200
    }

    /// Builds a GET request. `path` may contain a query.
    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// Builds a HEAD request.
    pub(crate) fn head(&self, path: &str) -> Call {
        self.call(Method::HEAD, path)
    }

    /// Builds a POST request.
    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// Builds a PUT request.
    pub(crate) fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    /// Builds a PATCH request.
    pub(crate) fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    /// Builds a DELETE request.
    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// Builds a request with any method.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        let call = Call {
            http: self.http.clone(),
            group: Arc::clone(&self.group),
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: None,
            documented: true,
        };
        match &self.token {
            Some(token) => call.bearer(token),
            None => call,
        }
    }
}

/// A request; `.await` sends it.
#[derive(Debug)]
#[must_use = "a request is sent by awaiting it"]
pub(crate) struct Call {
    http: reqwest::Client,
    group: Arc<Group>,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    documented: bool,
}

impl Call {
    /// Sets a JSON body.
    pub(crate) fn json(self, body: &Value) -> Self {
        let body = serde_json::to_vec(body).unwrap();
        self.set(CONTENT_TYPE, "application/json").body(body)
    }

    /// Sets a form body.
    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.set(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.finish())
    }

    /// Sets the body without setting `Content-Type`.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Adds a header. If a header with the same name exists, the request contains both headers.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().unwrap();
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.headers.append(name, value);
        self
    }

    /// Replaces the credentials with an access token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.set(AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// Replaces the credentials with Basic credentials.
    pub(crate) fn basic(self, identifier: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{identifier}:{password}"));
        self.set(AUTHORIZATION, &format!("Basic {encoded}"))
    }

    /// Skips the check against the document, for paths that the document omits on purpose, such as `/docs`.
    pub(crate) fn undocumented(mut self) -> Self {
        self.documented = false;
        self
    }

    fn set(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.headers.insert(name, value);
        self
    }

    async fn send(self) -> Reply {
        for _ in 0..MAX_BUSY {
            let reply = self.exchange().await;
            if !database::has_several_nodes() || !reply.is_busy() {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.exchange().await
    }

    async fn exchange(&self) -> Reply {
        let url = format!("http://{}{}", self.group.next_address(), self.path);
        let mut request = self.http.request(self.method.clone(), url).headers(self.headers.clone());
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        let response = request.send().await.unwrap();
        let reply = Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
            request: format!("{} {}", self.method, self.path),
        };
        self.group.synchronize().await;
        if self.documented {
            let body = self.body.as_deref().unwrap_or_default();
            let sent = SentRequest { path: &self.path, headers: &self.headers, body };
            if let Err(violation) = conformance::check_exchange(&self.method, &sent, &reply) {
                panic!("{violation}");
            }
        }
        reply
    }
}

impl IntoFuture for Call {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
