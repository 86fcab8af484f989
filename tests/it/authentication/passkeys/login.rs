//! Logging in with a passkey, without an identifier or a password.

use chrono::TimeDelta;
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tripgate::accounts;
use tripgate::config::Signup;
use tripgate::db::StoreError;
use uuid::Uuid;

use super::{LOGIN, OPTIONS, PASSKEYS, list, log_in};
use crate::harness::passkeys::{Device, begin_registration, decode, encode, register, register_with};
use crate::harness::{PASSWORD, Reply, TestApp, email, rows};

#[track_caller]
fn is_rejected(reply: Reply) {
    let reply = reply.expect(401).problem("invalid_credentials");
    assert_eq!(reply.header("www-authenticate"), r#"Bearer realm="tripgate""#);
}

#[tokio::test]
async fn a_passkey_of_each_algorithm_logs_its_user_in() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.sign_up("eve").await;
    for algorithm in [-7, -8, -257] {
        let mut device = register_with(&ada, algorithm).await;
        let mut body = device.log_in(&app.anonymous()).await;
        body["device_name"] = json!("Phone");
        body["scope"] = json!("account trips:read");
        app.clock.advance(TimeDelta::seconds(10));
        let reply = log_in(&app, &body).await.expect(200);
        assert_eq!(reply.header("cache-control"), "no-store");
        let grant = reply.json();
        assert_eq!((&grant["user"]["id"], &grant["scope"]), (&json!(ada.id()), &body["scope"]));
        let client = app.anonymous().with_grant(&grant);
        assert_eq!(client.claims()["amr"], json!(["pop", "mfa"]));
        let sessions = client.get("/api/v1/me/sessions").await.expect(200).json();
        assert!(sessions["items"].as_array().unwrap().iter().any(|one| one["device_name"] == "Phone"));
        let used = list(&ada).await[0].clone();
        assert!(used["last_used_at"].as_str() > used["created_at"].as_str(), "{used}");
        // A login with a passkey is a recent authentication.
        client.post("/api/v1/me/passkeys/options").await.expect(200);
    }
    assert!(rows::events(&app).await.contains(&"login_succeeded".to_owned()));
}

#[tokio::test]
async fn the_options_for_a_passkey_login_contain_no_user_and_no_credential() {
    let app = TestApp::start().await;
    register(&app.sign_up("ada").await).await;
    let empty = app.anonymous().post(OPTIONS).await.expect(200);
    assert_eq!(empty.header("cache-control"), "no-store");
    for reply in [
        empty,
        app.anonymous().post(OPTIONS).json(&json!({})).await.expect(200),
        app.anonymous().post(OPTIONS).json(&json!({ "mfa_token": null })).await.expect(200),
    ] {
        let options = &reply.json()["options"];
        assert_eq!(
            (&options["rpId"], &options["userVerification"]),
            (&json!("tripgate.test"), &json!("required"))
        );
        assert_eq!(options["allowCredentials"], json!([]));
    }
}

/// A change of the device that makes its signed response invalid.
type Violation = fn(&mut Device);

#[tokio::test]
async fn a_wrong_passkey_response_uses_up_the_challenge_and_starts_no_session() {
    // S-92
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let mut device = register(&ada).await;
    let foreign = register(&eve).await;
    let violations: [Violation; 8] = [
        |it| "https://evil.example".clone_into(&mut it.origin),
        |it| "android:apk-key-hash:AAAA".clone_into(&mut it.origin),
        |it| "evil.example".clone_into(&mut it.rp_id),
        |it| it.flags = 0b100,
        |it| it.flags = 0b001,
        |it| it.user_handle = None,
        |it| it.user_handle = Some(b"unknown".to_vec()),
        |it| it.credential_id.push(0),
    ];
    for (number, violate) in violations.iter().enumerate() {
        let mut wrong = register(&ada).await;
        violate(&mut wrong);
        let body = wrong.log_in(&app.anonymous()).await;
        is_rejected(log_in(&app, &body).await);
        ada.delete(&format!("{PASSKEYS}/{}", wrong.id)).await.expect(204);
        let body = json!({ "challenge_id": body["challenge_id"], "credential": device.log_in(&app.anonymous()).await["credential"] });
        let reply = log_in(&app, &body).await;
        assert_eq!(reply.status, 401, "violation {number} left its challenge valid");
    }
    // Send the credential id of Eve's passkey, once with Ada's user handle and once with Eve's.
    for handle in [device.user_handle.clone(), foreign.user_handle.clone()] {
        let mut stolen = register(&ada).await;
        stolen.credential_id.clone_from(&foreign.credential_id);
        stolen.user_handle = handle;
        is_rejected(log_in(&app, &stolen.log_in(&app.anonymous()).await).await);
        ada.delete(&format!("{PASSKEYS}/{}", stolen.id)).await.expect(204);
    }
    let mut body = device.log_in(&app.anonymous()).await;
    let mut signature = decode(&body["credential"]["response"]["signature"]);
    *signature.last_mut().unwrap() ^= 1;
    body["credential"]["response"]["signature"] = json!(encode(&signature));
    is_rejected(log_in(&app, &body).await);
    let is_login = |session: &&entity::sessions::Model| session.amr.contains("pop");
    assert_eq!(rows::sessions(&app).await.iter().filter(is_login).count(), 0);
    log_in(&app, &device.log_in(&app.anonymous()).await).await.expect(200);
}

