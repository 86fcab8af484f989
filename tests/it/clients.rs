//! Services: how the operator makes them known, what they are told of a token, and how they end one.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Call, Client, PASSWORD, Reply, TestApp};
use crate::process::{Process, run, stderr, stdout};
use crate::stored;

const INTROSPECT: &str = "/api/v1/auth/introspect";
const REVOKE: &str = "/api/v1/auth/revoke";

/// A service with its credentials.
struct Gate {
    client: Client,
    id: String,
    secret: String,
}

impl Gate {
    async fn known_to(app: &TestApp) -> Self {
        let made = app.rooms().clients.add("gate").await.unwrap();
        Self { client: app.anonymous(), id: made.id, secret: made.secret }
    }

    fn call(&self, path: &str) -> Call {
        self.client.post(path).basic(&self.id, &self.secret)
    }

    async fn introspect(&self, token: &str) -> Value {
        let reply = self.call(INTROSPECT).form(&[("token", token)]).await.expect(200);
        assert_eq!(reply.header("cache-control"), "no-store");
        reply.json()
    }

    async fn revoke(&self, token: &str) -> Reply {
        let reply = self.call(REVOKE).form(&[("token", token)]).await.expect(200);
        assert!(reply.body.is_empty() && reply.header("cache-control") == "no-store", "{}", reply.text());
        reply
    }
}

fn inactive() -> Value {
    json!({ "active": false })
}

#[tokio::test]
async fn a_service_is_told_what_an_access_token_is() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::known_to(&app).await;
    app.sign_up("ada").await;
    let ada = app.log_in_for("ada", "account trips:read").await;
    let mut told = gate.introspect(ada.token()).await;
    let id = told.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 36);
    let now = app.clock.now().timestamp();
    assert_eq!(
        told,
        json!({
            "active": true,
            "scope": "account trips:read",
            "client_id": "tripgate",
            "token_type": "Bearer",
            "exp": now + 900,
            "iat": now,
            "sub": ada.id(),
            "aud": "tripgate",
            "iss": "https://tripgate.test",
            "sid": ada.grant()["session_id"],
        })
    );
    // A bought one has no session; what the service takes it for changes nothing.
    let bought = app.anonymous().post("/api/v1/auth/tokens").basic("ada", PASSWORD).await.expect(200).json();
    let bought = bought["access_token"].as_str().unwrap();
    for hint in ["access_token", "refresh_token", "elephant", ""] {
        let call = gate.call(INTROSPECT).form(&[("token_type_hint", hint), ("token", bought)]);
        let told = call.await.expect(200).json();
        assert_eq!((&told["active"], &told["sid"]), (&json!(true), &Value::Null), "{hint}");
    }
}

#[tokio::test]
async fn of_a_token_that_is_not_good_nothing_is_told_but_that() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::known_to(&app).await;
    let ada = app.sign_up("ada").await;
    let token = ada.token();
    let [header, payload, _] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let revoked = app.log_in("ada").await;
    gate.revoke(revoked.token()).await;
    for bad in
        ["x", "a.b.c", &format!("{token}x"), &format!("{header}.{payload}."), revoked.token(), &gate.secret]
    {
        assert_eq!(gate.introspect(bad).await, inactive(), "{bad}");
    }
    assert_eq!(gate.introspect(&"x".repeat(200_000)).await, inactive());
    app.clock.advance(TimeDelta::seconds(931));
    assert_eq!(gate.introspect(token).await, inactive());
}

