//! Checks a response against the OpenAPI document.
//!
//! The operation must exist, the status must be listed, the headers and the content type must be the
//! documented ones, and the body must match its schema without additional fields.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::{Draft, Validator};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::coverage::{self, SentRequest};
use super::reply::Reply;

/// Headers that operations do not document, because they belong to HTTP itself or are meant for browsers.
const UNDOCUMENTED: [&str; 7] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
];

static DOCUMENT: LazyLock<Value> = LazyLock::new(tripgate::http::openapi::document);

/// Returns the OpenAPI document.
pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

/// Returns the path template, the lowercase method and the Operation Object (OpenAPI) of every operation.
pub(crate) fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let paths = document()["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        item.as_object()
            .into_iter()
            .flatten()
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Resolves `value` if it is a reference.
pub(crate) fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => value,
    }
}

/// Checks a response against the document. If it conforms, records the parts of the document that the request and
/// the response used.
pub(super) fn check_exchange(method: &Method, sent: &SentRequest<'_>, reply: &Reply) -> Result<(), String> {
    check(method, sent.path, reply)?;
    if let Some((_, operation)) = find(method, without_query(sent.path)) {
        coverage::record(operation, sent, reply);
    }
    Ok(())
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Checks a response against the document.
pub(crate) fn check(method: &Method, path: &str, reply: &Reply) -> Result<(), String> {
    let path = without_query(path);
    let status = reply.status;
    let Some((name, operation)) = find(method, path) else {
        return check_unknown(reply)
            .map_err(|violation| format!("{method} {path} is no operation of the document: {violation}"));
    };
    let in_context = |violation: String| format!("{name} ({method} {path}, {status}): {violation}");
    let response = resolved(&operation["responses"][status.to_string()]);
    if response.is_null() {
        return Err(in_context("the status is not documented".to_owned()));
    }
    check_headers(response, reply).map_err(in_context)?;
    check_content(response, reply, *method == Method::HEAD).map_err(in_context)
}

/// Finds the operation for a path. The GET operation handles HEAD.
fn find(method: &Method, path: &str) -> Option<(&'static str, &'static Value)> {
    let method = match method.as_str() {
        "HEAD" => "get".to_owned(),
        other => other.to_lowercase(),
    };
    let is_match = |template: &str| {
        let (expected, actual) = (template.split('/'), path.split('/'));
        expected.clone().count() == actual.clone().count()
            && expected.zip(actual).all(|(expected, actual)| {
                expected == actual || (expected.starts_with('{') && !actual.is_empty())
            })
    };
    // Choose the template by the path alone, not by the method. A literal segment has precedence over a
    // parameter.
    let matching = operations().map(|(template, ..)| template).filter(|template| is_match(template));
    let nearest = matching.min_by_key(|template| template.matches('{').count())?;
    operations()
        .find(|(template, name, _)| *template == nearest && *name == method)
        .map(|(_, _, operation)| (operation["operationId"].as_str().unwrap_or_default(), operation))
}

/// Checks the response to a request that matches no documented operation: it must be a 404 or 405 problem.
fn check_unknown(reply: &Reply) -> Result<(), String> {
    if !matches!(reply.status, 404 | 405) {
        return Err(format!("the status is {}", reply.status));
    }
    let problem = json!({ "$ref": "#/components/schemas/Problem" });
    let header = json!({ "required": true, "schema": { "type": "string" } });
    let response = json!({
        "content": { "application/problem+json": { "schema": problem } },
        "headers": { "X-Request-Id": header, "Cache-Control": header },
    });
    check_headers(&response, reply)?;
    let head = reply.request.starts_with("HEAD ");
    check_content(&response, reply, head)
}

fn check_headers(response: &Value, reply: &Reply) -> Result<(), String> {
    let documented: HashMap<String, &Value> = response["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, header)| (name.to_lowercase(), resolved(header)))
        .collect();
    for (name, value) in &reply.headers {
        let name = name.as_str();
        let is_exempt = UNDOCUMENTED.contains(&name)
            || name.starts_with("access-control-")
            || (name == "allow" && reply.status == 405);
        let Some(header) = documented.get(name) else {
            if is_exempt {
                continue;
            }
            return Err(format!("the header {name} is not documented"));
        };
        let text = value.to_str().unwrap_or_default();
        let typed = match header["schema"]["type"].as_str() {
            Some("integer") => text.parse::<i64>().map_or(json!(text), Value::from),
            _ => json!(text),
        };
        validate(&header["schema"], &typed).map_err(|violation| format!("the header {name}: {violation}"))?;
    }
    let missing = documented
        .iter()
        .find(|(name, header)| header["required"] == true && !reply.headers.contains_key(name.as_str()));
    match missing {
        Some((name, _)) => Err(format!("the header {name} is missing")),
        None => Ok(()),
    }
}

fn check_content(response: &Value, reply: &Reply, head: bool) -> Result<(), String> {
    let found = reply.headers.get("content-type").map_or("", |value| value.to_str().unwrap_or("not text"));
    let documented = response["content"].as_object();
    let Some(media) = documented.filter(|content| !content.is_empty()) else {
        return match (found, reply.body.len()) {
            ("", 0) => Ok(()),
            (kind, length) => {
                Err(format!("no body is documented, but {length} bytes of type {kind:?} arrived"))
            }
        };
    };
    let Some(media) = media.get(found) else {
        return Err(format!("the content type {found:?} is not documented"));
    };
    if head {
        return match reply.body.len() {
            0 => Ok(()),
            length => Err(format!("the response to HEAD has a body of {length} bytes")),
        };
    }
    if !found.ends_with("json") {
        return Ok(());
    }
    let body = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
    validate(&media["schema"], &body)
}

/// Checks a value against a schema of the document.
pub(crate) fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    let validator = validator(schema)?;
    let violations: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{error} at {:?}", error.instance_path().to_string()))
        .collect();
    if violations.is_empty() { Ok(()) } else { Err(violations.join("; ")) }
}

/// Returns the validator for a schema, compiled once.
fn validator(schema: &Value) -> Result<Arc<Validator>, String> {
    static CACHE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    static COMPONENTS: LazyLock<Value> = LazyLock::new(|| {
        let mut schemas = DOCUMENT["components"]["schemas"].clone();
        convert(&mut schemas);
        schemas
    });
    let key = schema.to_string();
    let cached = CACHE.lock().unwrap().get(&key).cloned();
    if let Some(validator) = cached {
        return Ok(validator);
    }
    let mut schema = schema.clone();
    convert(&mut schema);
    let root = json!({ "allOf": [schema], "components": { "schemas": *COMPONENTS } });
    let mut options = jsonschema::options()
        .with_draft(Draft::Draft4)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_format("date", |text: &str| text.parse::<chrono::NaiveDate>().is_ok())
        .with_format("date-time-local", |text: &str| text.parse::<chrono::NaiveDateTime>().is_ok())
        .with_format("uuid", |text: &str| text.len() == 36 && text.parse::<uuid::Uuid>().is_ok());
    // Formats without a check: those of numbers, and `password`, which is only a hint for forms.
    for format in ["int32", "int64", "float", "double", "password"] {
        options = options.with_format(format, |_: &str| true);
    }
    let validator = Arc::new(options.build(&root).map_err(|error| error.to_string())?);
    CACHE.lock().unwrap().insert(key, Arc::clone(&validator));
    Ok(validator)
}

/// Converts OpenAPI 3.0 to JSON Schema draft 4. `nullable` becomes the additional type `null`, and objects
/// allow no additional properties, so that an undocumented field is a violation.
fn convert(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(convert);
            allow_null(object);
            object.remove("discriminator");
            if object.get("properties").is_some_and(Value::is_object) {
                object.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(convert),
        _ => {}
    }
}

fn allow_null(object: &mut Map<String, Value>) {
    if object.remove("nullable") != Some(Value::Bool(true)) {
        return;
    }
    // A nullable `allOf` is a reference that may be null.
    if let Some(parts) = object.remove("allOf") {
        object.insert("anyOf".to_owned(), json!([{ "allOf": parts }, { "type": "null" }]));
    }
    if let Some(kind) = object.remove("type") {
        object.insert("type".to_owned(), json!([kind, "null"]));
    }
    if let Some(Value::Array(allowed)) = object.get_mut("enum") {
        allowed.push(Value::Null);
    }
}
