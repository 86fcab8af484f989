//! Validation of a whole sync request.

use serde_json::{Value, json};

use super::{SYNC, new_id, send, statuses};
use crate::harness::{Reply, TestApp, rows};

#[tokio::test]
async fn an_invalid_sync_request_is_rejected_as_a_whole() {
    // S-55, S-58
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let valid = || json!({ "op_id": new_id(), "op": "create", "id": new_id(), "trip": { "title": "t" } });
    let many: Vec<Value> = (0..501).map(|_| valid()).collect();
    let post = |body: Value| ada.post(SYNC).json(&body).into_future();
    let error = |reply: Reply| reply.expect(422).problem("invalid").field_errors().remove(0);
    let expected = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    assert_eq!(error(post(json!({ "operations": many })).await), expected("/operations", "too_many"));
    assert_eq!(error(post(json!({})).await), expected("/operations", "required"));
    assert_eq!(error(post(json!({ "operations": {} })).await), expected("/operations", "wrong_type"));
    assert_eq!(
        error(post(json!({ "operations": [], "owner": "x" })).await),
        expected("/owner", "unknown_member")
    );
    for invalid in [json!(7), json!({}), json!({ "op_id": "x" }), json!({ "op_id": 7 }), json!([])] {
        let reply = post(json!({ "operations": [valid(), invalid] })).await;
        assert_eq!(error(reply), expected("/operations/1/op_id", "invalid_format"));
    }
    // At most 100 errors are reported. A list with too many elements is not parsed to its end.
    let invalid_items = format!("{{\"operations\":[0{}]}}", ",0".repeat(499));
    let invalid_items =
        ada.post(SYNC).header("content-type", "application/json").body(invalid_items).await.expect(422);
    let invalid_items = invalid_items.problem("invalid");
    assert_eq!(invalid_items.field_errors().len(), 100, "A-5");
    assert_eq!(invalid_items.json()["errors_truncated"], true);
    let too_many_items = format!("{{\"operations\":[0{}]}}", ",0".repeat(600_000));
    let too_many_items = ada.post(SYNC).header("content-type", "application/json").body(too_many_items).await;
    assert_eq!(error(too_many_items), expected("/operations", "too_many"));
    let large = json!({ "operations": [], "x": "x".repeat(4 * 1024 * 1024) });
    let reply = post(large).await.expect(413).problem("content_too_large");
    assert!(reply.text().contains("4096 KiB"), "{}", reply.text());
    let text = ada
        .post(SYNC)
        .header("content-type", "application/json")
        .body("{\"operations\":[],\"operations\":[]}");
    text.await.expect(400).problem("invalid_json");
    assert_eq!(rows::trips(&app).await, 0);
}

#[tokio::test]
async fn an_invalid_operation_is_rejected_with_all_its_errors() {
    // S-55, S-58
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    // Ids must be lower case.
    let upper_case = json!([{ "op_id": new_id().to_uppercase(), "op": "create", "id": new_id().to_uppercase(), "trip": { "title": "t" } }]);
    // N-21
    let v4_and_empty = json!([{ "op_id": new_id(), "op": "create", "id": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "trip": {} }]);
    let two_errors = json!([{ "op_id": new_id(), "op": "create", "id": new_id(), "base_version": 1, "trip": { "time_zone": "x" } }]);
    let with_end = json!([{ "op_id": new_id(), "op": "create", "id": new_id(), "trip": { "title": "t", "end_date": "2026-05-01" } }]);
    let trip = send(&ada, &with_end).await[0]["trip"]["id"].clone();
    let start_after_end = json!([{ "op_id": new_id(), "op": "update", "id": trip, "base_version": 1, "trip": { "start_date": "2026-05-02" } }]);
    for (operations, pointers) in [
        (upper_case, vec!["/op_id", "/id"]),
        (v4_and_empty, vec!["/id", "/trip/title"]),
        (two_errors, vec!["/base_version", "/trip/title"]),
        (start_after_end, vec!["/trip/start_date"]),
    ] {
        let result = send(&ada, &operations).await.remove(0);
        let pointers_found: Vec<&str> = result["problem"]["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        assert_eq!(
            (statuses(std::slice::from_ref(&result)), pointers_found),
            (vec!["rejected"], pointers),
            "{result}"
        );
    }
}

#[tokio::test]
async fn a_sync_request_of_one_megabyte_is_accepted() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let notes: Vec<Value> = (0..120)
        .map(|_| json!({ "op_id": new_id(), "op": "create", "id": new_id(), "trip": { "title": "t", "notes": "n".repeat(9_000) } }))
        .collect();
    assert!(statuses(&send(&ada, &json!(notes)).await).iter().all(|status| *status == "applied"));
}
