//! Each rule on its own, on the document of this program: a change, and what is said of it.

use super::*;
use crate::http::openapi;

const TRIPS: &str = "/paths/~1api~1v1~1trips";
const TRIP: &str = "/components/schemas/Trip";
const NEW: &str = "/components/schemas/CreateTrip";

fn compare(old: &Value, new: &Value) -> Vec<String> {
    changes(old, new, NaiveDate::from_ymd_opt(2027, 5, 1).unwrap())
}

fn after(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let old = openapi::document();
    let mut new = old.clone();
    change(&mut new);
    assert!(old != new, "nothing was changed");
    compare(&old, &new)
}

fn remove(document: &mut Value, object: &str, name: &str) -> Value {
    document.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(name).unwrap()
}

fn set(document: &mut Value, object: &str, name: &str, value: Value) {
    document.pointer_mut(object).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
}

fn push(document: &mut Value, list: &str, value: Value) {
    document.pointer_mut(list).unwrap().as_array_mut().unwrap().push(value);
}

#[track_caller]
fn broken(change: impl FnOnce(&mut Value), wanted: &str) {
    let found = after(change);
    assert!(found.iter().any(|line| line.contains(wanted)), "{wanted} is not in {found:#?}");
}

#[track_caller]
fn fine(change: impl FnOnce(&mut Value)) {
    assert_eq!(after(change), Vec::<String>::new());
}

#[test]
fn the_same_document_breaks_nothing() {
    let document = openapi::document();
    assert_eq!(compare(&document, &document), Vec::<String>::new());
}

#[test]
fn what_is_added_breaks_nothing() {
    fine(|new| {
        let operation = new.pointer(&format!("{TRIPS}/get")).unwrap().clone();
        set(new, "/paths", "/api/v1/places", json!({ "get": operation }));
    });
    fine(|new| set(new, &format!("{TRIP}/properties"), "mood", json!({ "type": "string" })));
    fine(|new| push(new, &format!("{TRIP}/required"), json!("notes")));
    fine(|new| set(new, &format!("{NEW}/properties"), "mood", json!({ "type": "string" })));
    fine(|new| push(new, &format!("{TRIPS}/get/parameters"), json!({ "name": "mood", "in": "query" })));
    fine(|new| push(new, "/components/schemas/TripStatus/enum", json!("dreamt")));
    fine(|new| set(new, &format!("{NEW}/properties/title"), "maxLength", json!(201)));
    fine(|new| set(new, &format!("{NEW}/properties/title"), "nullable", json!(true)));
    fine(|new| set(new, NEW, "required", json!([])));
    fine(|new| set(new, &format!("{TRIPS}/get/responses"), "429", json!({ "description": "Too many" })));
    fine(|new| set(new, "/info", "description", json!("Other words.")));
    fine(|new| drop(remove(new, &format!("{TRIPS}/get"), "x-required-scopes")));
    fine(|new| set(new, &format!("{TRIPS}/get"), "security", json!([])));
}

#[test]
fn what_is_gone_or_has_another_name_breaks() {
    broken(|new| drop(remove(new, TRIPS, "post")), "POST /api/v1/trips: is gone");
    broken(
        |new| drop(remove(new, &format!("{TRIPS}/get/responses"), "304")),
        "GET /api/v1/trips: 304 is gone",
    );
    broken(|new| drop(remove(new, &format!("{TRIP}/properties"), "notes")), "200.items[].notes is gone");
    broken(
        |new| drop(remove(new, &format!("{NEW}/properties"), "notes")),
        "POST /api/v1/trips: request.notes is gone",
    );
    broken(
        |new| {
            let stop = remove(new, "/components/schemas", "Stop");
            set(new, "/components/schemas", "Halt", stop);
            set(new, &format!("{TRIP}/properties/stops/items"), "$ref", json!("#/components/schemas/Halt"));
        },
        "200.items[].stops[] is Halt, not Stop",
    );
    broken(
        |new| drop(remove(new, &format!("{TRIPS}/get/responses/200/headers"), "Link")),
        "200 need not have the header Link",
    );
    broken(
        |new| {
            let parameters = new.pointer_mut(&format!("{TRIPS}/get/parameters")).unwrap();
            parameters.as_array_mut().unwrap().remove(0);
        },
        "GET /api/v1/trips: the parameter limit is gone",
    );
    broken(
        |new| set(new, &format!("{TRIPS}/get"), "operationId", json!("find_trips")),
        "another operationId",
    );
    broken(|new| drop(remove(new, &format!("{TRIPS}/post"), "requestBody")), "takes no body");
    broken(
        |new| {
            let content = format!("{TRIPS}/post/requestBody/content");
            let body = remove(new, &content, "application/json");
            set(new, &content, "application/xml", body);
        },
        "request is not application/json any more",
    );
}

