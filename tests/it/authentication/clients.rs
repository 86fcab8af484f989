//! Registered clients: their administration, token introspection and token revocation.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::process::{Process, run, stderr, stdout};
use crate::harness::{Call, Client, PASSWORD, Reply, TestApp, rows};

const INTROSPECT: &str = "/api/v1/auth/introspect";
const REVOKE: &str = "/api/v1/auth/revoke";

/// A registered client with its credentials.
struct Gate {
    client: Client,
    id: String,
    secret: String,
}

impl Gate {
    async fn register(app: &TestApp) -> Self {
        let added = app.services().clients.add("gate").await.unwrap();
        Self { client: app.anonymous(), id: added.id, secret: added.secret }
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
async fn introspection_returns_the_claims_of_an_access_token() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::register(&app).await;
    app.sign_up("ada").await;
    let ada = app.log_in_for("ada", "account trips:read").await;
    let mut claims = gate.introspect(ada.token()).await;
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 36);
    let now = app.clock.now().timestamp();
    assert_eq!(
        claims,
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
    // A sessionless token has no `sid`. The parameter `token_type_hint` has no effect.
    let sessionless =
        app.anonymous().post("/api/v1/auth/tokens").basic("ada", PASSWORD).await.expect(200).json();
    let sessionless = sessionless["access_token"].as_str().unwrap();
    for hint in ["access_token", "refresh_token", "elephant", ""] {
        let call = gate.call(INTROSPECT).form(&[("token_type_hint", hint), ("token", sessionless)]);
        let claims = call.await.expect(200).json();
        assert_eq!((&claims["active"], &claims["sid"]), (&json!(true), &Value::Null), "{hint}");
    }
}

#[tokio::test]
async fn introspection_of_an_invalid_token_returns_only_active_false() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::register(&app).await;
    let ada = app.sign_up("ada").await;
    let token = ada.token();
    let [header, payload, _] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let revoked = app.log_in("ada").await;
    gate.revoke(revoked.token()).await;
    for invalid in
        ["x", "a.b.c", &format!("{token}x"), &format!("{header}.{payload}."), revoked.token(), &gate.secret]
    {
        assert_eq!(gate.introspect(invalid).await, inactive(), "{invalid}");
    }
    assert_eq!(gate.introspect(&"x".repeat(200_000)).await, inactive());
    app.clock.advance(TimeDelta::seconds(931));
    assert_eq!(gate.introspect(token).await, inactive());
}

#[tokio::test]
async fn a_revoked_access_token_is_rejected_on_every_replica() {
    // S-43
    let app = TestApp::start().await;
    let other = app.replica().await;
    let gate = Gate::register(&app).await;
    let ada = app.sign_up("ada").await;
    let second = app.log_in("ada").await;
    let (here, there) = (ada.clone(), other.anonymous().with_token(ada.token()));
    here.get("/api/v1/me").await.expect(200);
    there.get("/api/v1/me").await.expect(200);
    gate.revoke(ada.token()).await;
    let start = Instant::now();
    here.get("/api/v1/me").await.expect(401).problem("invalid_token");
    while there.get("/api/v1/me").await.status != 401 {
        assert!(start.elapsed() < Duration::from_secs(2), "the other replica still accepts the token");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Another session of the same user remains valid.
    second.get("/api/v1/me").await.expect(200);
    let app = app.restart().await;
    app.anonymous().with_token(ada.token()).get("/api/v1/me").await.expect(401);
    app.anonymous().with_token(second.token()).get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn introspecting_a_refresh_token_does_not_use_it_up() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::register(&app).await;
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
    // A refresh token is not an access token.
    app.anonymous().with_token(next).get("/api/v1/me").await.expect(401).problem("invalid_token");
    app.clock.advance(TimeDelta::seconds(5_184_001));
    assert_eq!(gate.introspect(next).await, inactive());
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_only_its_session() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::register(&app).await;
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
async fn every_token_of_a_deleted_account_is_invalid() {
    // S-28, S-43
    let app = TestApp::with(|settings| settings.auth_methods.basic = true).await;
    let gate = Gate::register(&app).await;
    let ada = app.sign_up("ada").await;
    let sessionless =
        app.anonymous().post("/api/v1/auth/tokens").basic("ada", PASSWORD).await.expect(200).json();
    let sessionless = sessionless["access_token"].as_str().unwrap();
    ada.delete("/api/v1/me").json(&json!({ "password": PASSWORD })).await.expect(204);
    for token in [ada.token(), sessionless, ada.grant()["refresh_token"].as_str().unwrap()] {
        assert_eq!(gate.introspect(token).await, inactive());
        app.anonymous().get("/api/v1/me").basic(token, "").await.expect(401).problem("invalid_token");
    }
    app.anonymous().get("/api/v1/me").basic("ada", PASSWORD).await.expect(401).problem("invalid_credentials");
}

#[tokio::test]
async fn revoking_an_unknown_or_expired_token_succeeds() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::register(&app).await;
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
async fn requests_without_valid_client_credentials_are_rejected_and_change_nothing() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::register(&app).await;
    let ada = app.sign_up("ada").await;
    for call in
        [ada.post(REVOKE), app.anonymous().post(REVOKE), app.anonymous().post(REVOKE).basic(&gate.id, "x")]
    {
        call.form(&[("token", ada.token())]).await.expect(401).problem("invalid_client");
    }
    // Credentials in the form are ignored: RFC 6749 §2.3.1 makes their support optional.
    let form = [("token", ada.token()), ("client_id", &gate.id), ("client_secret", &gate.secret)];
    app.anonymous().post(REVOKE).form(&form).await.expect(401).problem("invalid_client");
    // The server authenticates the client before it checks the media type and the form.
    app.anonymous().post(INTROSPECT).body("x").await.expect(401).problem("invalid_client");
    ada.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn form_bodies_are_parsed_as_rfc_6749_requires() {
    let app = TestApp::start().await;
    let gate = Gate::register(&app).await;
    let ada = app.sign_up("ada").await;
    let token = ada.token();
    let send = |media: &'static str, body: String| {
        let call = gate.call(INTROSPECT).header("content-type", media).body(body);
        async { call.await }
    };
    let form = "application/x-www-form-urlencoded";
    // RFC 6749 §3.2: unknown parameters are ignored; a parameter without a value is treated as omitted.
    for body in
        [format!("token={token}&x=1"), format!("token={}&token_type_hint=", token.replace('.', "%2E"))]
    {
        assert_eq!(send(form, body).await.expect(200).json()["active"], true);
    }
    for media in [form, "Application/X-WWW-Form-URLencoded; charset=UTF-8"] {
        assert_eq!(send(media, format!("token={token}")).await.expect(200).json()["active"], true);
    }
    // RFC 6749 §3.2: a repeated parameter is an error.
    for body in ["token=a&token=b", "token=a&%74oken=a", "token=a&x=1&x=1"] {
        send(form, body.to_owned()).await.expect(400).problem("bad_request");
    }
    let latin1 = gate.call(INTROSPECT).header("content-type", form).body(b"token=\xe9".as_slice());
    latin1.await.expect(400).problem("bad_request");
    for body in ["", "token=", "token_type_hint=access_token", "{}"] {
        let reply = send(form, body.to_owned()).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), [("/token".to_owned(), "required".to_owned())], "{body}");
    }
    for media in ["application/json", "text/plain", "multipart/form-data", ""] {
        send(media, format!("token={token}")).await.expect(415).problem("unsupported_media_type");
    }
    send(form, format!("token={}", "x".repeat(300_000))).await.expect(413).problem("content_too_large");
}

