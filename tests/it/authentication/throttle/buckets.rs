//! The failures that the throttle counts: by account, by IP address and by network, on all replicas.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;
use tripgate::housekeeping;

use super::{HOME, WRONG, fail, login, refused, start, succeed};
use crate::harness::rows;
use crate::harness::{PASSWORD, TestApp};

const ELSEWHERE: &str = "198.51.100.1";

#[tokio::test]
async fn after_ten_wrong_passwords_each_failure_doubles_the_wait_up_to_15_minutes() {
    // S-12
    let app = start().await;
    app.sign_up("ada").await;
    fail(&app, HOME, "ada", 10).await;
    // One counted failure expires every 15 minutes, for the first time during the first wait of 480 seconds.
    // The next failure restores the former count, so this wait occurs twice.
    for expected in [30, 60, 120, 240, 480, 480, 900, 900] {
        assert_eq!(refused(login(&app, HOME, "ada", WRONG).await), expected);
        assert_eq!(refused(login(&app, HOME, "ada", PASSWORD).await), expected, "compared while blocked");
        app.clock.advance(TimeDelta::seconds(expected - 1));
        assert_eq!(refused(login(&app, HOME, "ADA", WRONG).await), 1);
        app.clock.advance(TimeDelta::seconds(1));
        fail(&app, HOME, "ada", 1).await;
    }
    app.clock.advance(TimeDelta::minutes(15));
    succeed(&app, HOME, "ada").await;
    fail(&app, HOME, "ada", 10).await;
}

#[tokio::test]
async fn failed_logins_expire_one_by_one() {
    // S-12
    let app = start().await;
    app.sign_up("ada").await;
    fail(&app, HOME, "ada", 9).await;
    app.clock.advance(TimeDelta::minutes(45));
    fail(&app, HOME, "ada", 4).await;
    refused(login(&app, HOME, "ada", PASSWORD).await);
}

#[tokio::test]
async fn during_an_attack_the_owner_logs_in_from_another_address_and_sessions_stay_valid() {
    // S-13
    let app = start().await;
    let ada = app.sign_up("ada").await;
    fail(&app, HOME, "ada", 10).await;
    refused(login(&app, HOME, "ada", PASSWORD).await);
    succeed(&app, ELSEWHERE, "ada").await;
    ada.get("/api/v1/me").header("x-forwarded-for", HOME).await.expect(200);
    let body = json!({ "refresh_token": ada.grant()["refresh_token"] });
    app.anonymous()
        .post("/api/v1/auth/refresh")
        .header("x-forwarded-for", HOME)
        .json(&body)
        .await
        .expect(200);
}

#[tokio::test]
async fn an_unknown_name_is_throttled_exactly_like_a_known_one() {
    // S-83
    let app = start().await;
    app.sign_up("ada").await;
    let mut responses: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (name, address) in [("ada", HOME), ("nobody", ELSEWHERE)] {
        for attempt in 0..13 {
            let reply = login(&app, address, name, WRONG).await;
            let mut body = reply.json();
            body["request_id"] = json!("");
            let names = ["retry-after", "ratelimit", "ratelimit-policy", "www-authenticate"];
            let headers = names.map(|name| reply.header(name).to_owned());
            responses.entry(name).or_default().push((attempt, reply.status, headers, body));
        }
    }
    assert_eq!(responses["ada"], responses["nobody"]);
    assert_eq!(responses["ada"][12].1, 429);
}

#[tokio::test]
async fn trying_one_password_for_many_accounts_from_one_ip_address_is_throttled() {
    // S-14
    let app = start().await;
    app.sign_up("ada").await;
    for number in 0..50 {
        fail(&app, HOME, &format!("user{number}"), 1).await;
    }
    let wait = refused(login(&app, HOME, "ada", PASSWORD).await);
    succeed(&app, ELSEWHERE, "ada").await;
    app.clock.advance(TimeDelta::seconds(wait));
    succeed(&app, HOME, "ada").await;
}

