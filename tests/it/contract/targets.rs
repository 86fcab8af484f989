//! The resources that the tests of all operations address.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::harness::passkeys::{Device, begin_registration, register};
use crate::harness::totp::{Authenticator, enrol, mfa_token};
use crate::harness::{Client, PASSWORD};

pub(crate) const STOP_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// A text in Ada's data, which no other user may see.
pub(crate) const CANARY: &str = "Ada's secret journey";

/// Creates the resource or token that a request to the operation at `path` needs. Returns the id or the
/// token, and a path from which the state of the resource can be read.
pub(crate) async fn create_target(owner: &Client, path: &str) -> (String, String) {
    let me = "/api/v1/me".to_owned();
    let from_new_session = async |field: &str| {
        let body = json!({ "identifier": owner.grant()["user"]["username"], "password": PASSWORD });
        let grant = owner.post("/api/v1/auth/login").json(&body).await.expect(200).json();
        grant[field].as_str().unwrap().to_owned()
    };
    match path {
        "/api/v1/auth/refresh" | "/api/v1/auth/logout" => {
            return (from_new_session("refresh_token").await, me);
        }
        "/api/v1/auth/login/mfa" => return (waiting_login(owner).await, me),
        "/api/v1/me/totp/confirm" => {
            let enrolment = owner.post("/api/v1/me/totp").await.expect(200).json();
            return (format!("none {}", Authenticator::new(&enrolment).code_at(server_time(owner))), me);
        }
        "/api/v1/auth/passkeys/login" => {
            let body = register(owner).await.log_in(owner).await;
            return (format!("{} {}", body["challenge_id"].as_str().unwrap(), body["credential"]), me);
        }
        "/api/v1/me/passkeys" => {
            let (challenge, options) = begin_registration(owner).await;
            let credential = Device::new(&options, -7).attest(&options);
            return (format!("{} {credential}", challenge.as_str().unwrap()), me);
        }
        "/api/v1/me/passkeys/{id}" => {
            let device = register(owner).await;
            return (device.id, "/api/v1/me/passkeys".to_owned());
        }
        "/api/v1/me/reauthenticate/options" => {
            register(owner).await;
            return (String::new(), me);
        }
        "/api/v1/me/sessions/{id}" => return (from_new_session("session_id").await, me),
        "/api/v1/me/tokens/{id}" => {
            let created =
                owner.post("/api/v1/me/tokens").json(&json!({ "name": CANARY, "scope": "account" }));
            let id = created.await.expect(201).json()["id"].as_str().unwrap().to_owned();
            return (id, "/api/v1/me/tokens".to_owned());
        }
        "/api/v1/shared/{token}" => {
            let trip = Box::pin(create_target(owner, "/api/v1/trips/{id}")).await.1;
            let shared = owner.put(&format!("{trip}/share")).await.expect(200).json();
            return (shared["token"].as_str().unwrap().to_owned(), trip);
        }
        _ => {}
    }
    let Some((collection, _)) = path.split_once("/{id}") else {
        return (String::new(), me);
    };
    let body = match collection {
        "/api/v1/trips" => {
            let stop = json!({ "id": STOP_ID, "name": CANARY, "latitude": 1, "longitude": 2 });
            json!({ "title": CANARY, "notes": CANARY, "stops": [stop] })
        }
        _ => panic!("no request creates a resource in {collection}"),
    };
    let created = owner.post(collection).json(&body).await.expect(201).json();
    let id = created["id"].as_str().unwrap();
    (id.to_owned(), format!("{collection}/{id}"))
}

/// Returns the time of the server, whose clock these tests don't advance.
fn server_time(client: &Client) -> DateTime<Utc> {
    client.grant()["server_time"].as_str().unwrap().parse().unwrap()
}

/// Creates a user with an authenticator app, and starts a login of this user. Returns the `mfa_token` of the
/// login and a code that completes the login.
async fn waiting_login(owner: &Client) -> String {
    let name = format!("u{}", Uuid::now_v7().simple().to_string().split_at(12).1);
    let body = json!({ "username": name, "password": PASSWORD });
    let grant = owner.post("/api/v1/auth/signup").json(&body).await.expect(201).json();
    let client = owner.with_grant(&grant);
    let enrolled = enrol(&client, server_time(&client)).await;
    // The code of the current time step is used up. The code of the next step is already valid.
    let next = server_time(&client) + TimeDelta::seconds(30);
    format!("{} {}", mfa_token(&client, &name).await, enrolled.authenticator.code_at(next))
}
