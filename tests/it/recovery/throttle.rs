//! The throttle of requests for emails: it counts by the IP address of the client, not by the email address.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{ADA, CHANGE, FORGOT, LOGIN, LOGIN_CODE, NEW_PASSWORD, RESEND, RESET};
use crate::harness::{Call, Client, PASSWORD, Reply, TestApp};

const CODE: &str = "/api/v1/me/reauthenticate/code";
const HOME: &str = "203.0.113.1";
const ELSEWHERE: &str = "198.51.100.1";

async fn start() -> TestApp {
    TestApp::with(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await
}

fn request(client: &Client, path: &str, email: &str, address: &str) -> Call {
    client.post(path).json(&json!({ "email": email })).header("x-forwarded-for", address)
}

/// Sends 99 requests from an IP address, so that one more is accepted and the next is refused. The requests
/// are sent in groups, because all of them wait for one row of the throttle: a busy database server would not
/// finish 99 concurrent requests before the lock timeout.
async fn spend(app: &TestApp, address: &str) {
    let client = app.anonymous();
    for group in (0..99).collect::<Vec<_>>().chunks(9) {
        let sent = group.iter().map(|number| {
            let email = if number % 2 == 0 { ADA.to_owned() } else { format!("user{number}@example.org") };
            request(&client, [FORGOT, RESEND, LOGIN_CODE][number % 3], &email, address).into_future()
        });
        join_all(sent).await.into_iter().for_each(|reply| drop(reply.expect(202)));
    }
}

/// Returns the parts of a refusal that must not depend on whether an account has the address.
fn refused(reply: Reply) -> (Value, [String; 3]) {
    let reply = reply.expect(429).problem("too_many_attempts");
    let headers = ["retry-after", "ratelimit", "ratelimit-policy"].map(|name| reply.header(name).to_owned());
    let mut body = reply.json();
    body["request_id"] = json!("");
    (body, headers)
}

#[tokio::test]
async fn requests_for_emails_are_limited_by_ip_address_and_not_by_account() {
    // S-11, S-12
    let app = start().await;
    let ada = app.sign_up("ada").await;
    spend(&app, HOME).await;
    request(&app.anonymous(), FORGOT, ADA, HOME).await.expect(202);
    let sent = app.mails().await.len();
    for path in [FORGOT, RESEND, LOGIN_CODE] {
        let known = refused(request(&app.anonymous(), path, ADA, HOME).await);
        let unknown = refused(request(&app.anonymous(), path, "nobody@example.org", HOME).await);
        assert_eq!(known, unknown, "{path}");
        assert_eq!(known.1[0], "30");
    }
    refused(request(&ada, CHANGE, "new@example.org", HOME).await);
    refused(ada.post(CODE).header("x-forwarded-for", HOME).await);
    assert_eq!(app.mails().await.len(), sent);
    request(&app.anonymous(), FORGOT, ADA, ELSEWHERE).await.expect(202);
    app.clock.advance(TimeDelta::seconds(30));
    request(&app.anonymous(), FORGOT, "nobody@example.org", HOME).await.expect(202);
    refused(request(&app.anonymous(), FORGOT, "nobody@example.org", HOME).await);
}

#[tokio::test]
async fn concurrent_first_requests_for_emails_from_one_ip_address_are_all_allowed() {
    // S-11
    let app = start().await;
    for number in 1..=20 {
        let address = format!("203.0.113.{number}");
        let client = app.anonymous();
        let sent = (0..6).map(|_| request(&client, FORGOT, ADA, &address).into_future());
        join_all(sent).await.into_iter().for_each(|reply| drop(reply.expect(202)));
    }
}

#[tokio::test]
async fn requests_for_emails_are_counted_on_all_replicas_and_by_ipv6_network() {
    // S-16, S-84
    let app = start().await;
    app.sign_up("ada").await;
    let two = app.replica().await;
    spend(&app, "2001:db8:1:2::1").await;
    request(&two.anonymous(), FORGOT, ADA, "2001:db8:1:2:3:4:5:6").await.expect(202);
    for server in [&app, &two] {
        refused(request(&server.anonymous(), FORGOT, ADA, "2001:db8:1:2::9").await);
    }
    request(&two.anonymous(), FORGOT, ADA, "2001:db8:1:3::1").await.expect(202);
}

#[tokio::test]
async fn wrong_reset_links_and_wrong_passwords_share_the_limit_of_an_ip_address() {
    // S-17
    let app = start().await;
    app.sign_up("ada").await;
    let reset = |address| {
        let body = json!({ "token": "no such link", "new_password": NEW_PASSWORD });
        app.anonymous().post(RESET).json(&body).header("x-forwarded-for", address).into_future()
    };
    let replies = join_all((0..50).map(|_| reset(HOME))).await;
    for reply in replies {
        reply.expect(422).problem("invalid_code");
    }
    refused(reset(HOME).await);
    let body = json!({ "identifier": ADA, "password": PASSWORD });
    let log_in =
        |address| app.anonymous().post(LOGIN).json(&body).header("x-forwarded-for", address).into_future();
    refused(log_in(HOME).await);
    log_in(ELSEWHERE).await.expect(200);
    reset(ELSEWHERE).await.expect(422);
}
