//! Responses are compressed for clients that accept compression, unless the response contains credentials.

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::Read;

use crate::harness::{PASSWORD, TestApp};

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut all).unwrap();
    all
}

#[tokio::test]
async fn static_files_and_the_openapi_document_are_compressed_if_the_client_accepts_compression() {
    // N-15
    let app = TestApp::start().await;
    let get = async |path: &str, accept: &str| {
        app.anonymous().get(path).header("accept-encoding", accept).undocumented().await.expect(200)
    };
    for path in ["/docs/swagger-ui.js", "/docs/swagger-ui.css", "/openapi.json", "/openapi.yaml", "/problems"]
    {
        let plain = get(path, "identity").await;
        assert!(!plain.headers.contains_key("content-encoding"), "{path}");
        let small = get(path, "gzip").await;
        assert_eq!(
            (small.header("content-encoding"), small.header("vary")),
            ("gzip", "Accept-Encoding"),
            "{path}"
        );
        assert!(small.body.len() * 2 < plain.body.len(), "{path}");
        assert!(gunzip(&small.body) == plain.body, "{path}");
    }
    let brotli = get("/docs/swagger-ui.js", "gzip, br").await;
    assert_eq!(brotli.header("content-encoding"), "br");
    assert!(brotli.body.len() < 500_000, "{}", brotli.body.len());
}

#[tokio::test]
async fn a_compressed_list_has_an_etag_that_the_client_can_send_in_if_none_match() {
    // N-15
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for _ in 0..3 {
        let trip = json!({ "title": "Lisbon", "notes": "the same words again ".repeat(40) });
        ada.post("/api/v1/trips").json(&trip).await.expect(201);
    }
    let list = || ada.get("/api/v1/trips").header("accept-encoding", "gzip");
    let small = list().undocumented().await.expect(200);
    assert_eq!(small.header("content-encoding"), "gzip");
    let page: Value = serde_json::from_slice(&gunzip(&small.body)).unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    let tag = small.header("etag");
    assert!(tag.starts_with("W/\""), "{tag}");
    list().header("if-none-match", tag).await.expect(304);
    // The entity tag of a single trip stays strong, so that clients can send it in `If-Match`.
    let id = page["items"][0]["id"].as_str().unwrap();
    let trip = ada.get(&format!("/api/v1/trips/{id}")).header("accept-encoding", "gzip").await.expect(200);
    assert!(trip.header("etag").starts_with('"') && !trip.headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn small_responses_and_responses_with_credentials_are_not_compressed() {
    // N-15
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let login = app.anonymous().post("/api/v1/auth/login").header("accept-encoding", "gzip").json(&body);
    assert!(!login.await.expect(200).headers.contains_key("content-encoding"));
    let me = ada.get("/api/v1/me").header("accept-encoding", "gzip").await.expect(200);
    assert!(!me.headers.contains_key("content-encoding"));
}
