//! Delivery over SMTP.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use tripgate::config::{Secret, Settings, SmtpSecurity, SmtpServer};
use tripgate::mail::{MailKind, QueuedMail};

use super::server::{Behaviour, Encryption, MailServer};
use super::{mail, queue, queue_each};
use crate::harness::process::{Process, run, stderr, stdout};
use crate::harness::{ReceivedMail, TestApp};

/// Returns a function that changes the settings, so that the server under test sends mails to this mail
/// server.
fn with_server(server: &MailServer, security: SmtpSecurity) -> impl FnOnce(&mut Settings) {
    let (port, certificate) = (server.address.port(), server.certificate.clone());
    move |settings| {
        let ca_file = settings.data_dir.join("ca.pem");
        fs::write(&ca_file, certificate).unwrap();
        let credentials = Some(("ada".to_owned(), Secret::new("s3cret pass")));
        settings.mail.smtp = Some(SmtpServer { security, host: "localhost".to_owned(), port, credentials });
        settings.mail.ca_file = Some(ca_file);
        settings.mail.from = Some("Trips <trips@example.org>".to_owned());
        settings.mail.timeout_secs = 1;
    }
}

async fn plain(server: &MailServer) -> TestApp {
    let change = with_server(server, SmtpSecurity::Plain);
    TestApp::with(|settings| {
        change(settings);
        settings.mail.smtp.as_mut().unwrap().credentials = None;
    })
    .await
}

async fn waiting(app: &TestApp) -> Vec<QueuedMail> {
    app.mails().await;
    app.services().mail.list().await.unwrap()
}

#[tokio::test]
async fn mails_are_sent_over_tls_with_authentication_on_one_connection() {
    let cases: [(_, _, &'static [&'static str]); 2] = [
        (Encryption::Tls, SmtpSecurity::Tls, &["AUTH PLAIN LOGIN"]),
        (Encryption::StartTls, SmtpSecurity::StartTls, &["AUTH LOGIN"]),
    ];
    for (encryption, security, offers) in cases {
        let server = MailServer::start(encryption, offers).await;
        let app = TestApp::with(with_server(&server, security)).await;
        for to in ["ada@example.org", "b@münchen.example"] {
            queue(&app, mail(to, MailKind::ConfirmAddress)).await;
        }
        assert!(waiting(&app).await.is_empty());
        let accepted = server.accepted();
        assert_eq!(accepted.len(), 2, "{offers:?}");
        assert_eq!(accepted[0].from, "MAIL FROM:<trips@example.org>");
        assert_eq!(accepted[0].to, "RCPT TO:<ada@example.org>");
        assert_eq!(accepted[1].to, "RCPT TO:<b@xn--mnchen-3ya.example>");
        let received = ReceivedMail::parse(&accepted[0].message);
        assert_eq!((received.code(), received.token()), ("12345678", "token"));
        assert_eq!(server.connections(), 1);
        let login = server.logins().remove(0);
        assert_eq!(login.trim_start_matches('\0'), "ada\0s3cret pass");
        assert!(!app.settings().data_dir.join("outbox").exists());
    }
}

#[tokio::test]
async fn no_mail_is_sent_if_the_certificate_is_invalid_or_starttls_is_missing_or_a_reply_is_injected() {
    let tls = MailServer::start(Encryption::Tls, &[]).await;
    let change = with_server(&tls, SmtpSecurity::Tls);
    let app = TestApp::with(|settings| {
        change(settings);
        settings.mail.ca_file = None;
    })
    .await;
    queue(&app, mail("ada@example.org", MailKind::LoginCode)).await;
    let error = waiting(&app).await[0].last_error.clone().unwrap();
    assert!(error.contains("certificate"), "{error}");

    let plain = MailServer::start(Encryption::None, &[]).await;
    let app = TestApp::with(with_server(&plain, SmtpSecurity::StartTls)).await;
    queue(&app, mail("ada@example.org", MailKind::LoginCode)).await;
    let error = waiting(&app).await[0].last_error.clone().unwrap();
    assert!(error.contains("does not offer STARTTLS"), "{error}");

    let injecting = MailServer::start(Encryption::StartTls, &[]).await;
    injecting.behave(Behaviour::InjectBeforeTls);
    let app = TestApp::with(with_server(&injecting, SmtpSecurity::StartTls)).await;
    queue(&app, mail("ada@example.org", MailKind::LoginCode)).await;
    let error = waiting(&app).await[0].last_error.clone().unwrap();
    assert!(error.contains("more than one reply before TLS"), "{error}");
    assert!(tls.accepted().is_empty() && plain.accepted().is_empty() && injecting.accepted().is_empty());
}

