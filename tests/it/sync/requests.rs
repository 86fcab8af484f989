//! What is wrong with a whole request of operations.

use serde_json::{Value, json};

use super::{SYNC, new_id, send, statuses};
use crate::harness::{Reply, TestApp};
use crate::stored;

#[tokio::test]
async fn an_invalid_request_is_rejected_as_a_whole() {
    // S-55, S-58
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let good = || json!({ "op_id": new_id(), "op": "create", "id": new_id(), "trip": { "title": "t" } });
    let many: Vec<Value> = (0..501).map(|_| good()).collect();
    let post = |body: Value| ada.post(SYNC).json(&body).into_future();
    let fault = |reply: Reply| reply.expect(422).problem("invalid").faults().remove(0);
    let told = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    assert_eq!(fault(post(json!({ "operations": many })).await), told("/operations", "too_many"));
    assert_eq!(fault(post(json!({})).await), told("/operations", "required"));
    assert_eq!(fault(post(json!({ "operations": {} })).await), told("/operations", "wrong_type"));
    assert_eq!(fault(post(json!({ "operations": [], "owner": "x" })).await), told("", "unknown_member"));
    for bad in [json!(7), json!({}), json!({ "op_id": "x" }), json!({ "op_id": 7 }), json!([])] {
        let reply = post(json!({ "operations": [good(), bad] })).await;
        assert_eq!(fault(reply), told("/operations/1/op_id", "invalid_format"));
    }
    // However many things are wrong, few are told, and nobody looks at the others.
    let junk = format!("{{\"operations\":[0{}]}}", ",0".repeat(499));
    let junk = ada.post(SYNC).header("content-type", "application/json").body(junk).await.expect(422);
    assert_eq!(junk.problem("invalid").faults().len(), 50);
    let crowd = format!("{{\"operations\":[0{}]}}", ",0".repeat(600_000));
    let crowd = ada.post(SYNC).header("content-type", "application/json").body(crowd).await.expect(400);
    crowd.problem("invalid_json");
    let large = json!({ "operations": [], "x": "x".repeat(4 * 1024 * 1024) });
    let reply = post(large).await.expect(413).problem("content_too_large");
    assert!(reply.text().contains("4096 KiB"), "{}", reply.text());
    let text = ada
        .post(SYNC)
        .header("content-type", "application/json")
        .body("{\"operations\":[],\"operations\":[]}");
    text.await.expect(400).problem("invalid_json");
    assert_eq!(stored::trips(&app).await, 0);
    // Ids have one spelling, and all that is wrong with an operation is told.
    let shout = json!([{ "op_id": new_id().to_uppercase(), "op": "create", "id": new_id().to_uppercase(), "trip": { "title": "t" } }]);
    let blank = json!([{ "op_id": new_id(), "op": "create", "id": new_id(), "base_version": 1, "trip": { "time_zone": "x" } }]);
    let ends = json!([{ "op_id": new_id(), "op": "create", "id": new_id(), "trip": { "title": "t", "end_date": "2026-05-01" } }]);
    let trip = send(&ada, &ends).await[0]["trip"]["id"].clone();
    let begins = json!([{ "op_id": new_id(), "op": "update", "id": trip, "base_version": 1, "trip": { "start_date": "2026-05-02" } }]);
    for (operations, pointers) in [
        (shout, vec!["/op_id", "/id"]),
        (blank, vec!["/base_version", "/trip/title"]),
        (begins, vec!["/trip/start_date"]),
    ] {
        let result = send(&ada, &operations).await.remove(0);
        let faults: Vec<&str> = result["problem"]["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| fault["pointer"].as_str().unwrap())
            .collect();
        assert_eq!(
            (statuses(std::slice::from_ref(&result)), faults),
            (vec!["rejected"], pointers),
            "{result}"
        );
    }
    // A megabyte is fine here.
    let notes: Vec<Value> = (0..120)
        .map(|_| json!({ "op_id": new_id(), "op": "create", "id": new_id(), "trip": { "title": "t", "notes": "n".repeat(9_000) } }))
        .collect();
    assert!(statuses(&send(&ada, &json!(notes)).await).iter().all(|status| *status == "applied"));
}
