//! Timing of failed logins: equal for existing and unknown users.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::{LOGIN, TOKENS, VERIFY, at_cost, try_password};
use crate::harness::{PASSWORD, TestApp, rows};

/// Returns the response times for a wrong password of `user` and for an unknown user, `count` of each,
/// measured in random order and sorted.
async fn response_times(app: &TestApp, path: &str, user: &str, count: usize) -> [Vec<Duration>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    while times.iter().any(|times| times.len() < count) {
        // Choose the kind of user at random, by the last bit of a UUID. With a fixed order, periodic load
        // could affect the times of only one kind.
        let kind = usize::from(Uuid::now_v7().as_bytes()[15] & 1);
        if times[kind].len() == count {
            continue;
        }
        let (identifier, password) = ([user, "bob"][kind], "another harbour");
        let call = match path {
            LOGIN => {
                let body = json!({ "identifier": identifier, "password": password });
                app.anonymous().post(path).json(&body)
            }
            VERIFY => app.anonymous().get(path).basic(identifier, password),
            _ => app.anonymous().post(path).basic(identifier, password),
        };
        let started = Instant::now();
        call.await.expect(401);
        times[kind].push(started.elapsed());
    }
    for times in &mut times {
        times.sort();
    }
    times
}

/// Returns the ratio of the median response times for a wrong password and an unknown user.
async fn ratio(app: &TestApp, path: &str, user: &str) -> f64 {
    let [known, unknown] = response_times(app, path, user, 30).await;
    known[known.len() / 2].as_secs_f64() / unknown[unknown.len() / 2].as_secs_f64()
}

/// Returns the probability that a response for an existing user takes longer than one for an unknown user
/// (the area under the ROC curve). It is 0.5 if an attacker learns nothing from a response time.
#[expect(clippy::cast_precision_loss, reason = "the counts are small")]
fn auc([known, unknown]: &[Vec<Duration>; 2]) -> f64 {
    let wins: f64 = known
        .iter()
        .map(|time| {
            let shorter = unknown.partition_point(|other| other < time);
            let ties = unknown.partition_point(|other| other <= time) - shorter;
            shorter as f64 + ties as f64 / 2.0
        })
        .sum();
    wins / (known.len() * unknown.len()) as f64
}

async fn assert_equal_times(app: &TestApp, path: &str, user: &str) {
    // One round with equal times is enough: a leak affects every round, but load on the machine affects only
    // some rounds.
    let mut rounds = Vec::new();
    while !rounds.last().is_some_and(|ratio| (0.85..1.15).contains(ratio)) {
        assert!(rounds.len() < 5, "{path}: ratios of {user} to an unknown user: {rounds:?}");
        rounds.push(ratio(app, path, user).await);
    }
}

#[tokio::test]
async fn response_times_do_not_reveal_whether_a_user_exists() {
    // S-10, S-11, A-12
    let app = TestApp::with(|settings| (settings.bcrypt_cost, settings.limits) = (7, false)).await;
    // Use one server. Several servers would store events after each request, and only existing users have
    // events, so the times would differ.
    let app = app.single().await;
    app.sign_up("ada").await;
    for path in [LOGIN, VERIFY, TOKENS] {
        let mut rounds = Vec::new();
        while !rounds.last().is_some_and(|auc| (0.45..=0.55).contains(auc)) {
            assert!(rounds.len() < 5, "{path}: areas under the ROC curve: {rounds:?}");
            // With fewer than 150 samples, the area is often outside 0.45 to 0.55, even if no time depends on
            // the user.
            let samples = crate::harness::rounds(150).max(150);
            let times = response_times(&app, path, "ada", samples).await;
            println!("{path}: medians {:?}", times.each_ref().map(|times| times[times.len() / 2]));
            rounds.push(auc(&times));
        }
        println!("{path}: areas under the ROC curve: {rounds:?}");
    }
}

#[tokio::test]
async fn logins_of_known_and_unknown_users_take_equal_time_after_the_hash_cost_is_lowered() {
    // S-10
    let old = TestApp::with(|settings| (settings.bcrypt_cost, settings.limits) = (8, false)).await;
    old.sign_up("ada").await;
    let app = at_cost(&old, 4).await;
    app.sign_up("brian").await;
    app.sign_up("carol").await;
    rows::set_password_hash(&app, "carol", "corrupt").await;
    for user in ["ada", "brian", "carol"] {
        assert_equal_times(&app, LOGIN, user).await;
    }
}

#[tokio::test]
async fn a_server_finds_the_highest_cost_of_the_stored_hashes_when_it_starts() {
    // S-10
    let old = TestApp::with(|settings| (settings.bcrypt_cost, settings.limits) = (9, false)).await;
    old.sign_up("ada").await;
    old.sign_up("brian").await;
    let expensive = unknown(&old).await;
    // Damaged hashes are ignored, even if they state a higher cost, and don't hide the cost of Ada's hash.
    for damaged in ["$2b$99$abc", "$2b$14$short", "zz"] {
        rows::set_password_hash(&old, "brian", damaged).await;
        let app = at_cost(&old, 4).await;
        let mut lowered = unknown(&app).await;
        // The server loads the highest cost of the stored hashes in the background.
        for _ in 0..50 {
            if lowered * 2 > expensive {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            lowered = unknown(&app).await;
        }
        assert!(
            lowered * 2 > expensive && lowered < expensive * 4,
            "{damaged}: {expensive:?} before, {lowered:?} after"
        );
    }
}

#[tokio::test]
async fn responses_for_unknown_users_take_as_long_as_the_most_expensive_hash_seen_so_far() {
    // S-10
    let app = TestApp::with(|settings| settings.limits = false).await;
    app.sign_up("ada").await;
    let expensive = at_cost(&app, 8).await;
    expensive.sign_up("brian").await;
    try_password(&app, "brian", "another harbour").await.expect(401);
    for user in ["ada", "brian"] {
        assert_equal_times(&app, VERIFY, user).await;
    }
}

/// Returns the shortest of five response times for an unknown user.
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
async fn a_higher_bcrypt_cost_makes_a_login_of_an_unknown_user_take_longer() {
    let app = TestApp::with(|settings| settings.limits = false).await;
    app.sign_up("ada").await;
    let (cheap, expensive) = (unknown(&app).await, unknown(&at_cost(&app, 10).await).await);
    assert!(expensive > cheap * 2, "{cheap:?} at cost 4, {expensive:?} at cost 10");
}