#[tokio::test]
async fn an_unavailable_or_hanging_mail_server_delays_mails_but_no_request() {
    // S-49, S-86
    let server = MailServer::start(Encryption::None, &[]).await;
    server.behave(Behaviour::Hang);
    let app = plain(&server).await;
    queue(&app, mail("ada@example.org", MailKind::LoginCode)).await;
    let begin = Instant::now();
    queue(&app, mail("bob@example.org", MailKind::LoginCode)).await;
    app.anonymous().get("/health/ready").await.expect(200);
    assert!(begin.elapsed() < Duration::from_millis(800), "{:?}", begin.elapsed());
    let mails = waiting(&app).await;
    assert_eq!(mails.len(), 2);
    // If both mails are in one batch, only the first one is tried.
    assert!(mails.iter().any(|mail| mail.attempts == 1));
    for mail in &mails {
        assert!(mail.attempts <= 1 && mail.failed_at.is_none(), "{mail:?}");
        assert_eq!(mail.next_attempt_at, Some(app.clock.now() + TimeDelta::seconds(30)));
        assert!(mail.last_error.as_deref().unwrap().contains("no response within 1 s"), "{mail:?}");
    }
    server.behave(Behaviour::Normal);
    app.clock.advance(TimeDelta::seconds(29));
    assert_eq!(waiting(&app).await.len(), 2);
    app.clock.advance(TimeDelta::seconds(1));
    assert!(waiting(&app).await.is_empty());
    assert_eq!(server.accepted().len(), 2);
}

#[tokio::test]
async fn while_the_mail_server_does_not_respond_an_attempt_is_counted_only_for_the_mail_that_was_tried() {
    // S-86
    let server = MailServer::start(Encryption::None, &[]).await;
    server.behave(Behaviour::Hang);
    let app = plain(&server).await;
    let mails = ["ada", "bob", "eve"].map(|name| mail(&format!("{name}@example.org"), MailKind::LoginCode));
    queue_each(&app, mails.to_vec()).await.unwrap();
    for (tries, delay) in [(1, TimeDelta::seconds(30)), (2, TimeDelta::seconds(60))] {
        let mails = waiting(&app).await;
        let attempts: Vec<u64> = mails.iter().map(|mail| mail.attempts).collect();
        assert_eq!(attempts, [tries, 0, 0]);
        for (mail, delay) in mails.iter().zip([delay, TimeDelta::seconds(30), TimeDelta::seconds(30)]) {
            assert_eq!(mail.next_attempt_at, Some(app.clock.now() + delay));
            assert!(mail.last_error.as_deref().unwrap().contains("no response within 1 s"), "{mail:?}");
        }
        if tries == 2 {
            server.behave(Behaviour::Normal);
        }
        app.clock.advance(delay);
    }
    assert!(waiting(&app).await.is_empty());
    assert_eq!(server.accepted().len(), 3);
}

