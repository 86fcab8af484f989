//! A client that sends something else than an operation takes is told what that is: it can mend itself
//! without asking anyone. (Of another media type and another `Accept`, see `statuses`.)

use serde_json::{Value, json};

use crate::harness::conformance::{operations, resolved};
use crate::harness::{Client, Reply, TestApp};

const SOMEWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// What is said of the fault at this pointer.
#[track_caller]
fn told(reply: Reply, pointer: &str) -> String {
    let body = reply.expect(422).problem("invalid").json();
    let faults = body["errors"].as_array().unwrap();
    let fault = faults.iter().find(|fault| fault["pointer"] == pointer);
    let fault = fault.unwrap_or_else(|| panic!("nothing is said of {pointer:?}: {body}"));
    fault["detail"].as_str().unwrap().to_owned()
}

async fn send(client: &Client, method: &str, template: &str, body: &Value) -> Reply {
    let path = template.split('/').map(|part| if part.starts_with('{') { SOMEWHERE } else { part });
    let path = path.collect::<Vec<_>>().join("/");
    client.call(method.to_uppercase().parse().unwrap(), &path).header("if-match", "*").json(body).await
}

#[tokio::test]
async fn who_sends_a_member_that_is_not_known_is_told_those_that_are() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut tried = 0;
    for (path, method, operation) in operations() {
        let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") else {
            continue;
        };
        let detail = told(send(&ada, method, path, &json!({ "elephant": 1 })).await, "");
        for (known, _) in resolved(schema)["properties"].as_object().unwrap() {
            assert!(detail.contains(known.as_str()), "{method} {path}: {known} is not in {detail:?}");
        }
        assert!(!detail.contains("elephant"), "{detail}");
        tried += 1;
    }
    assert!(tried > 10, "{tried}");
    // Deeper down, too.
    let stop = json!({ "name": "Belém", "latitude": 1, "longitude": 2, "elephant": 1 });
    let detail =
        told(ada.post("/api/v1/trips").json(&json!({ "title": "x", "stops": [stop] })).await, "/stops/0");
    assert!(detail.contains("arrives_at") && !detail.contains("destination"), "{detail}");
}

#[tokio::test]
async fn who_sends_a_value_that_is_not_in_the_list_is_told_the_list() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let statuses = r#"must be one of "planned", "active", "completed", "archived""#;
    let trip = json!({ "title": "x", "status": "dreamt" });
    assert_eq!(told(ada.post("/api/v1/trips").json(&trip).await, "/status"), statuses);
    for (query, pointer, wanted) in [
        ("status=dreamt", "/status", statuses),
        ("sort=size", "/sort", r#"must be one of "-created_at", "start_date", "-updated_at", "title""#),
        ("limit=many", "/limit", "must be an integer from 1 to 100"),
        ("limit=101", "/limit", "must be an integer from 1 to 100"),
        ("starts_from=soon", "/starts_from", "must be a calendar date, written YYYY-MM-DD"),
        ("q=", "/q", "must have 1 to 200 characters"),
    ] {
        let detail = told(ada.get(&format!("/api/v1/trips?{query}")).await, pointer);
        assert_eq!(detail, wanted, "{query}");
        ada.head(&format!("/api/v1/trips?{query}")).await.expect(422);
    }
    let operation = json!({ "op_id": SOMEWHERE, "op": "merge", "id": SOMEWHERE });
    let reply = ada.post("/api/v1/sync").json(&json!({ "operations": [operation] })).await.expect(200).json();
    let fault = &reply["results"][0]["problem"]["errors"][0];
    assert_eq!(fault["pointer"], "/op");
    assert_eq!(fault["detail"], r#"must be one of "create", "update", "delete""#);
}

#[tokio::test]
async fn who_asks_for_an_unknown_scope_is_told_those_that_are_known() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let body = json!({ "identifier": "ada", "password": crate::harness::PASSWORD, "scope": "admin" });
    let detail = told(app.anonymous().post("/api/v1/auth/login").json(&body).await, "/scope");
    assert_eq!(detail, "must be some of account, trips:read and trips:write, separated by single spaces");
}
