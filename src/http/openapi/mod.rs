//! The OpenAPI document, generated from the types of the handlers.
//!
//! poem-openapi writes OpenAPI 3.0 in which some parts are incorrect or break client generators. This module
//! corrects them, and adds the errors and headers that operations share. Nothing in the document is edited by
//! hand.

mod errors;

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::operations;
use crate::web::{API, examples};

/// Returns the document as JSON text, as it is committed and served.
pub fn json() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// Returns the document as YAML text.
pub fn yaml() -> String {
    let mut text = serde_saphyr::to_string(&document()).unwrap_or_default();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Returns the finished document.
pub fn document() -> Value {
    finish(serde_json::from_str(&operations::document().spec()).unwrap_or_default())
}

/// Corrects the generated document and adds the shared parts.
fn finish(mut document: Value) -> Value {
    set(&mut document, "openapi", json!("3.0.3"));
    let requests = reachable_from_requests(&document);
    for (path, method, operation) in operations(&mut document) {
        set_security(operation);
        errors::share(operation, path.starts_with(API), method != "get");
        examples::hoist(operation);
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
    let types = schema_types(&document);
    fix_schema(&mut document, &types);
    if let Some(components) = document.get_mut("components") {
        set(components, "headers", headers());
        set(components, "responses", errors::shared());
    }
    add_headers(&mut document);
    document
}

/// Sets a field of an object.
fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// Returns all operations with their paths and methods.
fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Value)> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    paths.into_iter().flatten().flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Sorts the tags by the order of their operations instead of alphabetically.
fn order_tags(document: &mut Value) {
    let used: Vec<Value> =
        operations(document).filter_map(|(_, _, operation)| operation.pointer("/tags/0").cloned()).collect();
    if let Some(tags) = document.get_mut("tags").and_then(Value::as_array_mut) {
        tags.sort_by_key(|tag| used.iter().position(|name| Some(name) == tag.get("name")));
    }
}

/// Splits security schemes of the form `name scope`. HTTP schemes can't have scopes in OpenAPI 3.0, so the
/// scopes are moved to the extension `x-required-scopes`. `optional` in place of a scope means that the
/// credential is optional. Public operations get an empty list of schemes.
fn set_security(operation: &mut Value) {
    let mut scopes = Vec::new();
    let mut schemes = Vec::new();
    for scheme in operation.get("security").and_then(Value::as_array).into_iter().flatten() {
        for name in scheme.as_object().into_iter().flat_map(Map::keys) {
            let (name, scope) = name.split_once(' ').unwrap_or((name, ""));
            schemes.push(json!({ name: [] }));
            if scope == "optional" {
                schemes.push(json!({}));
                continue;
            }
            scopes.extend((!scope.is_empty()).then(|| json!(scope)));
        }
    }
    set(operation, "security", Value::Array(schemes));
    if !scopes.is_empty() {
        set(operation, "x-required-scopes", Value::Array(scopes));
    }
}

/// Returns the schemas that JSON request bodies refer to. These schemas reject unknown fields. The schemas of
/// forms are not included, because forms ignore unknown parameters (RFC 6749 §3.2).
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

/// Collects the schemas that a value refers to, directly or indirectly.
fn collect(document: &Value, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            if let Some(name) = name.filter(|name| !found.iter().any(|known| known == name)) {
                found.push(name.to_owned());
                if let Some(schema) = document.pointer(&format!("/components/schemas/{name}")) {
                    collect(document, schema, found);
                }
            }
            fields.values().for_each(|field| collect(document, field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(document, item, found)),
        _ => {}
    }
}

/// Adds names for the values of an enumeration with values such as `-created_at`. Client generators would
/// derive poor names from such values.
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

/// Returns the type of each shared schema, by its reference.
fn schema_types(document: &Value) -> HashMap<String, Value> {
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object).into_iter().flatten();
    let types = schemas.filter_map(|(name, schema)| Some((name, schema.get("type")?)));
    types.map(|(name, ty)| (format!("#/components/schemas/{name}"), ty.clone())).collect()
}

