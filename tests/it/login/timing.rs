//! How long a login that fails takes: the same for everybody and nobody.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{LOGIN, VERIFY, at_cost, try_password};
use crate::harness::{PASSWORD, TestApp};
use crate::stored;

/// How much longer a user's wrong password takes than nobody's: medians of alternated tries.
async fn ratio(app: &TestApp, path: &str, user: &str) -> f64 {
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for number in 0..60 {
        let (identifier, times) = if number % 2 == 0 { (user, &mut known) } else { ("bob", &mut unknown) };
        let call = if path == VERIFY {
            app.anonymous().get(path).basic(identifier, "another harbour")
        } else {
            let body = json!({ "identifier": identifier, "password": "another harbour" });
            app.anonymous().post(path).json(&body)
        };
        let started = Instant::now();
        call.await.expect(401);
        times.push(started.elapsed());
    }
    known.sort();
    unknown.sort();
    known[known.len() / 2].as_secs_f64() / unknown[unknown.len() / 2].as_secs_f64()
}

async fn times_are_equal(app: &TestApp, path: &str, user: &str) {
    // A leak shows in every round, a busy machine does not.
    let mut rounds = Vec::new();
    while !rounds.last().is_some_and(|ratio| (0.85..1.15).contains(ratio)) {
        assert!(rounds.len() < 5, "{path}: {user} to unknown {rounds:?}");
        rounds.push(ratio(app, path, user).await);
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_take_the_same_time() {
    // S-10, S-11
    let app = TestApp::with(|settings| settings.bcrypt_cost = 8).await;
    app.sign_up("ada").await;
    for path in [LOGIN, VERIFY] {
        times_are_equal(&app, path, "ada").await;
    }
}

#[tokio::test]
async fn they_take_the_same_time_after_the_cost_was_lowered() {
    // S-10
    let old = TestApp::with(|settings| settings.bcrypt_cost = 8).await;
    old.sign_up("ada").await;
    let app = at_cost(&old, 4).await;
    app.sign_up("brian").await;
    app.sign_up("carol").await;
    stored::set_password_hash(&app, "carol", "corrupt").await;
    for user in ["ada", "brian", "carol"] {
        times_are_equal(&app, LOGIN, user).await;
    }
}

#[tokio::test]
async fn a_server_knows_from_its_start_what_the_dearest_hash_takes() {
    // S-10
    let old = TestApp::with(|settings| settings.bcrypt_cost = 9).await;
    old.sign_up("ada").await;
    old.sign_up("brian").await;
    let dear = unknown(&old).await;
    // What only looks dearer than ada's neither counts nor hides hers.
    for damaged in ["$2b$99$abc", "$2b$14$short", "zz"] {
        stored::set_password_hash(&old, "brian", damaged).await;
        let app = at_cost(&old, 4).await;
        let mut lowered = unknown(&app).await;
        // It learns that beside the first requests.
        for _ in 0..50 {
            if lowered * 2 > dear {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            lowered = unknown(&app).await;
        }
        assert!(lowered * 2 > dear && lowered < dear * 4, "{damaged}: {dear:?} before, {lowered:?} after");
    }
}

#[tokio::test]
async fn a_dearer_hash_that_came_later_is_met_at_its_first_try() {
    // S-10
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let dearer = at_cost(&app, 8).await;
    dearer.sign_up("brian").await;
    try_password(&app, "brian", "another harbour").await.expect(401);
    for user in ["ada", "brian"] {
        times_are_equal(&app, VERIFY, user).await;
    }
}

/// What the try of an unknown user takes; the best of some.
async fn unknown(app: &TestApp) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        try_password(app, "nobody", PASSWORD).await.expect(401);
        best = best.min(started.elapsed());
    }
    best
}

#[tokio::test]
async fn a_higher_cost_takes_longer() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let (cheap, dear) = (unknown(&app).await, unknown(&at_cost(&app, 10).await).await);
    assert!(dear > cheap * 2, "{cheap:?} at cost 4, {dear:?} at cost 10");
}