#[tokio::test]
async fn failed_logins_are_counted_by_the_64_bit_and_48_bit_prefixes_of_an_ipv6_address() {
    // S-14, S-84
    let app = start().await;
    app.sign_up("ada").await;
    for number in 0..10 {
        fail(&app, &format!("2001:db8:1:2::{number}"), "ada", 1).await;
    }
    refused(login(&app, "[2001:db8:1:2:3:4:5:6]:4711", "ada", PASSWORD).await);
    succeed(&app, "2001:db8:1:3::1", "ada").await;
    for number in 0..190 {
        fail(&app, &format!("2001:db8:1:{:x}::1", number + 100), &format!("user{number}"), 1).await;
    }
    refused(login(&app, "2001:db8:1:ffff::1", "ada", PASSWORD).await);
    succeed(&app, "2001:db8:2::1", "ada").await;
}

#[tokio::test]
async fn a_forged_x_forwarded_for_header_does_not_evade_the_throttle() {
    // S-15, S-84
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    for number in 0..10 {
        fail(&app, &format!("203.0.113.{number}"), "ada", 1).await;
    }
    refused(login(&app, "203.0.113.99", "ada", PASSWORD).await);
    let app = start().await;
    app.sign_up("ada").await;
    for number in 0..10 {
        fail(&app, &format!("192.0.2.{number}, {HOME}"), "ada", 1).await;
    }
    refused(login(&app, &format!("192.0.2.99,{HOME}"), "ada", PASSWORD).await);
}

#[tokio::test]
async fn failed_logins_are_counted_across_all_replicas_and_the_count_survives_a_restart() {
    // S-16
    let one = start().await;
    let (two, three) = (one.replica().await, one.replica().await);
    one.sign_up("ada").await;
    for app in [&one, &two, &three, &one, &two, &three, &one, &two, &three, &one] {
        fail(app, HOME, "ada", 1).await;
    }
    for app in [&one, &two, &three] {
        assert_eq!(refused(login(app, HOME, "ada", PASSWORD).await), 30);
    }
    let one = one.restart().await;
    assert_eq!(refused(login(&one, HOME, "ada", PASSWORD).await), 30);
}

#[tokio::test]
async fn parallel_wrong_passwords_have_the_same_limit_as_sequential_ones() {
    // S-12
    let app = start().await;
    app.sign_up("ada").await;
    let replies = join_all((0..60).map(|_| login(&app, HOME, "ada", WRONG).into_future())).await;
    let compared = replies.iter().filter(|reply| reply.status == 401).count();
    assert_eq!(compared, 10);
    replies.into_iter().filter(|reply| reply.status != 401).for_each(|reply| assert!(refused(reply) > 0));
    let replies =
        join_all((0..60).map(|n| login(&app, ELSEWHERE, &format!("user{n}"), WRONG).into_future())).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 401).count(), 50);
}

#[tokio::test]
async fn a_successful_login_writes_no_throttle_bucket_and_the_buckets_of_unknown_names_expire() {
    // S-83
    let app = start().await;
    app.sign_up("ada").await;
    for _ in 0..20 {
        succeed(&app, HOME, "ada").await;
    }
    assert_eq!(rows::throttle_buckets(&app).await, 0);
    for block in 0..20 {
        let address = format!("192.0.2.{block}");
        join_all(
            (0..50).map(|number| {
                login(&app, &address, &format!("made-up-{block}-{number}"), WRONG).into_future()
            }),
        )
        .await
        .into_iter()
        .for_each(|reply| drop(reply.expect(401)));
    }
    // Two rows for each name, and one for each address.
    let count = rows::throttle_buckets(&app).await;
    assert!((1900..=2020).contains(&count), "{count}");
    app.clock.advance(TimeDelta::hours(1));
    housekeeping::sweep(app.services().clone()).await;
    housekeeping::sweep(app.services().clone()).await;
    let rest = rows::throttle_buckets(&app).await;
    assert!(rest <= 20, "{rest} rows remain after they expired");
}

#[tokio::test]
async fn after_the_clock_is_set_back_an_account_does_not_stay_blocked() {
    let app = start().await;
    app.sign_up("ada").await;
    fail(&app, HOME, "ada", 10).await;
    app.clock.advance(TimeDelta::days(-2));
    succeed(&app, HOME, "ada").await;
}
