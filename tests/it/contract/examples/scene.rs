//! The state that the request of an example needs.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tripgate::config::Signup;

use super::{
    Account, Anonymous, Basic, Before, By, ConfirmFirst, Deleted, Enrolled, Enrolling, Extra, Grace, Nothing,
    Row, Service, Shared, Trips, Writer, operation, request_body, response_body,
};
use crate::harness::passkeys::{Device, begin_registration, register};
use crate::harness::totp::{Authenticator, enrol};
use crate::harness::{Call, Client, Reply, TestApp};

/// A server in the state that a row needs, and its client.
pub(super) struct Scene {
    app: TestApp,
    grace: Client,
    trip: String,
    /// The token of the share link, or the cursor of the change feed from before the trips were created.
    token: String,
    authenticator: Option<Authenticator>,
}

impl Scene {
    pub(super) async fn new(before: Before) -> Self {
        let signup = if matches!(before, ConfirmFirst) { Signup::ConfirmFirst } else { Signup::Open };
        let app = TestApp::with(|settings| settings.signup = signup).await;
        let mut scene = Self {
            grace: app.anonymous(),
            app,
            trip: String::new(),
            token: String::new(),
            authenticator: None,
        };
        if matches!(before, Nothing | ConfirmFirst) {
            return scene;
        }
        let call = scene.grace.post("/api/v1/auth/signup").header("user-agent", "Trips/1.4");
        let grant = call.json(request_body("sign_up").unwrap().2).await.expect(201).json();
        scene.grace = scene.grace.with_grant(&grant);
        // The examples of requests contain the ids of the example response.
        let example = response_body("get_trip", 200).unwrap().2;
        scene.trip = format!("/api/v1/trips/{}", example["id"].as_str().unwrap());
        match before {
            Account => return scene,
            Enrolling => {
                let enrolment = scene.grace.post("/api/v1/me/totp").await.expect(200).json();
                scene.authenticator = Some(Authenticator::new(&enrolment));
                return scene;
            }
            Enrolled => {
                let enrolled = enrol(&scene.grace, scene.app.clock.now()).await;
                scene.authenticator = Some(enrolled.authenticator);
                // The code of the enrolment is used up.
                scene.app.clock.advance(TimeDelta::seconds(30));
                return scene;
            }
            _ => {}
        }
        if matches!(before, Before::Passkey) {
            scene.trip = format!("/api/v1/me/passkeys/{}", register(&scene.grace).await.id);
            return scene;
        }
        if matches!(before, Before::PersonalToken) {
            let body = request_body("create_personal_token").unwrap().2;
            let created = scene.grace.post("/api/v1/me/tokens").json(body).await.expect(201).json();
            scene.trip = format!("/api/v1/me/tokens/{}", created["id"].as_str().unwrap());
            return scene;
        }
        scene.add_trips(before, example).await;
        scene
    }

    /// Creates the trip of the examples and the other data that the operations on trips require.
    async fn add_trips(&mut self, before: Before, example: &Value) {
        if matches!(before, Deleted) {
            let feed = self.grace.get("/api/v1/sync").await.expect(200).json();
            feed["next_cursor"].as_str().unwrap().clone_into(&mut self.token);
        }
        let mut new = request_body("create_trip").unwrap().2.clone();
        if matches!(before, Trips) {
            self.grace.post("/api/v1/trips").json(&new).await.expect(201);
        }
        new["id"] = example["id"].clone();
        new["stops"][0]["id"] = example["stops"][0]["id"].clone();
        self.grace.post("/api/v1/trips").json(&new).await.expect(201);
        match before {
            Deleted => {
                let created =
                    self.grace.post("/api/v1/trips").json(&json!({ "title": "x" })).await.expect(201);
                self.grace.delete(created.header("location")).await.expect(204);
            }
            Shared => {
                let shared = self.grace.put(&format!("{}/share", self.trip)).await.expect(200).json();
                shared["token"].as_str().unwrap().clone_into(&mut self.token);
            }
            _ => {}
        }
    }

