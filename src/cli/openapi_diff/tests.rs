//! Tests each rule separately: applies one change to the OpenAPI document of this program and checks the
//! report.

use super::*;
use crate::http::openapi;

const TRIPS: &str = "/paths/~1api~1v1~1trips";
const TRIP: &str = "/components/schemas/Trip";
const NEW: &str = "/components/schemas/CreateTrip";

fn compare(old: &Value, new: &Value) -> Vec<String> {
    breaking_changes(old, new, NaiveDate::from_ymd_opt(2027, 5, 1).unwrap())
}

fn report_after(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let old = openapi::document();
    let mut new = old.clone();
    change(&mut new);
    assert!(old != new, "the change had no effect");
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
fn assert_breaking(change: impl FnOnce(&mut Value), expected: &str) {
    let lines = report_after(change);
    assert!(lines.iter().any(|line| line.contains(expected)), "{expected} is not in {lines:#?}");
}

#[track_caller]
fn assert_compatible(change: impl FnOnce(&mut Value)) {
    assert_eq!(report_after(change), Vec::<String>::new());
}

#[test]
fn an_identical_document_is_compatible() {
    let document = openapi::document();
    assert_eq!(compare(&document, &document), Vec::<String>::new());
}

#[test]
fn additions_and_relaxed_requirements_are_compatible() {
    assert_compatible(|new| {
        let operation = new.pointer(&format!("{TRIPS}/get")).unwrap().clone();
        set(new, "/paths", "/api/v1/moods", json!({ "get": operation }));
    });
    assert_compatible(|new| set(new, &format!("{TRIP}/properties"), "mood", json!({ "type": "string" })));
    assert_compatible(|new| push(new, &format!("{TRIP}/required"), json!("notes")));
    assert_compatible(|new| set(new, &format!("{NEW}/properties"), "mood", json!({ "type": "string" })));
    assert_compatible(|new| {
        push(new, &format!("{TRIPS}/get/parameters"), json!({ "name": "mood", "in": "query" }));
    });
    assert_compatible(|new| push(new, "/components/schemas/TripStatus/enum", json!("dreamt")));
    assert_compatible(|new| set(new, &format!("{NEW}/properties/title"), "maxLength", json!(201)));
    assert_compatible(|new| set(new, &format!("{NEW}/properties/title"), "nullable", json!(true)));
    assert_compatible(|new| set(new, NEW, "required", json!([])));
    assert_compatible(|new| {
        set(new, &format!("{TRIPS}/get/responses"), "418", json!({ "description": "A teapot" }));
    });
    assert_compatible(|new| set(new, "/info", "description", json!("Other words.")));
    assert_compatible(|new| drop(remove(new, &format!("{TRIPS}/get"), "x-required-scopes")));
    assert_compatible(|new| set(new, &format!("{TRIPS}/get"), "security", json!([])));
}

#[test]
fn removals_and_renames_are_breaking_changes() {
    assert_breaking(|new| drop(remove(new, TRIPS, "post")), "POST /api/v1/trips: was removed");
    assert_breaking(
        |new| drop(remove(new, &format!("{TRIPS}/get/responses"), "304")),
        "GET /api/v1/trips: 304 was removed",
    );
    assert_breaking(
        |new| drop(remove(new, &format!("{TRIP}/properties"), "notes")),
        "200.trips[].notes was removed",
    );
    assert_breaking(
        |new| drop(remove(new, &format!("{NEW}/properties"), "notes")),
        "POST /api/v1/trips: request.notes was removed",
    );
    assert_breaking(
        |new| {
            let stop = remove(new, "/components/schemas", "Stop");
            set(new, "/components/schemas", "Halt", stop);
            set(new, &format!("{TRIP}/properties/stops/items"), "$ref", json!("#/components/schemas/Halt"));
        },
        "200.trips[].stops[] is Halt, not Stop",
    );
    assert_breaking(
        |new| drop(remove(new, &format!("{TRIPS}/get/responses/200/headers"), "Link")),
        "200 no longer guarantees the header Link",
    );
    assert_breaking(
        |new| {
            let parameters = new.pointer_mut(&format!("{TRIPS}/get/parameters")).unwrap();
            parameters.as_array_mut().unwrap().remove(0);
        },
        "GET /api/v1/trips: the parameter limit was removed",
    );
    assert_breaking(
        |new| set(new, &format!("{TRIPS}/get"), "operationId", json!("find_trips")),
        "another operationId",
    );
    assert_breaking(
        |new| drop(remove(new, &format!("{TRIPS}/post"), "requestBody")),
        "no longer accepts a body",
    );
    assert_breaking(
        |new| {
            let content = format!("{TRIPS}/post/requestBody/content");
            let body = remove(new, &content, "application/json");
            set(new, &content, "application/xml", body);
        },
        "request is no longer available as application/json",
    );
}

#[test]
fn new_requirements_are_breaking_changes() {
    assert_breaking(
        |new| push(new, &format!("{NEW}/required"), json!("notes")),
        "POST /api/v1/trips: request.notes became required",
    );
    assert_breaking(
        |new| {
            set(new, &format!("{NEW}/properties"), "mood", json!({ "type": "string" }));
            push(new, &format!("{NEW}/required"), json!("mood"));
        },
        "request.mood became required",
    );
    assert_breaking(
        |new| {
            let parameter = json!({ "name": "mood", "in": "query", "required": true });
            push(new, &format!("{TRIPS}/get/parameters"), parameter);
        },
        "the parameter mood became required",
    );
    assert_breaking(
        |new| set(new, &format!("{TRIPS}/get/parameters/0"), "required", json!(true)),
        "limit became required",
    );
    assert_breaking(
        |new| set(new, &format!("{TRIPS}/get/parameters/0/schema"), "default", json!(9)),
        "limit has another default",
    );
    assert_breaking(
        |new| push(new, &format!("{TRIPS}/get/x-required-scopes"), json!("account")),
        r#"the additional scope "account""#,
    );
    assert_breaking(
        |new| set(new, &format!("{TRIPS}/get"), "security", json!([{ "basicAuth": [] }])),
        "another credential",
    );
    assert_breaking(
        |new| set(new, "/paths/~1health~1live/get", "security", json!([{ "basicAuth": [] }])),
        "GET /health/live: requires another credential",
    );
    assert_breaking(
        |new| {
            let body = new.pointer(&format!("{TRIPS}/post/requestBody")).unwrap().clone();
            set(new, &format!("{TRIPS}/get"), "requestBody", body);
        },
        "GET /api/v1/trips: requires a body",
    );
    let forms = "/components/schemas/ShownToken";
    assert_breaking(
        |new| set(new, forms, "additionalProperties", json!(false)),
        "no longer accepts other fields",
    );
}

#[test]
fn narrower_request_values_are_breaking_changes() {
    let statuses = "/components/schemas/TripStatus/enum";
    assert_breaking(
        |new| drop(new.pointer_mut(statuses).unwrap().as_array_mut().unwrap().pop()),
        "GET /api/v1/trips: ?status[] accepts fewer values",
    );
    let title = format!("{NEW}/properties/title");
    for (name, value) in [("maxLength", json!(199)), ("minLength", json!(2)), ("pattern", json!("^x"))] {
        assert_breaking(|new| set(new, &title, name, value), name);
    }
    assert_breaking(|new| set(new, &title, "enum", json!(["a"])), "request.title accepts fewer values");
    assert_breaking(|new| set(new, &title, "type", json!("integer")), "request.title has another type");
    assert_breaking(
        |new| set(new, &format!("{NEW}/properties/stops"), "maxItems", json!(9)),
        "narrower maxItems",
    );
    assert_breaking(
        |new| set(new, &format!("{NEW}/properties/stops"), "uniqueItems", json!(true)),
        "no longer allows duplicates",
    );
    let latitude = "/components/schemas/NewStop/properties/latitude";
    assert_breaking(
        |new| set(new, latitude, "maximum", json!(89)),
        "request.stops[].latitude has a narrower maximum",
    );
    let notes = "/components/schemas/UpdateTrip/properties/notes";
    assert_breaking(|new| drop(remove(new, notes, "nullable")), "request.notes can no longer be null");
    let status = "/components/schemas/CreateTrip/properties/status";
    let required = json!({ "$ref": "#/components/schemas/TripStatus" });
    let not_null = |new: &mut Value| *new.pointer_mut(status).unwrap() = required;
    assert_breaking(not_null, "request.status can no longer be null");
    let create = "/components/schemas/SyncCreate";
    assert_breaking(
        |new| push(new, &format!("{create}/required"), json!("x")),
        "operations[].x became required",
    );
    assert_breaking(
        |new| {
            drop(
                new.pointer_mut("/components/schemas/SyncOperation/oneOf")
                    .unwrap()
                    .as_array_mut()
                    .unwrap()
                    .pop(),
            );
        },
        "no longer accepts a variant",
    );
}

#[test]
fn changed_responses_are_breaking_changes() {
    assert_breaking(|new| set(new, TRIP, "required", json!(["id"])), "200.trips[].title may be absent");
    assert_breaking(
        |new| set(new, &format!("{TRIP}/properties/version"), "type", json!("string")),
        "another type",
    );
    assert_breaking(
        |new| set(new, &format!("{TRIP}/properties/id"), "format", json!("date")),
        "another format",
    );
    assert_breaking(
        |new| set(new, &format!("{TRIP}/properties/notes"), "nullable", json!(true)),
        "notes may be null",
    );
    assert_breaking(
        |new| {
            set(new, &format!("{TRIPS}/post/responses"), "200", json!({ "description": "Another success" }));
        },
        "200 is a new status below 400",
    );
    let deleted = "/paths/~1api~1v1~1trips~1{id}/delete/responses/204";
    assert_breaking(
        |new| set(new, deleted, "content", json!({ "application/json": {} })),
        "204 now has a body",
    );
    assert_breaking(|new| set(new, TRIP, "anyOf", json!([])), "anyOf cannot be compared");
    // The list of allowed values of an enumeration grows or shrinks.
    let with_enum = |values: Value| {
        let mut document = openapi::document();
        set(&mut document, &format!("{TRIP}/properties/status"), "enum", values);
        document
    };
    let lines = compare(&with_enum(json!(["a"])), &with_enum(json!(["a", "b"])));
    assert!(lines.iter().any(|line| line.contains("may have new values")), "{lines:?}");
    assert_eq!(compare(&with_enum(json!(["a", "b"])), &with_enum(json!(["a"]))), Vec::<String>::new());
}

#[test]
fn a_deprecated_operation_may_be_removed_after_its_sunset_date() {
    let remove_with_sunset = |sunset: &str| {
        let mut old = openapi::document();
        let mut new = old.clone();
        set(&mut old, &format!("{TRIPS}/post"), "x-sunset", json!(sunset));
        remove(&mut new, TRIPS, "post");
        compare(&old, &new)
    };
    assert_eq!(remove_with_sunset("2027-04-30"), Vec::<String>::new());
    assert_eq!(remove_with_sunset("2027-05-01"), ["POST /api/v1/trips: was removed"]);
}
