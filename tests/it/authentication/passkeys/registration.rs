//! Registering, listing, renaming and removing passkeys.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tripgate::app::{Creation, StartMode};
use tripgate::config::PasskeySettings;
use tripgate::housekeeping::sweep;
use tripgate::passkeys::MAX_PASSKEYS;

use super::{PASSKEYS, list, rename};
use crate::harness::passkeys::{Device, begin_registration, decode, register, register_with};
use crate::harness::{Client, PUBLIC_URL, Reply, TestApp, rows};

async fn create(client: &Client, challenge: &Value, credential: &Value) -> Reply {
    client.post(PASSKEYS).json(&json!({ "challenge_id": challenge, "credential": credential })).await
}

#[track_caller]
fn is_rejected(reply: Reply) {
    let reply = reply.expect(422).problem("invalid");
    assert_eq!(reply.field_errors(), [("/credential".to_owned(), "invalid_passkey".to_owned())]);
}

#[tokio::test]
async fn registration_options_require_user_verification_and_no_attestation() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let known = register(&ada).await;
    let reply = ada.post("/api/v1/me/passkeys/options").await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    let body = reply.json();
    assert_eq!(body["expires_at"], "2026-03-02T08:35:00.000Z");
    let options = &body["options"];
    assert_eq!(decode(&options["challenge"]).len(), 32);
    assert_eq!(options["rp"], json!({ "id": "tripgate.test", "name": "tripgate.test" }));
    let user = &options["user"];
    assert_eq!(decode(&user["id"]), ada.id().parse::<uuid::Uuid>().unwrap().as_bytes());
    assert_eq!((&user["name"], &user["displayName"]), (&json!("ada@example.org"), &json!("ada@example.org")));
    let algorithms = options["pubKeyCredParams"].as_array().unwrap().iter().map(|one| one["alg"].clone());
    assert_eq!(algorithms.collect::<Vec<_>>(), [-7, -8, -257]);
    let selection = &options["authenticatorSelection"];
    assert_eq!(
        (&selection["residentKey"], &selection["userVerification"]),
        (&json!("required"), &json!("required"))
    );
    assert_eq!((&options["attestation"], &options["timeout"]), (&json!("none"), &json!(300_000)));
    let excluded = options["excludeCredentials"].as_array().unwrap();
    assert_eq!(excluded.len(), 1);
    assert_eq!(decode(&excluded[0]["id"]), known.credential_id);
    assert_eq!(excluded[0]["transports"], json!(["hybrid", "internal"]));
}

#[tokio::test]
async fn passkeys_of_all_algorithms_are_registered_listed_renamed_and_removed() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (challenge, options) = begin_registration(&ada).await;
    let mut device = Device::new(&options, -7);
    device.flags |= 0b1_1000;
    let body = json!({ "challenge_id": challenge, "credential": device.attest(&options), "name": "Phone" });
    let created = ada.post(PASSKEYS).json(&body).await.expect(201).json();
    assert_eq!((&created["name"], &created["backed_up"]), (&json!("Phone"), &json!(true)));
    assert!(created.get("last_used_at").is_none(), "{created}");
    app.clock.advance(TimeDelta::seconds(1));
    for algorithm in [-8, -257] {
        register_with(&ada, algorithm).await;
        app.clock.advance(TimeDelta::seconds(1));
    }
    let names: Vec<Value> = list(&ada).await.iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["Passkey", "Passkey", "Phone"]);
    assert_eq!(list(&ada).await[2], created);
    let id = created["id"].as_str().unwrap();
    let renamed = rename(&ada, id, "Old phone").await.expect(200).json();
    assert_eq!(renamed["name"], "Old phone");
    assert_eq!(rename(&ada, id, "Old phone").await.expect(200).json(), renamed);
    let path = format!("{PASSKEYS}/{id}");
    ada.delete(&path).await.expect(204);
    ada.delete(&path).await.expect(404).problem("not_found");
    rename(&ada, id, "Gone").await.expect(404).problem("not_found");
    assert_eq!(list(&ada).await.len(), 2);
    // A passkey without an authenticator app does not enable the second factor.
    assert_eq!(ada.get("/api/v1/me").await.expect(200).json()["mfa_enabled"], false);
    let kinds = rows::events(&app).await;
    let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
    assert_eq!((count("passkey_added"), count("passkey_removed")), (3, 1));
}

