//! Many requests of one session or user at once, over three replicas: one outcome, and never a 5xx.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::{gets_in, is_refused, next, refresh, refresh_token};
use crate::harness::{PASSWORD, Reply, TestApp, rounds};
use crate::stored;

async fn three() -> [TestApp; 3] {
    let app = TestApp::start().await;
    let others = (app.replica().await, app.replica().await);
    [app, others.0, others.1]
}

/// So many times the same refresh, by turns at each replica.
async fn at_once(replicas: &[TestApp; 3], count: usize, token: &str) -> Vec<Reply> {
    join_all(replicas.iter().cycle().take(count).map(|at| refresh(at, token))).await
}

/// Every access token that was handed out is refused everywhere.
async fn are_dead(replicas: &[TestApp; 3], grants: &[Value]) {
    for at in replicas {
        // What another replica has ended is known within a second.
        assert!(at.rooms().tokens.poll().await);
        for grant in grants {
            assert!(!gets_in(at, grant).await);
        }
    }
}

/// The grants among these replies; all others say that the session is over.
fn granted(replies: Vec<Reply>) -> Vec<Value> {
    let is_grant = |reply: &Reply| match reply.status {
        200 => true,
        401 => false,
        _ => panic!("{}: {}", reply.asked, reply.text()),
    };
    replies.into_iter().filter(is_grant).map(|reply| reply.json()).collect()
}