#[tokio::test]
async fn client_secrets_are_stored_as_digests_and_a_removed_client_is_rejected_at_once() {
    // S-43
    let app = TestApp::start().await;
    let gate = Gate::register(&app).await;
    let ada = app.sign_up("ada").await;
    let rows = rows::clients(&app).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].secret_digest, tripgate::secrets::sha256(gate.secret.as_bytes()));
    assert!(gate.secret.len() >= 43, "shorter than 256 bits");
    let other = app.replica().await;
    assert_eq!(gate.introspect(ada.token()).await["active"], true);
    other.services().clients.remove(&gate.id).await.unwrap();
    let call = gate.call(INTROSPECT).form(&[("token", ada.token())]);
    call.await.expect(401).problem("invalid_client");
    assert!(other.services().clients.remove(&gate.id).await.is_err());
    assert!(rows::clients(&app).await.is_empty());
}

#[tokio::test]
async fn client_names_are_validated_and_unique() {
    let app = TestApp::start().await;
    let clients = &app.services().clients;
    for invalid in ["", "  ", "a\nb", "a\0b", &"x".repeat(101)] {
        assert!(clients.add(invalid).await.is_err(), "{invalid:?}");
    }
    for valid in ["gate", &"ž".repeat(100)] {
        clients.add(valid).await.unwrap();
    }
    assert!(clients.add(" gate ").await.is_err());
    let names: Vec<String> = clients.list().await.unwrap().into_iter().map(|client| client.name).collect();
    assert_eq!(names, ["gate".to_owned(), "ž".repeat(100)]);
}

#[tokio::test]
async fn clients_can_be_added_listed_and_removed_while_the_server_runs() {
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
    let introspect = || {
        let call = server.call(Method::POST, INTROSPECT).basic_auth(&id, Some(&secret));
        call.header("content-type", "application/x-www-form-urlencoded").body(format!("token={token}")).send()
    };
    assert_eq!(introspect().await.unwrap().json::<Value>().await.unwrap()["active"], true);
    let listed = stdout(&command(&["list"]));
    assert!(
        listed.starts_with(&id) && listed.contains("the gate") && listed.lines().count() == 1,
        "{listed}"
    );
    assert!(!listed.contains(&secret));
    let duplicate = command(&["add", "the gate"]);
    assert_eq!((duplicate.status.code(), duplicate.stdout.is_empty()), (Some(1), true));
    assert!(stderr(&duplicate).contains("already"), "{}", stderr(&duplicate));
    assert_eq!(command(&["remove", &id]).status.code(), Some(0));
    assert_eq!(introspect().await.unwrap().status(), 401);
    let missing = command(&["remove", &id]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("no client"), "{}", stderr(&missing));
    assert_eq!(stdout(&command(&["list"])), "");
    server.terminate();
    let (code, log) = server.wait_for_exit();
    assert!(code == Some(0) && !log.contains(&secret) && !log.contains(token), "{log}");
}
