//! The language of emails: the language of the account, or, if the account has none, the language of the
//! request.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tripgate::config::Signup;

use super::{ADA, CHANGE, CONFIRM, FORGOT, LOGIN_CODE, ME, NEW_PASSWORD, OLD_PASSWORD, RESEND, RESET};
use crate::harness::{Client, TestApp};

const NEW: &str = "ada@new.example.org";
const SIGNUP: &str = "/api/v1/auth/signup";

/// Sends a request whose `Accept-Language` header prefers German.
async fn send(client: &Client, path: &str, body: &Value) -> Value {
    let call = client.post(path).header("accept-language", "de, en;q=0.5");
    let reply = if body.is_null() { call.await } else { call.json(body).await };
    assert!((200..300).contains(&reply.status), "{path}: {}", reply.text());
    if reply.body.is_empty() { Value::Null } else { reply.json() }
}

async fn subject(app: &TestApp, address: &str) -> String {
    app.mail_to(address).await.subject().to_owned()
}

/// Returns the subject of each kind of email to an account with this language.
async fn subjects(locale: Option<&str>) -> Vec<String> {
    let app = super::start().await;
    let mut account = json!({ "email": ADA, "password": OLD_PASSWORD });
    if let Some(locale) = locale {
        account["locale"] = json!(locale);
    }
    let grant = send(&app.anonymous(), SIGNUP, &account).await;
    let ada = app.anonymous().with_grant(&grant);
    let mut subjects = vec![subject(&app, ADA).await];
    let email = json!({ "email": ADA });
    for path in [RESEND, LOGIN_CODE, FORGOT] {
        send(&app.anonymous(), path, &email).await;
        subjects.push(subject(&app, ADA).await);
    }
    let reset = json!({ "token": app.mail_to(ADA).await.token(), "new_password": NEW_PASSWORD });
    send(&ada, CHANGE, &json!({ "email": NEW })).await;
    subjects.extend([subject(&app, NEW).await, subject(&app, ADA).await]);
    send(&ada, "/api/v1/me/reauthenticate/code", &Value::Null).await;
    subjects.push(subject(&app, ADA).await);
    send(&app.anonymous(), RESET, &reset).await;
    subjects.push(subject(&app, ADA).await);
    app.clock.advance(TimeDelta::seconds(1));
    let login = json!({ "identifier": ADA, "password": NEW_PASSWORD });
    let ada = app.anonymous().with_grant(&send(&app.anonymous(), super::LOGIN, &login).await);
    let change = send(&ada, CHANGE, &json!({ "email": NEW })).await;
    let code = app.mail_to(NEW).await.code().to_owned();
    send(&app.anonymous(), CONFIRM, &json!({ "flow_id": change["flow_id"], "code": code })).await;
    subjects.push(subject(&app, ADA).await);
    assert_eq!(ada.get(ME).await.expect(200).json()["email"], NEW);
    subjects
}

#[tokio::test]
async fn every_email_is_in_the_language_of_the_account() {
    let dutch = [
        "Bevestig je e-mailadres",
        "Bevestig je e-mailadres",
        "Je code om in te loggen",
        "Kies een nieuw wachtwoord",
        "Bevestig je e-mailadres",
        "Er is een wijziging van je e-mailadres aangevraagd",
        "Je code om te bevestigen dat jij het bent",
        "Je wachtwoord is gewijzigd",
        "Je e-mailadres is gewijzigd",
    ];
    assert_eq!(subjects(Some("nl-BE")).await, dutch);
}

#[tokio::test]
async fn emails_are_in_the_language_of_the_request_if_the_account_has_no_language() {
    let german = [
        "Bestätige deine E-Mail-Adresse",
        "Bestätige deine E-Mail-Adresse",
        "Dein Code zum Anmelden",
        "Wähle ein neues Passwort",
        "Bestätige deine E-Mail-Adresse",
        "Deine E-Mail-Adresse soll geändert werden",
        "Dein Code, um dich auszuweisen",
        "Dein Passwort wurde geändert",
        "Deine E-Mail-Adresse wurde geändert",
    ];
    assert_eq!(subjects(None).await, german);
}

#[tokio::test]
async fn the_email_about_a_taken_address_is_in_the_language_of_the_existing_account() {
    let app = TestApp::with(|settings| {
        settings.limits = false;
        settings.signup = Signup::ConfirmFirst;
    })
    .await;
    let account = json!({ "email": ADA, "password": OLD_PASSWORD, "locale": "nl" });
    let flow = send(&app.anonymous(), SIGNUP, &account).await;
    let code = app.mail_to(ADA).await.code().to_owned();
    send(&app.anonymous(), CONFIRM, &json!({ "flow_id": flow["flow_id"], "code": code })).await;
    send(&app.anonymous(), SIGNUP, &json!({ "email": ADA, "password": OLD_PASSWORD, "locale": "de" })).await;
    assert_eq!(subject(&app, ADA).await, "Je hebt al een account");
}
