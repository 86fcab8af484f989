//! The pages that the links in mails open, and the files that associate apps with the server.

use serde_json::json;
use tripgate::config::AndroidApp;

use crate::harness::{Reply, TestApp};

const PAGES: [&str; 4] = ["/account/confirm", "/account/reset", "/account/undo", "/account/session"];
const APPLE: &str = "/.well-known/apple-app-site-association";
const ANDROID: &str = "/.well-known/assetlinks.json";

async fn page(app: &TestApp, path: &str) -> Reply {
    app.anonymous().get(path).undocumented().await.expect(200)
}

#[tokio::test]
async fn account_pages_load_nothing_from_other_hosts_and_contain_no_inline_code() {
    // S-64
    let app = TestApp::with(|settings| settings.docs = false).await;
    for path in PAGES {
        let reply = page(&app, path).await;
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.header("referrer-policy"), "no-referrer");
        assert_eq!(reply.header("x-robots-tag"), "noindex");
        let policy = reply.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"),
            "{policy}"
        );
        let text = reply.text();
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("style="),
            "{text}"
        );
        assert!(!text.contains("<script>") && text.matches("<script").count() == 1, "{text}");
        assert!(text.contains("<html lang=\"en\">") && text.contains("<noscript>"), "{text}");
        // The pages do not link to the documentation, which may be disabled.
        assert!(!text.contains("docs"), "{text}");
        for file in text.split('"').filter(|word| word.contains("?v=")) {
            let reply = page(&app, &format!("/{}", file.trim_start_matches("../"))).await;
            assert_eq!(reply.header("cache-control"), "public, max-age=86400", "{file}");
        }
    }
    app.anonymous().get("/account/other").undocumented().await.expect(404).problem("not_found");
}

#[tokio::test]
async fn opening_a_mailed_link_20_times_does_not_use_it_up() {
    // S-46
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let body = json!({ "email": "ada@example.org" });
    app.anonymous().post("/api/v1/auth/password/forgot").json(&body).await.expect(202);
    let mail = app.mail_to("ada@example.org").await;
    let path = mail.link.as_deref().unwrap();
    for _ in 0..20 {
        page(&app, path).await;
        app.anonymous().head(path).undocumented().await.expect(200);
    }
    let reply = app.anonymous().post(path.split('#').next().unwrap()).undocumented().await;
    let reply = reply.expect(405).problem("method_not_allowed");
    assert_eq!(reply.header("allow"), "GET, HEAD");
    let reset = json!({ "token": mail.token(), "new_password": "a louder harbour at dawn" });
    app.anonymous().post("/api/v1/auth/password/reset").json(&reset).await.expect(204);
}

#[tokio::test]
async fn the_app_association_files_contain_the_apps_from_the_settings() {
    let app = TestApp::with(|settings| {
        settings.apple_app_ids = vec!["ABCDE12345.org.example.trips".to_owned()];
        let app = AndroidApp { package: "org.example.trips".to_owned(), fingerprint: "AB:CD".to_owned() };
        settings.android_apps = vec![app];
    })
    .await;
    let apple = page(&app, APPLE).await;
    assert_eq!(apple.header("content-type"), "application/json");
    assert_eq!(
        apple.json(),
        json!({
            "applinks": { "details": [{
                "appIDs": ["ABCDE12345.org.example.trips"], "components": [{ "/": "/account/*" }],
            }] },
            "webcredentials": { "apps": ["ABCDE12345.org.example.trips"] },
        })
    );
    let android = page(&app, ANDROID).await;
    assert_eq!(android.header("content-type"), "application/json");
    assert_eq!(
        android.json(),
        json!([{
            "relation": ["delegate_permission/common.handle_all_urls", "delegate_permission/common.get_login_creds"],
            "target": {
                "namespace": "android_app", "package_name": "org.example.trips",
                "sha256_cert_fingerprints": ["AB:CD"],
            },
        }])
    );
}

#[tokio::test]
async fn without_configured_apps_there_are_no_app_association_files() {
    let app = TestApp::start().await;
    for path in [APPLE, ANDROID] {
        app.anonymous().get(path).undocumented().await.expect(404).problem("not_found");
    }
}
