//! Attacks on one account over several servers: concurrent attempts have the same limit as on one server, and
//! during an attack from 200 addresses the owner's device logs in within a second.
//!
//! `TRIPGATE_TEST_ROUNDS` sets the number of wrong passwords, for example 10000.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use tripgate::throttle::{Attempt, ThrottleError, limits};

use super::{HOME, WRONG, fail, login, refused, start};
use crate::harness::{Client, PASSWORD, TestApp, rounds};

const ADDRESSES: usize = 200;
const ATTACKERS: usize = 16;
/// After this number of attempts, the clock advances and ends the delays, so that passwords are compared
/// again.
const PHASE: usize = 500;

/// Sends wrong passwords to all servers in turn. Returns how often each status was received.
async fn attack(apps: &[TestApp], next: &AtomicUsize, count: usize) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return statuses;
        }
        if number % PHASE == PHASE - 1 {
            apps[0].clock.advance(TimeDelta::minutes(10));
        }
        let address = format!("198.51.100.{}", number % ADDRESSES);
        let reply = login(&apps[number % apps.len()], &address, "ada", WRONG).await;
        *statuses.entry(reply.status).or_default() += 1;
    }
}

/// Logs in from the known device on each server in turn until the attack is over. Returns the time of each login.
async fn log_in(clients: &[Client], mut token: Value, is_over: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let body = json!({ "identifier": "ada", "password": PASSWORD, "device_token": token });
        let call = clients[times.len() % clients.len()].post("/api/v1/auth/login").json(&body);
        let begin = Instant::now();
        let reply = call.header("x-forwarded-for", "203.0.113.1").await;
        times.push(begin.elapsed());
        token = reply.expect(200).json()["device_token"].clone();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_wrong_passwords_on_three_servers_have_the_same_limit_as_on_one() {
    // S-12, S-16
    let one = start().await;
    let (two, three) = (one.replica().await, one.replica().await);
    one.sign_up("ada").await;
    let apps = [&one, &two, &three];
    let attempts = apps.iter().cycle().take(60).map(|app| login(app, HOME, "ada", WRONG).into_future());
    let replies = join_all(attempts).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 401).count(), 10);
    for reply in replies.into_iter().filter(|reply| reply.status != 401) {
        assert_eq!(refused(reply), 30, "only the tenth failure blocks the account");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_that_are_counted_at_the_same_time_by_three_servers_have_the_same_limit_as_on_one() {
    // S-12, S-16
    let one = start().await;
    let (two, three) = (one.replica().await, one.replica().await);
    for round in 0..rounds(5) {
        let name = format!("user{round}");
        let mut attempts = Vec::new();
        for app in [&one, &two, &three] {
            for _ in 0..10 {
                let buckets = limits::of_login(&name, HOME.parse().unwrap());
                attempts.push(app.services().throttle.begin(buckets).await.unwrap());
            }
        }
        let results = join_all(attempts.into_iter().map(Attempt::failed)).await;
        let is_blocked = |result: &&Result<_, _>| matches!(result, Err(ThrottleError::Blocked(_)));
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 10, "{results:?}");
        assert_eq!(results.iter().filter(is_blocked).count(), 20, "{results:?}");
        one.clock.advance(TimeDelta::days(1));
    }
}

#[tokio::test]
async fn a_correct_password_is_not_confirmed_if_other_servers_have_blocked_the_account_meanwhile() {
    // S-12, S-16
    let one = start().await;
    if !one.services().db.is_shared() {
        return;
    }
    let two = one.replica().await;
    for failures in [0, 1] {
        let name = format!("user{failures}");
        one.sign_up(&name).await;
        fail(&one, HOME, &name, failures).await;
        let buckets = || limits::of_login(&name, HOME.parse().unwrap());
        let attempt = one.services().throttle.begin(buckets()).await.unwrap();
        fail(&two, HOME, &name, 10 - failures).await;
        assert!(matches!(attempt.succeeded().await, Err(ThrottleError::Blocked(_))));
        assert_eq!(refused(login(&one, HOME, &name, PASSWORD).await), 30, "the failures are still counted");
        one.clock.advance(TimeDelta::hours(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_known_device_of_the_owner_logs_in_within_a_second_during_an_attack_on_three_servers() {
    // S-13, S-82
    let count = rounds(1_000);
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let apps: Arc<[TestApp]> = Arc::new([app.replica().await, app.replica().await, app.replica().await]);
    let (next, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<Client> = apps.iter().map(TestApp::anonymous).collect();
    let (token, over) = (ada.grant()["device_token"].clone(), Arc::clone(&is_over));
    let owner = tokio::spawn(async move { log_in(&clients, token, &over).await });
    let begin = Instant::now();
    let attackers = (0..ATTACKERS).map(|_| {
        let (apps, next) = (Arc::clone(&apps), Arc::clone(&next));
        tokio::spawn(async move { attack(&apps, &next, count).await })
    });
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for found in join_all(attackers).await {
        for (status, number) in found.unwrap() {
            *statuses.entry(status).or_default() += number;
        }
    }
    let took = begin.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let mut times = owner.await.unwrap();
    times.sort_unstable();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{count} attempts in {took:?}: {statuses:?}; {} logins: median {median:?}, slowest {slowest:?}",
        times.len()
    );
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [401, 429]);
    assert!(statuses[&401] >= 100, "{statuses:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let warnings =
        apps[0].mails().await.iter().filter(|mail| mail.subject().starts_with("Many failed")).count();
    assert_eq!(warnings, 1);
}