    pub(super) async fn send(&self, row: &Row) -> Reply {
        let (id, _, by, _, extra) = *row;
        let (template, method, _) = operation(id);
        if id == "export_me" {
            // Wait until the mail of the sign-up is sent: the export contains mails that are still queued.
            self.app.mails().await;
        }
        let trip = self.trip.rsplit('/').next().unwrap();
        let id_field = if template.contains("/sessions/") { "session_id" } else { "" };
        let target = self.grace.grant()[id_field].as_str().unwrap_or(trip);
        let stop = response_body("get_trip", 200).unwrap().2["stops"][0]["id"].as_str().unwrap();
        let query = if let Extra::Query(query) = extra { query } else { "" };
        let path = format!("{template}{query}").replace("{id}", target).replace("{stop_id}", stop);
        let mut call = self.call(by, method, &path.replace("{token}", &self.token)).await;
        if let Extra::Header(name, value) = extra {
            call = call.header(name, value);
        }
        let Some((media, _, example)) = request_body(id) else { return call.await };
        let mut body = example.clone();
        let token = match extra {
            Extra::Access(pointer) => Some((pointer, "access_token")),
            Extra::Refresh(pointer) => Some((pointer, "refresh_token")),
            _ => None,
        };
        if let Some((pointer, name)) = token {
            *body.pointer_mut(pointer).unwrap() = self.grace.grant()[name].clone();
        }
        if let (Extra::Code(pointer), Some(authenticator)) = (extra, &self.authenticator) {
            *body.pointer_mut(pointer).unwrap() = authenticator.code_at(self.app.clock.now()).into();
            if body.get("mfa_token").is_some() {
                let login = request_body("log_in").unwrap().2;
                let reply = self.app.anonymous().post("/api/v1/auth/login").json(login).await.expect(401);
                body["mfa_token"] = reply.json()["mfa_token"].clone();
            }
        }
        self.set_proof(extra, &mut body).await;
        self.set_passkey(extra, &mut body).await;
        if media == "application/json" {
            return call.json(&body).await;
        }
        let fields = body.as_object().unwrap().iter();
        let fields: Vec<_> = fields.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        call.form(&fields).await
    }

    /// Replaces the code or token in a body by a valid one.
    async fn set_proof(&self, extra: Extra, body: &mut Value) {
        let email = self.grace.grant()["user"]["email"].as_str().unwrap_or_default();
        let begin = async |path: &str, email: &str| {
            let call = self.grace.post(path).json(&json!({ "email": email }));
            call.await.expect(202).json()["flow_id"].clone()
        };
        let flow = match extra {
            Extra::SignUpCode => self.grace.grant()["flow_id"].clone(),
            Extra::MailedCode(path) => begin(path, email).await,
            Extra::UndoToken => {
                let flow = begin("/api/v1/me/email", "grace@new.example.org").await;
                let code = self.app.mail_to("grace@new.example.org").await.code().to_owned();
                let confirm = json!({ "flow_id": flow, "code": code });
                self.grace.post("/api/v1/auth/email/confirm").json(&confirm).await.expect(204);
                body["token"] = json!(self.app.mail_to(email).await.token());
                return;
            }
            Extra::DeviceToken => {
                let mut login = request_body("log_in").unwrap().2.clone();
                login["device_name"] = json!("Another device");
                let call = self.app.anonymous().post("/api/v1/auth/login").header("user-agent", "another");
                call.json(&login).await.expect(200);
                body["token"] = json!(self.app.mail_to(email).await.token());
                return;
            }
            _ => return,
        };
        body["flow_id"] = flow;
        body["code"] = json!(self.app.mail_to(email).await.code());
    }

    /// Replaces the challenge and the credential in a body by valid ones.
    async fn set_passkey(&self, extra: Extra, body: &mut Value) {
        match extra {
            Extra::Passkey => {
                let response = register(&self.grace).await.log_in(&self.grace).await;
                body["challenge_id"] = response["challenge_id"].clone();
                body["credential"] = response["credential"].clone();
            }
            Extra::NewPasskey => {
                let (challenge, options) = begin_registration(&self.grace).await;
                body["challenge_id"] = challenge;
                body["credential"] = Device::new(&options, -7).attest(&options);
            }
            _ => {}
        }
    }

    async fn call(&self, by: By, method: Method, path: &str) -> Call {
        let account = request_body("sign_up").unwrap().2;
        let sign_up_value = |name: &str| account[name].as_str().unwrap();
        let anonymous = self.app.anonymous();
        match by {
            Anonymous => anonymous.call(method, path),
            Grace => self.grace.call(method, path),
            Writer => {
                let login = json!({
                    "identifier": sign_up_value("email"),
                    "password": sign_up_value("password"),
                    "scope": "trips:write",
                });
                let grant = anonymous.post("/api/v1/auth/login").json(&login).await.expect(200).json();
                anonymous.with_grant(&grant).call(method, path)
            }
            Basic => anonymous.call(method, path).basic(sign_up_value("email"), sign_up_value("password")),
            Service => {
                let gate = self.app.services().clients.add("gate").await.unwrap();
                anonymous.call(method, path).basic(&gate.id, &gate.secret)
            }
        }
    }
}