#[tokio::test]
async fn a_passkey_challenge_is_valid_only_for_its_purpose_and_for_five_minutes() {
    // S-92
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut device = register(&ada).await;
    for path in ["/api/v1/me/passkeys/options", "/api/v1/me/reauthenticate/options"] {
        is_rejected(log_in(&app, &device.respond(&ada, path, &json!({})).await).await);
    }
    let body = device.log_in(&app.anonymous()).await;
    app.clock.advance(TimeDelta::minutes(5));
    is_rejected(log_in(&app, &body).await);
    let unknown = json!({ "challenge_id": app.clock.new_id(), "credential": body["credential"] });
    is_rejected(log_in(&app, &unknown).await);
}

#[tokio::test]
async fn exactly_one_of_fifty_parallel_logins_with_one_challenge_succeeds() {
    // S-92
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let mut device = register(&app.sign_up("ada").await).await;
    let body = device.log_in(&app.anonymous()).await;
    let calls = (0..50).map(|number| {
        let server = if number % 2 == 0 { &app } else { &replica };
        let body = &body;
        async move { log_in(server, body).await.status }
    });
    let statuses = join_all(calls).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 401].contains(status)), "{statuses:?}");
    assert_eq!(rows::sessions(&app).await.iter().filter(|session| session.amr.contains("pop")).count(), 1);
}

