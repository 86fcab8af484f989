//! That the document is the one that is committed, and one that generators and people can use.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};
use tripgate::http::openapi;

use crate::harness::conformance::{document, operations, resolved};

fn committed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    // Git may check files out with the line ends of the platform.
    text.replace("\r\n", "\n")
}

#[track_caller]
fn same(name: &str, generated: &str) {
    // Not assert_eq: nobody reads two whole documents.
    assert!(
        committed(name) == generated,
        "openapi/{name} is out of date; mend it with `cargo run -- openapi --write`"
    );
}

#[test]
fn the_committed_documents_are_the_generated_ones() {
    same("openapi.json", &openapi::json());
    same("openapi.yaml", &openapi::yaml());
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml: Value = serde_saphyr::from_str(&openapi::yaml()).unwrap();
    let json: Value = serde_json::from_str(&openapi::json()).unwrap();
    // Not assert_eq: see above.
    assert!(yaml == json, "the YAML does not parse to what the JSON says");
    assert_eq!(&json, document());
}

/// Every value in the document with the pointer to it.
fn walk<'a>(at: &str, value: &'a Value, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(at, value);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                walk(&format!("{at}/{name}"), member, visit);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(&format!("{at}/{index}"), item, visit);
            }
        }
        _ => {}
    }
}

/// The names of the component schemas that can be reached from a value.
fn reachable<'a>(from: &'a Value, found: &mut BTreeSet<&'a str>) {
    let mut next = Vec::new();
    walk("", from, &mut |_, value| {
        if let Some(path) = value["$ref"].as_str()
            && let Some(name) = path.strip_prefix("#/components/schemas/")
            && found.insert(name)
        {
            next.push(resolved(value));
        }
    });
    for schema in next {
        reachable(schema, found);
    }
}

fn schemas() -> &'static Map<String, Value> {
    document()["components"]["schemas"].as_object().unwrap()
}

/// The media type of the bodies that OAuth gave their form.
const FORM: &str = "application/x-www-form-urlencoded";

/// The component schemas that requests of this media type are made of.
fn schemas_asked(media: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for (_, _, operation) in operations() {
        reachable(&operation["requestBody"]["content"][media], &mut found);
    }
    found
}

/// The component schemas that responses are made of.
fn schemas_told() -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for (_, _, operation) in operations() {
        for response in operation["responses"].as_object().unwrap().values() {
            reachable(resolved(response), &mut found);
        }
    }
    found
}

#[test]
fn every_operation_says_what_it_is_and_what_it_needs() {
    let tags: Vec<&Value> = document()["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let schemes = document()["components"]["securitySchemes"].as_object().unwrap();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        let name = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap_or_default();
        let words: Vec<&str> = id.split('_').collect();
        let word = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
        assert!(
            words.len() >= 2 && words.iter().all(word),
            "{name}: operationId {id:?} is not verb_resource"
        );
        assert!(ids.insert(id), "{name}: operationId {id} is taken");
        for text in ["summary", "description"] {
            let found = operation[text].as_str().unwrap_or_default();
            assert!(!found.trim().is_empty(), "{name}: no {text}");
        }
        let given = operation["tags"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(matches!(given, [tag] if tags.contains(&tag)), "{name}: tags {given:?}");
        let security = operation["security"].as_array();
        let security = security.unwrap_or_else(|| panic!("{name}: nothing is said of security"));
        for scheme in security.iter().flat_map(|scheme| scheme.as_object().unwrap().keys()) {
            assert!(schemes.contains_key(scheme), "{name}: unknown scheme {scheme}");
        }
    }
}

#[test]
fn every_description_says_when_to_use_it_and_what_can_go_wrong() {
    for (path, method, operation) in operations() {
        let told = operation["description"].as_str().unwrap();
        assert!(told.split_whitespace().count() >= 15, "{method} {path}: {told:?} says little");
        // What any operation can be answered is said once, for the whole.
        let is_secured = operation["security"].as_array().is_some_and(|all| !all.is_empty());
        let is_scoped = operation.get("x-required-scopes").is_some();
        for status in operation["responses"].as_object().unwrap().keys() {
            let own = match status.as_str() {
                "401" => !is_secured,
                "403" => !is_scoped,
                "304" | "404" | "409" | "410" | "412" | "428" => true,
                _ => false,
            };
            // The one header by which a condition is asked for says it.
            let says = |text: &str| text.contains(status.as_str());
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let by_parameter = parameters.into_iter().any(|it| says(it["description"].as_str().unwrap()));
            assert!(
                !own || says(told) || status == "304" && by_parameter,
                "{method} {path}: nothing said of {status}"
            );
        }
    }
}

#[test]
fn the_whole_and_each_group_are_introduced() {
    let told = document()["info"]["description"].as_str().unwrap();
    let sections = ["A first session", "Conventions", "Errors", "Paging", "Sending again", "Versions"];
    for section in sections {
        let (_, after) =
            told.split_once(&format!("## {section}\n")).unwrap_or_else(|| panic!("no {section}"));
        let text = after.split("\n## ").next().unwrap();
        assert!(text.split_whitespace().count() >= 30, "{section} says little");
    }
    // What it names is there.
    for named in told.split('`').skip(1).step_by(2).filter(|text| text.contains(" /api/")) {
        let (method, path) = named.split_once(' ').unwrap();
        let known = operations().any(|(at, name, _)| at == path && name == method.to_lowercase());
        assert!(known, "{named} is no operation");
    }
    for tag in document()["tags"].as_array().unwrap() {
        let told = tag["description"].as_str().unwrap();
        assert!(told.split_whitespace().count() >= 12, "{tag}");
    }
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_parameter_schema_and_member_is_described() {
    for (path, method, operation) in operations() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let text = parameter["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{method} {path}: {}", parameter["name"]);
        }
    }
    for (name, schema) in schemas() {
        let text = |value: &Value| value["description"].as_str().is_some_and(|text| !text.trim().is_empty());
        assert!(text(schema), "{name} is not described");
        for (member, said) in schema["properties"].as_object().into_iter().flatten() {
            // A reference is described by what it refers to.
            assert!(text(said) || said["$ref"].is_string(), "{name}.{member} is not described");
        }
    }
}

