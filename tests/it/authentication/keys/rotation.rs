//! Key rotation: manual, automatic, concurrent, under traffic, and with a wrong secret.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use chrono::TimeDelta;
use entity::signing_keys;
use futures_util::future::join_all;
use serde_json::json;
use tripgate::config::{Secret, SigningAlg};
use tripgate::housekeeping::rotate_keys;
use tripgate::secrets::MasterSecret;
use tripgate::tokens::{KeyRotation, MAX_TTL, TokensError};

use super::signers::{Signer, read};
use super::{ALGORITHMS, client_on, key_rotation, signing_with, start_with_same_data, wait_for_propagation};
use crate::harness::{Client, PASSWORD, TestApp, rows};

fn kid(client: &Client) -> String {
    read(client.token(), 0)["kid"].as_str().unwrap().to_owned()
}

async fn published_kids(app: &TestApp) -> Vec<String> {
    let keys = app.anonymous().get("/.well-known/jwks.json").await.expect(200).json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Returns the number of standby, active and retired keys.
async fn count_keys(app: &TestApp) -> [usize; 3] {
    let keys = rows::signing_keys(app).await;
    ["standby", "active", "retired"].map(|status| keys.iter().filter(|key| key.status == status).count())
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_its_tokens_remain_valid_after_rotation() {
    // S-33
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let before = published_kids(&app).await;
    assert_eq!(count_keys(&app).await, [1, 1, 0]);
    let next = key_rotation(&app).rotate().await.unwrap();
    assert_eq!(count_keys(&app).await, [1, 1, 1]);
    wait_for_propagation().await;
    let again = app.log_in("ada").await;
    assert_eq!(kid(&again), next);
    assert!(before.contains(&next) && before.contains(&kid(&ada)) && kid(&ada) != next);
    for client in [&ada, &again] {
        client.get("/api/v1/me").await.expect(200);
        assert!(published_kids(&app).await.contains(&kid(client)));
    }
}

#[tokio::test]
async fn a_retired_key_is_deleted_after_its_last_token_expires() {
    // S-33
    let app = TestApp::with(|settings| settings.access_ttl_secs = 604_800).await;
    let ada = app.sign_up("ada").await;
    let old = Signer::active_key(&app).await;
    key_rotation(&app).rotate().await.unwrap();
    // The process that rotates the keys may have another `access_ttl_secs` than the process that issued the
    // tokens, so the key is retained for the longest lifetime that any setting allows.
    app.clock.advance(TimeDelta::seconds(604_800 - 1));
    rotate_keys(app.services().clone()).await;
    ada.get("/api/v1/me").await.expect(200);
    app.clock.advance(MAX_TTL - TimeDelta::seconds(604_800 - 1));
    rotate_keys(app.services().clone()).await;
    assert!(!rows::signing_keys(&app).await.iter().any(|key| key.kid == kid(&ada)));
    let mut claims = read(ada.token(), 1);
    let now = app.clock.now().timestamp();
    (claims["iat"], claims["exp"]) = (json!(now), json!(now + 900));
    let forged = app.anonymous().with_token(old.token(&read(ada.token(), 0), &claims));
    forged.get("/api/v1/me").await.expect(401).problem("invalid_token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_rotations_leave_exactly_one_active_key() {
    // S-35
    let app = TestApp::start().await;
    let replica = app.replica().await;
    for round in 1..=5 {
        let all = (0..8).map(|number| {
            let keys = key_rotation(if number % 2 == 0 { &app } else { &replica });
            tokio::spawn(async move { keys.rotate().await })
        });
        let mut rotations = 0;
        for result in join_all(all).await {
            match result.unwrap() {
                Ok(_) => rotations += 1,
                Err(TokensError::ConcurrentRotation) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(rotations >= 1, "round {round}");
        let [standby, active, _] = count_keys(&app).await;
        assert_eq!((standby, active), (1, 1), "round {round}");
    }
    app.sign_up("ada").await.get("/api/v1/me").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_rotations_under_traffic_reject_no_valid_token() {
    // S-35. Ada starts more sessions than the default quota allows.
    let app = Arc::new(TestApp::with(|settings| settings.quotas.sessions = 100_000).await);
    let replica = Arc::new(app.replica().await);
    app.sign_up("ada").await;
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let traffic: Vec<_> = (0..4)
        .map(|number| {
            let (one, two) = if number % 2 == 0 { (&app, &replica) } else { (&replica, &app) };
            let (one, two) = (Arc::clone(one), Arc::clone(two));
            let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(async move {
                let first = one.log_in("ada").await;
                while !stop.load(Ordering::Relaxed) {
                    // Use a new token immediately on both replicas, and also use an old token.
                    let fresh = one.log_in("ada").await;
                    for client in [client_on(&two, &fresh), fresh, client_on(&two, &first), first.clone()] {
                        client.get("/api/v1/auth/session").await.expect(200);
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let keys = key_rotation(&app);
    for _ in 0..100 {
        keys.rotate().await.unwrap();
    }
    // Then rotate slowly enough that the replicas notice each rotation.
    for _ in 0..5 {
        keys.rotate().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in traffic {
        task.await.unwrap();
    }
    assert_eq!(count_keys(&app).await, [1, 1, 105]);
    assert!(calls.load(Ordering::Relaxed) > 100, "{calls:?}");
}

#[tokio::test]
async fn a_revoked_key_is_rejected_on_every_replica_within_a_second() {
    // S-34
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    // Both replicas cache the token.
    for client in [&ada, &client_on(&replica, &ada)] {
        client.get("/api/v1/me").await.expect(200);
    }
    assert!(!key_rotation(&app).revoke("unknown").await.unwrap());
    assert!(key_rotation(&app).revoke(&kid(&ada)).await.unwrap());
    wait_for_propagation().await;
    for (server, client) in [(&app, &ada), (&replica, &client_on(&replica, &ada))] {
        client.get("/api/v1/me").await.expect(401).problem("invalid_token");
        assert!(!published_kids(server).await.contains(&kid(&ada)));
        let again = server.log_in("ada").await;
        client_on(&app, &again).get("/api/v1/me").await.expect(200);
        client_on(&replica, &again).get("/api/v1/me").await.expect(200);
    }
    assert_eq!(count_keys(&app).await, [1, 1, 0]);
}

#[tokio::test]
async fn standby_and_retired_keys_can_be_revoked() {
    // S-34
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let keys = key_rotation(&app);
    keys.rotate().await.unwrap();
    let standby =
        |keys: Vec<signing_keys::Model>| keys.into_iter().find(|key| key.status == "standby").unwrap().kid;
    let first = standby(rows::signing_keys(&app).await);
    assert!(keys.revoke(&first).await.unwrap());
    assert_ne!(standby(rows::signing_keys(&app).await), first);
    ada.get("/api/v1/me").await.expect(200);
    assert!(keys.revoke(&kid(&ada)).await.unwrap());
    wait_for_propagation().await;
    ada.get("/api/v1/me").await.expect(401);
    assert_eq!(count_keys(&app).await, [1, 1, 0]);
}

#[tokio::test]
async fn keys_rotate_automatically_every_thirty_days() {
    // S-33
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let first = rows::active_key(&app).await.kid;
    let run_rotation = async || {
        for server in [&app, &replica] {
            rotate_keys(server.services().clone()).await;
        }
    };
    app.clock.advance(TimeDelta::days(30) - TimeDelta::seconds(1));
    run_rotation().await;
    assert_eq!(rows::active_key(&app).await.kid, first);
    app.clock.advance(TimeDelta::seconds(1));
    run_rotation().await;
    run_rotation().await;
    assert_ne!(rows::active_key(&app).await.kid, first);
    assert_eq!(count_keys(&app).await, [1, 1, 1]);
    app.clock.advance(TimeDelta::days(30));
    run_rotation().await;
    assert_eq!(count_keys(&app).await, [1, 1, 1], "the first key is deleted, the second is retired");
}

#[tokio::test]
async fn a_missing_standby_key_is_created_and_published_before_it_signs() {
    // S-33
    let app = TestApp::start().await;
    let active = rows::active_key(&app).await.kid;
    app.clock.advance(TimeDelta::days(40));
    rows::remove_standby(&app).await;
    rotate_keys(app.services().clone()).await;
    assert_eq!(count_keys(&app).await, [1, 1, 0]);
    assert_eq!(rows::active_key(&app).await.kid, active, "the standby key was not published long enough");
    app.clock.advance(TimeDelta::minutes(10));
    rotate_keys(app.services().clone()).await;
    assert_eq!(count_keys(&app).await, [1, 1, 1]);
}

#[tokio::test]
async fn with_a_wrong_master_secret_no_key_is_rotated_or_created() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let wrong = "another secret, set by mistake, of enough bytes";
    let misconfigured =
        start_with_same_data(&app, |settings| settings.secret = Some(Secret::new(wrong))).await;
    let before = rows::signing_keys(&app).await;
    let secret = MasterSecret::parse(wrong, "here").unwrap();
    let keys = KeyRotation::new(&app.services().db, app.clock.clone(), &secret);
    assert!(matches!(keys.rotate().await, Err(TokensError::NoSigningKey)));
    assert!(matches!(keys.reencrypt().await, Err(TokensError::NoSigningKey)));
    assert!(matches!(keys.revoke(&kid(&ada)).await, Err(TokensError::NoSigningKey)));
    // The misconfigured server has a separate clock.
    misconfigured.clock.advance(TimeDelta::days(31));
    rotate_keys(misconfigured.services().clone()).await;
    // When this server starts, it tries to rotate the key, because `signing_alg` has changed.
    let other = start_with_same_data(&app, |settings| {
        settings.secret = Some(Secret::new(wrong));
        settings.signing_alg = SigningAlg::EdDsa;
    });
    let other = other.await;
    assert_eq!(rows::signing_keys(&app).await, before);
    for server in [&misconfigured, &other] {
        let login = json!({ "identifier": "ada", "password": PASSWORD });
        let reply = server.anonymous().post("/api/v1/auth/login").json(&login).await;
        reply.expect(503).problem("no_signing_key");
        // N-2, S-102
        server.anonymous().get("/health/ready").await.expect(503).problem("no_signing_key");
        server.anonymous().get("/health/live").await.expect(200);
    }
    app.anonymous().get("/health/ready").await.expect(200);
    client_on(&other, &ada).get("/api/v1/me").await.expect(200);
    // The failed rotations hold no lease that would block the server with the correct secret.
    app.clock.advance(TimeDelta::days(31));
    rotate_keys(app.services().clone()).await;
    assert_eq!(count_keys(&app).await, [1, 1, 1]);
}

#[tokio::test]
async fn a_server_that_starts_with_another_signing_algorithm_rotates_the_key() {
    for (alg, name) in ALGORITHMS {
        let first = if alg == SigningAlg::Es256 { SigningAlg::Rs256 } else { SigningAlg::Es256 };
        let app = signing_with(first).await;
        let ada = app.sign_up("ada").await;
        let changed = start_with_same_data(&app, |settings| settings.signing_alg = alg).await;
        let again = changed.log_in("ada").await;
        assert_eq!(read(again.token(), 0)["alg"], name);
        // Both servers accept the tokens of both algorithms, and neither server changes the algorithm back.
        for server in [&app, &changed] {
            rotate_keys(server.services().clone()).await;
            for client in [&ada, &again] {
                client_on(server, client).get("/api/v1/me").await.expect(200);
            }
        }
        assert_eq!(rows::active_key(&app).await.alg, name);
        assert_eq!(count_keys(&app).await, [1, 1, 1], "{name}");
        let again = start_with_same_data(&app, |settings| settings.signing_alg = alg).await;
        assert_eq!(count_keys(&again).await, [1, 1, 1], "{name}: rotated once");
    }
}