#[tokio::test]
async fn concurrent_uses_of_a_used_up_token_get_the_same_response() {
    // S-37
    let replicas = three().await;
    replicas[0].sign_up("ada").await;
    for _ in 0..rounds(10) {
        let first = replicas[0].log_in("ada").await.grant().clone();
        let second = next(&replicas[0], &first).await;
        next(&replicas[0], &second).await;
        for reply in at_once(&replicas, 20, refresh_token(&first)).await {
            reply.expect(401).problem("session_revoked");
        }
    }
    assert_eq!(stored::events(&replicas[0]).await.len(), rounds(10), "one event for each session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_concurrent_refreshes_get_one_successor_in_every_round() {
    // S-38
    let rounds = rounds(15);
    let replicas = three().await;
    let mut grant = replicas[0].sign_up("ada").await.grant().clone();
    for round in 0..rounds {
        let replies = at_once(&replicas, 50, refresh_token(&grant)).await;
        let grants: Vec<Value> = replies.into_iter().map(|reply| reply.expect(200).json()).collect();
        let first = grants[round % 50].clone();
        assert_ne!(first["refresh_token"], grant["refresh_token"]);
        assert!(grants.iter().all(|other| other["refresh_token"] == first["refresh_token"]));
        assert!(gets_in(&replicas[round % 3], &first).await);
        grant = first;
    }
    let sessions = stored::sessions(&replicas[0]).await;
    assert_eq!(usize::try_from(sessions[0].generation).unwrap(), rounds + 1);
    assert_eq!(stored::events(&replicas[0]).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_revoked_during_refreshes_is_revoked() {
    // S-38, S-40
    let replicas = three().await;
    let ada = replicas[0].sign_up("ada").await;
    for round in 0..8 {
        let phone = replicas[round % 3].log_in("ada").await;
        let token = refresh_token(phone.grant());
        let body = json!({ "refresh_token": token });
        let log_out = replicas[1].anonymous().post("/api/v1/auth/logout").json(&body);
        let end_others = replicas[2].anonymous().granted(ada.grant()).delete("/api/v1/me/sessions");
        let ends = join(log_out.into_future(), end_others.into_future());
        let (replies, (logged_out, ended)) = join(at_once(&replicas, 12, token), ends).await;
        logged_out.expect(204);
        ended.expect(204);
        let mut grants = granted(replies);
        for grant in &grants {
            assert_eq!(grant["refresh_token"], grants[0]["refresh_token"]);
            is_refused(&replicas[round % 3], refresh_token(grant), "session_revoked").await;
        }
        is_refused(&replicas[0], token, "session_revoked").await;
        grants.push(phone.grant().clone());
        are_dead(&replicas, &grants).await;
    }
    assert_eq!(stored::events(&replicas[0]).await.len(), 0, "to end it is no theft");
    assert!(gets_in(&replicas[1], ada.grant()).await);
    next(&replicas[1], ada.grant()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_deleted_twenty_times_during_refreshes_is_deleted() {
    // S-41
    let replicas = three().await;
    let eve = replicas[0].sign_up("eve").await;
    for round in 0..3 {
        let name = format!("ada{round}");
        let ada = replicas[0].sign_up(&name).await;
        let phone = replicas[1].log_in(&name).await;
        let delete = |at: &TestApp| {
            let call = at.anonymous().granted(ada.grant()).delete("/api/v1/me");
            call.json(&json!({ "password": PASSWORD })).into_future()
        };
        let deletions = join_all(replicas.iter().cycle().take(20).map(delete));
        let token = refresh_token(phone.grant());
        let refreshes =
            join(at_once(&replicas, 12, token), at_once(&replicas, 12, refresh_token(ada.grant())));
        let (deleted, (of_phone, of_ada)) = join(deletions, refreshes).await;
        let count = deleted.iter().filter(|reply| reply.status == 204).count();
        assert!(count > 0);
        // Whoever comes after it was deleted has no session any more.
        assert!(deleted.iter().all(|reply| [204, 401].contains(&reply.status)), "{deleted:?}");
        let mut grants = granted(of_phone);
        grants.extend(granted(of_ada));
        grants.extend([ada.grant().clone(), phone.grant().clone()]);
        for grant in &grants {
            is_refused(&replicas[round], refresh_token(grant), "invalid_refresh_token").await;
        }
        are_dead(&replicas, &grants).await;
    }
    assert_eq!(stored::users(&replicas[0]).await.len(), 1);
    assert_eq!(stored::sessions(&replicas[0]).await.len(), 1);
    next(&replicas[2], eve.grant()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_recorded_while_a_refresh_response_is_lost_revokes_no_session() {
    // S-37, S-39
    let replicas = three().await;
    let write = || join_all(replicas.iter().map(|at| at.rooms().sessions.flush_token_usage()));
    let mut grant = replicas[0].sign_up("ada").await.grant().clone();
    for _ in 0..20 {
        let token = refresh_token(&grant);
        let used = join_all(replicas.iter().map(|at| gets_in(at, &grant)));
        let (lost, (used, written)) = join(at_once(&replicas, 6, token), join(used, write())).await;
        assert_eq!(used, [true; 3]);
        assert!(written.iter().all(Result::is_ok));
        write().await;
        // The proof is of the generation before: it says nothing of the replies that were lost.
        replicas[0].clock.advance(TimeDelta::seconds(31));
        let (again, written) = join(at_once(&replicas, 6, token), write()).await;
        assert!(written.iter().all(Result::is_ok));
        let grants: Vec<Value> =
            lost.into_iter().chain(again).map(|reply| reply.expect(200).json()).collect();
        assert!(grants.iter().all(|other| other["refresh_token"] == grants[0]["refresh_token"]));
        grant = grants[11].clone();
    }
    let first = next(&replicas[0], &grant).await;
    assert!(gets_in(&replicas[2], &first).await);
    write().await;
    replicas[0].clock.advance(TimeDelta::seconds(31));
    is_refused(&replicas[1], refresh_token(&grant), "session_revoked").await;
}

/// How long it takes until a replica refuses what another one has ended, for so many sessions; sorted.
async fn delays(count: usize) -> Vec<Duration> {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    app.sign_up("ada").await;
    let mut sessions = Vec::new();
    for _ in 0..count {
        let session = app.log_in("ada").await;
        assert!(gets_in(&replica, session.grant()).await);
        sessions.push(session);
    }
    let begin = Instant::now();
    let end = async |number: usize| {
        let grant = sessions[number].grant();
        let turn = Duration::from_millis(20 * number as u64);
        tokio::time::sleep(turn.saturating_sub(begin.elapsed())).await;
        let body = json!({ "refresh_token": refresh_token(grant) });
        app.anonymous().post("/api/v1/auth/logout").json(&body).await.expect(204);
        let ended = Instant::now();
        // Asked beneath HTTP, which would take longer than what is measured.
        while replica.rooms().tokens.verify(sessions[number].token()).await.is_ok() {
            assert!(ended.elapsed() < Duration::from_secs(10), "the replica never hears of it");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ended.elapsed()
    };
    let mut delays = join_all((0..count).map(end)).await;
    assert!(!gets_in(&replica, sessions[0].grant()).await);
    delays.sort_unstable();
    delays
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_other_replicas_within_a_second() {
    // S-41
    let count = rounds(50);
    let delays = delays(count).await;
    let (half, most) = (delays[count / 2], delays[count * 99 / 100]);
    println!("{count} ends of sessions known to another replica: p50 {half:?}, p99 {most:?}");
    assert!(most < Duration::from_secs(1), "{delays:?}");
}