#[tokio::test]
async fn a_revoked_access_token_gets_nobody_in_any_more_on_any_replica() {
    // S-43
    let app = TestApp::start().await;
    let other = app.replica().await;
    let gate = Gate::known_to(&app).await;
    let ada = app.sign_up("ada").await;
    let second = app.log_in("ada").await;
    let (here, there) = (ada.clone(), other.anonymous().with_token(ada.token()));
    here.get("/api/v1/me").await.expect(200);
    there.get("/api/v1/me").await.expect(200);
    gate.revoke(ada.token()).await;
    let began = Instant::now();
    here.get("/api/v1/me").await.expect(401).problem("invalid_token");
    while there.get("/api/v1/me").await.status != 401 {
        assert!(began.elapsed() < Duration::from_secs(2), "the other replica still lets it in");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It alone: the same user's other session goes on.
    second.get("/api/v1/me").await.expect(200);
    let app = app.restart().await;
    app.anonymous().with_token(ada.token()).get("/api/v1/me").await.expect(401);
    app.anonymous().with_token(second.token()).get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_refresh_token_is_good_as_long_as_it_would_be_taken_and_asking_does_not_use_it() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::known_to(&app).await;
    app.sign_up("ada").await;
    let ada = app.log_in_for("ada", "trips:read").await;
    let first = ada.grant()["refresh_token"].as_str().unwrap();
    let now = app.clock.now().timestamp();
    for _ in 0..2 {
        assert_eq!(
            gate.introspect(first).await,
            json!({
                "active": true,
                "scope": "trips:read",
                "client_id": "tripgate",
                "exp": now + 5_184_000,
                "sub": ada.id(),
                "iss": "https://tripgate.test",
                "sid": ada.grant()["session_id"],
            })
        );
    }
    let body = json!({ "refresh_token": first });
    let next = app.anonymous().post("/api/v1/auth/refresh").json(&body).await.expect(200).json();
    let next = next["refresh_token"].as_str().unwrap();
    assert_eq!(gate.introspect(first).await, inactive());
    assert_eq!(gate.introspect(next).await["active"], true);
    // It never gets anybody in.
    app.anonymous().with_token(next).get("/api/v1/me").await.expect(401).problem("invalid_token");
    app.clock.advance(TimeDelta::seconds(5_184_001));
    assert_eq!(gate.introspect(next).await, inactive());
}

#[tokio::test]
async fn a_revoked_refresh_token_ends_its_session_and_no_other() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::known_to(&app).await;
    let ada = app.sign_up("ada").await;
    let other = app.log_in("ada").await;
    let refresh = ada.grant()["refresh_token"].as_str().unwrap();
    gate.revoke(refresh).await;
    assert_eq!(gate.introspect(refresh).await, inactive());
    assert_eq!(gate.introspect(ada.token()).await, inactive());
    ada.get("/api/v1/me").await.expect(401).problem("invalid_token");
    let body = json!({ "refresh_token": refresh });
    app.anonymous().post("/api/v1/auth/refresh").json(&body).await.expect(401).problem("session_revoked");
    other.get("/api/v1/me").await.expect(200);
    gate.revoke(refresh).await;
}

#[tokio::test]
async fn of_a_deleted_account_no_token_is_good() {
    // S-28, S-43
    let app = TestApp::with(|settings| settings.ways_in.basic = true).await;
    let gate = Gate::known_to(&app).await;
    let ada = app.sign_up("ada").await;
    let bought = app.anonymous().post("/api/v1/auth/tokens").basic("ada", PASSWORD).await.expect(200).json();
    let bought = bought["access_token"].as_str().unwrap();
    ada.delete("/api/v1/me").json(&json!({ "password": PASSWORD })).await.expect(204);
    for token in [ada.token(), bought, ada.grant()["refresh_token"].as_str().unwrap()] {
        assert_eq!(gate.introspect(token).await, inactive());
        app.anonymous().get("/api/v1/me").basic(token, "").await.expect(401).problem("invalid_token");
    }
    app.anonymous().get("/api/v1/me").basic("ada", PASSWORD).await.expect(401).problem("invalid_credentials");
}

#[tokio::test]
async fn an_unknown_token_is_revoked_already() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::known_to(&app).await;
    let ada = app.sign_up("ada").await;
    for token in ["x", "a.b.c", &format!("{}x", ada.token()), &"x".repeat(200_000)] {
        gate.revoke(token).await;
    }
    for _ in 0..2 {
        gate.revoke(ada.token()).await;
    }
    let late = app.log_in("ada").await;
    app.clock.advance(TimeDelta::hours(1));
    gate.revoke(late.token()).await;
}

