//! Limits on the cost of a search: it has a deadline, and does not delay other users or background jobs.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DbBackend};
use serde_json::{Value, json};
use tripgate::db::StoreError;

use super::{create_many, encoded};
use crate::harness::{Client, TestApp};
use crate::trips::{TRIPS, create_trip};

/// Returns the time of each of `count` reads, sorted.
async fn read_times(client: &Client, count: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        client.get(TRIPS).await.expect(200);
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times
}

/// Runs 50 searches of `attacker` and, at the same time, requests of `other` and a background job. Asserts
/// that the searches delay neither the requests nor the job.
async fn attack(app: &TestApp, attacker: &Client, other: &Client, q: &str) {
    let before = read_times(other, 40).await;
    let list = format!("{TRIPS}?limit=1&q={}", encoded(q));
    let searches = async {
        let replies = join_all((0..50).map(|_| attacker.get(&list).into_future())).await;
        let mut finished = 0;
        for reply in replies {
            match reply.status {
                200 => finished += 1,
                429 => assert_eq!(reply.problem("too_many_searches").header("retry-after"), "1"),
                _ => assert_eq!(reply.expect(503).problem("search_timeout").header("retry-after"), "5"),
            }
        }
        finished
    };
    let others = async {
        // Wait until the searches have started.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let polled = Instant::now();
        assert!(app.services().tokens.poll().await);
        let polled = polled.elapsed();
        app.anonymous().get("/health/ready").await.expect(200);
        (read_times(other, 40).await, polled)
    };
    let (finished, (during, polled)) = tokio::join!(searches, others);
    // These bounds hold even while other tests run. Without the limits on searches, a read takes seconds.
    assert!(during[36] <= (before[36] * 3).max(Duration::from_millis(400)), "{before:?} {during:?}");
    assert!(polled <= Duration::from_millis(500), "{polled:?}");
    assert!(finished > 0, "the first search must finish");
}

#[tokio::test]
async fn fifty_searches_of_a_user_do_not_delay_other_users() {
    // A-1, S-105
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    create_trip(&ada, &json!({ "title": "Lisbon" })).await;
    // The notes in the second half of the trips contain every piece of the search text. Each of these notes
    // must therefore be compared with the search text, at the highest cost.
    let notes =
        |number: usize| if number < 350 { "a".repeat(10_000) } else { ("a".repeat(198) + "b ").repeat(50) };
    let trips: Vec<Value> = (0..700).map(|number| json!({ "title": "x", "notes": notes(number) })).collect();
    create_many(&eve, &trips).await;
    for q in ["a".repeat(199) + "b", "zz".to_owned()] {
        attack(&app, &eve, &ada, &q).await;
    }
    let found = ada.get(&format!("{TRIPS}?q=lisb")).await.expect(200).json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_database_statement_of_a_search_has_a_deadline() {
    // A-1, S-105
    let app = TestApp::start().await;
    let started = Instant::now();
    let searches = app.services().db.searches();
    let endless = searches.read((), |tx, ()| {
        async {
            let statement = match tx.get_database_backend() {
                DbBackend::Sqlite => {
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
                }
                DbBackend::Postgres => "SELECT pg_sleep(9)",
                _ => "SELECT count(*) FROM seq_1_to_9999999999 WHERE seq % 7 = 3",
            };
            tx.execute_unprepared(statement).await.map(drop).map_err(StoreError::from)
        }
        .boxed()
    });
    let ended: Result<(), StoreError> = endless.await;
    assert!(matches!(ended, Err(StoreError::TimedOut(_))), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}
