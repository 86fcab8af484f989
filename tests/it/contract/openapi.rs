//! The OpenAPI document: it equals the committed document, and is suitable for generators and readers.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};
use tripgate::http::openapi;

use crate::harness::conformance::{document, operations, resolved};

fn committed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    // Git may check out files with the line endings of the platform.
    text.replace("\r\n", "\n")
}

#[track_caller]
fn assert_committed(name: &str, generated: &str) {
    // No assert_eq: it would print two whole documents.
    assert!(
        committed(name) == generated,
        "openapi/{name} is out of date; update it with `cargo run -- openapi --write`"
    );
}

#[test]
fn the_committed_openapi_documents_equal_the_generated_ones() {
    assert_committed("openapi.json", &openapi::json());
    assert_committed("openapi.yaml", &openapi::yaml());
}

#[test]
fn the_yaml_document_is_equivalent_to_the_json_document() {
    let yaml: Value = serde_saphyr::from_str(&openapi::yaml()).unwrap();
    let json: Value = serde_json::from_str(&openapi::json()).unwrap();
    // No assert_eq: it would print two whole documents.
    assert!(yaml == json, "the YAML and JSON documents differ");
    assert_eq!(&json, document());
}

/// Visits every value in a document with its JSON pointer.
fn walk<'a>(pointer: &str, value: &'a Value, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(pointer, value);
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                walk(&format!("{pointer}/{name}"), field, visit);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(&format!("{pointer}/{index}"), item, visit);
            }
        }
        _ => {}
    }
}

/// Collects the names of the component schemas that are reachable from a value.
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

/// The media type of request bodies that OAuth defines.
const FORM: &str = "application/x-www-form-urlencoded";

/// Returns the component schemas of request bodies with this media type.
fn request_schemas(media: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for (_, _, operation) in operations() {
        reachable(&operation["requestBody"]["content"][media], &mut found);
    }
    found
}

/// Returns the component schemas of response bodies.
fn response_schemas() -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for (_, _, operation) in operations() {
        for response in operation["responses"].as_object().unwrap().values() {
            reachable(resolved(response), &mut found);
        }
    }
    found
}

#[test]
fn every_operation_has_an_id_a_summary_a_description_a_tag_and_security() {
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
        assert!(ids.insert(id), "{name}: operationId {id} is not unique");
        for text in ["summary", "description"] {
            let found = operation[text].as_str().unwrap_or_default();
            assert!(!found.trim().is_empty(), "{name}: no {text}");
        }
        let assigned = operation["tags"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(matches!(assigned, [tag] if tags.contains(&tag)), "{name}: tags {assigned:?}");
        let security = operation["security"].as_array();
        let security = security.unwrap_or_else(|| panic!("{name}: no security requirement"));
        for scheme in security.iter().flat_map(|scheme| scheme.as_object().unwrap().keys()) {
            assert!(schemes.contains_key(scheme), "{name}: unknown scheme {scheme}");
        }
    }
}

#[test]
fn every_description_is_detailed_and_mentions_the_operations_own_statuses() {
    for (path, method, operation) in operations() {
        let description = operation["description"].as_str().unwrap();
        assert!(
            description.split_whitespace().count() >= 15,
            "{method} {path}: {description:?} is too short"
        );
        // The statuses that all operations share are described once, in the introduction.
        let is_secured = operation["security"].as_array().is_some_and(|all| !all.is_empty());
        let is_scoped = operation.get("x-required-scopes").is_some();
        for status in operation["responses"].as_object().unwrap().keys() {
            let own = match status.as_str() {
                "401" => !is_secured,
                "403" => !is_scoped,
                "304" | "404" | "409" | "410" | "412" | "428" => true,
                _ => false,
            };
            // The status 304 is mentioned in the description of the parameter `If-None-Match`.
            let mentions = |text: &str| text.contains(status.as_str());
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let by_parameter = parameters.into_iter().any(|it| mentions(it["description"].as_str().unwrap()));
            assert!(
                !own || mentions(description) || status == "304" && by_parameter,
                "{method} {path}: {status} is not described"
            );
        }
    }
}

