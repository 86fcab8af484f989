//! The document: what the handlers' types say, made true where the generator can't say it.
//!
//! poem-openapi writes OpenAPI 3.0 with a few habits that are wrong or that break generators. One
//! pass mends them here, adds the errors and headers that every operation has, and nothing else is
//! ever edited by hand.

use serde_json::{Map, Value, json};

use super::API;
use super::deprecations::{self, DEPRECATED, Deprecation};
use super::examples;
use super::problem::ProblemBody;
use super::problem_code::ProblemCode;

/// The errors that operations share: name in the document, status.
const SHARED: [(&str, u16); 15] = [
    ("BadRequest", 400),
    ("Unauthorized", 401),
    ("Forbidden", 403),
    ("NotFound", 404),
    ("NotAcceptable", 406),
    ("RequestTimeout", 408),
    ("Conflict", 409),
    ("Gone", 410),
    ("PreconditionFailed", 412),
    ("ContentTooLarge", 413),
    ("UnsupportedMediaType", 415),
    ("Invalid", 422),
    ("PreconditionRequired", 428),
    ("InternalError", 500),
    ("ServiceUnavailable", 503),
];

/// The document as JSON text, the one that is committed and served.
pub fn json() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// The document as YAML text.
pub fn yaml() -> String {
    let mut text = serde_saphyr::to_string(&document()).unwrap_or_default();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The finished document.
pub fn document() -> Value {
    with_deprecations(DEPRECATED)
}

/// The document in which these operations are to go.
pub(super) fn with_deprecations(deprecated: &[Deprecation]) -> Value {
    let raw: Value = serde_json::from_str(&super::service().spec()).unwrap_or_default();
    let mut document = finish(raw);
    for (_, operation) in operations(&mut document) {
        let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
        if let Some(deprecation) = deprecations::of(deprecated, id) {
            deprecation.mark(operation);
        }
    }
    document
}

fn finish(mut document: Value) -> Value {
    set(&mut document, "openapi", json!("3.0.3"));
    let requests = reachable_from_requests(&document);
    for (path, operation) in operations(&mut document) {
        secure(operation);
        share_errors(operation, path.starts_with(API));
        examples::place(operation);
    }
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        for (name, schema) in schemas.iter_mut() {
            let is_object = schema.get("type").and_then(Value::as_str) == Some("object");
            if is_object && requests.contains(name) {
                set(schema, "additionalProperties", json!(false));
            }
        }
    }
    order_tags(&mut document);
    fix_schema(&mut document);
    if let Some(components) = document.get_mut("components") {
        set(components, "headers", headers());
        set(components, "responses", shared_errors());
    }
    add_headers(&mut document);
    document
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// Every operation with its path.
fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &mut Value)> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    paths.into_iter().flatten().flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flat_map(Map::values_mut);
        operations.map(|operation| (path.as_str(), operation))
    })
}

/// In the order in which their operations come, not of the alphabet.
fn order_tags(document: &mut Value) {
    let used: Vec<Value> =
        operations(document).filter_map(|(_, operation)| operation.pointer("/tags/0").cloned()).collect();
    if let Some(tags) = document.get_mut("tags").and_then(Value::as_array_mut) {
        tags.sort_by_key(|tag| used.iter().position(|name| Some(name) == tag.get("name")));
    }
}

/// A scheme comes as `name scope`: HTTP schemes can't carry scopes in OpenAPI 3.0, so they go into
/// an extension of their own. What asks for nothing says so.
fn secure(operation: &mut Value) {
    let mut scopes = Vec::new();
    let mut schemes = Vec::new();
    for scheme in operation.get("security").and_then(Value::as_array).into_iter().flatten() {
        for name in scheme.as_object().into_iter().flat_map(Map::keys) {
            let (name, scope) = name.split_once(' ').unwrap_or((name, ""));
            schemes.push(json!({ name: [] }));
            scopes.extend((!scope.is_empty()).then(|| json!(scope)));
        }
    }
    set(operation, "security", Value::Array(schemes));
    if !scopes.is_empty() {
        set(operation, "x-required-scopes", Value::Array(scopes));
    }
}

/// `is_api`: it is one of those that answer in JSON alone and have the database behind them.
fn share_errors(operation: &mut Value, is_api: bool) {
    let has_body = operation.get("requestBody").is_some();
    let in_query = |parameter: &Value| parameter.get("in").and_then(Value::as_str) == Some("query");
    let has_query =
        operation.get("parameters").and_then(Value::as_array).is_some_and(|all| all.iter().any(in_query));
    let is_secured = operation.get("security").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    let is_scoped = operation.get("x-required-scopes").is_some();
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, status) in SHARED {
        let applies = match status {
            401 => is_secured,
            403 => is_scoped,
            408 | 413 | 415 => has_body,
            422 => has_body || has_query,
            406 | 503 => is_api,
            // Any request may be malformed, and any may meet a fault of ours.
            400 | 500 => true,
            _ => false,
        };
        let key = status.to_string();
        // What a handler declares of its own is the same shape, so it is the same response.
        if applies || responses.contains_key(&key) {
            responses.insert(key, json!({ "$ref": format!("#/components/responses/{name}") }));
        }
    }
    responses.sort_keys();
}

/// The schemas that a JSON body of a request is made of. They are closed: an unknown member is refused.
/// A form is not: there it is ignored (RFC 6749 §3.2).
fn reachable_from_requests(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flat_map(Map::values);
    for operation in paths.filter_map(Value::as_object).flat_map(Map::values) {
        if let Some(body) = operation.pointer("/requestBody/content/application~1json") {
            collect(document, body, &mut found);
        }
    }
    found
}