#[test]
fn what_is_asked_for_more_breaks() {
    broken(
        |new| push(new, &format!("{NEW}/required"), json!("notes")),
        "POST /api/v1/trips: request.notes is required",
    );
    broken(
        |new| {
            set(new, &format!("{NEW}/properties"), "mood", json!({ "type": "string" }));
            push(new, &format!("{NEW}/required"), json!("mood"));
        },
        "request.mood is required",
    );
    broken(
        |new| {
            let parameter = json!({ "name": "mood", "in": "query", "required": true });
            push(new, &format!("{TRIPS}/get/parameters"), parameter);
        },
        "the parameter mood is required",
    );
    broken(
        |new| set(new, &format!("{TRIPS}/get/parameters/0"), "required", json!(true)),
        "limit is required",
    );
    broken(
        |new| set(new, &format!("{TRIPS}/get/parameters/0/schema"), "default", json!(9)),
        "else if absent",
    );
    broken(
        |new| push(new, &format!("{TRIPS}/get/x-required-scopes"), json!("account")),
        r#"the scope "account" too"#,
    );
    broken(
        |new| set(new, &format!("{TRIPS}/get"), "security", json!([{ "basicAuth": [] }])),
        "another credential",
    );
    broken(
        |new| set(new, "/paths/~1health~1live/get", "security", json!([{ "basicAuth": [] }])),
        "GET /health/live: asks for another credential",
    );
    broken(
        |new| {
            let body = new.pointer(&format!("{TRIPS}/post/requestBody")).unwrap().clone();
            set(new, &format!("{TRIPS}/get"), "requestBody", body);
        },
        "GET /api/v1/trips: needs a body",
    );
    let forms = "/components/schemas/ShownToken";
    broken(|new| set(new, forms, "additionalProperties", json!(false)), "takes no other members");
}

#[test]
fn what_takes_less_breaks() {
    let statuses = "/components/schemas/TripStatus/enum";
    broken(
        |new| drop(new.pointer_mut(statuses).unwrap().as_array_mut().unwrap().pop()),
        "GET /api/v1/trips: ?status takes fewer values",
    );
    let title = format!("{NEW}/properties/title");
    for (name, value) in [("maxLength", json!(199)), ("minLength", json!(2)), ("pattern", json!("^x"))] {
        broken(|new| set(new, &title, name, value), name);
    }
    broken(|new| set(new, &title, "enum", json!(["a"])), "request.title takes fewer values");
    broken(|new| set(new, &title, "type", json!("integer")), "request.title has another type");
    broken(|new| set(new, &format!("{NEW}/properties/stops"), "maxItems", json!(9)), "narrower maxItems");
    broken(|new| set(new, &format!("{NEW}/properties/stops"), "uniqueItems", json!(true)), "nothing twice");
    let latitude = "/components/schemas/NewStop/properties/latitude";
    broken(|new| set(new, latitude, "maximum", json!(89)), "request.stops[].latitude has a narrower maximum");
    let notes = "/components/schemas/UpdateTrip/properties/notes";
    broken(|new| drop(remove(new, notes, "nullable")), "request.notes can't be null");
}

#[test]
fn what_is_told_differently_breaks() {
    broken(|new| set(new, TRIP, "required", json!(["id"])), "200.items[].title may be absent");
    broken(|new| set(new, &format!("{TRIP}/properties/version"), "type", json!("string")), "another type");
    broken(|new| set(new, &format!("{TRIP}/properties/id"), "format", json!("date")), "another format");
    broken(|new| set(new, &format!("{TRIP}/properties/notes"), "nullable", json!(true)), "notes may be null");
    broken(
        |new| {
            set(new, &format!("{TRIPS}/post/responses"), "200", json!({ "description": "Another success" }));
        },
        "200 is a new kind of success",
    );
    let deleted = "/paths/~1api~1v1~1trips~1{id}/delete/responses/204";
    broken(|new| set(new, deleted, "content", json!({ "application/json": {} })), "204 has a body");
    broken(|new| set(new, TRIP, "anyOf", json!([])), "anyOf can't be compared");
    // A list that was closed and grows, or is closed now.
    let old = |values: Value| {
        let mut document = openapi::document();
        set(&mut document, &format!("{TRIP}/properties/status"), "enum", values);
        document
    };
    let grown = compare(&old(json!(["a"])), &old(json!(["a", "b"])));
    assert!(grown.iter().any(|line| line.contains("values that nobody knew")), "{grown:?}");
    assert_eq!(compare(&old(json!(["a", "b"])), &old(json!(["a"]))), Vec::<String>::new());
}

#[test]
fn what_was_deprecated_may_go_when_its_time_is_over() {
    let gone = |sunset: &str| {
        let mut old = openapi::document();
        let mut new = old.clone();
        set(&mut old, &format!("{TRIPS}/post"), "x-sunset", json!(sunset));
        remove(&mut new, TRIPS, "post");
        compare(&old, &new)
    };
    assert_eq!(gone("2027-04-30"), Vec::<String>::new());
    assert_eq!(gone("2027-05-01"), ["POST /api/v1/trips: is gone"]);
}
