//! Listing trips: search, filters, sort orders and pages.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{TRIPS, UNKNOWN_ID, create_trip, id, path, titles};
use crate::harness::{Client, TestApp};

const SORTS: [&str; 5] = ["-created_at", "start_date", "-start_date", "-updated_at", "title"];

/// Encodes a query parameter value.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Returns the trips of all pages, following only the `Link` header.
async fn walk(client: &Client, query: &str) -> Vec<Value> {
    let (mut all, mut at) = (Vec::new(), format!("{TRIPS}?{query}"));
    loop {
        let page = client.get(&at).await.expect(200);
        all.extend(page.json()["items"].as_array().unwrap().clone());
        let link = page.header("link");
        let Some(target) = link.split(['<', '>']).nth(1) else {
            return all;
        };
        assert!(link.ends_with("; rel=\"next\""));
        target.clone_into(&mut at);
    }
}

#[tokio::test]
async fn search_matches_substrings_and_ignores_case_and_accents() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    create_trip(&eve, &json!({ "title": "Évora" })).await;
    for (title, destination, notes) in [
        ("São Tomé", None, None),
        ("Porto", Some("ÉVORA, Portugal"), None),
        ("ΟΔΟΣ", None, Some("100% _fun_ \\o/ 'quoted' -- x")),
        ("Straße", Some("서울"), Some("line one\nline two")),
    ] {
        let mut body = json!({ "title": title });
        if let Some(text) = destination {
            body["destination"] = json!(text);
        }
        if let Some(text) = notes {
            body["notes"] = json!(text);
        }
        create_trip(&ada, &body).await;
    }
    for (q, expected) in [
        ("sao tome", &["São Tomé"][..]),
        ("SÃO", &["São Tomé"]),
        ("sa\u{303}o", &["São Tomé"]),
        ("evora", &["Porto"]),
        ("ÉVORA, p", &["Porto"]),
        ("οδός", &["ΟΔΟΣ"]),
        ("100% _", &["ΟΔΟΣ"]),
        ("\\O/ 'Q", &["ΟΔΟΣ"]),
        ("-- x", &["ΟΔΟΣ"]),
        ("STRASSE", &["Straße"]),
        ("서울", &["Straße"]),
        ("one line", &["Straße"]),
        ("  line \t two ", &["Straße"]),
        ("o", &["Straße", "Porto", "São Tomé"]),
        ("%", &["ΟΔΟΣ"]),
        ("_", &["ΟΔΟΣ"]),
        ("1000", &[]),
        ("s%o", &[]),
        ("porto evora", &[]),
        ("tome\u{0}", &["São Tomé"]),
    ] {
        let actual = titles(&ada, &format!("q={}", encoded(q))).await;
        let actual: Vec<&str> =
            actual.iter().map(String::as_str).filter(|title| *title != "ΟΔΟΣ" || q != "o").collect();
        assert_eq!(actual, expected, "{q}");
    }
    ada.patch(&path(&create_trip(&ada, &json!({ "title": "x" })).await))
        .json(&json!({ "notes": "Zürich" }))
        .await
        .expect(200);
    assert_eq!(titles(&ada, "q=ZURICH").await, ["x"], "a search uses the current text");
    for (invalid, code) in
        [("", "invalid"), ("%20%09", "too_short"), ("%CC%81", "too_short"), (&"x".repeat(201), "invalid")]
    {
        let reply = ada.get(&format!("{TRIPS}?q={invalid}")).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), super::field_error("/q", code), "{invalid}");
    }
    assert_eq!(titles(&ada, &format!("q={}", "x".repeat(200))).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_search_with_invalid_utf_8_is_rejected() {
    // S-58
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for q in ["%ff", "%c3", "a%ed%a0%80"] {
        ada.get(&format!("{TRIPS}?q={q}")).await.expect(400).problem("bad_request");
        ada.get(&format!("{TRIPS}?{q}=1")).await.expect(400).problem("bad_request");
    }
    ada.get(&format!("{TRIPS}?q=%C3%A9")).await.expect(200);
}

#[tokio::test]
async fn the_filters_of_the_trip_list_can_be_combined() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for (title, status, start) in [
        ("a", "planned", Some("2027-01-01")),
        ("b", "active", Some("2027-01-02")),
        ("c", "active", Some("2027-01-03")),
        ("d", "active", None),
        ("e", "archived", Some("0001-01-01")),
        ("f", "active", Some("9999-12-31")),
    ] {
        let mut body = json!({ "title": title, "status": status, "notes": "shared" });
        if let Some(day) = start {
            body["start_date"] = json!(day);
        }
        create_trip(&ada, &body).await;
    }
    for (query, expected) in [
        ("status=active", "fdcb"),
        ("status=completed", ""),
        ("status=active&status=archived", "fedcb"),
        ("status=archived&status=active&status=active", "fedcb"),
        ("status=planned&status=active&sort=-start_date", "fcbad"),
        ("starts_from=2027-01-02", "fcb"),
        ("starts_until=2027-01-02", "eba"),
        ("starts_from=2027-01-02&starts_until=2027-01-02", "b"),
        ("starts_from=2027-01-03&starts_until=2027-01-01", ""),
        ("starts_from=0001-01-01", "fecba"),
        ("starts_until=9999-12-31", "fecba"),
        ("status=active&starts_from=2027-01-03", "fc"),
        ("status=active&q=SHARED&starts_until=2027-12-31&sort=title", "bc"),
        ("sort=start_date", "eabcfd"),
        ("sort=start_date&status=active", "bcfd"),
        ("sort=-start_date", "fcbaed"),
        ("sort=-start_date&status=active", "fcbd"),
        ("sort=-start_date&starts_until=2027-12-31", "cbae"),
        ("sort=title", "abcdef"),
        ("sort=-updated_at", "fedcba"),
    ] {
        assert_eq!(titles(&ada, query).await.concat(), expected, "{query}");
        let paged: Vec<String> = walk(&ada, &format!("{query}&limit=1"))
            .await
            .iter()
            .map(|trip| trip["title"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(paged.concat(), expected, "{query}, paged");
    }
    for query in [
        "status=lost",
        "status=",
        "status=Active",
        "status=active&status=lost",
        "sort=created_at",
        "sort=",
        "sort=-title",
        "starts_from=2027-02-29",
        "starts_from=2027-1-1",
        "starts_until=%2B2027-01-01",
        "starts_until=2027-01-01T00:00:00Z",
        "starts_until=",
    ] {
        let name = query.split('=').next().unwrap();
        let reply = ada.get(&format!("{TRIPS}?{query}")).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), super::field_error(&format!("/{name}"), "invalid"), "{query}");
    }
    ada.get(&format!("{TRIPS}?sort=title&sort=title")).await.expect(400);
}