fn collect(document: &Value, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            if let Some(name) = name.filter(|name| !found.iter().any(|known| known == name)) {
                found.push(name.to_owned());
                if let Some(schema) = document.pointer(&format!("/components/schemas/{name}")) {
                    collect(document, schema, found);
                }
            }
            members.values().for_each(|member| collect(document, member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(document, item, found)),
        _ => {}
    }
}

/// Generators make poor names of values such as `-created_at`, so the document gives them better ones.
fn name_values(schema: &mut Map<String, Value>) {
    let values = schema.get("enum").and_then(Value::as_array);
    let values: Vec<&str> = values.into_iter().flatten().filter_map(Value::as_str).collect();
    if !values.iter().any(|value| value.starts_with('-')) {
        return;
    }
    let name = |value: &str| {
        let descending = value.strip_prefix('-').map(|rest| format!("{rest}_desc"));
        let mut words = descending.as_deref().unwrap_or(value).split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| {
            let (initial, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            name + &initial.to_uppercase() + rest
        })
    };
    let names: Vec<String> = values.into_iter().map(name).collect();
    schema.insert("x-enum-varnames".to_owned(), json!(names));
}

/// Formats and header names as the world writes them; a `$ref` without the neighbours that OpenAPI
/// 3.0 ignores.
fn fix_schema(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let referred = members.get("allOf").and_then(|parts| parts.pointer("/0/$ref")).cloned();
            if let Some(name) = referred {
                members.clear();
                members.insert("$ref".to_owned(), name);
            }
            let format = match members.get("format").and_then(Value::as_str) {
                Some("naive-date") => Some("date"),
                Some("uint16") => Some("int32"),
                Some("uint32" | "uint64") => Some("int64"),
                _ => None,
            };
            if let Some(format) = format {
                members.insert("format".to_owned(), json!(format));
            }
            name_values(members);
            // What is so anyway, and bounds of whole numbers written as such.
            members.retain(|name, value| !(name == "deprecated" && *value == json!(false)));
            for bound in ["minimum", "maximum"] {
                let whole = members.get(bound).and_then(Value::as_f64).filter(|number| number.fract() == 0.0);
                if let Some(whole) = whole {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "the bounds of the document are small"
                    )]
                    members.insert(bound.to_owned(), json!(whole as i64));
                }
            }
            if let Some(headers) = members.get_mut("headers").and_then(Value::as_object_mut) {
                *headers = std::mem::take(headers)
                    .into_iter()
                    .map(|(name, header)| (usual(&name), header))
                    .collect();
            }
            members.values_mut().for_each(fix_schema);
        }
        Value::Array(items) => items.iter_mut().for_each(fix_schema),
        _ => {}
    }
}

/// `WWW-AUTHENTICATE` as `WWW-Authenticate`.
fn usual(name: &str) -> String {
    let capital = |part: &str| match part {
        "WWW" => part.to_owned(),
        "ETAG" => "ETag".to_owned(),
        _ => part.chars().take(1).chain(part.to_lowercase().chars().skip(1)).collect(),
    };
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}

fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "Names this request in the server's log: the client's own id, if it sent a sane one.",
            "required": true,
            "schema": { "type": "string" }
        },
        "Cache-Control": {
            "description": "Who may keep this answer.",
            "required": true,
            "schema": { "type": "string" }
        },
        "WWW-Authenticate": {
            "description": "What credential is asked for, and what is wrong with the one that was sent (RFC 6750, RFC 7617).",
            "required": true,
            "schema": { "type": "string" }
        },
        "Retry-After": {
            "description": "When to try again, in seconds.",
            "schema": { "type": "integer", "minimum": 0 }
        }
    })
}

fn shared_errors() -> Value {
    let response = |status: u16| {
        let mut response = json!({
            "description": ProblemCode::meaning(status),
            "content": { "application/problem+json": { "schema": { "$ref": format!("#/components/schemas/{}", problem_name()) } } },
        });
        match status {
            401 => set(&mut response, "headers", reference_headers(&["WWW-Authenticate"])),
            // Only where it is the token that falls short.
            403 => set(
                &mut response,
                "headers",
                json!({ "WWW-Authenticate": { "description": "The scope that is missing (RFC 6750).", "schema": { "type": "string" } } }),
            ),
            409 | 503 => set(&mut response, "headers", reference_headers(&["Retry-After"])),
            _ => {}
        }
        response
    };
    Value::Object(SHARED.iter().map(|(name, status)| ((*name).to_owned(), response(*status))).collect())
}

fn problem_name() -> String {
    use poem_openapi::types::Type;
    ProblemBody::name().into_owned()
}

fn reference_headers(names: &[&str]) -> Value {
    let entry = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    Value::Object(names.iter().map(entry).collect())
}

/// Every response has these two.
fn add_headers(document: &mut Value) {
    let everywhere = reference_headers(&["X-Request-Id", "Cache-Control"]);
    let add = |response: &mut Value| {
        if response.get("$ref").is_some() {
            return;
        }
        let mut headers = response.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
        // What a response says of its own header stands.
        for (name, header) in everywhere.as_object().into_iter().flatten() {
            headers.entry(name).or_insert_with(|| header.clone());
        }
        set(response, "headers", Value::Object(headers));
    };
    for (_, operation) in operations(document) {
        operation
            .get_mut("responses")
            .and_then(Value::as_object_mut)
            .into_iter()
            .flat_map(Map::values_mut)
            .for_each(add);
    }
    document
        .pointer_mut("/components/responses")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut)
        .for_each(add);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_written_as_usual() {
        for (given, wanted) in
            [("ETAG", "ETag"), ("WWW-AUTHENTICATE", "WWW-Authenticate"), ("LOCATION", "Location")]
        {
            assert_eq!(usual(given), wanted);
        }
    }
}
