//! Tokens that name a key nobody knows: the database is asked about few of them.

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
    async fn set() -> Self {
        let app = TestApp::start().await;
        let ada = app.sign_up("ada").await;
        let key = Signer::of(&app).await;
        Self { header: read(ada.token(), 0), claims: read(ada.token(), 1), app, key }
    }

    fn naming(&self, kid: &str) -> Client {
        let mut header = self.header.clone();
        header["kid"] = json!(kid);
        self.app.anonymous().with_token(self.key.token(&header, &self.claims))
    }

    async fn refused(&self, client: Client) {
        client.get("/api/v1/auth/session").await.expect(401).problem("invalid_token");
    }
}

fn name() -> String {
    part(random_bytes::<32>())
}

#[tokio::test]
async fn random_names_of_keys_do_not_cost_a_query_each() {
    // S-22, S-35
    let scene = Scene::set().await;
    let began = Instant::now();
    for _ in 0..12 {
        scene.refused(scene.naming(&name())).await;
    }
    // Readings that tokens ask for keep their distance.
    assert!(began.elapsed() > Duration::from_millis(11 * 45), "{:?}", began.elapsed());
    // However many wait, a reading serves them all.
    let began = Instant::now();
    join_all((0..300).map(|_| scene.refused(scene.naming(&name())))).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_name_that_was_asked_for_or_can_be_none_of_ours_costs_nothing() {
    // S-22
    let scene = Scene::set().await;
    let same = name();
    scene.refused(scene.naming(&same)).await;
    let began = Instant::now();
    for _ in 0..40 {
        scene.refused(scene.naming(&same)).await;
        scene.refused(scene.naming("short")).await;
        scene.refused(scene.naming(&format!("{}!", &same[1..]))).await;
        scene.refused(scene.naming(&format!("{same}{same}"))).await;
    }
    assert!(began.elapsed() < Duration::from_millis(160 * 45), "{:?}", began.elapsed());
}