#[tokio::test]
async fn changing_passkeys_requires_a_recent_authentication() {
    // S-85
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let device = register(&ada).await;
    let (challenge, options) = begin_registration(&ada).await;
    let credential = Device::new(&options, -7).attest(&options);
    app.clock.advance(TimeDelta::minutes(6));
    let path = format!("{PASSKEYS}/{}", device.id);
    for call in [
        ada.post("/api/v1/me/passkeys/options"),
        ada.post(PASSKEYS).json(&json!({ "challenge_id": challenge, "credential": credential })),
        ada.patch(&path).json(&json!({ "name": "Mine" })),
        ada.delete(&path),
    ] {
        call.await.expect(401).problem("step_up_required");
    }
    assert_eq!(list(&ada).await.len(), 1);
}

#[tokio::test]
async fn a_registration_challenge_is_valid_for_one_use_within_five_minutes_and_only_for_its_user() {
    // S-92
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let (challenge, options) = begin_registration(&ada).await;
    let credential = Device::new(&options, -7).attest(&options);
    is_rejected(create(&eve, &challenge, &credential).await);
    create(&ada, &challenge, &credential).await.expect(201);
    is_rejected(create(&ada, &challenge, &Device::new(&options, -7).attest(&options)).await);
    // A failed attempt uses the challenge up too.
    let (challenge, options) = begin_registration(&ada).await;
    let mut device = Device::new(&options, -7);
    "https://evil.example".clone_into(&mut device.origin);
    is_rejected(create(&ada, &challenge, &device.attest(&options)).await);
    PUBLIC_URL.clone_into(&mut device.origin);
    is_rejected(create(&ada, &challenge, &device.attest(&options)).await);
    // A response is not valid for another challenge.
    let (first, _) = begin_registration(&ada).await;
    let (_, options) = begin_registration(&ada).await;
    is_rejected(create(&ada, &first, &Device::new(&options, -7).attest(&options)).await);
    let (challenge, options) = begin_registration(&ada).await;
    app.clock.advance(TimeDelta::minutes(5));
    is_rejected(create(&ada, &challenge, &Device::new(&options, -7).attest(&options)).await);
    assert_eq!(list(&ada).await.len(), 1);
}

#[tokio::test]
async fn exactly_one_of_fifty_parallel_registrations_with_one_challenge_succeeds() {
    // S-92
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let ada_there = replica.anonymous().with_grant(ada.grant());
    let (challenge, options) = begin_registration(&ada).await;
    let calls = (0..50).map(|number| {
        let client = if number % 2 == 0 { &ada } else { &ada_there };
        let credential = Device::new(&options, -7).attest(&options);
        let challenge = &challenge;
        async move { create(client, challenge, &credential).await.status }
    });
    let statuses = join_all(calls).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 422].contains(status)), "{statuses:?}");
    assert_eq!(list(&ada).await.len(), 1);
}

#[tokio::test]
async fn a_credential_id_cannot_be_registered_twice_even_by_another_user() {
    // S-92
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let device = register(&ada).await;
    for client in [&eve, &ada] {
        let (challenge, options) = begin_registration(client).await;
        let mut copy = Device::new(&options, -7);
        copy.credential_id.clone_from(&device.credential_id);
        let reply = create(client, &challenge, &copy.attest(&options)).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), [("/credential".to_owned(), "already_registered".to_owned())]);
        // The rejected registration has used up the challenge.
        is_rejected(create(client, &challenge, &Device::new(&options, -7).attest(&options)).await);
    }
    assert_eq!((list(&ada).await.len(), list(&eve).await.len()), (1, 0));
}

