//! The outbox and its budgets. The mails are delivered into files.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::FutureExt;
use tripgate::db::StoreError;
use tripgate::mail::{Languages, MailKind, NewMail, Queued, Values};

use super::{mail, queue, queue_each};
use crate::harness::{ReceivedMail, TestApp, email};

#[tokio::test]
async fn a_mail_is_written_to_a_file_with_its_code_and_link_after_the_commit() {
    // S-45
    let app = TestApp::start().await;
    assert_eq!(queue(&app, mail("ada@example.org", MailKind::ConfirmAddress)).await, Queued::Accepted);
    let mails = app.mails().await;
    let [mail] = &mails[..] else { panic!("{mails:?}") };
    assert_eq!((mail.to(), mail.subject()), ("ada@example.org", "Confirm your email address"));
    assert_eq!(mail.header("From"), "Tripgate <no-reply@tripgate.test>");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.header("Message-ID").ends_with("@tripgate.test>"), "{mail:?}");
    assert_eq!(mail.code(), "12345678");
    assert_eq!(mail.link.as_deref(), Some("/account/confirm#token"));
    assert_eq!(mail.token(), "token");
    assert!(mail.html.as_deref().unwrap().contains("12345678"), "{mail:?}");
    assert!(app.services().mail.list().await.unwrap().is_empty(), "the sent mail is still stored");
}