#[test]
fn the_document_and_every_tag_have_an_introduction() {
    let description = document()["info"]["description"].as_str().unwrap();
    let sections =
        ["Getting started", "Conventions", "Errors", "Paging", "Retries", "Concurrent changes", "Versions"];
    for section in sections {
        let (_, after) =
            description.split_once(&format!("## {section}\n")).unwrap_or_else(|| panic!("no {section}"));
        let text = after.split("\n## ").next().unwrap();
        assert!(text.split_whitespace().count() >= 30, "{section} is too short");
    }
    // Every operation that the introduction mentions exists.
    for mention in description.split('`').skip(1).step_by(2).filter(|text| text.contains(" /api/")) {
        let (method, path) = mention.split_once(' ').unwrap();
        let known = operations().any(|(template, name, _)| template == path && name == method.to_lowercase());
        assert!(known, "{mention} is no operation");
    }
    for tag in document()["tags"].as_array().unwrap() {
        let description = tag["description"].as_str().unwrap();
        assert!(description.split_whitespace().count() >= 12, "{tag}");
    }
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_parameter_schema_and_field_is_described() {
    for (path, method, operation) in operations() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let text = parameter["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{method} {path}: {}", parameter["name"]);
        }
    }
    for (name, schema) in schemas() {
        let text = |value: &Value| value["description"].as_str().is_some_and(|text| !text.trim().is_empty());
        assert!(text(schema), "{name} is not described");
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            // If the field is a reference, the target of the reference has the description.
            let is_reference = property["$ref"].is_string() || property["allOf"].is_array();
            assert!(text(property) || is_reference, "{name}.{field} is not described");
        }
    }
}

#[test]
fn no_response_schema_is_a_union_or_allows_null() {
    walk("", document(), &mut |pointer, value| {
        for union in ["anyOf", "not"] {
            assert!(value.get(union).is_none(), "{pointer} contains {union}");
        }
        // A request schema may be a tagged union or a nullable reference.
        assert_eq!(value.get("oneOf").is_some(), value.get("discriminator").is_some(), "{pointer}");
        if let Some(parts) = value.get("allOf") {
            assert!(value["nullable"] == true && parts.as_array().unwrap().len() == 1, "{pointer}");
        }
    });
    for name in response_schemas() {
        walk(&format!("schemas/{name}"), &schemas()[name], &mut |pointer, value| {
            for word in ["nullable", "oneOf", "allOf"] {
                assert!(value.get(word).is_none(), "{pointer} is in a response and contains {word}");
            }
        });
    }
}

#[test]
fn an_optional_field_of_a_request_may_be_null() {
    // N-12
    let mut fields = 0;
    for name in request_schemas("application/json") {
        let schema = &schemas()[name];
        // In a merge patch, null clears a field, and some fields can't be cleared.
        if schema["description"].as_str().unwrap().contains("Merge Patch") {
            continue;
        }
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_optional = !required.iter().any(|name| name == field);
            assert_eq!(property["nullable"] == true, is_optional, "{name}.{field}");
            fields += u32::from(is_optional);
        }
    }
    assert!(fields > 25, "{fields}");
}

#[test]
fn every_reference_in_the_document_resolves_and_has_no_sibling_fields() {
    walk("", document(), &mut |pointer, value| {
        if value.get("$ref").is_some() {
            assert!(!resolved(value).is_null(), "{pointer}: unresolved reference {value}");
            assert_eq!(
                value.as_object().unwrap().len(),
                1,
                "{pointer} has siblings, which OpenAPI 3.0 ignores"
            );
        }
    });
}

