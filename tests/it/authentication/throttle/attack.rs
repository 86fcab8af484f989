//! Very many failed logins to one account: the owner gets a mail, at most once a day.

use chrono::TimeDelta;
use serde_json::json;

use super::{HOME, WRONG, fail, login, refused, start};
use crate::harness::{Client, PASSWORD, ReceivedMail, TestApp, rows};

const ADA: &str = "ada@example.org";
const SUBJECT: &str = "Many failed logins to your account";

/// Sends 100 logins with a wrong password: 10 from each of 10 addresses, to the servers in turn.
async fn attack(apps: &[&TestApp], name: &str, network: &str) {
    for address in 0..10 {
        fail(apps[address % apps.len()], &format!("{network}.{address}"), name, 10).await;
    }
}

/// Returns the mails that warn of an attack.
async fn warnings(app: &TestApp) -> Vec<ReceivedMail> {
    let mut mails = app.mails().await;
    mails.retain(|mail| mail.subject() == SUBJECT);
    mails
}

async fn attacks(app: &TestApp) -> usize {
    rows::events(app).await.iter().filter(|kind| *kind == "attack_detected").count()
}

async fn set_locale(client: &Client, locale: &str) {
    client.patch("/api/v1/me").json(&json!({ "locale": locale })).await.expect(200);
}

#[tokio::test]
async fn an_attack_from_many_addresses_on_three_servers_is_reported_once() {
    // S-13, S-16
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let (two, three) = (app.replica().await, app.replica().await);
    for address in 0..9 {
        fail(&app, &format!("198.51.100.{address}"), "ada", 10).await;
    }
    fail(&two, "198.51.100.9", "ada", 9).await;
    assert_eq!((warnings(&app).await.len(), attacks(&app).await), (0, 0));
    fail(&three, "198.51.100.9", "ada", 1).await;
    let found = warnings(&app).await;
    let [mail] = &found[..] else { panic!("{found:?}") };
    let text = mail.text.replace('\n', " ");
    assert!(
        mail.to() == ADA && text.contains("Within a day, 100 logins") && text.contains("was not you"),
        "{text}"
    );
    let events = ada.get("/api/v1/me/events?limit=100").await.expect(200).json()["items"].clone();
    let event = events.as_array().unwrap().iter().find(|event| event["type"] == "attack_detected").unwrap();
    assert_eq!(event["ip"], "198.51.100.9");
    // The attack continues, with the username and then with the email address.
    app.clock.advance(TimeDelta::seconds(30));
    fail(&two, "192.0.2.1", "ada", 1).await;
    attack(&[&two, &three], ADA, "192.0.2").await;
    assert_eq!((warnings(&app).await.len(), attacks(&app).await), (1, 1));
}

#[tokio::test]
async fn an_attack_of_several_days_is_reported_each_day() {
    let app = start().await;
    app.sign_up("ada").await;
    attack(&[&app], "ada", "198.51.100").await;
    // One of the 100 failures expires every 15 minutes.
    app.clock.advance(TimeDelta::hours(23));
    for address in 0..10 {
        fail(&app, &format!("198.51.100.{address}"), "ada", if address == 0 { 2 } else { 10 }).await;
    }
    assert_eq!(warnings(&app).await.len(), 1);
    app.clock.advance(TimeDelta::hours(2));
    fail(&app, "192.0.2.1", "ada", 8).await;
    assert_eq!((warnings(&app).await.len(), attacks(&app).await), (2, 2));
}

#[tokio::test]
async fn the_link_in_an_attack_warning_sets_a_new_password_and_is_valid_for_a_day() {
    // S-46
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let code = json!({ "flow_id": ada.grant()["flow_id"], "code": app.mail_to(ADA).await.code() });
    app.anonymous().post("/api/v1/auth/email/confirm").json(&code).await.expect(204);
    attack(&[&app], "ada", "198.51.100").await;
    let token = warnings(&app).await.remove(0).token().to_owned();
    app.clock.advance(TimeDelta::hours(23));
    let reset = json!({ "token": token, "new_password": "a louder harbour at dawn" });
    let reset = || app.anonymous().post("/api/v1/auth/password/reset").json(&reset);
    reset().await.expect(204);
    login(&app, HOME, "ada", "a louder harbour at dawn").await.expect(200);
    reset().await.expect(422).problem("invalid_code");
    app.clock.advance(TimeDelta::hours(2));
    attack(&[&app], "ada", "198.51.100").await;
    let token = warnings(&app).await.remove(1).token().to_owned();
    app.clock.advance(TimeDelta::hours(24));
    let reset = json!({ "token": token, "new_password": PASSWORD });
    app.anonymous()
        .post("/api/v1/auth/password/reset")
        .json(&reset)
        .await
        .expect(422)
        .problem("invalid_code");
}

#[tokio::test]
async fn an_attack_warning_is_in_the_language_of_the_account_and_not_of_the_attacker() {
    let app = start().await;
    set_locale(&app.sign_up("ada").await, "nl").await;
    for address in 0..10 {
        for _ in 0..10 {
            let call = login(&app, &format!("198.51.100.{address}"), "ada", WRONG);
            call.header("accept-language", "de").await.expect(401);
        }
    }
    assert_eq!(app.mail_to(ADA).await.subject(), "Veel mislukte logins op je account");
}

#[tokio::test]
async fn attack_warnings_are_sent_even_when_the_budget_of_emails_is_spent() {
    // S-48
    let app = start().await;
    app.sign_up("ada").await;
    for _ in 0..8 {
        let email = json!({ "email": ADA });
        app.anonymous().post("/api/v1/auth/login/code").json(&email).await.expect(202);
    }
    attack(&[&app], "ada", "198.51.100").await;
    assert_eq!(warnings(&app).await.len(), 1);
}

#[tokio::test]
async fn no_email_is_sent_about_attacks_on_unknown_names_and_accounts_without_an_address() {
    // S-83
    let app = start().await;
    let body = json!({ "username": "bob", "password": PASSWORD });
    app.anonymous().post("/api/v1/auth/signup").json(&body).await.expect(201);
    attack(&[&app], "nobody", "198.51.100").await;
    assert_eq!(attacks(&app).await, 0);
    attack(&[&app], "bob", "192.0.2").await;
    assert_eq!(attacks(&app).await, 1);
    assert!(app.mails().await.is_empty());
    refused(login(&app, HOME, "nobody", PASSWORD).await);
}
