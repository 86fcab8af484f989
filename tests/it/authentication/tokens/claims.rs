//! The claims, signed with the server's key: missing, of another type, for another server, or expired.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Scene;
use crate::harness::{PUBLIC_URL, TestApp, rows};

impl Scene {
    async fn assert_claims_rejected(&self, name: &str, values: impl IntoIterator<Item = Value>) {
        self.assert_rejected(&format!("no {name}"), &self.forge.with_claim(name, None)).await;
        for value in values {
            let case = format!("{name} {value}");
            self.assert_rejected(&case, &self.forge.with_claim(name, Some(value))).await;
        }
    }

    fn now(&self) -> i64 {
        self.app.clock.now().timestamp()
    }
}

/// Returns values that are invalid for every required claim, except that `amr` may be an empty array.
fn invalid_values() -> Vec<Value> {
    vec![json!(null), json!(true), json!([]), json!({}), json!(""), json!(" "), json!("x"), json!(-1.5)]
}

#[tokio::test]
async fn exp_must_be_a_representable_number_that_is_not_in_the_past() {
    // S-24, S-25
    let scene = Scene::new().await;
    let exp = scene.forge.claims()["exp"].as_i64().unwrap();
    let mut values = invalid_values();
    values.extend([
        json!(exp.to_string()),
        json!([exp]),
        json!(0),
        json!(-1),
        json!(-exp),
        json!(1e300),
        json!(-1e300),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(scene.now() - 31),
    ]);
    scene.assert_claims_rejected("exp", values).await;
    scene
        .assert_accepted("expired for 29 s", &scene.forge.with_claim("exp", Some(json!(scene.now() - 29))))
        .await;
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn the_maximum_exp_causes_no_overflow() {
    // S-24
    let scene = Scene::new().await;
    let last = chrono::DateTime::<chrono::Utc>::MAX_UTC.timestamp();
    for exp in [last, last - 29, last - 31] {
        let token = scene.forge.with_claim("exp", Some(json!(exp)));
        let reply = scene.app.anonymous().with_token(token).get("/api/v1/me").await;
        assert!([200, 401].contains(&reply.status), "{}", reply.text());
    }
}

#[tokio::test]
async fn nbf_must_be_a_number_that_is_not_in_the_future() {
    // S-24
    let scene = Scene::new().await;
    let now = scene.now();
    let invalid = [json!(now + 31), json!(now + 3600), json!(1e300), json!(i64::MAX), json!(now.to_string())];
    for value in invalid.into_iter().chain(invalid_values().into_iter().filter(|value| !value.is_null())) {
        scene.assert_rejected(&format!("nbf {value}"), &scene.forge.with_claim("nbf", Some(value))).await;
    }
    for value in [now, now - 3600, now + 29] {
        scene
            .assert_accepted(&format!("nbf {value}"), &scene.forge.with_claim("nbf", Some(json!(value))))
            .await;
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn iat_must_be_a_number_that_is_not_in_the_future() {
    // S-24
    let scene = Scene::new().await;
    let now = scene.now();
    let mut values = invalid_values();
    values.extend([
        json!(now + 31),
        json!(now + 86_400),
        json!(i64::MAX),
        json!(1e300),
        json!(now.to_string()),
    ]);
    scene.assert_claims_rejected("iat", values).await;
    scene
        .assert_accepted("issued 29 s in the future", &scene.forge.with_claim("iat", Some(json!(now + 29))))
        .await;
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn the_issuer_must_be_this_server() {
    // S-25
    let scene = Scene::new().await;
    let mut values = invalid_values();
    let other = "https://evil.test";
    values.extend([
        json!(other),
        json!(format!("{PUBLIC_URL}/")),
        json!(PUBLIC_URL.to_uppercase()),
        json!(PUBLIC_URL.replace("https", "http")),
        json!(format!("{PUBLIC_URL}.evil.test")),
        json!([PUBLIC_URL, other]),
        json!([PUBLIC_URL]),
    ]);
    scene.assert_claims_rejected("iss", values).await;
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn the_audience_must_be_this_server() {
    // S-25
    let scene = Scene::new().await;
    let mut values = invalid_values();
    values.extend([
        json!("other"),
        json!("Tripgate"),
        json!("tripgate "),
        json!(["other"]),
        json!([["tripgate"]]),
    ]);
    scene.assert_claims_rejected("aud", values).await;
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn sub_and_jti_must_be_ids() {
    // S-25
    let scene = Scene::new().await;
    for name in ["sub", "jti"] {
        let mut values = invalid_values();
        values.extend([
            json!("ada"),
            json!(1),
            json!(["ada"]),
            json!("00000000-0000-0000-0000-00000000000g"),
        ]);
        scene.assert_claims_rejected(name, values).await;
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn the_remaining_claims_are_required_and_their_types_are_checked() {
    // S-25
    let scene = Scene::new().await;
    for name in ["client_id", "scope", "auth_time", "amr"] {
        // An empty `amr` is accepted. It names no authentication method, which is harmless, and the server
        // never issues such a token.
        let values = invalid_values().into_iter().filter(|value| name != "amr" || *value != json!([]));
        scene.assert_claims_rejected(name, values).await;
    }
    for scope in ["admin", "account admin", "account  trips:read", "Account", "*"] {
        scene.assert_rejected(scope, &scene.forge.with_claim("scope", Some(json!(scope)))).await;
    }
    for sid in [json!("x"), json!(1), json!([])] {
        scene.assert_rejected(&format!("sid {sid}"), &scene.forge.with_claim("sid", Some(sid))).await;
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn a_token_of_another_deployment_is_rejected() {
    // S-25
    let scene = Scene::new().await;
    let settings = scene.app.settings().clone();
    let (other_audience, other_issuer) = (settings.clone(), settings);
    let audience = TestApp::with(|s| {
        *s = other_audience;
        s.audience = "staging".to_owned();
    });
    let issuer = TestApp::with(|s| {
        *s = other_issuer;
        s.public_url = Some("https://staging.test".to_owned());
    });
    for server in [audience.await, issuer.await] {
        server.anonymous().with_token(scene.ada.token()).get("/api/v1/me").await.expect(401);
        let other = server.log_in("ada").await;
        scene.assert_rejected("from staging", other.token()).await;
        other.get("/api/v1/me").await.expect(200);
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn a_token_of_a_nonexistent_user_has_no_access() {
    // S-28
    let scene = Scene::new().await;
    let nonexistent = "01890a5d-ac96-774b-bcce-b302099a8057";
    let token = scene.forge.with_claim("sub", Some(json!(nonexistent)));
    let client = scene.app.anonymous().with_token(token);
    client.get("/api/v1/me").await.expect(401).problem("invalid_token");
    client.patch("/api/v1/me").json(&json!({ "display_name": "Nobody" })).await.expect(401);
    client.post("/api/v1/trips").json(&json!({ "title": "Nowhere" })).await.expect(401);
    scene.app.clock.advance(TimeDelta::seconds(1));
    assert_eq!(rows::users(&scene.app).await.len(), 1);
    scene.assert_unchanged().await;
}
