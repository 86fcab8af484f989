//! What is wrong with a whole request of operations.

use serde_json::{Value, json};

use super::{SYNC, new_id, send, statuses};
use crate::harness::{Reply, TestApp};
use crate::stored;

#[tokio::test]
async fn what_is_wrong_with_the_whole_request_refuses_it() {
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
    let large = json!({ "operations": [], "x": "x".repeat(4 * 1024 * 1024) });
    let reply = post(large).await.expect(413).problem("content_too_large");
    assert!(reply.text().contains("4096 KiB"), "{}", reply.text());
    let text = ada
        .post(SYNC)
        .header("content-type", "application/json")
        .body("{\"operations\":[],\"operations\":[]}");
    text.await.expect(400).problem("invalid_json");
    assert_eq!(stored::trips(&app).await, 0);
    // A megabyte is fine here.
    let notes: Vec<Value> = (0..120)
        .map(|_| json!({ "op_id": new_id(), "op": "create", "id": new_id(), "trip": { "title": "t", "notes": "n".repeat(9_000) } }))
        .collect();
    assert!(statuses(&send(&ada, &json!(notes)).await).iter().all(|status| *status == "applied"));
}
