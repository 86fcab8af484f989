//! The report of a login on a new device: an event, and a mail with a link that ends the session.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::totp::enrol;
use crate::harness::{Call, Client, PASSWORD, ReceivedMail, TestApp, rows};

const LOGIN: &str = "/api/v1/auth/login";
const END: &str = "/api/v1/auth/session/end";
const ADA: &str = "ada@example.org";
const SUBJECT: &str = "New login to your account";
const TABLET: (&str, &str) = ("Tablet", "Trips/1.4 (iPad; iOS 19.1)");

/// Returns the request of a login on a device.
fn login(app: &TestApp, (name, user_agent): (&str, &str), more: &Value) -> Call {
    let mut body = json!({ "identifier": "ada", "password": PASSWORD, "device_name": name });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.anonymous().post(LOGIN).header("user-agent", user_agent).json(&body)
}

async fn log_in(app: &TestApp, device: (&str, &str)) -> Client {
    app.anonymous().with_grant(&login(app, device, &json!({})).await.expect(200).json())
}

/// Returns the mails that report a new device.
async fn reports(app: &TestApp) -> Vec<ReceivedMail> {
    let mut mails = app.mails().await;
    mails.retain(|mail| mail.link.as_deref().is_some_and(|link| link.starts_with("/account/session#")));
    mails
}

async fn new_devices(client: &Client) -> usize {
    let events = client.get("/api/v1/me/events?limit=100").await.expect(200).json();
    events["items"].as_array().unwrap().iter().filter(|event| event["type"] == "new_device").count()
}

fn end(app: &TestApp, mail: &ReceivedMail) -> Call {
    app.anonymous().post(END).json(&json!({ "token": mail.token() }))
}

#[tokio::test]
async fn a_login_on_a_new_device_is_reported_once_by_email_with_time_ip_address_and_device() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.log_in("ada").await;
    assert!(reports(&app).await.is_empty(), "the device of the sign-up is known");
    app.clock.advance(TimeDelta::minutes(1));
    for _ in 0..2 {
        log_in(&app, TABLET).await;
    }
    let reported = reports(&app).await;
    let [mail] = &reported[..] else { panic!("{reported:?}") };
    assert_eq!((mail.to(), mail.subject()), (ADA, SUBJECT));
    for part in ["2026-03-02 08:31 UTC", "127.0.0.1", "Tablet (Trips/1.4 (iPad; iOS 19.1))"] {
        assert!(mail.text.contains(part), "{part}: {}", mail.text);
        assert!(mail.html.as_deref().unwrap().contains(part), "{part}: {:?}", mail.html);
    }
    assert_eq!(new_devices(&ada).await, 1);
    let laptop = log_in(&app, ("Laptop", TABLET.1)).await;
    let export = ada.get("/api/v1/me/export").await.expect(200).json();
    assert_eq!(
        export["flows"].as_array().unwrap().last().unwrap()["session_id"],
        laptop.grant()["session_id"]
    );
    assert_eq!((reports(&app).await.len(), new_devices(&ada).await), (2, 2));
}

#[tokio::test]
async fn a_device_with_a_device_token_is_known_even_under_another_name() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mallory = app.sign_up("mallory").await;
    let with = |client: &Client| json!({ "device_token": client.grant()["device_token"] });
    login(&app, TABLET, &with(&ada)).await.expect(200);
    assert_eq!((reports(&app).await.len(), new_devices(&ada).await), (0, 0));
    login(&app, ("Laptop", "x"), &with(&mallory)).await.expect(200);
    login(&app, ("Watch", "x"), &json!({ "device_token": "x" })).await.expect(200);
    assert_eq!((reports(&app).await.len(), new_devices(&ada).await), (2, 2));
}