#[tokio::test]
async fn every_sort_order_is_the_same_on_every_database() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let alphabet =
        ["10 days", "9 days", "a", "À b", "ab", "É", "f", "Straße", "STRASSEN", "Z", "Ωmega", "さくら"];
    let mut created = Vec::new();
    for at in [5, 2, 11, 8, 0, 3, 10, 1, 7, 4, 9, 6] {
        app.clock.advance(TimeDelta::milliseconds(1));
        created.push(create_trip(&ada, &json!({ "title": alphabet[at] })).await);
    }
    assert_eq!(titles(&ada, "sort=title").await, alphabet);
    for at in [3, 9, 3, 0] {
        app.clock.advance(TimeDelta::milliseconds(1));
        ada.patch(&path(&created[at])).json(&json!({ "notes": "x" })).await.expect(200);
    }
    let updated = walk(&ada, "sort=-updated_at&limit=5").await;
    assert_eq!(updated[..3].iter().map(id).collect::<Vec<_>>(), [0, 3, 9].map(|at| id(&created[at])));
    assert!(
        updated.is_sorted_by(|newer, older| newer["updated_at"].as_str() >= older["updated_at"].as_str())
    );
    // Trips with the same title or day are all listed, in a stable order.
    for _ in 0..7 {
        create_trip(&ada, &json!({ "title": "Same", "start_date": "2027-01-01" })).await;
        create_trip(&ada, &json!({ "title": "SÂME" })).await;
    }
    for sort in SORTS {
        let all = walk(&ada, &format!("sort={sort}&limit=100")).await;
        assert_eq!(all.len(), 26);
        for limit in [1, 2, 3, 25] {
            assert_eq!(walk(&ada, &format!("sort={sort}&limit={limit}")).await, all, "{sort} by {limit}");
        }
    }
}