#[tokio::test]
async fn the_delay_between_retries_doubles_up_to_an_hour_and_retries_end_after_three_days() {
    let server = MailServer::start(Encryption::None, &[]).await;
    server.behave(Behaviour::DeferRecipients);
    let app = plain(&server).await;
    queue(&app, mail("ada@example.org", MailKind::LoginCode)).await;
    let begin = app.clock.now();
    let mut delays = Vec::new();
    let failed = loop {
        let mail = waiting(&app).await.remove(0);
        let Some(next) = mail.next_attempt_at else { break mail };
        delays.push((next - app.clock.now()).num_seconds());
        app.clock.advance(next - app.clock.now());
    };
    assert_eq!(delays[..9], [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    let age = failed.failed_at.unwrap() - begin;
    assert!(age <= TimeDelta::days(3) && age > TimeDelta::days(3) - TimeDelta::hours(1), "{age}");
    assert!(failed.last_error.unwrap().contains("greylisted"));
    app.clock.advance(TimeDelta::days(8));
    app.services().mail.sweep().await.unwrap();
    assert!(waiting(&app).await.is_empty());
}

#[tokio::test]
async fn a_mail_to_a_refused_recipient_fails_at_once_and_does_not_delay_other_mails() {
    let server = MailServer::start(Encryption::None, &[]).await;
    server.behave(Behaviour::RefuseRecipients);
    let app = plain(&server).await;
    queue(&app, mail("ada@example.org", MailKind::LoginCode)).await;
    // The mail server does not offer SMTPUTF8, which the second address requires.
    queue(&app, mail("ädä@example.org", MailKind::LoginCode)).await;
    let mails = waiting(&app).await;
    assert!(mails.iter().all(|mail| mail.failed_at.is_some() && mail.attempts == 1), "{mails:?}");
    assert!(mails[0].last_error.as_deref().unwrap().contains("no such user"), "{mails:?}");
    assert!(mails[1].last_error.as_deref().unwrap().contains("SMTPUTF8"), "{mails:?}");
    server.behave(Behaviour::Normal);
    queue(&app, mail("bob@example.org", MailKind::LoginCode)).await;
    assert_eq!(waiting(&app).await.len(), 2);
    assert_eq!(server.accepted().len(), 1);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_internationalized_local_part_is_sent_with_smtputf8() {
    let server = MailServer::start(Encryption::None, &["SMTPUTF8"]).await;
    let app = plain(&server).await;
    queue(&app, mail("ädä@example.org", MailKind::LoginCode)).await;
    assert!(waiting(&app).await.is_empty());
    let accepted = &server.accepted()[0];
    assert_eq!(accepted.from, "MAIL FROM:<trips@example.org> SMTPUTF8 BODY=8BITMIME");
    assert_eq!(accepted.to, "RCPT TO:<ädä@example.org>");
}

#[tokio::test]
async fn a_mail_that_is_sent_twice_has_the_same_message_id() {
    // S-86
    let server = MailServer::start(Encryption::None, &[]).await;
    server.behave(Behaviour::CloseAfterMessage);
    let app = plain(&server).await;
    queue(&app, mail("ada@example.org", MailKind::LoginCode)).await;
    assert_eq!(waiting(&app).await.len(), 1);
    server.behave(Behaviour::Normal);
    let app = app.restart().await;
    app.clock.advance(TimeDelta::seconds(30));
    assert!(waiting(&app).await.is_empty());
    let ids: Vec<String> = server
        .accepted()
        .iter()
        .map(|mail| ReceivedMail::parse(&mail.message).header("Message-ID").to_owned())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn mails_are_sent_even_if_the_mail_server_closes_the_connection_after_each_mail() {
    let server = MailServer::start(Encryption::None, &[]).await;
    server.behave(Behaviour::OneMail);
    let app = plain(&server).await;
    for n in 0..4 {
        queue(&app, mail(&format!("user{n}@example.org"), MailKind::LoginCode)).await;
    }
    assert!(waiting(&app).await.is_empty());
    assert_eq!(server.accepted().len(), 4);
}

#[tokio::test]
async fn two_replicas_together_send_each_mail_exactly_once() {
    // S-86
    let server = MailServer::start(Encryption::None, &[]).await;
    let app = plain(&server).await;
    let replica = app.replica().await;
    for n in 0..20 {
        let by = if n % 2 == 0 { &app } else { &replica };
        queue(by, mail(&format!("user{n}@example.org"), MailKind::LoginCode)).await;
    }
    assert!(waiting(&app).await.is_empty());
    let mut to: Vec<String> = server.accepted().into_iter().map(|mail| mail.to).collect();
    to.sort();
    to.dedup();
    assert_eq!((to.len(), server.accepted().len()), (20, 20));
}

#[tokio::test]
async fn the_outbox_sends_more_than_50_mails_a_second_over_one_connection() {
    let server = MailServer::start(Encryption::None, &[]).await;
    let app = plain(&server).await;
    let mails = (0..200).map(|n| mail(&format!("user{n}@example.org"), MailKind::ResetPassword)).collect();
    let begin = Instant::now();
    queue_each(&app, mails).await.unwrap();
    assert!(waiting(&app).await.is_empty());
    let rate = 200.0 / begin.elapsed().as_secs_f64();
    println!("{rate:.0} mails/s");
    assert_eq!((server.accepted().len(), server.connections()), (200, 1));
    assert!(rate > 50.0, "{rate}");
}

#[tokio::test]
async fn a_killed_server_loses_no_mail() {
    // S-86
    let server = MailServer::start(Encryption::None, &[]).await;
    server.behave(Behaviour::Hang);
    let app = plain(&server).await;
    let mails = (0..5).map(|n| mail(&format!("user{n}@example.org"), MailKind::LoginCode)).collect();
    queue_each(&app, mails).await.unwrap();
    let replica = app.replica().await;
    // Dropping the app acts like a kill: the server writes nothing and releases no lease.
    drop(app);
    server.behave(Behaviour::Normal);
    replica.clock.advance(TimeDelta::minutes(2));
    assert!(waiting(&replica).await.is_empty());
    assert_eq!(server.accepted().len(), 5);
}

/// Returns the command-line arguments for this mail server.
fn arguments(dir: &Path, server: &MailServer) -> Vec<String> {
    fs::write(dir.join("ca.pem"), &server.certificate).unwrap();
    let url = format!("smtp://ada:s3cret@localhost:{}", server.address.port());
    ["--smtp-url", &url, "--smtp-ca-file", "ca.pem", "--smtp-timeout-secs", "2"].map(str::to_owned).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_mail_test_prints_the_dialogue_without_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let server = MailServer::start(Encryption::StartTls, &["AUTH PLAIN"]).await;
    let settings = arguments(dir.path(), &server);
    let mut args: Vec<&str> = vec!["mail", "test", "ada@example.org"];
    args.extend(settings.iter().map(String::as_str));
    let output = tokio::task::block_in_place(|| run(dir.path(), &args));
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for line in [
        "S: 220 localhost ESMTP",
        "C: STARTTLS",
        "C: AUTH PLAIN ********",
        "C: RCPT TO:<ada@example.org>",
        "S: 250 queued",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
    server.behave(Behaviour::RefuseRecipients);
    args.push("--json");
    let output = tokio::task::block_in_place(|| run(dir.path(), &args));
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["sent"], false);
    assert!(json["error"].as_str().unwrap().contains("no such user"), "{json}");
}

#[tokio::test]
async fn the_command_mail_queue_lists_waiting_mails_and_their_errors() {
    let server = MailServer::start(Encryption::None, &[]).await;
    server.behave(Behaviour::DeferRecipients);
    let app = plain(&server).await;
    queue(&app, mail("ada@example.org", MailKind::LoginCode)).await;
    assert_eq!(waiting(&app).await.len(), 1);
    let settings = app.settings();
    let secret = settings.secret_file.to_str().unwrap();
    let args = [
        "mail",
        "queue",
        "--json",
        "--database-url",
        settings.database_url.expose(),
        "--secret-file",
        secret,
    ];
    let output = run(&settings.data_dir, &args);
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json[0]["state"], "waiting", "{json}");
    assert_eq!((&json[0]["to"], &json[0]["kind"]), (&"ada@example.org".into(), &"login_code".into()));
    assert_eq!(json[0]["attempts"], 1);
    assert!(json[0]["last_error"].as_str().unwrap().contains("greylisted"), "{json}");
    let output = run(&settings.data_dir, &[&args[..2], &args[3..]].concat());
    assert!(stdout(&output).contains("waiting  login_code  ada@example.org"), "{}", stdout(&output));
}

#[tokio::test]
async fn a_server_with_invalid_mail_templates_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("templates")).unwrap();
    fs::write(dir.path().join("templates/test.txt"), "Subject: x\n\n{% if %}").unwrap();
    let output = run(dir.path(), &["--templates", "templates", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("templates: test.txt is not valid"), "{}", stderr(&output));
    fs::write(dir.path().join("templates/test.txt"), "Subject: x\n\nfine").unwrap();
    drop(Process::serve(dir.path(), &["--templates", "templates"]));
}
