//! Tokens with an unknown key id cause only a few database queries.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tripgate::secrets::random_bytes;

use super::signers::{Signer, part, read};
use crate::harness::{Client, TestApp};

struct Scene {
    app: TestApp,
    header: Value,
    claims: Value,
    key: Signer,
}

impl Scene {
    async fn start() -> Self {
        let app = TestApp::start().await.single().await;
        let ada = app.sign_up("ada").await;
        let key = Signer::active_key(&app).await;
        Self { header: read(ada.token(), 0), claims: read(ada.token(), 1), app, key }
    }

    fn with_kid(&self, kid: &str) -> Client {
        let mut header = self.header.clone();
        header["kid"] = json!(kid);
        self.app.anonymous().with_token(self.key.token(&header, &self.claims))
    }

    async fn assert_rejected(&self, client: Client) {
        client.get("/api/v1/auth/session").await.expect(401).problem("invalid_token");
    }
}

fn random_kid() -> String {
    part(random_bytes::<32>())
}

#[tokio::test]
async fn tokens_with_random_key_ids_share_rate_limited_database_queries() {
    // S-22, S-35
    let scene = Scene::start().await;
    let start = Instant::now();
    for _ in 0..12 {
        scene.assert_rejected(scene.with_kid(&random_kid())).await;
    }
    // Queries for unknown keys are rate-limited.
    assert!(start.elapsed() > Duration::from_millis(11 * 45), "{:?}", start.elapsed());
    // One query serves all waiting requests.
    let start = Instant::now();
    join_all((0..300).map(|_| scene.assert_rejected(scene.with_kid(&random_kid())))).await;
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test]
async fn malformed_key_ids_and_repeated_unknown_key_ids_cause_no_database_query() {
    // S-22
    let scene = Scene::start().await;
    let kid = random_kid();
    scene.assert_rejected(scene.with_kid(&kid)).await;
    let start = Instant::now();
    for _ in 0..40 {
        scene.assert_rejected(scene.with_kid(&kid)).await;
        scene.assert_rejected(scene.with_kid("short")).await;
        scene.assert_rejected(scene.with_kid(&format!("{}!", &kid[1..]))).await;
        scene.assert_rejected(scene.with_kid(&format!("{kid}{kid}"))).await;
    }
    assert!(start.elapsed() < Duration::from_millis(160 * 45), "{:?}", start.elapsed());
}
