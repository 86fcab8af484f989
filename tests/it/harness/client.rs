//! A client, and a request on its way to being sent.

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::conformance;
use super::reply::Reply;
use super::seen::Asked;

/// Somebody who calls the server, with or without a token. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    grant: Value,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(http: &reqwest::Client, address: SocketAddr) -> Self {
        Self { http: http.clone(), base: format!("http://{address}"), grant: Value::Null, token: None }
    }

    /// The same client with the tokens of a `TokenGrant`.
    pub(crate) fn granted(&self, grant: &Value) -> Self {
        Self {
            token: Some(grant["access_token"].as_str().unwrap().to_owned()),
            grant: grant.clone(),
            ..self.clone()
        }
    }

    /// The same client with another access token, good or bad.
    pub(crate) fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// The `TokenGrant` that signing up or logging in gave.
    pub(crate) fn grant(&self) -> &Value {
        &self.grant
    }

    /// The access token.
    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    /// The id of the account.
    pub(crate) fn id(&self) -> &str {
        self.grant["user"]["id"].as_str().unwrap()
    }

    /// A GET of this path, with its query if it has one.
    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// See [`Client::get`].
    pub(crate) fn head(&self, path: &str) -> Call {
        self.call(Method::HEAD, path)
    }

    /// See [`Client::get`].
    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// See [`Client::get`].
    pub(crate) fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    /// See [`Client::get`].
    pub(crate) fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    /// See [`Client::get`].
    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// Any method.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        let call = Call {
            http: self.http.clone(),
            base: self.base.clone(),
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
    base: String,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    documented: bool,
}

impl Call {
    /// With this JSON as its body.
    pub(crate) fn json(self, body: &Value) -> Self {
        let body = serde_json::to_vec(body).unwrap();
        self.set(CONTENT_TYPE, "application/json").body(body)
    }

    /// With this form as its body.
    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.set(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.finish())
    }

    /// With these bytes as its body, of no type unless a header says so.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// With one header more; the same name twice is sent twice.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().unwrap();
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.headers.append(name, value);
        self
    }

    /// With this access token in place of the client's.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.set(AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// With a password in place of the client's token.
    pub(crate) fn basic(self, identifier: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{identifier}:{password}"));
        self.set(AUTHORIZATION, &format!("Basic {encoded}"))
    }

    /// For what is served on purpose without standing in the document, such as `/docs`.
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
        let url = format!("{}{}", self.base, self.path);
        let mut request = self.http.request(self.method.clone(), url).headers(self.headers.clone());
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        let response = request.send().await.unwrap();
        let reply = Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
            asked: format!("{} {}", self.method, self.path),
        };
        if self.documented {
            let body = self.body.as_deref().unwrap_or_default();
            let asked = Asked { path: &self.path, headers: &self.headers, body };
            if let Err(fault) = conformance::check_exchange(&self.method, &asked, &reply) {
                panic!("{fault}");
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
