//! Step-up with a mailed code, which is valid only in the session that requested it.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{Call, Client, PASSWORD, TestApp, rows};

const CODE: &str = "/api/v1/me/reauthenticate/code";
const REAUTHENTICATE: &str = "/api/v1/me/reauthenticate";
const ADA: &str = "ada@example.org";

async fn start() -> TestApp {
    TestApp::with(|settings| settings.limits = false).await
}

/// Requests a code, and returns the code from the mail with the id of its flow.
async fn mailed(app: &TestApp, client: &Client) -> Value {
    let sent = client.post(CODE).await.expect(202);
    assert_eq!(sent.header("cache-control"), "no-store");
    json!({ "flow_id": sent.json()["flow_id"], "code": app.mail_to(ADA).await.code() })
}

fn prove(client: &Client, proof: &Value) -> Call {
    client.post(REAUTHENTICATE).json(proof)
}

/// Returns the id of the same flow with a wrong code.
fn wrong(proof: &Value) -> Value {
    let code: u32 = proof["code"].as_str().unwrap().parse().unwrap();
    json!({ "flow_id": proof["flow_id"], "code": format!("{:08}", (code + 1) % 100_000_000) })
}

async fn refused(client: &Client, proof: &Value) {
    let reply = prove(client, proof).await.expect(422).problem("invalid_code");
    assert_eq!(reply.field_errors(), [("/code".to_owned(), "invalid_code".to_owned())]);
}

#[tokio::test]
async fn a_mailed_code_counts_as_a_recent_authentication_and_works_only_once() {
    // S-85
    let app = start().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::minutes(6));
    let rename = json!({ "username": "countess" });
    ada.patch("/api/v1/me").json(&rename).await.expect(401).problem("step_up_required");
    let proof = mailed(&app, &ada).await;
    assert_eq!(app.mail_to(ADA).await.link, None);
    let grant = prove(&ada, &proof).await.expect(200).json();
    assert_eq!(grant["session_id"], ada.grant()["session_id"]);
    let recent = ada.with_token(grant["access_token"].as_str().unwrap());
    recent.patch("/api/v1/me").json(&rename).await.expect(200);
    assert_eq!(recent.get("/api/v1/auth/session").await.expect(200).json()["amr"], json!(["pwd", "otp"]));
    let events = recent.get("/api/v1/me/events?limit=2").await.expect(200).json()["items"].clone();
    assert_eq!(
        (&events[0]["type"], &events[1]["type"]),
        (&json!("username_changed"), &json!("reauthenticated"))
    );
    refused(&ada, &proof).await;
}

#[tokio::test]
async fn a_mailed_code_is_refused_in_another_session_without_using_up_its_tries() {
    // S-46, S-85
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let thief = app.log_in("ada").await;
    let eve = app.sign_up("eve").await;
    let script = app.anonymous().post("/api/v1/auth/tokens").basic("ada", PASSWORD).await.expect(200).json();
    let script = ada.with_token(script["access_token"].as_str().unwrap());
    let proof = mailed(&app, &ada).await;
    for other in [&thief, &eve, &script] {
        for _ in 0..5 {
            refused(other, &proof).await;
        }
    }
    prove(&ada, &proof).await.expect(200);
    // A token without a session can request a code too. This code is valid only for tokens without a session.
    let proof = mailed(&app, &script).await;
    refused(&ada, &proof).await;
    prove(&script, &proof).await.expect(200);
}

#[tokio::test]
async fn five_wrong_codes_invalidate_the_mailed_code_and_only_five_parallel_guesses_are_compared() {
    // S-79
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let proof = mailed(&app, &ada).await;
    let guesses = (0..60).map(|_| async { prove(&ada, &wrong(&proof)).await.status });
    let statuses = futures_util::future::join_all(guesses).await;
    assert!(statuses.iter().all(|status| *status == 422), "{statuses:?}");
    assert_eq!(rows::flow_failures(&app).await, [5]);
    refused(&ada, &proof).await;
    ada.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn exactly_one_of_many_parallel_uses_of_a_mailed_code_succeeds() {
    // S-46
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let proof = mailed(&app, &ada).await;
    let uses = (0..20).map(|_| async { prove(&ada, &proof).await.status });
    let statuses = futures_util::future::join_all(uses).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn superseded_codes_expired_codes_and_codes_for_other_purposes_are_refused() {
    // S-26, S-46
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let old = mailed(&app, &ada).await;
    let new = mailed(&app, &ada).await;
    refused(&ada, &old).await;
    let email = json!({ "email": ADA });
    for path in ["/api/v1/auth/login/code", "/api/v1/auth/password/forgot", "/api/v1/auth/email/resend"] {
        let flow = ada.post(path).json(&email).await.expect(202).json();
        let other = json!({ "flow_id": flow["flow_id"], "code": app.mail_to(ADA).await.code() });
        refused(&ada, &other).await;
    }
    let body = json!({ "flow_id": new["flow_id"], "code": new["code"] });
    app.anonymous().post("/api/v1/auth/login/code/confirm").json(&body).await.expect(422);
    prove(&ada, &new).await.expect(200);
    let expired = mailed(&app, &ada).await;
    app.clock.advance(TimeDelta::minutes(15));
    let refresh = json!({ "refresh_token": ada.grant()["refresh_token"] });
    let grant = app.anonymous().post("/api/v1/auth/refresh").json(&refresh).await.expect(200).json();
    refused(&app.anonymous().with_grant(&grant), &expired).await;
}

#[tokio::test]
async fn an_account_without_an_email_address_gets_no_code_for_authenticating_again() {
    let app = start().await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let grant = app.anonymous().post("/api/v1/auth/signup").json(&body).await.expect(201).json();
    let ada = app.anonymous().with_grant(&grant);
    let reply = ada.post(CODE).await.expect(422).problem("invalid");
    assert_eq!(reply.field_errors(), [("/email".to_owned(), "required".to_owned())]);
}

#[tokio::test]
async fn a_mailed_code_must_be_sent_with_its_flow_id_and_without_a_password() {
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let flow = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (body, pointer, code) in [
        (json!({ "code": "12345678" }), "/flow_id", "required"),
        (json!({ "flow_id": flow }), "/code", "required"),
        (json!({ "flow_id": flow, "code": "12345678", "password": PASSWORD }), "/flow_id", "not_allowed"),
    ] {
        let reply = prove(&ada, &body).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    refused(&ada, &json!({ "flow_id": flow, "code": "12345678" })).await;
}
