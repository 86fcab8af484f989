//! The HTML pages, which must load nothing from other hosts.

use std::fs;
use std::path::Path;

use crate::harness::{Reply, TestApp};

const PAGES: [&str; 12] = [
    "/docs",
    "/docs/account.js",
    "/docs/authorize.js",
    "/docs/docs.css",
    "/docs/hints.js",
    "/docs/init.js",
    "/docs/layout.js",
    "/docs/session.js",
    "/problems",
    "/problems/invalid",
    "/problems/page.css",
    "/problems/not-found",
];

async fn page(app: &TestApp, path: &str) -> Reply {
    app.anonymous().get(path).undocumented().await.expect(200)
}

/// Returns the sources of one directive of a Content Security Policy.
fn directive<'a>(policy: &'a str, name: &str) -> Vec<&'a str> {
    let found = policy
        .split(';')
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(name)).then(|| words.collect()));
    found.unwrap_or_default()
}

#[tokio::test]
async fn the_root_redirects_to_the_documentation() {
    let app = TestApp::start().await;
    let root = app.anonymous().get("/").undocumented().await.expect(302);
    assert!(["docs", "/docs"].contains(&root.header("location")));
    assert!(page(&app, "/docs").await.text().contains("<title>Tripgate API</title>"));
}

#[tokio::test]
async fn every_file_that_a_page_references_is_served_with_its_media_type() {
    let app = TestApp::start().await;
    let text = page(&app, "/docs").await.text().to_owned();
    let references: Vec<&str> = text.split(['"']).filter(|word| word.contains("?v=")).collect();
    assert_eq!(references.len(), 12, "{references:?}");
    for file in references {
        let reply = page(&app, &format!("/{file}")).await;
        let kind = match file.split(['.', '?']).nth(1).unwrap() {
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        };
        assert_eq!(reply.header("content-type"), kind, "{file}");
        // The URL changes with the content, so caching is safe.
        assert_eq!(reply.header("cache-control"), "public, max-age=86400", "{file}");
        assert!(reply.body.len() > 100, "{file}");
    }
}

#[tokio::test]
async fn every_page_has_a_strict_content_security_policy() {
    // S-64
    let app = TestApp::start().await;
    for path in PAGES.into_iter().chain([
        "/openapi.json",
        "/openapi.yaml",
        "/docs/swagger-ui.js",
        "/problems/mark.svg",
    ]) {
        let reply = page(&app, path).await;
        let policy = reply.header("content-security-policy");
        assert_eq!(directive(policy, "default-src"), ["'none'"], "{path}");
        assert_eq!(directive(policy, "script-src"), ["'self'"], "{path}");
        assert_eq!(directive(policy, "style-src"), ["'self'"], "{path}");
        assert_eq!(directive(policy, "connect-src"), ["'self'"], "{path}");
        assert_eq!(directive(policy, "frame-ancestors"), ["'none'"], "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert!(!policy.contains("http:") && !policy.contains("https:") && !policy.contains('*'), "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
    }
}

#[tokio::test]
async fn no_page_references_another_host_or_contains_inline_code() {
    // S-64
    let app = TestApp::start().await;
    for path in PAGES {
        let text = page(&app, path).await.text().to_owned();
        assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
        assert!(!text.contains("\"//") && !text.contains("'//") && !text.contains("url("), "{path}");
        assert!(
            !text.contains("<script>") && !text.contains(" onclick=") && !text.contains("<style"),
            "{path}"
        );
        assert!(!text.contains(" style="), "{path}");
    }
    let style = page(&app, "/docs/swagger-ui.css").await.text().to_owned();
    let outside =
        style.split("url(").skip(1).find(|url| !url.trim_start_matches(['"', '\'']).starts_with("data:"));
    assert_eq!(outside, None);
    assert!(!style.contains("@import") && !style.contains("sourceMappingURL"));
}

#[tokio::test]
async fn the_documentation_page_states_whether_every_operation_accepts_basic_authentication() {
    // N-10
    for basic in [true, false] {
        let app = TestApp::with(|settings| settings.auth_methods.basic = basic).await;
        let text = page(&app, "/docs").await.text().to_owned();
        assert!(text.contains(&format!("data-basic-on-api=\"{basic}\"")), "{text}");
    }
}

#[tokio::test]
async fn swagger_ui_is_complete_and_has_the_tested_version() {
    let app = TestApp::start().await;
    let script = page(&app, "/docs/swagger-ui.js").await;
    assert!(script.body.len() > 1_000_000 && script.text().contains("SwaggerUIBundle"));
    assert!(script.text().contains("5.32.6"));
    let init = page(&app, "/docs/init.js").await;
    assert!(init.text().contains("queryConfigEnabled: false"));
}

#[tokio::test]
async fn the_served_openapi_document_equals_the_committed_one() {
    let app = TestApp::start().await;
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi");
    for (name, kind) in [("openapi.json", "application/json"), ("openapi.yaml", "application/yaml")] {
        let served = page(&app, &format!("/{name}")).await;
        let file = fs::read_to_string(committed.join(name)).unwrap();
        assert!(served.text().trim_end() == file.trim_end(), "{name} differs");
        assert_eq!(served.header("content-type"), kind);
    }
}

#[tokio::test]
async fn the_documentation_can_be_disabled() {
    // S-64
    let app = TestApp::with(|settings| settings.docs = false).await;
    let anonymous = app.anonymous();
    for path in ["/", "/docs", "/docs/init.js", "/docs/swagger-ui.js", "/openapi.json", "/openapi.yaml"] {
        anonymous.get(path).undocumented().await.expect(404).problem("not_found");
    }
    // The server still returns the problem pages and their style sheet.
    anonymous.get("/problems/page.css").undocumented().await.expect(200);
    let page = anonymous.get("/problems/not-found").undocumented().await.expect(200);
    assert!(page.text().contains("not_found"));
    let list = anonymous.get("/problems").undocumented().await.expect(200);
    for page in [page, list] {
        assert!(
            !page.text().contains("docs") && !page.text().contains("openapi.json"),
            "a link to a disabled page"
        );
    }
    anonymous.get("/health/live").await.expect(200);
}

#[test]
fn the_services_page_shows_the_token_verifiers_that_the_tests_run() {
    // S-32
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/services.md")).unwrap();
    for (language, file) in [
        ("js", "tests/interop/verifiers/node.mjs"),
        ("python", "tests/interop/verifiers/with_pyjwt.py"),
        ("python", "tests/interop/verifiers/with_joserfc.py"),
        ("rust", "examples/verifier/access_tokens.rs"),
    ] {
        let tested = fs::read_to_string(root.join(file)).unwrap();
        let block = format!("\n```{language}\n{tested}```\n");
        assert!(page.contains(&block), "docs/services.md does not contain {file} unchanged");
    }
}