#[tokio::test]
async fn a_malformed_passkey_credential_gets_422_with_invalid_format() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (challenge, options) = begin_registration(&ada).await;
    let valid = Device::new(&options, -7).attest(&options);
    for (pointer, value) in [
        ("/id", json!("b3RoZXI")),
        ("/rawId", json!("not base64url!")),
        ("/type", json!("password")),
        ("/response", json!({})),
        ("/response/clientDataJSON", json!(7)),
        ("/response/attestationObject", json!("++//")),
    ] {
        let mut credential = valid.clone();
        *credential.pointer_mut(pointer).unwrap() = value;
        let reply = create(&ada, &challenge, &credential).await.expect(422).problem("invalid");
        assert_eq!(
            reply.field_errors(),
            [("/credential".to_owned(), "invalid_format".to_owned())],
            "{pointer}"
        );
    }
    // Fields that the server does not use are ignored, and Base64 padding is accepted.
    let mut credential = valid;
    credential["response"]["publicKey"] = json!("AAAA");
    credential["unknown"] = json!([1]);
    for name in ["id", "rawId"] {
        credential[name] = json!(format!("{}==", credential[name].as_str().unwrap()));
    }
    create(&ada, &challenge, &credential).await.expect(201);
}

#[tokio::test]
async fn a_user_has_at_most_twenty_passkeys() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (challenge, options) = begin_registration(&ada).await;
    let first = register(&ada).await;
    for _ in 1..MAX_PASSKEYS {
        register(&ada).await;
    }
    ada.post("/api/v1/me/passkeys/options").await.expect(507).problem("quota_exceeded");
    let credential = Device::new(&options, -7).attest(&options);
    create(&ada, &challenge, &credential).await.expect(507).problem("quota_exceeded");
    assert_eq!(list(&ada).await.len() as u64, MAX_PASSKEYS);
    // The rejected registration has used up the challenge. A retry fails even after a passkey is removed.
    ada.delete(&format!("{PASSKEYS}/{}", first.id)).await.expect(204);
    is_rejected(create(&ada, &challenge, &credential).await);
}

#[tokio::test]
async fn a_user_has_at_most_twenty_unused_passkey_challenges() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut begun = Vec::new();
    for _ in 0..22 {
        begun.push(begin_registration(&ada).await);
    }
    assert_eq!(rows::passkey_challenges(&app).await, 20);
    // The two oldest challenges were replaced. The third and the newest are valid.
    for (number, status) in [(0, 422), (1, 422), (2, 201), (21, 201)] {
        let (challenge, options) = &begun[number];
        let reply = create(&ada, challenge, &Device::new(options, -7).attest(options)).await;
        assert_eq!(reply.status, status, "{number}: {}", reply.text());
    }
}

#[tokio::test]
async fn expired_passkey_challenges_are_deleted() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for _ in 0..3 {
        begin_registration(&ada).await;
        app.anonymous().post(super::OPTIONS).await.expect(200);
    }
    assert_eq!(rows::passkey_challenges(&app).await, 6);
    app.clock.advance(TimeDelta::minutes(6));
    sweep(app.services().clone()).await;
    assert_eq!(rows::passkey_challenges(&app).await, 0);
    ada.delete("/api/v1/me").json(&json!({ "password": crate::harness::PASSWORD })).await.expect(204);
}

#[tokio::test]
async fn the_passkey_domain_cannot_change_after_the_first_registration() {
    let settings = |rp_id: &str| PasskeySettings { rp_id: Some(rp_id.to_owned()), origins: None };
    let app = TestApp::with(|it| it.passkeys = settings("example.org")).await;
    // The domain can be changed while no passkey is registered.
    let app = app.replica_with(|it| it.passkeys = settings("tripgate.test")).await;
    let ada = app.sign_up("ada").await;
    register(&ada).await;
    let mut moved = app.settings().clone();
    moved.passkeys = settings("example.org");
    let mode = StartMode { creation: Creation::First, exclusive: false };
    let other = tripgate::app::build(&moved, app.clock.clone(), PUBLIC_URL.to_owned(), mode);
    let error = other.await.unwrap_err().to_string();
    assert!(error.contains("TRIPGATE_PASSKEY_RP_ID=tripgate.test"), "{error}");
}