#[test]
fn request_schemas_forbid_unknown_fields_and_response_schemas_allow_them() {
    // The schema of a form also allows unknown fields: unknown parameters are ignored (RFC 6749 §3.2).
    let (requests, forms, responses) =
        (request_schemas("application/json"), request_schemas(FORM), response_schemas());
    let mut violations = Vec::new();
    for (name, schema) in schemas() {
        let (in_request, in_response) = (requests.contains(name.as_str()), responses.contains(name.as_str()));
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        let mut parameters = operations()
            .flat_map(|(_, _, operation)| operation["parameters"].as_array().into_iter().flatten());
        let in_query = parameters.any(|parameter| parameter["schema"] == reference);
        assert!(in_request || in_response || in_query || forms.contains(name.as_str()), "{name} is unused");
        let is_object = schema["type"] == "object";
        let expected = if in_request && is_object { json!(false) } else { Value::Null };
        let found = &schema["additionalProperties"];
        if *found != expected {
            violations
                .push(format!("{name}: additionalProperties is {found}, expected {expected} (null: absent)"));
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}

/// The paths of operations that accept a form.
const FORMS: [&str; 2] = ["/api/v1/auth/introspect", "/api/v1/auth/revoke"];

/// The path of the operation that returns HTML pages to browsers.
const SHARED: &str = "/api/v1/shared/{token}";
const HTML: &str = "text/html; charset=utf-8";

#[test]
fn bodies_and_problems_are_documented_with_their_media_types() {
    for (path, method, operation) in operations() {
        let name = format!("{method} {path}");
        let types = |value: &Value| -> Vec<String> {
            let content = value["content"].as_object().into_iter().flatten();
            content.map(|(media, _)| media.clone()).collect()
        };
        if let Some(body) = operation.get("requestBody") {
            let expected = if FORMS.contains(&path) { FORM } else { "application/json" };
            assert_eq!(types(body), [expected], "{name}");
            // `delete_me` needs no body after a recent authentication. `begin_passkey_login` needs no body if
            // the passkey is the only factor.
            let is_optional =
                operation["operationId"] == "delete_me" || operation["operationId"] == "begin_passkey_login";
            assert_eq!(body["required"], !is_optional, "{name}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            let expected: &[&str] = match status.as_bytes() {
                b"204" | b"304" => &[],
                // A browser gets a page.
                b"200" if path == SHARED => &["application/json", HTML],
                [b'4' | b'5', ..] if path == SHARED && status != "406" => &["application/problem+json", HTML],
                // A revocation returns 200 without a body (RFC 7009 §2.2).
                b"200" if path == "/api/v1/auth/revoke" => &[],
                [b'2', ..] => &["application/json"],
                [b'4' | b'5', ..] => &["application/problem+json"],
                _ => panic!("{name}: {status} is no status of this API"),
            };
            assert_eq!(types(resolved(response)), expected, "{name}: {status}");
        }
    }
}

#[test]
fn every_error_uses_the_problem_schema() {
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
fn every_response_description_has_several_words() {
    for (path, method, operation) in operations() {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let description = resolved(response)["description"].as_str().unwrap();
            assert!(description.contains(' '), "{method} {path} {status}: {description:?}");
        }
    }
}

/// Returns what deprecated operations lack: `x-sunset` with the last day of the operation, and the headers
/// `Deprecation` and `Sunset`.
fn deprecation_errors(document: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["deprecated"] != true {
                continue;
            }
            if !operation["x-sunset"].is_string() {
                errors.push(format!("{method} {path}: no x-sunset"));
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                for header in ["Deprecation", "Sunset"] {
                    if response.get("$ref").is_none() && !response["headers"][header].is_object() {
                        errors.push(format!("{method} {path} {status}: no {header}"));
                    }
                }
            }
        }
    }
    errors
}

#[test]
fn a_deprecated_operation_documents_its_sunset_date_and_the_deprecation_headers() {
    assert_eq!(deprecation_errors(document()), [""; 0]);
    let mut deprecated = document().clone();
    deprecated["paths"]["/api/v1/auth/logout"]["post"]["deprecated"] = json!(true);
    let errors = deprecation_errors(&deprecated);
    let operation = "post /api/v1/auth/logout";
    for expected in ["no x-sunset".to_owned(), "204: no Deprecation".into(), "204: no Sunset".into()] {
        let found = errors.iter().any(|error| error.starts_with(operation) && error.ends_with(&expected));
        assert!(found, "{expected}: {errors:?}");
    }
}
