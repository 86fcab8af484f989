//! A share link in a browser: the trip as an HTML page, and errors as pages.

use serde_json::{Value, json};

use super::{TRIPS, create_trip, path};
use crate::harness::{Client, Reply, TestApp};

/// The header `Accept` as browsers send it.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
const HTML: &str = "text/html; charset=utf-8";

fn trip() -> Value {
    json!({
        "title": "Lisbon in spring", "destination": "Portugal", "start_date": "2027-04-02",
        "end_date": "2027-05-09", "time_zone": "Europe/Lisbon", "notes": "Take the tram.", "status": "active",
        "stops": [
            { "name": "Miradouro da Graça", "latitude": 38.7165, "longitude": -9.1319,
              "arrives_at": "2027-04-03T17:30:00", "departs_at": "2027-04-03T19:00:00", "notes": "Sunset" },
            { "name": "Porto", "latitude": 41.15, "longitude": -8.61 },
        ],
    })
}

async fn share(client: &Client, trip: &Value) -> String {
    let link = client.put(&format!("{}/share", path(trip))).await.expect(200).json();
    format!("/api/v1/shared/{}", link["token"].as_str().unwrap())
}

async fn open(app: &TestApp, path: &str) -> Reply {
    app.anonymous().get(path).header("accept", BROWSER).await
}

