//! Concurrent requests of one session or user on three replicas: all replicas agree, and no status is 5xx.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::{assert_rejected, has_access, next, refresh, refresh_token};
use crate::harness::{PASSWORD, Reply, TestApp, rounds, rows};

async fn three_replicas() -> [TestApp; 3] {
    three_replicas_of(TestApp::start().await).await
}

async fn three_replicas_of(app: TestApp) -> [TestApp; 3] {
    let others = (app.replica().await, app.replica().await);
    [app, others.0, others.1]
}

/// Sends `count` concurrent refreshes with one token, to each replica in turn.
async fn refresh_concurrently(replicas: &[TestApp; 3], count: usize, token: &str) -> Vec<Reply> {
    join_all(replicas.iter().cycle().take(count).map(|at| refresh(at, token))).await
}

/// Asserts that every replica rejects the access tokens of these grants.
async fn assert_no_access(replicas: &[TestApp; 3], grants: &[Value]) {
    for at in replicas {
        // A replica learns of revocations by other replicas when it polls, within a second. Poll now.
        assert!(at.services().tokens.poll().await);
        for grant in grants {
            assert!(!has_access(at, grant).await);
        }
    }
}

/// Returns the grants of the replies with status 200. All other replies must have status 401.
fn successful_grants(replies: Vec<Reply>) -> Vec<Value> {
    let is_grant = |reply: &Reply| match reply.status {
        200 => true,
        401 => false,
        _ => panic!("{}: {}", reply.request, reply.text()),
    };
    replies.into_iter().filter(is_grant).map(|reply| reply.json()).collect()
}

