//! The claims, each of them under the server's real signature: what is missing, of another kind, for
//! somebody else, or out of time.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Scene;
use crate::harness::{PUBLIC_URL, TestApp};

impl Scene {
    async fn refuses_claims(&self, name: &str, values: impl IntoIterator<Item = Value>) {
        self.refuses(&format!("no {name}"), &self.forge.claim(name, None)).await;
        for value in values {
            let what = format!("{name} {value}");
            self.refuses(&what, &self.forge.claim(name, Some(value))).await;
        }
    }

    fn now(&self) -> i64 {
        self.app.clock.now().timestamp()
    }
}

/// No claim of ours is any of these.
fn of_other_kinds() -> Vec<Value> {
    vec![json!(null), json!(true), json!([]), json!({}), json!(""), json!(" "), json!("x"), json!(-1.5)]
}

#[tokio::test]
async fn exp_must_be_a_representable_number_of_seconds() {
    // S-24, S-25
    let scene = Scene::set().await;
    let exp = scene.forge.claims()["exp"].as_i64().unwrap();
    let mut values = of_other_kinds();
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
    scene.refuses_claims("exp", values).await;
    scene.takes("29 s late", &scene.forge.claim("exp", Some(json!(scene.now() - 29)))).await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn the_maximum_exp_causes_no_overflow() {
    // S-24
    let scene = Scene::set().await;
    let last = chrono::DateTime::<chrono::Utc>::MAX_UTC.timestamp();
    for exp in [last, last - 29, last - 31] {
        let token = scene.forge.claim("exp", Some(json!(exp)));
        let reply = scene.app.anonymous().with_token(token).get("/api/v1/me").await;
        assert!([200, 401].contains(&reply.status), "{}", reply.text());
    }
}

#[tokio::test]
async fn nbf_must_be_a_number_that_is_not_in_the_future() {
    // S-24
    let scene = Scene::set().await;
    let now = scene.now();
    let late = [json!(now + 31), json!(now + 3600), json!(1e300), json!(i64::MAX), json!(now.to_string())];
    for value in late.into_iter().chain(of_other_kinds().into_iter().filter(|value| !value.is_null())) {
        scene.refuses(&format!("nbf {value}"), &scene.forge.claim("nbf", Some(value))).await;
    }
    for value in [now, now - 3600, now + 29] {
        scene.takes(&format!("nbf {value}"), &scene.forge.claim("nbf", Some(json!(value)))).await;
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_token_issued_in_the_future_is_rejected() {
    // S-24
    let scene = Scene::set().await;
    let now = scene.now();
    let mut values = of_other_kinds();
    values.extend([
        json!(now + 31),
        json!(now + 86_400),
        json!(i64::MAX),
        json!(1e300),
        json!(now.to_string()),
    ]);
    scene.refuses_claims("iat", values).await;
    scene.takes("29 s ahead", &scene.forge.claim("iat", Some(json!(now + 29)))).await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn the_issuer_must_be_this_server() {
    // S-25
    let scene = Scene::set().await;
    let mut values = of_other_kinds();
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
    scene.refuses_claims("iss", values).await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn the_audience_must_be_this_server() {
    // S-25
    let scene = Scene::set().await;
    let mut values = of_other_kinds();
    values.extend([
        json!("other"),
        json!("Tripgate"),
        json!("tripgate "),
        json!(["other"]),
        json!([["tripgate"]]),
    ]);
    scene.refuses_claims("aud", values).await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn sub_and_jti_must_be_ids() {
    // S-25
    let scene = Scene::set().await;
    for name in ["sub", "jti"] {
        let mut values = of_other_kinds();
        values.extend([
            json!("ada"),
            json!(1),
            json!(["ada"]),
            json!("00000000-0000-0000-0000-00000000000g"),
        ]);
        scene.refuses_claims(name, values).await;
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn every_other_claim_is_required_and_type_checked() {
    // S-25
    let scene = Scene::set().await;
    for name in ["client_id", "scope", "auth_time", "amr"] {
        // An empty list of methods says that nothing was proven: it harms nobody, and we never write it.
        let values = of_other_kinds().into_iter().filter(|value| name != "amr" || *value != json!([]));
        scene.refuses_claims(name, values).await;
    }
    for scope in ["admin", "account admin", "account  trips:read", "Account", "*"] {
        scene.refuses(scope, &scene.forge.claim("scope", Some(json!(scope)))).await;
    }
    for sid in [json!("x"), json!(1), json!([])] {
        scene.refuses(&format!("sid {sid}"), &scene.forge.claim("sid", Some(sid))).await;
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_token_of_another_deployment_is_rejected() {
    // S-25
    let scene = Scene::set().await;
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
        scene.refuses("staging's", other.token()).await;
        other.get("/api/v1/me").await.expect(200);
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_token_of_a_nonexistent_user_has_no_access() {
    // S-28
    let scene = Scene::set().await;
    let stranger = "01890a5d-ac96-774b-bcce-b302099a8057";
    let token = scene.forge.claim("sub", Some(json!(stranger)));
    let client = scene.app.anonymous().with_token(token);
    client.get("/api/v1/me").await.expect(401).problem("invalid_token");
    client.patch("/api/v1/me").json(&json!({ "display_name": "Nobody" })).await.expect(401);
    client.post("/api/v1/trips").json(&json!({ "title": "Nowhere" })).await.expect(401);
    scene.app.clock.advance(TimeDelta::seconds(1));
    assert_eq!(crate::stored::users(&scene.app).await.len(), 1);
    scene.is_unharmed().await;
}
