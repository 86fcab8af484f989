//! Access tokens: which tokens are accepted, for how long, and which attacks are rejected.

mod algorithms;
mod claims;
mod forge;
mod form;
mod headers;
mod lifetime;
mod presented;
mod vectors;

use serde_json::json;

use crate::harness::{Client, TestApp};
use forge::Forge;

/// A server, a user with a valid token, and a forge with the server's signing key.
struct Scene {
    app: TestApp,
    ada: Client,
    forge: Forge,
}

impl Scene {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let ada = app.sign_up("ada").await;
        let forge = Forge::new(&app, ada.token()).await;
        Self { app, ada, forge }
    }

    /// Asserts that the token is rejected and that the response does not repeat it.
    async fn assert_rejected(&self, case: &str, token: &str) {
        let client = self.app.anonymous().with_token(token);
        let reply = client.post("/api/v1/trips").json(&json!({ "title": "Forged" })).await;
        assert_eq!(reply.status, 401, "{case}: {}", reply.text());
        let reply = reply.problem("invalid_token");
        let challenge = reply.header("www-authenticate");
        assert!(
            challenge.starts_with(r#"Bearer realm="tripgate", error="invalid_token""#),
            "{case}: {challenge}"
        );
        assert!(token.len() < 8 || !reply.text().contains(token), "{case}: the token is echoed");
    }

    /// Asserts that the token is accepted. If a modified copy of the token is then rejected, the modification
    /// is the cause.
    async fn assert_accepted(&self, case: &str, token: &str) {
        let reply = self.app.anonymous().with_token(token).get("/api/v1/me").await;
        assert_eq!(reply.status, 200, "{case}: {}", reply.text());
        assert_eq!(reply.json()["id"], self.ada.id(), "{case}");
    }

    /// Asserts that rejected tokens had no effect and that the valid token is still accepted.
    async fn assert_unchanged(&self) {
        let trips = self.ada.get("/api/v1/trips").await.expect(200).json();
        assert_eq!(trips, json!({ "items": [] }), "a forged token created a trip");
    }
}