#[tokio::test]
async fn logins_by_mailed_code_and_with_a_second_factor_report_a_new_device() {
    let app = TestApp::with(|settings| settings.limits = false).await;
    let ada = app.sign_up("ada").await;
    let mailed = async |more: Value| {
        let email = json!({ "email": ADA });
        let flow = app.anonymous().post("/api/v1/auth/login/code").json(&email).await.expect(202).json();
        let mut body = json!({ "flow_id": flow["flow_id"], "code": app.mail_to(ADA).await.code() });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.anonymous().post("/api/v1/auth/login/code/confirm").json(&body).await
    };
    // The first confirmation of the address removes everything that the sign-up has set, including the known
    // device.
    let grant = mailed(json!({})).await.expect(200).json();
    assert_eq!(reports(&app).await.len(), 1);
    let ada = ada.with_grant(&grant);
    mailed(json!({ "device_name": "Watch" })).await.expect(200);
    assert_eq!((reports(&app).await.len(), new_devices(&ada).await), (2, 2));
    let codes = enrol(&ada, app.clock.now()).await.recovery_codes;
    let complete = async |challenge: Value, code: &str| {
        let body = json!({ "mfa_token": challenge["mfa_token"], "recovery_code": code });
        app.anonymous().post("/api/v1/auth/login/mfa").json(&body).await.expect(200).json()
    };
    let challenge = mailed(json!({ "device_name": "Car" })).await.expect(401).json();
    assert_eq!(reports(&app).await.len(), 2, "the first factor is no login");
    complete(challenge, &codes[0]).await;
    let found = reports(&app).await;
    assert_eq!((found.len(), new_devices(&ada).await), (3, 3));
    assert!(found[2].text.contains("Car") && found[2].text.contains("127.0.0.1"), "{}", found[2].text);
}

#[tokio::test]
async fn a_device_token_also_marks_the_device_as_known_in_a_login_with_a_second_factor() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let codes = enrol(&ada, app.clock.now()).await.recovery_codes;
    for (index, (token, expected)) in [(&ada.grant()["device_token"], 0), (&json!("x"), 1)].iter().enumerate()
    {
        let device = (["Tablet", "Laptop"][index], "Trips/1.4");
        let challenge = login(&app, device, &json!({ "device_token": token })).await.expect(401).json();
        let body = json!({ "mfa_token": challenge["mfa_token"], "recovery_code": codes[index] });
        app.anonymous().post("/api/v1/auth/login/mfa").json(&body).await.expect(200);
        assert_eq!(reports(&app).await.len(), *expected);
    }
}

#[tokio::test]
async fn the_link_in_a_device_report_works_once_and_opening_it_does_not_use_it_up() {
    // S-46
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let tablet = log_in(&app, TABLET).await;
    let mail = reports(&app).await.remove(0);
    let path = mail.link.as_deref().unwrap();
    for _ in 0..20 {
        app.anonymous().get(path).undocumented().await.expect(200);
        app.anonymous().head(path).undocumented().await.expect(200);
    }
    assert!(tablet.is_alive().await);
    end(&app, &mail).await.expect(204);
    assert!(!tablet.is_alive().await && ada.is_alive().await);
    let refresh = json!({ "refresh_token": tablet.grant()["refresh_token"] });
    app.anonymous().post("/api/v1/auth/refresh").json(&refresh).await.expect(401).problem("session_revoked");
    let newest = ada.get("/api/v1/me/events?limit=1").await.expect(200).json()["items"][0].clone();
    assert_eq!(newest["type"], "session_ended");
    assert_eq!(newest["session_id"], tablet.grant()["session_id"]);
    let reply = end(&app, &mail).await.expect(422).problem("invalid_code");
    assert_eq!(reply.field_errors(), [("/token".to_owned(), "invalid_code".to_owned())]);
}

#[tokio::test]
async fn a_device_whose_session_was_ended_by_the_link_is_reported_again_even_if_it_sends_its_device_token() {
    // S-46
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let tablet = log_in(&app, TABLET).await;
    end(&app, &reports(&app).await.remove(0)).await.expect(204);
    app.clock.advance(TimeDelta::days(30));
    app.services().flows.sweep(&app.services().db).await.unwrap();
    let token = json!({ "device_token": tablet.grant()["device_token"] });
    login(&app, TABLET, &token).await.expect(200);
    assert_eq!(reports(&app).await.len(), 2);
}