/// Checks the headers that every page at a share link has.
fn check_headers(reply: &Reply) {
    // S-64
    for (name, value) in [
        ("content-type", HTML),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-robots-tag", "noindex"),
        ("x-content-type-options", "nosniff"),
        ("vary", "Accept"),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    let policy = reply.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; img-src 'self';"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("script"), "{policy}");
    let text = reply.text();
    for absent in ["<script", " style=", " onclick=", "http://", "https://"] {
        assert!(!text.contains(absent), "{absent}");
    }
}

#[tokio::test]
async fn a_browser_gets_an_html_page_for_a_share_link() {
    // N-14
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = create_trip(&ada, &trip()).await;
    let shared = share(&ada, &created).await;
    let page = open(&app, &shared).await.expect(200);
    check_headers(&page);
    let text = page.text();
    for part in [
        "<title>Lisbon in spring · Tripgate</title>",
        "<meta property=\"og:title\" content=\"Lisbon in spring\">",
        "<meta property=\"og:description\" content=\"2 April – 9 May 2027 · Portugal\">",
        "<h1 dir=\"auto\">Lisbon in spring</h1>",
        "<dd>2 April – 9 May 2027</dd>",
        "<dd dir=\"auto\">Portugal</dd>",
        "<dd>Active</dd>",
        "Take the tram.",
        "<time datetime=\"2027-04-03T17:30\">Sat 3 Apr 2027, 17:30</time> <small>Europe/Lisbon</small>",
        "<time datetime=\"2027-04-03T19:00\">Sat 3 Apr 2027, 19:00</time>",
        "Sunset",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let place = |name: &str| text.find(name).unwrap_or_else(|| panic!("{name} is missing"));
    assert!(place("Miradouro da Graça") < place("Porto"), "the stops are in travel order");
    for secret in [ada.id(), "ada", created["id"].as_str().unwrap()] {
        assert!(!text.contains(secret), "{secret}");
    }
    // The response to HEAD states the length of the page, and the next change of the trip is visible at once.
    let head = app.anonymous().head(&shared).header("accept", BROWSER).await.expect(200);
    assert_eq!(head.header("content-length"), page.body.len().to_string());
    ada.patch(&path(&created)).json(&json!({ "title": "Porto first" })).await.expect(200);
    assert!(open(&app, &shared).await.expect(200).text().contains("<h1 dir=\"auto\">Porto first</h1>"));
}

#[tokio::test]
async fn only_a_client_that_prefers_html_gets_the_shared_page() {
    // N-14
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let shared = share(&ada, &create_trip(&ada, &trip()).await).await;
    let call = || app.anonymous().get(&shared);
    for accept in ["*/*", "application/json", "application/json, text/html", "text/html;q=0.5, */*;q=0.5"] {
        let reply = call().header("accept", accept).await.expect(200);
        assert_eq!(reply.header("content-type"), "application/json", "{accept}");
        assert_eq!(
            (reply.header("vary"), reply.header("content-security-policy")),
            ("Accept", ""),
            "{accept}"
        );
        assert_eq!(reply.json()["title"], "Lisbon in spring");
    }
    for accept in ["text/html", "text/*", "text/html, application/json;q=0.9"] {
        assert_eq!(
            call().header("accept", accept).await.expect(200).header("content-type"),
            HTML,
            "{accept}"
        );
    }
    let refused = call().header("accept", "image/png").await.expect(406).problem("not_acceptable");
    assert!(refused.json()["detail"].as_str().unwrap().contains("application/json or text/html"));
    // All other operations return only JSON.
    ada.get(TRIPS).header("accept", "text/html").await.expect(406).problem("not_acceptable");
    let trips = ada.get(TRIPS).header("accept", BROWSER).await.expect(200);
    assert_eq!(trips.header("content-type"), "application/json");
}

#[tokio::test]
async fn html_in_the_fields_of_a_trip_is_escaped_on_the_shared_page() {
    // S-64
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let evil = "</title></h1>\"'><script>alert(1)</script><img src=x onerror=y>&amp;{{ 7 }}";
    let mut trip = trip();
    for field in ["title", "destination", "notes"] {
        trip[field] = json!(evil);
    }
    trip["stops"][0]["name"] = json!(evil);
    trip["stops"][0]["notes"] = json!(evil);
    let shared = share(&ada, &create_trip(&ada, &trip).await).await;
    let page = open(&app, &shared).await.expect(200);
    check_headers(&page);
    let text = page.text();
    assert!(
        !text.contains("<img src=x") && !text.contains("</title></h1>") && !text.contains("\"'>"),
        "{text}"
    );
    // The title occurs 3 times (title, preview and heading), the destination twice (text and preview), the
    // notes once, and the name and the notes of the stop once each.
    assert_eq!(text.matches("&#60;script&#62;alert(1)&#60;/script&#62;").count(), 8, "{text}");
}

#[tokio::test]
async fn a_trip_with_only_a_title_has_a_shared_page_too() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let shared = share(&ada, &create_trip(&ada, &json!({ "title": "Later" })).await).await;
    let page = open(&app, &shared).await.expect(200);
    check_headers(&page);
    for absent in ["Dates", "Destination", "Time zone", "Notes", "Stops", "og:description"] {
        assert!(!page.text().contains(absent), "{absent}");
    }
}

#[tokio::test]
async fn a_browser_gets_an_html_404_page_for_a_revoked_or_unknown_share_link() {
    // N-14, S-63
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = create_trip(&ada, &trip()).await;
    let revoked = share(&ada, &created).await;
    ada.delete(&format!("{}/share", path(&created))).await.expect(204);
    let unknown = "/api/v1/shared/unknown-and-secret";
    for path in [revoked.as_str(), unknown, "/api/v1/shared/unknown-and-secret%3Cb%3E"] {
        let page = open(&app, path).await.expect(404);
        check_headers(&page);
        let text = page.text();
        assert!(text.contains("This link is not valid."), "{text}");
        assert!(!text.contains("unknown-and-secret") && !text.contains(revoked.rsplit('/').next().unwrap()));
        let json = app.anonymous().get(path).await.expect(404).problem("not_found");
        assert_eq!(json.header("vary"), "Accept");
    }
    // A request id that a client sends appears on the page, so it must not contain markup.
    let call = app.anonymous().get(unknown).header("accept", BROWSER).header("x-request-id", "<b>x</b>");
    assert!(!call.await.expect(404).text().contains("<b>x"));
    let query = open(&app, &format!("{unknown}?a=1&a=2")).await.expect(400);
    check_headers(&query);
}
