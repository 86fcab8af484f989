//! Rotation: by hand, by itself, by several at once, under traffic, and never by mistake.

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
use super::{ALGORITHMS, a_second, beside, lifecycle, on, signing_with};
use crate::harness::{Client, PASSWORD, TestApp};
use crate::stored;

fn kid(client: &Client) -> String {
    read(client.token(), 0)["kid"].as_str().unwrap().to_owned()
}

async fn shown(app: &TestApp) -> Vec<String> {
    let keys = app.anonymous().get("/.well-known/jwks.json").await.expect(200).json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// How many keys are standby, active, retired.
async fn census(app: &TestApp) -> [usize; 3] {
    let keys = stored::signing_keys(app).await;
    ["standby", "active", "retired"].map(|status| keys.iter().filter(|key| key.status == status).count())
}

#[tokio::test]
async fn a_key_is_shown_before_it_signs_and_its_tokens_outlive_it() {
    // S-33
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let before = shown(&app).await;
    assert_eq!(census(&app).await, [1, 1, 0]);
    let next = lifecycle(&app).rotate().await.unwrap();
    assert_eq!(census(&app).await, [1, 1, 1]);
    a_second().await;
    let again = app.log_in("ada").await;
    assert_eq!(kid(&again), next);
    assert!(before.contains(&next) && before.contains(&kid(&ada)) && kid(&ada) != next);
    for client in [&ada, &again] {
        client.get("/api/v1/me").await.expect(200);
        assert!(shown(&app).await.contains(&kid(client)));
    }
}

#[tokio::test]
async fn a_retired_key_goes_when_its_last_token_has_expired() {
    // S-33
    let app = TestApp::with(|settings| settings.access_ttl_secs = 604_800).await;
    let ada = app.sign_up("ada").await;
    let old = Signer::of(&app).await;
    lifecycle(&app).rotate().await.unwrap();
    // Whatever the settings of whoever rotated: the longest token is still good at its end.
    app.clock.advance(TimeDelta::seconds(604_800 - 1));
    rotate_keys(app.rooms().clone()).await;
    ada.get("/api/v1/me").await.expect(200);
    app.clock.advance(MAX_TTL - TimeDelta::seconds(604_800 - 1));
    rotate_keys(app.rooms().clone()).await;
    assert!(!stored::signing_keys(&app).await.iter().any(|key| key.kid == kid(&ada)));
    let mut claims = read(ada.token(), 1);
    let now = app.clock.now().timestamp();
    (claims["iat"], claims["exp"]) = (json!(now), json!(now + 900));
    let forged = app.anonymous().with_token(old.token(&read(ada.token(), 0), &claims));
    forged.get("/api/v1/me").await.expect(401).problem("invalid_token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_rotate_at_once_exactly_one_does_and_one_key_is_active() {
    // S-35
    let app = TestApp::start().await;
    let replica = app.replica().await;
    for round in 1..=5 {
        let all = (0..8).map(|number| {
            let keys = lifecycle(if number % 2 == 0 { &app } else { &replica });
            tokio::spawn(async move { keys.rotate().await })
        });
        let mut done = 0;
        for result in join_all(all).await {
            match result.unwrap() {
                Ok(_) => done += 1,
                Err(TokensError::ConcurrentRotation) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(done >= 1, "round {round}");
        let [standby, active, _] = census(&app).await;
        assert_eq!((standby, active), (1, 1), "round {round}");
    }
    app.sign_up("ada").await.get("/api/v1/me").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_rotations_under_traffic_refuse_no_good_token() {
    // S-35
    let app = Arc::new(TestApp::start().await);
    let replica = Arc::new(app.replica().await);
    app.sign_up("ada").await;
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let traffic: Vec<_> = (0..4)
        .map(|number| {
            let (one, two) = if number % 2 == 0 { (&app, &replica) } else { (&replica, &app) };
            let (one, two) = (Arc::clone(one), Arc::clone(two));
            let (over, calls) = (Arc::clone(&over), Arc::clone(&calls));
            tokio::spawn(async move {
                let first = one.log_in("ada").await;
                while !over.load(Ordering::Relaxed) {
                    // Minted here, shown there at once; and one that was minted long ago.
                    let fresh = one.log_in("ada").await;
                    for client in [on(&two, &fresh), fresh, on(&two, &first), first.clone()] {
                        client.get("/api/v1/auth/session").await.expect(200);
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let keys = lifecycle(&app);
    for _ in 0..100 {
        keys.rotate().await.unwrap();
    }
    // Then at the pace at which the replicas learn of it.
    for _ in 0..5 {
        keys.rotate().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    }
    over.store(true, Ordering::Relaxed);
    for task in traffic {
        task.await.unwrap();
    }
    assert_eq!(census(&app).await, [1, 1, 105]);
    assert!(calls.load(Ordering::Relaxed) > 100, "{calls:?}");
}

#[tokio::test]
async fn a_revoked_key_is_refused_on_every_replica_within_a_second() {
    // S-34
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    // Both remember the token.
    for client in [&ada, &on(&replica, &ada)] {
        client.get("/api/v1/me").await.expect(200);
    }
    assert!(!lifecycle(&app).revoke("nobody").await.unwrap());
    assert!(lifecycle(&app).revoke(&kid(&ada)).await.unwrap());
    a_second().await;
    for (server, client) in [(&app, &ada), (&replica, &on(&replica, &ada))] {
        client.get("/api/v1/me").await.expect(401).problem("invalid_token");
        assert!(!shown(server).await.contains(&kid(&ada)));
        let again = server.log_in("ada").await;
        on(&app, &again).get("/api/v1/me").await.expect(200);
        on(&replica, &again).get("/api/v1/me").await.expect(200);
    }
    assert_eq!(census(&app).await, [1, 1, 0]);
}

#[tokio::test]
async fn a_standby_and_a_retired_key_can_be_revoked_too() {
    // S-34
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let keys = lifecycle(&app);
    keys.rotate().await.unwrap();
    let standby =
        |keys: Vec<signing_keys::Model>| keys.into_iter().find(|key| key.status == "standby").unwrap().kid;
    let first = standby(stored::signing_keys(&app).await);
    assert!(keys.revoke(&first).await.unwrap());
    assert_ne!(standby(stored::signing_keys(&app).await), first);
    ada.get("/api/v1/me").await.expect(200);
    assert!(keys.revoke(&kid(&ada)).await.unwrap());
    a_second().await;
    ada.get("/api/v1/me").await.expect(401);
    assert_eq!(census(&app).await, [1, 1, 0]);
}

#[tokio::test]
async fn keys_rotate_by_themselves_every_thirty_days() {
    // S-33
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let first = stored::active_key(&app).await.kid;
    let keep = async || {
        for server in [&app, &replica] {
            rotate_keys(server.rooms().clone()).await;
        }
    };
    app.clock.advance(TimeDelta::days(30) - TimeDelta::seconds(1));
    keep().await;
    assert_eq!(stored::active_key(&app).await.kid, first);
    app.clock.advance(TimeDelta::seconds(1));
    keep().await;
    keep().await;
    assert_ne!(stored::active_key(&app).await.kid, first);
    assert_eq!(census(&app).await, [1, 1, 1]);
    app.clock.advance(TimeDelta::days(30));
    keep().await;
    assert_eq!(census(&app).await, [1, 1, 1], "the first is gone, the second retired");
}

#[tokio::test]
async fn an_older_database_gets_a_standby_that_is_shown_before_it_signs() {
    // S-33
    let app = TestApp::start().await;
    let active = stored::active_key(&app).await.kid;
    app.clock.advance(TimeDelta::days(40));
    stored::remove_standby(&app).await;
    rotate_keys(app.rooms().clone()).await;
    assert_eq!(census(&app).await, [1, 1, 0]);
    assert_eq!(stored::active_key(&app).await.kid, active, "nobody knew the standby yet");
    app.clock.advance(TimeDelta::minutes(10));
    rotate_keys(app.rooms().clone()).await;
    assert_eq!(census(&app).await, [1, 1, 1]);
}

#[tokio::test]
async fn under_a_wrong_secret_nothing_rotates_and_no_key_is_made() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let wrong = "another secret, given by mistake, of enough bytes";
    let mistaken = beside(&app, |settings| settings.secret = Some(Secret::new(wrong))).await;
    let before = stored::signing_keys(&app).await;
    let secret = MasterSecret::given(wrong, "here").unwrap();
    let keys = KeyRotation::new(&app.rooms().db, app.clock.clone(), &secret);
    assert!(matches!(keys.rotate().await, Err(TokensError::NoSigningKey)));
    assert!(matches!(keys.reencrypt().await, Err(TokensError::NoSigningKey)));
    assert!(matches!(keys.revoke(&kid(&ada)).await, Err(TokensError::NoSigningKey)));
    // The clock of the mistaken server is its own.
    mistaken.clock.advance(TimeDelta::days(31));
    rotate_keys(mistaken.rooms().clone()).await;
    // A change of algorithm is one of the key too.
    let other = beside(&app, |settings| {
        settings.secret = Some(Secret::new(wrong));
        settings.signing_alg = SigningAlg::EdDsa;
    });
    let other = other.await;
    assert_eq!(stored::signing_keys(&app).await, before);
    for server in [&mistaken, &other] {
        let login = json!({ "identifier": "ada", "password": PASSWORD });
        let reply = server.anonymous().post("/api/v1/auth/login").json(&login).await;
        reply.expect(503).problem("no_signing_key");
    }
    on(&other, &ada).get("/api/v1/me").await.expect(200);
    // Who has the right one is not kept from it by a lease.
    app.clock.advance(TimeDelta::days(31));
    rotate_keys(app.rooms().clone()).await;
    assert_eq!(census(&app).await, [1, 1, 1]);
}

#[tokio::test]
async fn a_change_of_algorithm_is_a_rotation_at_the_start() {
    for (alg, name) in ALGORITHMS {
        let first = if alg == SigningAlg::Es256 { SigningAlg::Rs256 } else { SigningAlg::Es256 };
        let app = signing_with(first).await;
        let ada = app.sign_up("ada").await;
        let changed = beside(&app, |settings| settings.signing_alg = alg).await;
        let again = changed.log_in("ada").await;
        assert_eq!(read(again.token(), 0)["alg"], name);
        // Either server takes either token, and neither changes it back.
        for server in [&app, &changed] {
            rotate_keys(server.rooms().clone()).await;
            for client in [&ada, &again] {
                on(server, client).get("/api/v1/me").await.expect(200);
            }
        }
        assert_eq!(stored::active_key(&app).await.alg, name);
        assert_eq!(census(&app).await, [1, 1, 1], "{name}");
        let again = beside(&app, |settings| settings.signing_alg = alg).await;
        assert_eq!(census(&again).await, [1, 1, 1], "{name}: it is done once");
    }
}