#[tokio::test]
async fn exactly_one_of_many_parallel_uses_of_a_link_in_a_device_report_succeeds() {
    // S-46
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    log_in(&app, TABLET).await;
    let mail = reports(&app).await.remove(0);
    let uses = (0..20).map(|_| async { end(&app, &mail).await.status });
    let statuses = futures_util::future::join_all(uses).await;
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn the_link_in_a_device_report_works_after_a_password_change_and_expires_after_7_days() {
    // S-46
    let app = TestApp::with(|settings| settings.access_ttl_secs = 604_800).await;
    app.sign_up("ada").await;
    let (tablet, laptop) = (log_in(&app, TABLET).await, log_in(&app, ("Laptop", "x")).await);
    let found = reports(&app).await;
    // The tablet belongs to a thief, who changes the password.
    app.clock.advance(TimeDelta::seconds(1));
    let change = json!({ "new_password": "a louder harbour at dawn" });
    tablet.post("/api/v1/me/password").json(&change).await.expect(204);
    end(&app, &found[0]).await.expect(204);
    assert!(!tablet.is_alive().await);
    // The change of the password has already ended the session of the laptop. The link that ends this session
    // still succeeds.
    assert!(!laptop.is_alive().await);
    end(&app, &found[1]).await.expect(204);
    let change = json!({ "identifier": "ada", "password": "a louder harbour at dawn" });
    let call = app.anonymous().post(LOGIN).header("user-agent", "another");
    let other = app.anonymous().with_grant(&call.json(&change).await.expect(200).json());
    app.clock.advance(TimeDelta::days(7));
    end(&app, reports(&app).await.last().unwrap()).await.expect(422).problem("invalid_code");
    assert!(other.is_alive().await);
}

#[tokio::test]
async fn a_token_that_is_not_from_a_device_report_ends_no_session() {
    // S-26, S-46
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let confirmation = app.mail_to(ADA).await;
    let tablet = log_in(&app, TABLET).await;
    end(&app, &confirmation).await.expect(422).problem("invalid_code");
    for token in ["", "x", tablet.token(), tablet.grant()["device_token"].as_str().unwrap()] {
        let reply = app.anonymous().post(END).json(&json!({ "token": token })).await;
        reply.expect(422).problem("invalid_code");
    }
    let token = reports(&app).await.remove(0).token().to_owned();
    let reset = json!({ "token": token, "new_password": "a louder harbour at dawn" });
    app.anonymous().post("/api/v1/auth/password/reset").json(&reset).await.expect(422);
    assert!(tablet.is_alive().await);
}

#[tokio::test]
async fn turning_off_device_reports_stops_the_emails_but_not_the_events() {
    let app = TestApp::with(|settings| settings.mail.new_device = false).await;
    let ada = app.sign_up("ada").await;
    let flows = rows::flows(&app).await.len();
    log_in(&app, TABLET).await;
    assert_eq!((reports(&app).await.len(), new_devices(&ada).await), (0, 1));
    assert_eq!(rows::flows(&app).await.len(), flows);
}

#[tokio::test]
async fn when_the_mail_budget_is_spent_new_devices_are_recorded_as_events_but_not_mailed() {
    // S-48
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let email = json!({ "email": ADA });
    for _ in 0..8 {
        app.anonymous().post("/api/v1/auth/login/code").json(&email).await.expect(202);
    }
    for number in 0..5 {
        log_in(&app, (&format!("Device {number}"), "x")).await;
    }
    assert_eq!((reports(&app).await.len(), new_devices(&ada).await), (1, 5));
}

#[tokio::test]
async fn a_login_succeeds_while_mail_cannot_be_delivered_and_its_device_report_stays_queued() {
    // S-49
    let app = TestApp::start().await;
    std::fs::write(app.settings().data_dir.join("outbox"), "not a directory").unwrap();
    app.sign_up("ada").await;
    log_in(&app, TABLET).await;
    assert!(app.mails().await.is_empty());
    let waiting = app.services().mail.list().await.unwrap();
    assert_eq!(waiting.last().unwrap().kind, "new_device");
}

#[tokio::test]
async fn a_device_report_is_in_the_language_of_the_account_or_else_of_the_login_request() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for (device, locale, subject) in [
        ("Tablet", Value::Null, "Nieuwe login op je account"),
        ("Laptop", json!("de-CH"), "Neue Anmeldung in deinem Konto"),
    ] {
        ada.patch("/api/v1/me").json(&json!({ "locale": locale })).await.expect(200);
        login(&app, (device, "x"), &json!({})).header("accept-language", "nl").await.expect(200);
        assert_eq!(reports(&app).await.last().unwrap().subject(), subject);
    }
}

#[tokio::test]
async fn when_a_mailbox_owner_reclaims_an_account_the_known_devices_of_the_stranger_are_removed() {
    // S-80
    let app = TestApp::with(|settings| settings.limits = false).await;
    app.sign_up("ada").await;
    log_in(&app, TABLET).await;
    let email = json!({ "email": ADA });
    let flow = app.anonymous().post("/api/v1/auth/password/forgot").json(&email).await.expect(202).json();
    let code = app.mail_to(ADA).await.code().to_owned();
    let reset = json!({ "flow_id": flow["flow_id"], "code": code, "new_password": PASSWORD });
    app.anonymous().post("/api/v1/auth/password/reset").json(&reset).await.expect(204);
    let before = reports(&app).await.len();
    log_in(&app, TABLET).await;
    assert_eq!(reports(&app).await.len(), before + 1);
}