#[tokio::test]
async fn the_signature_counter_of_a_passkey_must_grow_unless_it_is_always_zero() {
    // S-92
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for (registered, sent, status) in [
        (0, 0, 200),
        (0, 1, 200),
        (5, 6, 200),
        (5, 5, 401),
        (5, 4, 401),
        (5, 0, 401),
        (u32::MAX, 0, 401),
        (u32::MAX, u32::MAX, 401),
    ] {
        let (challenge, options) = begin_registration(&ada).await;
        let mut device = Device::new(&options, -7);
        device.sign_count = registered;
        let body = json!({ "challenge_id": challenge, "credential": device.attest(&options) });
        ada.post(PASSKEYS).json(&body).await.expect(201);
        device.sign_count = sent;
        let reply = log_in(&app, &device.log_in(&app.anonymous()).await).await;
        assert_eq!(reply.status, status, "{registered}, then {sent}");
        if status == 401 {
            let detail = reply.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with("This passkey is not valid here."), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_login_whose_signature_counter_does_not_grow_is_refused() {
    // S-92
    let app = TestApp::start().await;
    let mut device = register(&app.sign_up("ada").await).await;
    for (sign_count, status) in [(0, 200), (0, 200), (10, 200), (10, 401), (9, 401), (0, 401), (11, 200)] {
        device.sign_count = sign_count;
        let body = device.log_in(&app.anonymous()).await;
        assert_eq!(log_in(&app, &body).await.status, status, "{sign_count}");
    }
}

#[tokio::test]
async fn only_one_of_several_copies_of_a_passkey_with_the_same_counter_logs_in() {
    // S-92
    let app = TestApp::start().await;
    let mut device = register(&app.sign_up("ada").await).await;
    let mut bodies = Vec::new();
    for _ in 0..10 {
        device.sign_count = 42;
        bodies.push(device.log_in(&app.anonymous()).await);
    }
    let statuses = join_all(bodies.iter().map(|body| async { log_in(&app, body).await.status })).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn a_removed_passkey_and_a_deleted_account_cannot_log_in() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut device = register(&ada).await;
    let mut other = register(&ada).await;
    ada.delete(&format!("{PASSKEYS}/{}", device.id)).await.expect(204);
    is_rejected(log_in(&app, &device.log_in(&app.anonymous()).await).await);
    log_in(&app, &other.log_in(&app.anonymous()).await).await.expect(200);
    ada.delete("/api/v1/me").json(&json!({ "password": PASSWORD })).await.expect(204);
    is_rejected(log_in(&app, &other.log_in(&app.anonymous()).await).await);
}

#[tokio::test]
async fn when_a_mailbox_owner_reclaims_an_account_the_passkeys_of_the_previous_user_are_removed() {
    // S-81
    let app = TestApp::start().await;
    let stranger = app.sign_up("ada").await;
    let mut device = register(&stranger).await;
    let begun = app.anonymous().post("/api/v1/auth/login/code").json(&json!({ "email": email("ada") }));
    let flow = begun.await.expect(202).json()["flow_id"].clone();
    let code = app.mail_to(&email("ada")).await.code().to_owned();
    let body = json!({ "flow_id": flow, "code": code });
    let grant = app.anonymous().post("/api/v1/auth/login/code/confirm").json(&body).await.expect(200).json();
    is_rejected(log_in(&app, &device.log_in(&app.anonymous()).await).await);
    assert_eq!(list(&app.anonymous().with_grant(&grant)).await, Vec::<Value>::new());
}

#[tokio::test]
async fn in_the_sign_up_mode_confirm_first_a_passkey_login_requires_a_confirmed_address() {
    // S-92
    let app = TestApp::start().await;
    let mut device = register(&app.sign_up("ada").await).await;
    let strict = app.replica_with(|settings| settings.signup = Signup::ConfirmFirst).await;
    let body = device.log_in(&strict.anonymous()).await;
    log_in(&strict, &body).await.expect(403).problem("unconfirmed_account");
    // The rejected login has used up the challenge.
    is_rejected(log_in(&app, &body).await);
}

async fn set_disabled(app: &TestApp, user: Uuid, is_disabled: bool) {
    let input = (user, is_disabled, app.clock.now());
    let changed: Result<bool, StoreError> = app
        .services()
        .db
        .write(input, |tx, (user, is_disabled, now)| {
            accounts::set_disabled(tx, *user, *is_disabled, *now).boxed()
        })
        .await;
    assert!(changed.unwrap());
}

#[tokio::test]
async fn a_passkey_login_to_a_disabled_account_uses_up_the_challenge_and_the_counter_value() {
    // S-92
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut device = register(&ada).await;
    device.sign_count = 1;
    let body = device.log_in(&app.anonymous()).await;
    let user = ada.id().parse().unwrap();
    set_disabled(&app, user, true).await;
    log_in(&app, &body).await.expect(401).problem("invalid_credentials");
    set_disabled(&app, user, false).await;
    is_rejected(log_in(&app, &body).await);
    // The attempt on the disabled account has recorded the counter value 1, so the value 1 is refused now.
    device.sign_count = 1;
    is_rejected(log_in(&app, &device.log_in(&app.anonymous()).await).await);
    log_in(&app, &device.log_in(&app.anonymous()).await).await.expect(200);
}

#[tokio::test]
async fn a_malformed_passkey_login_gets_422_with_the_invalid_fields() {
    let app = TestApp::start().await;
    let mut device = register(&app.sign_up("ada").await).await;
    let mut body = device.log_in(&app.anonymous()).await;
    body["credential"]["response"] = json!({});
    body["scope"] = json!("everything");
    let reply = app.anonymous().post(LOGIN).json(&body).await.expect(422).problem("invalid");
    let pointers: Vec<String> = reply.field_errors().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(pointers, ["/credential", "/scope"]);
}

#[tokio::test]
async fn requests_for_passkey_options_without_a_known_user_are_limited_by_ip_address() {
    let app = TestApp::with(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let options = |address: &str| app.anonymous().post(OPTIONS).header("x-forwarded-for", address);
    for _ in 0..60 {
        options("2001:db8::1").await.expect(200);
    }
    let refused = options("2001:db8::2").await.expect(429).problem("too_many_attempts");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("ratelimit-policy"), r#""passkey_options";q=60;w=60"#);
    assert_eq!(rows::passkey_challenges(&app).await, 60);
    options("2001:db8:0:1::1").await.expect(200);
    app.clock.advance(TimeDelta::seconds(1));
    options("2001:db8::1").await.expect(200);
    options("2001:db8::1").await.expect(429).problem("too_many_attempts");
    // Requests with an `mfa_token` have no limit by IP address, because the number of challenges of a user is
    // limited.
    let wrong = json!({ "mfa_token": "unknown" });
    options("2001:db8::1").json(&wrong).await.expect(401).problem("invalid_credentials");
}