#[tokio::test]
async fn concurrent_uses_of_a_refresh_token_of_two_generations_ago_are_refused_and_reported_once() {
    // S-37
    let replicas = three_replicas().await;
    replicas[0].sign_up("ada").await;
    for _ in 0..rounds(10) {
        let first = replicas[0].log_in("ada").await.grant().clone();
        let second = next(&replicas[0], &first).await;
        next(&replicas[0], &second).await;
        for reply in refresh_concurrently(&replicas, 20, refresh_token(&first)).await {
            reply.expect(401).problem("session_revoked");
        }
    }
    assert_eq!(rows::thefts(&replicas[0]).await.len(), rounds(10), "one event for each session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_concurrent_refreshes_with_one_token_get_the_same_new_token() {
    // S-38
    let rounds = rounds(15);
    let replicas = three_replicas().await;
    let mut grant = replicas[0].sign_up("ada").await.grant().clone();
    for round in 0..rounds {
        let replies = refresh_concurrently(&replicas, 50, refresh_token(&grant)).await;
        let grants: Vec<Value> = replies.into_iter().map(|reply| reply.expect(200).json()).collect();
        let first = grants[round % 50].clone();
        assert_ne!(first["refresh_token"], grant["refresh_token"]);
        assert!(grants.iter().all(|other| other["refresh_token"] == first["refresh_token"]));
        assert!(has_access(&replicas[round % 3], &first).await);
        grant = first;
    }
    let sessions = rows::sessions(&replicas[0]).await;
    assert_eq!(usize::try_from(sessions[0].generation).unwrap(), rounds + 1);
    assert_eq!(rows::thefts(&replicas[0]).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_revoked_during_refreshes_stays_revoked() {
    // S-38, S-40
    let replicas = three_replicas().await;
    let ada = replicas[0].sign_up("ada").await;
    for round in 0..8 {
        let phone = replicas[round % 3].log_in("ada").await;
        let token = refresh_token(phone.grant());
        let body = json!({ "refresh_token": token });
        let log_out = replicas[1].anonymous().post("/api/v1/auth/logout").json(&body);
        let end_others = replicas[2].anonymous().with_grant(ada.grant()).delete("/api/v1/me/sessions");
        let ends = join(log_out.into_future(), end_others.into_future());
        let (replies, (logged_out, ended)) = join(refresh_concurrently(&replicas, 12, token), ends).await;
        logged_out.expect(204);
        ended.expect(204);
        let mut grants = successful_grants(replies);
        for grant in &grants {
            assert_eq!(grant["refresh_token"], grants[0]["refresh_token"]);
            assert_rejected(&replicas[round % 3], refresh_token(grant), "session_revoked").await;
        }
        assert_rejected(&replicas[0], token, "session_revoked").await;
        grants.push(phone.grant().clone());
        assert_no_access(&replicas, &grants).await;
    }
    assert_eq!(rows::thefts(&replicas[0]).await.len(), 0, "a revocation is not reported as theft");
    assert!(has_access(&replicas[1], ada.grant()).await);
    next(&replicas[1], ada.grant()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_deleted_by_concurrent_requests_during_refreshes_stays_deleted() {
    // S-41
    let replicas = three_replicas().await;
    let eve = replicas[0].sign_up("eve").await;
    for round in 0..3 {
        let name = format!("ada{round}");
        let ada = replicas[0].sign_up(&name).await;
        let phone = replicas[1].log_in(&name).await;
        let delete = |at: &TestApp| {
            let call = at.anonymous().with_grant(ada.grant()).delete("/api/v1/me");
            call.json(&json!({ "password": PASSWORD })).into_future()
        };
        let deletions = join_all(replicas.iter().cycle().take(20).map(delete));
        let token = refresh_token(phone.grant());
        let refreshes = join(
            refresh_concurrently(&replicas, 12, token),
            refresh_concurrently(&replicas, 12, refresh_token(ada.grant())),
        );
        let (deleted, (of_phone, of_ada)) = join(deletions, refreshes).await;
        let count = deleted.iter().filter(|reply| reply.status == 204).count();
        assert!(count > 0);
        // A request that arrives after the deletion gets 401, because its session no longer exists.
        assert!(deleted.iter().all(|reply| [204, 401].contains(&reply.status)), "{deleted:?}");
        let mut grants = successful_grants(of_phone);
        grants.extend(successful_grants(of_ada));
        grants.extend([ada.grant().clone(), phone.grant().clone()]);
        for grant in &grants {
            assert_rejected(&replicas[round], refresh_token(grant), "invalid_refresh_token").await;
        }
        assert_no_access(&replicas, &grants).await;
    }
    assert_eq!(rows::users(&replicas[0]).await.len(), 1);
    assert_eq!(rows::sessions(&replicas[0]).await.len(), 1);
    next(&replicas[2], eve.grant()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recording_token_usage_while_refresh_responses_are_lost_revokes_no_session() {
    // S-37, S-39
    let replicas = three_replicas().await;
    let flush = || join_all(replicas.iter().map(|at| at.services().sessions.flush_token_usage()));
    let mut grant = replicas[0].sign_up("ada").await.grant().clone();
    for _ in 0..20 {
        let token = refresh_token(&grant);
        let used = join_all(replicas.iter().map(|at| has_access(at, &grant)));
        let (lost, (used, flushed)) =
            join(refresh_concurrently(&replicas, 6, token), join(used, flush())).await;
        assert_eq!(used, [true; 3]);
        assert!(flushed.iter().all(Result::is_ok));
        flush().await;
        // Only the use of the access token from before the refresh is recorded. The successor of the refresh
        // token is therefore unused, and the refresh token itself still works after its grace period of 30 s.
        replicas[0].clock.advance(TimeDelta::seconds(31));
        let (again, flushed) = join(refresh_concurrently(&replicas, 6, token), flush()).await;
        assert!(flushed.iter().all(Result::is_ok));
        let grants: Vec<Value> =
            lost.into_iter().chain(again).map(|reply| reply.expect(200).json()).collect();
        assert!(grants.iter().all(|other| other["refresh_token"] == grants[0]["refresh_token"]));
        grant = grants[11].clone();
    }
    let first = next(&replicas[0], &grant).await;
    assert!(has_access(&replicas[2], &first).await);
    flush().await;
    replicas[0].clock.advance(TimeDelta::seconds(31));
    assert_rejected(&replicas[1], refresh_token(&grant), "session_revoked").await;
}

/// Revokes `count` sessions on one replica, and measures how long another replica still accepts each access
/// token. Returns the durations in ascending order.
async fn delays(count: usize) -> Vec<Duration> {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    app.sign_up("ada").await;
    let mut sessions = Vec::new();
    for _ in 0..count {
        let session = app.log_in("ada").await;
        assert!(has_access(&replica, session.grant()).await);
        sessions.push(session);
    }
    let begin = Instant::now();
    let revoke = async |number: usize| {
        let grant = sessions[number].grant();
        let offset = Duration::from_millis(20 * number as u64);
        tokio::time::sleep(offset.saturating_sub(begin.elapsed())).await;
        let body = json!({ "refresh_token": refresh_token(grant) });
        app.anonymous().post("/api/v1/auth/logout").json(&body).await.expect(204);
        let revoked = Instant::now();
        // Calls the service directly, because an HTTP request takes longer than the measured delay.
        while replica.services().tokens.verify(sessions[number].token()).await.is_ok() {
            assert!(revoked.elapsed() < Duration::from_secs(10), "the replica still accepts the token");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        revoked.elapsed()
    };
    let mut delays = join_all((0..count).map(revoke)).await;
    assert!(!has_access(&replica, sessions[0].grant()).await);
    delays.sort_unstable();
    delays
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_other_replicas_within_a_second() {
    // S-41
    let count = rounds(50);
    let delays = delays(count).await;
    let (median, p99) = (delays[count / 2], delays[count * 99 / 100]);
    println!("{count} revocations reached another replica: p50 {median:?}, p99 {p99:?}");
    assert!(p99 < Duration::from_secs(1), "{delays:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_with_the_old_password_survives_a_password_change_on_another_replica() {
    // S-41
    let replicas = three_replicas_of(TestApp::with(|settings| settings.limits = false).await).await;
    for round in 0..rounds(20) {
        let name = format!("user-{round}");
        let user = replicas[0].sign_up(&name).await;
        let log_in = |at: &TestApp| {
            let body = json!({ "identifier": name, "password": PASSWORD });
            at.anonymous().post("/api/v1/auth/login").json(&body).into_future()
        };
        let change =
            user.post("/api/v1/me/password").json(&json!({ "new_password": "a louder harbour at dawn" }));
        let logins = join(log_in(&replicas[1]), log_in(&replicas[2]));
        let (changed, (first, second)) = join(change.into_future(), logins).await;
        changed.expect(204);
        assert_no_access(&replicas, &successful_grants(vec![first, second])).await;
    }
}