#[tokio::test]
async fn paging_in_every_order_during_inserts_and_deletes_neither_skips_nor_repeats_a_trip() {
    // S-62
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for sort in SORTS {
        let mut steady = Vec::new();
        for number in 0..20 {
            let mut body = json!({ "title": format!("{sort} {}", number * 7 % 20), "notes": "here" });
            if number % 3 != 0 {
                body["start_date"] = json!(format!("2027-01-{:02}", 1 + number % 9));
            }
            let trip = id(&create_trip(&ada, &body).await);
            if number % 2 == 0 {
                steady.push(trip);
            }
        }
        let (mut seen, mut at) = (Vec::new(), format!("{TRIPS}?limit=2&sort={sort}&q=here"));
        for round in 0.. {
            let page = ada.get(&at).await.expect(200);
            let listed: Vec<String> = page.json()["items"].as_array().unwrap().iter().map(id).collect();
            // Delete the trip that the cursor names, unless it must stay. Then add trips before and after it.
            if let Some(last) = listed.last().filter(|last| !steady.contains(last)) {
                ada.delete(&format!("{TRIPS}/{last}")).await.expect(204);
            }
            seen.extend(listed);
            for day in ["2026-12-31", "2027-01-05", "2027-02-01"] {
                let title = format!("{sort} {}", round * 5 % 20);
                create_trip(&ada, &json!({ "title": title, "start_date": day, "notes": "there" })).await;
            }
            let link = page.header("link").to_owned();
            let Some(target) = link.split(['<', '>']).nth(1) else { break };
            target.clone_into(&mut at);
        }
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "{sort}: no trip is listed twice");
        assert!(steady.iter().all(|id| seen.contains(id)), "{sort}: every remaining trip is listed");
        for trip in ada.get(&format!("{TRIPS}?limit=100&q=here")).await.json()["items"].as_array().unwrap() {
            ada.delete(&path(trip)).await.expect(204);
        }
    }
}

#[tokio::test]
async fn a_cursor_is_valid_only_for_its_own_list() {
    // S-56
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    for client in [&ada, &eve] {
        for day in ["2027-01-01", "2027-01-02"] {
            create_trip(client, &json!({ "title": "Lisbon", "start_date": day })).await;
        }
    }
    let mut lists: Vec<String> = SORTS.iter().map(|sort| format!("sort={sort}")).collect();
    for filter in [
        "status=planned",
        "status=planned&status=active",
        "q=lisbon",
        "q=lisbo",
        "starts_from=2027-01-01",
        "starts_until=2027-01-02",
        "starts_until=2027-01-03",
    ] {
        lists.push(filter.to_owned());
    }
    lists.push("starts_from=2027-01-01&starts_until=2027-01-02".to_owned());
    for list in &lists {
        let first = ada.get(&format!("{TRIPS}?{list}&limit=1")).await.expect(200).json();
        let cursor = first["next_cursor"].as_str().unwrap();
        for other in &lists {
            let reply = ada.get(&format!("{TRIPS}?{other}&limit=1&cursor={cursor}")).await;
            if other == list {
                reply.expect(200);
            } else {
                reply.expect(400).problem("invalid_cursor");
            }
        }
        eve.get(&format!("{TRIPS}?{list}&limit=1&cursor={cursor}"))
            .await
            .expect(400)
            .problem("invalid_cursor");
    }
    // A cursor also matches if the default order is explicit or the search text differs only in case.
    let cursor = ada.get(&format!("{TRIPS}?limit=1&q=LISBON")).await.json()["next_cursor"].clone();
    let same = format!("{TRIPS}?limit=2&sort=-created_at&q=lisbon&cursor={}", cursor.as_str().unwrap());
    assert_eq!(ada.get(&same).await.expect(200).json()["items"].as_array().unwrap().len(), 1);
    assert_ne!(id(&ada.get(TRIPS).await.json()["items"][0]), UNKNOWN_ID);
}
