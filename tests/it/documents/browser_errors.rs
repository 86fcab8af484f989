//! Errors outside of the API: HTML for a browser, a problem for every other client.

use crate::harness::{Reply, TestApp};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn open(app: &TestApp, path: &str) -> Reply {
    app.anonymous().get(path).header("accept", BROWSER).undocumented().await
}

#[tokio::test]
async fn an_unknown_path_gets_an_html_page_in_a_browser_and_a_problem_document_otherwise() {
    // N-14, S-63, S-64
    let app = TestApp::start().await;
    for path in
        ["/secret", "/a/b/c", "/problems/secret", "/docs/secret", "/api", "/api/v2/trips", "/health/secret"]
    {
        let page = open(&app, path).await.expect(404);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{path}");
        assert_eq!((page.header("vary"), page.header("cache-control")), ("Accept", "no-store"), "{path}");
        assert_eq!(page.header("referrer-policy"), "no-referrer", "{path}");
        assert!(page.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        let text = page.text();
        assert!(text.contains("<h1><b class=\"status s4\">404</b> Not found</h1>"), "{text}");
        assert!(text.contains("There is no page at this address."), "{text}");
        assert!(!text.contains("secret") && !text.contains("<script"), "{text}");
        // The links are relative to the path of the request.
        let root = "../".repeat(path.matches('/').count() - 1);
        assert!(text.contains(&format!("<a href=\"{root}docs\">")), "{path}: {text}");
        for accept in ["*/*", "application/json", "text/plain", "application/json, text/html"] {
            let reply = app.anonymous().get(path).header("accept", accept).undocumented().await;
            reply.expect(404).problem("not_found");
        }
        app.anonymous().get(path).undocumented().await.expect(404).problem("not_found");
    }
    let post = app.anonymous().post("/docs").header("accept", BROWSER).undocumented().await.expect(405);
    assert_eq!(post.header("allow"), "GET, HEAD");
    assert!(post.text().contains("405"));
}

#[tokio::test]
async fn the_api_returns_problem_documents_to_browsers_too() {
    let app = TestApp::start().await;
    for path in ["/api/v1", "/api/v1/", "/api/v1/nowhere", "/api/v1/trips/x/y/z"] {
        open(&app, path).await.expect(404).problem("not_found");
    }
    open(&app, "/api/v1/trips").await.expect(401).problem("unauthenticated");
    open(&app, "/health/live").await.expect(200).json();
    app.anonymous()
        .post("/health/live")
        .header("accept", BROWSER)
        .await
        .expect(405)
        .problem("method_not_allowed");
}

#[tokio::test]
async fn a_single_vary_header_lists_all_request_headers_that_change_the_response() {
    let app =
        TestApp::with(|settings| settings.cors_origins = vec!["https://trips.example".to_owned()]).await;
    let page = open(&app, "/nowhere").await.expect(404);
    assert_eq!(page.headers.get_all("vary").iter().count(), 1);
    assert_eq!(page.header("vary"), "Accept, Origin");
    assert_eq!(open(&app, "/docs").await.expect(200).header("vary"), "Accept-Encoding, Origin");
}

#[tokio::test]
async fn an_error_page_does_not_link_to_the_documentation_if_it_is_disabled() {
    let app = TestApp::with(|settings| settings.docs = false).await;
    let page = open(&app, "/docs").await.expect(404);
    assert!(!page.text().contains("docs"), "{}", page.text());
}