#[tokio::test]
async fn a_mail_is_sent_promptly_after_the_commit() {
    let app = TestApp::start().await;
    let begin = Instant::now();
    queue(&app, mail("ada@example.org", MailKind::LoginCode)).await;
    assert_eq!(app.mails().await.len(), 1);
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_mail_of_a_transaction_that_fails_is_not_sent() {
    let app = TestApp::start().await;
    let services = app.services();
    let input = (services.mail.clone(), mail("ada@example.org", MailKind::LoginCode));
    let failed: Result<(), StoreError> = services
        .db
        .write(input, |tx, (outbox, mail)| {
            async move {
                outbox.queue(tx, mail.clone()).await?;
                Err(StoreError::timed_out())
            }
            .boxed()
        })
        .await;
    assert!(failed.is_err());
    queue(&app, mail("bob@example.org", MailKind::LoginCode)).await;
    let mails = app.mails().await;
    assert_eq!(mails.iter().map(ReceivedMail::to).collect::<Vec<_>>(), ["bob@example.org"]);
}

#[tokio::test]
async fn a_mail_is_in_the_language_of_its_recipient() {
    let app = TestApp::start().await;
    for (locale, accept, subject) in [
        (Some("nl-NL"), Some("de"), "Je code om in te loggen"),
        (None, Some("fr, de;q=0.9"), "Dein Code zum Anmelden"),
        (Some("fr"), None, "Your code to log in"),
    ] {
        let languages = Languages::accepted(accept).preferring(locale);
        queue(&app, NewMail { languages, ..mail(&email("ada"), MailKind::LoginCode) }).await;
        assert_eq!(app.mails().await.last().unwrap().subject(), subject);
    }
    queue(
        &app,
        NewMail {
            languages: Languages::default().preferring(Some("de")),
            ..mail("b@x.org", MailKind::ConfirmAddress)
        },
    )
    .await;
    let mail = app.mail_to("b@x.org").await;
    assert_eq!(mail.subject(), "Bestätige deine E-Mail-Adresse");
    assert!(mail.text.contains("bestätigen:"), "{}", mail.text);
}

#[tokio::test]
async fn a_mailbox_gets_at_most_five_mails_an_hour_plus_one_password_reset() {
    // S-48
    let app = TestApp::start().await;
    let ordinary = |to: &str| mail(to, MailKind::ConfirmAddress);
    let spellings =
        ["ada@example.org", "ADA@example.org", "Ada@EXAMPLE.org", "ada@example.org", "ａda@example.org"];
    for to in spellings {
        assert_eq!(queue(&app, ordinary(to)).await, Queued::Accepted);
    }
    assert_eq!(queue(&app, ordinary("ada@example.org")).await, Queued::OverBudget);
    assert_eq!(queue(&app, mail("ada@example.org", MailKind::ResetPassword)).await, Queued::Accepted);
    assert_eq!(queue(&app, mail("ada@example.org", MailKind::ResetPassword)).await, Queued::OverBudget);
    assert_eq!(queue(&app, ordinary("bob@example.org")).await, Queued::Accepted);
    assert_eq!(app.mails().await.len(), 7);
    app.clock.advance(TimeDelta::hours(1));
    assert_eq!(queue(&app, ordinary("ada@example.org")).await, Queued::Accepted);
}

#[tokio::test]
async fn concurrent_mails_to_one_mailbox_do_not_exceed_its_budget() {
    // S-48
    let app = TestApp::start().await;
    let all = (0..12).map(|_| queue(&app, mail("ada@example.org", MailKind::LoginCode)));
    let queued = futures_util::future::join_all(all).await;
    assert_eq!(queued.iter().filter(|queued| **queued == Queued::Accepted).count(), 5);
    assert_eq!(app.mails().await.len(), 5);
}

#[tokio::test]
async fn the_number_of_mails_a_day_is_limited_and_some_are_reserved_for_password_resets() {
    let app = TestApp::with(|settings| settings.mail.per_day = 10).await;
    let to = |n: usize| format!("user{n}@example.org");
    let ordinary: Vec<_> = (0..12).map(|n| mail(&to(n), MailKind::LoginCode)).collect();
    let queued = queue_each(&app, ordinary).await.unwrap();
    assert_eq!(queued[9..], [Queued::Accepted, Queued::OverBudget, Queued::OverBudget]);
    let resets: Vec<_> = (0..2).map(|n| mail(&to(n), MailKind::ResetPassword)).collect();
    assert_eq!(queue_each(&app, resets).await.unwrap(), [Queued::Accepted, Queued::OverBudget]);
    app.clock.advance(TimeDelta::days(1));
    assert_eq!(queue(&app, mail(&to(0), MailKind::LoginCode)).await, Queued::Accepted);
}

#[tokio::test]
async fn the_limits_on_the_number_of_mails_can_be_turned_off() {
    let app = TestApp::with(|settings| settings.limits = false).await;
    for _ in 0..12 {
        assert_eq!(queue(&app, mail("ada@example.org", MailKind::LoginCode)).await, Queued::Accepted);
    }
}

#[tokio::test]
async fn no_value_of_a_mail_adds_a_header_or_a_line() {
    // S-48
    let app = TestApp::start().await;
    let evil = "x\r\nBcc: eve@evil.example\r\n\r\n[link] evil\r\n.\r\nMAIL FROM:<eve@evil.example>";
    let values = Values {
        device: Some(evil.to_owned()),
        ip: Some(evil.to_owned()),
        link: Some("/account/undo#t\r\nBcc: x".to_owned()),
        ..Values::default()
    };
    queue(&app, NewMail { values, ..mail("ada@example.org", MailKind::NewDevice) }).await;
    let mail = app.mail_to("ada@example.org").await;
    assert!(mail.headers.iter().all(|(name, _)| name != "Bcc"), "{mail:?}");
    assert!(
        mail.text.lines().all(|line| !line.starts_with("Bcc") && !line.starts_with('.')),
        "{}",
        mail.text
    );
    assert_eq!(mail.link.as_deref(), Some("/account/undo#tBcc:x"));
}

#[tokio::test]
async fn the_mails_of_a_deleted_account_are_not_sent() {
    let app = TestApp::start().await;
    // Mails that cannot be delivered remain in the queue, including the mail of the sign-up.
    std::fs::write(app.settings().data_dir.join("outbox"), "not a directory").unwrap();
    let ada = app.sign_up("ada").await;
    let user = ada.get("/api/v1/me").await.expect(200).json()["id"].as_str().unwrap().parse().unwrap();
    queue(&app, NewMail { user: Some(user), ..mail(&email("ada"), MailKind::NewDevice) }).await;
    assert!(app.mails().await.is_empty());
    let waiting = app.services().mail.list().await.unwrap();
    assert_eq!((waiting.len(), waiting[1].attempts), (2, 1), "{waiting:?}");
    assert_eq!(waiting[0].to.as_deref(), Some("ada@example.org"));
    assert!(waiting[0].last_error.as_deref().unwrap().contains("failed to write the file"), "{waiting:?}");
    ada.delete("/api/v1/me")
        .json(&serde_json::json!({ "password": crate::harness::PASSWORD }))
        .await
        .expect(204);
    assert!(app.services().mail.list().await.unwrap().is_empty());
}