#[test]
fn no_schema_is_a_union_and_no_response_holds_null() {
    walk("", document(), &mut |at, value| {
        for union in ["anyOf", "oneOf", "allOf", "not", "discriminator"] {
            assert!(value.get(union).is_none(), "{at} has {union}");
        }
    });
    for name in schemas_told() {
        walk(&format!("schemas/{name}"), &schemas()[name], &mut |at, value| {
            assert!(value.get("nullable").is_none(), "{at} is in a response and nullable");
        });
    }
}

#[test]
fn every_reference_leads_somewhere_and_stands_alone() {
    walk("", document(), &mut |at, value| {
        if value.get("$ref").is_some() {
            assert!(!resolved(value).is_null(), "{at} leads nowhere: {value}");
            assert_eq!(value.as_object().unwrap().len(), 1, "{at} has neighbours that OpenAPI 3.0 ignores");
        }
    });
}

#[test]
fn what_a_request_may_hold_is_closed_and_what_a_response_may_hold_is_open() {
    // A form is open too: what is not known in it is ignored (RFC 6749 §3.2).
    let (requests, forms, responses) =
        (schemas_asked("application/json"), schemas_asked(FORM), schemas_told());
    let mut broken = Vec::new();
    for (name, schema) in schemas() {
        let (asked, told) = (requests.contains(name.as_str()), responses.contains(name.as_str()));
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        let mut parameters = operations()
            .flat_map(|(_, _, operation)| operation["parameters"].as_array().into_iter().flatten());
        let in_query = parameters.any(|parameter| parameter["schema"] == reference);
        assert!(asked || told || in_query || forms.contains(name.as_str()), "{name} is used by nothing");
        let is_object = schema["type"] == "object";
        let wanted = if asked && is_object { json!(false) } else { Value::Null };
        let found = &schema["additionalProperties"];
        if *found != wanted {
            broken
                .push(format!("{name}: additionalProperties is {found}, should be {wanted} (null: absent)"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What takes a form.
const FORMS: [&str; 2] = ["/api/v1/auth/introspect", "/api/v1/auth/revoke"];

#[test]
fn every_body_has_the_one_media_type_of_its_kind() {
    for (path, method, operation) in operations() {
        let name = format!("{method} {path}");
        let types = |value: &Value| -> Vec<String> {
            let content = value["content"].as_object().into_iter().flatten();
            content.map(|(media, _)| media.clone()).collect()
        };
        if let Some(body) = operation.get("requestBody") {
            let wanted = if FORMS.contains(&path) { FORM } else { "application/json" };
            assert_eq!(types(body), [wanted], "{name}");
            assert_eq!(body["required"], true, "{name}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            let wanted: &[&str] = match status.as_bytes() {
                b"204" | b"304" => &[],
                // RFC 7009 §2.2: 200, and nothing besides.
                b"200" if path == "/api/v1/auth/revoke" => &[],
                [b'2', ..] => &["application/json"],
                [b'4' | b'5', ..] => &["application/problem+json"],
                _ => panic!("{name}: {status} is no status of this API"),
            };
            assert_eq!(types(resolved(response)), wanted, "{name}: {status}");
        }
    }
}

#[test]
fn every_error_is_the_one_problem() {
    for (path, method, operation) in operations() {
        for (status, response) in operation["responses"].as_object().unwrap() {
            if status.starts_with(['4', '5']) {
                let schema = &resolved(response)["content"]["application/problem+json"]["schema"];
                assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{method} {path}: {status}");
            }
        }
    }
}

#[test]
fn every_answer_is_described_in_more_than_a_word() {
    for (path, method, operation) in operations() {
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let told = resolved(answer)["description"].as_str().unwrap();
            assert!(told.contains(' '), "{method} {path} {status}: {told:?}");
        }
    }
}