/// Corrects formats, header names and bounds, and removes the fields beside a `$ref`, because OpenAPI 3.0
/// ignores them. `types` has the type of each shared schema, by its reference.
fn fix_schema(value: &mut Value, types: &HashMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            let reference = fields.get("allOf").and_then(|parts| parts.pointer("/0/$ref"));
            if let Some(reference) = reference.and_then(Value::as_str).map(str::to_owned) {
                // A field that can be null needs the `allOf`, because fields beside a `$ref` are ignored.
                let is_nullable = fields.get("nullable") == Some(&json!(true));
                fields.clear();
                if is_nullable {
                    fields.insert("nullable".to_owned(), json!(true));
                    fields.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
                    // OpenAPI 3.0 allows `nullable` only beside `type`.
                    fields.extend(types.get(&reference).map(|ty| ("type".to_owned(), ty.clone())));
                } else {
                    fields.insert("$ref".to_owned(), json!(reference));
                }
            }
            let format = match fields.get("format").and_then(Value::as_str) {
                Some("naive-date") => Some("date"),
                Some("uint16") => Some("int32"),
                Some("uint32" | "uint64") => Some("int64"),
                _ => None,
            };
            if let Some(format) = format {
                fields.insert("format".to_owned(), json!(format));
            }
            name_values(fields);
            // Remove `deprecated: false`, which is the default, and write bounds without a fraction as
            // integers.
            fields.retain(|name, value| !(name == "deprecated" && *value == json!(false)));
            for bound in ["minimum", "maximum"] {
                let whole = fields.get(bound).and_then(Value::as_f64).filter(|number| number.fract() == 0.0);
                if let Some(whole) = whole {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "the bounds of the document are small"
                    )]
                    fields.insert(bound.to_owned(), json!(whole as i64));
                }
            }
            if let Some(headers) = fields.get_mut("headers").and_then(Value::as_object_mut) {
                *headers = std::mem::take(headers)
                    .into_iter()
                    .map(|(name, header)| (canonical_header(&name), header))
                    .collect();
            }
            fields.values_mut().for_each(|field| fix_schema(field, types));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fix_schema(item, types)),
        _ => {}
    }
}

/// Converts a header name to its usual spelling: `WWW-AUTHENTICATE` to `WWW-Authenticate`.
fn canonical_header(name: &str) -> String {
    let capitalize = |part: &str| match part {
        "WWW" => part.to_owned(),
        "RATELIMIT" => "RateLimit".to_owned(),
        "ETAG" => "ETag".to_owned(),
        _ => part.chars().take(1).chain(part.to_lowercase().chars().skip(1)).collect(),
    };
    name.split('-').map(capitalize).collect::<Vec<_>>().join("-")
}

/// Returns the headers that responses share.
fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "The id of this request, which the server's log contains too. If the request has a valid `X-Request-Id`, the response repeats it.",
            "required": true,
            "schema": { "type": "string" }
        },
        "Cache-Control": {
            "description": "Whether and how long the response may be cached.",
            "required": true,
            "schema": { "type": "string" }
        },
        "WWW-Authenticate": {
            "description": "The required kind of credential, and why the presented one was rejected (RFC 6750, RFC 7617).",
            "required": true,
            "schema": { "type": "string" }
        },
        "RateLimit": {
            "description": "Sent with `too_many_attempts`. The name of the limit, followed by `r=0` (no attempts are left) and `t` (the number of seconds to wait). See draft-ietf-httpapi-ratelimit-headers.",
            "schema": { "type": "string" }
        },
        "RateLimit-Policy": {
            "description": "Sent with `too_many_attempts`. The name of the limit, followed by `q` (the number of attempts without a wait) and `w` (the number of seconds after which all of them are available again). See draft-ietf-httpapi-ratelimit-headers.",
            "schema": { "type": "string" }
        },
        "Retry-After": {
            "description": "The number of seconds to wait before the request is sent again.",
            "schema": { "type": "integer", "minimum": 0 }
        }
    })
}

fn reference_headers(names: &[&str]) -> Value {
    let entry = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    Value::Object(names.iter().map(entry).collect())
}

/// Adds the headers that every response has.
fn add_headers(document: &mut Value) {
    let everywhere = reference_headers(&["X-Request-Id", "Cache-Control"]);
    let add = |response: &mut Value| {
        if response.get("$ref").is_some() {
            return;
        }
        let mut headers = response.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
        // Keep a header that the response itself describes.
        for (name, header) in everywhere.as_object().into_iter().flatten() {
            headers.entry(name).or_insert_with(|| header.clone());
        }
        set(response, "headers", Value::Object(headers));
    };
    for (_, _, operation) in operations(document) {
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
    fn header_names_in_the_openapi_document_have_their_usual_spelling() {
        for (name, expected) in
            [("ETAG", "ETag"), ("WWW-AUTHENTICATE", "WWW-Authenticate"), ("LOCATION", "Location")]
        {
            assert_eq!(canonical_header(name), expected);
        }
    }
}