#[tokio::test]
async fn nothing_is_done_for_somebody_who_is_no_service() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::known_to(&app).await;
    let ada = app.sign_up("ada").await;
    for call in
        [ada.post(REVOKE), app.anonymous().post(REVOKE), app.anonymous().post(REVOKE).basic(&gate.id, "x")]
    {
        call.form(&[("token", ada.token())]).await.expect(401).problem("invalid_client");
    }
    // Credentials in the form are none (RFC 6749 §2.3.1 lets a server do without).
    let form = [("token", ada.token()), ("client_id", &gate.id), ("client_secret", &gate.secret)];
    app.anonymous().post(REVOKE).form(&form).await.expect(401).problem("invalid_client");
    // Who is told first: neither the media type nor the form of a stranger matters.
    app.anonymous().post(INTROSPECT).body("x").await.expect(401).problem("invalid_client");
    ada.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_form_is_read_as_oauth_has_it() {
    let app = TestApp::start().await;
    let gate = Gate::known_to(&app).await;
    let ada = app.sign_up("ada").await;
    let token = ada.token();
    let send = |media: &'static str, body: String| {
        let call = gate.call(INTROSPECT).header("content-type", media).body(body);
        async { call.await }
    };
    let form = "application/x-www-form-urlencoded";
    // RFC 6749 §3.2: what is not known is ignored, without a value is absent.
    for body in
        [format!("token={token}&x=1"), format!("token={}&token_type_hint=", token.replace('.', "%2E"))]
    {
        assert_eq!(send(form, body).await.expect(200).json()["active"], true);
    }
    for media in [form, "Application/X-WWW-Form-URLencoded; charset=UTF-8"] {
        assert_eq!(send(media, format!("token={token}")).await.expect(200).json()["active"], true);
    }
    // … and what stands there twice is refused.
    for body in ["token=a&token=b", "token=a&%74oken=a", "token=a&x=1&x=1"] {
        send(form, body.to_owned()).await.expect(400).problem("bad_request");
    }
    let latin1 = gate.call(INTROSPECT).header("content-type", form).body(b"token=\xe9".as_slice());
    latin1.await.expect(400).problem("bad_request");
    for body in ["", "token=", "token_type_hint=access_token", "{}"] {
        let reply = send(form, body.to_owned()).await.expect(422).problem("invalid");
        assert_eq!(reply.faults(), [("/token".to_owned(), "required".to_owned())], "{body}");
    }
    for media in ["application/json", "text/plain", "multipart/form-data", ""] {
        send(media, format!("token={token}")).await.expect(415).problem("unsupported_media_type");
    }
    send(form, format!("token={}", "x".repeat(300_000))).await.expect(413).problem("content_too_large");
}

#[tokio::test]
async fn a_secret_is_kept_as_a_digest_and_removing_the_client_ends_it_at_once() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::known_to(&app).await;
    let ada = app.sign_up("ada").await;
    let rows = stored::clients(&app).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].secret_digest, tripgate::secrets::sha256(gate.secret.as_bytes()));
    assert!(gate.secret.len() >= 43, "not 256 bits");
    let other = app.replica().await;
    assert_eq!(gate.introspect(ada.token()).await["active"], true);
    other.rooms().clients.remove(&gate.id).await.unwrap();
    let call = gate.call(INTROSPECT).form(&[("token", ada.token())]);
    call.await.expect(401).problem("invalid_client");
    assert!(other.rooms().clients.remove(&gate.id).await.is_err());
    assert!(stored::clients(&app).await.is_empty());
}

#[tokio::test]
async fn names_of_clients_are_checked_and_no_two_are_the_same() {
    let app = TestApp::start().await;
    let clients = &app.rooms().clients;
    for bad in ["", "  ", "a\nb", "a\0b", &"x".repeat(101)] {
        assert!(clients.add(bad).await.is_err(), "{bad:?}");
    }
    for good in ["gate", &"ž".repeat(100)] {
        clients.add(good).await.unwrap();
    }
    assert!(clients.add(" gate ").await.is_err());
    let names: Vec<String> = clients.list().await.unwrap().into_iter().map(|client| client.name).collect();
    assert_eq!(names, ["gate".to_owned(), "ž".repeat(100)]);
}

#[tokio::test]
async fn an_operator_makes_lists_and_removes_clients_while_the_server_runs() {
    // S-43
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let grant = server.sign_up("ada").await;
    let token = grant["access_token"].as_str().unwrap();
    let command = |args: &[&str]| run(dir.path(), &[&["clients"], args].concat());
    let added = command(&["add", "the gate"]);
    assert_eq!(added.status.code(), Some(0), "{}", stderr(&added));
    let text = stdout(&added);
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
    };
    let (id, secret) = (value("client_id "), value("client_secret "));
    assert_eq!(text.lines().count(), 2);
    let ask = || {
        let call = server.call(Method::POST, INTROSPECT).basic_auth(&id, Some(&secret));
        call.header("content-type", "application/x-www-form-urlencoded").body(format!("token={token}")).send()
    };
    assert_eq!(ask().await.unwrap().json::<Value>().await.unwrap()["active"], true);
    let listed = stdout(&command(&["list"]));
    assert!(
        listed.starts_with(&id) && listed.contains("the gate") && listed.lines().count() == 1,
        "{listed}"
    );
    assert!(!listed.contains(&secret));
    let again = command(&["add", "the gate"]);
    assert_eq!((again.status.code(), again.stdout.is_empty()), (Some(1), true));
    assert!(stderr(&again).contains("already"), "{}", stderr(&again));
    assert_eq!(command(&["remove", &id]).status.code(), Some(0));
    assert_eq!(ask().await.unwrap().status(), 401);
    let gone = command(&["remove", &id]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains("no client"), "{}", stderr(&gone));
    assert_eq!(stdout(&command(&["list"])), "");
    server.terminate();
    let (code, log) = server.ended();
    assert!(code == Some(0) && !log.contains(&secret) && !log.contains(token), "{log}");
}
