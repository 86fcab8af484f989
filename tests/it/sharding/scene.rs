//! The operations that clients repeat often, by two users.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Client, PASSWORD, TestApp};

const TRIPS: &str = "/api/v1/trips";
const SYNC: &str = "/api/v1/sync";

/// Signs up, logs in, refreshes, and uses trips in every way that the API offers.
pub(super) async fn hot_paths(app: &TestApp) {
    let mut clients = Vec::new();
    for name in ["ada", "brian"] {
        app.sign_up(name).await;
        let body = json!({ "identifier": crate::harness::email(name), "password": PASSWORD });
        let grant = app.anonymous().post("/api/v1/auth/login").json(&body).await.expect(200).json();
        app.log_in(name).await;
        let refresh = json!({ "refresh_token": grant["refresh_token"] });
        // The response to a refresh can be lost, so the client repeats it.
        for _ in 0..2 {
            app.anonymous().post("/api/v1/auth/refresh").json(&refresh).await.expect(200);
        }
        let client = app.anonymous().with_grant(&grant);
        use_trips(app, &client).await;
        for path in ["/api/v1/me", "/api/v1/auth/session", "/api/v1/me/sessions", "/api/v1/me/events"] {
            client.get(path).await.expect(200);
        }
        client.get("/api/v1/me/export").await.expect(200);
        let secret = app.log_in(name).await;
        let logout = json!({ "refresh_token": secret.grant()["refresh_token"] });
        app.anonymous().post("/api/v1/auth/logout").json(&logout).await.expect(204);
        clients.push(client);
    }
    list_unchanged(&clients).await;
}

/// Requests unchanged lists of several users at once. The server reads the counters of these users in one
/// statement.
async fn list_unchanged(clients: &[Client]) {
    let mut calls = Vec::new();
    for client in clients {
        let tag = client.get(TRIPS).await.expect(200).header("etag").to_owned();
        for _ in 0..20 {
            calls.push(client.get(TRIPS).header("if-none-match", &tag).into_future());
        }
    }
    for reply in join_all(calls).await {
        reply.expect(304);
    }
}

async fn use_trips(app: &TestApp, client: &Client) {
    let stop = json!({ "name": "Cais do Sodré", "latitude": 38.7, "longitude": -9.1 });
    let trip = json!({
        "title": "Lisbon", "start_date": "2027-04-02", "notes": "Take the tram. ".repeat(50), "stops": [stop],
    });
    let create = || client.post(TRIPS).header("idempotency-key", "one").json(&trip);
    let path = create().await.expect(201).header("location").to_owned();
    assert_eq!(create().await.expect(201).header("location"), path, "the request is repeated");
    let second = client.post(TRIPS).json(&json!({ "title": "Porto" })).await.expect(201);
    let tag = client.get(&path).await.expect(200).header("etag").to_owned();
    client.put(&path).header("if-match", tag).json(&trip).await.expect(200);
    let new = format!("{TRIPS}/{}", app.clock.new_id());
    client.put(&new).header("if-none-match", "*").json(&trip).await.expect(201);
    client.patch(&path).json(&json!({ "notes": null })).await.expect(200);
    client.post(&format!("{path}/stops")).json(&stop).await.expect(201);
    list(client).await;
    share(app, client, &path).await;
    sync(app, client).await;
    client.delete(second.header("location")).await.expect(204);
    let feed = client.get(&format!("{SYNC}?limit=1")).await.expect(200).json();
    let next = feed["next_cursor"].as_str().unwrap();
    client.get(&format!("{SYNC}?cursor={next}")).await.expect(200);
}

/// Lists and searches in each order, also after the first page.
async fn list(client: &Client) {
    for sort in ["-created_at", "start_date", "-start_date", "-updated_at", "title"] {
        for filter in ["", "&status=planned", "&status=planned&status=active", "&q=tram", "&q=l", "&q=zzzz"] {
            let page = format!("{TRIPS}?limit=1&sort={sort}{filter}");
            let first = client.get(&page).await.expect(200).json();
            if let Some(cursor) = first["next_cursor"].as_str() {
                client.get(&format!("{page}&cursor={cursor}")).await.expect(200);
            }
        }
    }
}

async fn share(app: &TestApp, client: &Client, path: &str) {
    let link: Value = client.put(&format!("{path}/share")).await.expect(200).json();
    let shared = format!("/api/v1/shared/{}", link["token"].as_str().unwrap());
    app.anonymous().get(&shared).await.expect(200);
    client.delete(&format!("{path}/share")).await.expect(204);
}

/// Sends operations, and sends them again as if the response was lost.
async fn sync(app: &TestApp, client: &Client) {
    let trips: Vec<_> = (0..6).map(|_| app.clock.new_id()).collect();
    let mut operations = Vec::new();
    for id in &trips {
        let trip = json!({ "title": "Faro", "notes": "Take the train. ".repeat(50) });
        operations.push(json!({ "op_id": app.clock.new_id(), "op": "create", "id": id, "trip": trip }));
    }
    let changed = json!({ "title": "Faro and Lagos" });
    let of = |op: &str, id| json!({ "op_id": app.clock.new_id(), "op": op, "id": id, "base_version": 1 });
    let mut update = of("update", trips[0]);
    update["trip"] = changed;
    operations.extend([update, of("delete", trips[1])]);
    for _ in 0..2 {
        let reply = client.post(SYNC).json(&json!({ "operations": operations })).await.expect(200).json();
        let results = reply["results"].as_array().unwrap();
        assert!(results.iter().all(|result| result["status"] != "rejected"), "{reply}");
    }
}
