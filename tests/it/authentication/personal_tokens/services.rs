//! Personal access tokens: introspection and revocation by services, and changes of the master secret.

use std::fs;

use serde_json::json;

use super::{TOKENS, create, with_token};
use crate::harness::{Client, TestApp};

async fn form(client: &Client, path: &str, gate: (&str, &str), token: &str) -> crate::harness::Reply {
    client.post(path).basic(gate.0, gate.1).form(&[("token", token)]).await.expect(200)
}

#[tokio::test]
async fn a_service_can_introspect_and_revoke_a_personal_token() {
    // S-43, S-93
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let added = app.services().clients.add("gate").await.unwrap();
    let gate = (added.id.as_str(), added.secret.as_str());
    let (id, script) = with_token(&ada, "trips:read").await;
    let found = form(&ada, "/api/v1/auth/introspect", gate, script.token()).await.json();
    assert_eq!(
        found,
        json!({
            "active": true, "scope": "trips:read", "client_id": "tripgate", "token_type": "Bearer",
            "iat": app.clock.now().timestamp(), "sub": ada.id(), "aud": "tripgate",
            "iss": "https://tripgate.test", "jti": id,
        })
    );
    let expiring = json!({ "name": "x", "scope": "account", "expires_at": "2026-03-03T08:30:00Z" });
    let expiring = create(&ada, expiring).await;
    let token = expiring["token"].as_str().unwrap();
    let found = form(&ada, "/api/v1/auth/introspect", gate, token).await.json();
    assert_eq!(found["exp"], app.clock.now().timestamp() + 86_400);
    for _ in 0..2 {
        form(&ada, "/api/v1/auth/revoke", gate, script.token()).await;
        let found = form(&ada, "/api/v1/auth/introspect", gate, script.token()).await.json();
        assert_eq!(found, json!({ "active": false }));
    }
    script.get("/api/v1/trips").await.expect(401).problem("invalid_token");
    assert_eq!(ada.get(TOKENS).await.expect(200).json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_personal_token_that_is_used_during_a_secret_rotation_stays_valid_after_the_old_secret_is_removed()
{
    // S-93
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (_, used) = with_token(&ada, "trips:read").await;
    let (_, unused) = with_token(&ada, "trips:read").await;
    let new = "another secret of at least thirty-two bytes";
    let app = app
        .restart_after(|settings| {
            let old = fs::read_to_string(&settings.secret_file).unwrap();
            fs::write(&settings.secret_file, format!("{new}\nold {}", old.trim())).unwrap();
        })
        .await;
    let trips =
        async |app: &TestApp, token: &str| app.anonymous().with_token(token).get("/api/v1/trips").await;
    trips(&app, used.token()).await.expect(200);
    let app = app.restart_after(|settings| fs::write(&settings.secret_file, new).unwrap()).await;
    trips(&app, used.token()).await.expect(200);
    trips(&app, unused.token()).await.expect(401).problem("invalid_token");
}
