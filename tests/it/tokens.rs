//! Access tokens from outside: what is taken as one, for how long, and what nobody gets in with.

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

/// A server, somebody with a good token, and a forge that has the server's own key.
struct Scene {
    app: TestApp,
    ada: Client,
    forge: Forge,
}

impl Scene {
    async fn set() -> Self {
        let app = TestApp::start().await;
        let ada = app.sign_up("ada").await;
        let forge = Forge::of(&app, ada.token()).await;
        Self { app, ada, forge }
    }

    /// The token gets nobody in, and the answer does not repeat it.
    async fn refuses(&self, what: &str, token: &str) {
        let client = self.app.anonymous().with_token(token);
        let reply = client.post("/api/v1/trips").json(&json!({ "title": "Forged" })).await;
        assert_eq!(reply.status, 401, "{what}: {}", reply.text());
        let reply = reply.problem("invalid_token");
        let challenge = reply.header("www-authenticate");
        assert!(
            challenge.starts_with(r#"Bearer realm="tripgate", error="invalid_token""#),
            "{what}: {challenge}"
        );
        assert!(token.len() < 8 || !reply.text().contains(token), "{what}: the token is echoed");
    }

    /// The token is taken: what is refused beside it is not refused for another reason.
    async fn takes(&self, what: &str, token: &str) {
        let reply = self.app.anonymous().with_token(token).get("/api/v1/me").await;
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        assert_eq!(reply.json()["id"], self.ada.id(), "{what}");
    }

    /// Nothing that was refused did anything, and the good token still is.
    async fn is_unharmed(&self) {
        let listed = self.ada.get("/api/v1/trips").await.expect(200).json();
        assert_eq!(listed, json!({ "items": [] }), "a forged token made a trip");
    }
}
