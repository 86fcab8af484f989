//! Recovery codes.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::complete;
use crate::harness::totp::mfa_token;
use crate::harness::{Client, TestApp, rounds};

const CODES: &str = "/api/v1/me/recovery-codes";

async fn remaining(client: &Client) -> Value {
    client.get(CODES).await.expect(200).json()["remaining"].clone()
}

async fn log_in_with(app: &TestApp, code: &str) -> u16 {
    let token = mfa_token(&app.anonymous(), "ada").await;
    complete(app, &token, "recovery_code", code).await.status
}

#[tokio::test]
async fn each_recovery_code_logs_in_once_without_the_app() {
    // S-52, S-91
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    assert_eq!(remaining(&ada.client).await, json!(10));
    assert_eq!(log_in_with(&app, &ada.recovery_codes[0]).await, 200);
    assert_eq!(log_in_with(&app, &ada.recovery_codes[0]).await, 401);
    let typed = ada.recovery_codes[1].to_uppercase().replace('-', " ");
    assert_eq!(log_in_with(&app, &typed).await, 200);
    assert_eq!(log_in_with(&app, "aaaa-aaaa-aaaa-aaaa").await, 401);
    assert_eq!(remaining(&ada.client).await, json!(8));
    // After a login with a recovery code, the user removes the app of the lost phone. The next login needs no
    // second factor.
    let token = mfa_token(&app.anonymous(), "ada").await;
    let grant = complete(&app, &token, "recovery_code", &ada.recovery_codes[2]).await.expect(200).json();
    let client = app.anonymous().with_grant(&grant);
    client.delete("/api/v1/me/totp").await.expect(204);
    app.log_in("ada").await;
    assert_eq!(remaining(&client).await, json!(0));
}

#[tokio::test]
async fn exactly_one_of_fifty_parallel_uses_of_a_recovery_code_succeeds() {
    // S-91
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up_with_totp("ada").await;
    let tokens = join_all((0..10).map(|_| async { mfa_token(&app.anonymous(), "ada").await })).await;
    let calls = (0..50).map(|number| {
        let server = if number % 2 == 0 { &app } else { &replica };
        let (token, code) = (&tokens[number % tokens.len()], &ada.recovery_codes[3]);
        async move { complete(server, token, "recovery_code", code).await.status }
    });
    let statuses = join_all(calls).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(remaining(&ada.client).await, json!(9));
}

#[tokio::test]
async fn parallel_requests_for_new_recovery_codes_leave_ten_valid_codes() {
    // S-91
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up_with_totp("ada").await;
    let on_replica = replica.anonymous().with_token(ada.client.token());
    for _ in 0..rounds(10) {
        let replies =
            join_all([&ada.client, &on_replica, &ada.client].map(|at| at.post(CODES).into_future()));
        for reply in replies.await {
            reply.expect(200);
        }
        assert_eq!(remaining(&ada.client).await, json!(10));
    }
}

#[tokio::test]
async fn new_recovery_codes_replace_the_old_ones() {
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    let reply = ada.client.post(CODES).await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    let new = reply.json()["recovery_codes"].clone();
    assert_eq!(new.as_array().unwrap().len(), 10);
    assert_eq!(log_in_with(&app, &ada.recovery_codes[0]).await, 401);
    assert_eq!(log_in_with(&app, new[0].as_str().unwrap()).await, 200);
    let eve = app.sign_up("eve").await;
    eve.post(CODES).await.expect(404).problem("not_found");
    assert_eq!(remaining(&eve).await, json!(0));
}
