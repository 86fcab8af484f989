//! Whether a response is one that the document promises.
//!
//! Everything counts: that the operation exists, that its status is listed, that headers and content
//! type are the documented ones, that the body fits its schema and has no member besides.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::{Draft, Validator};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::reply::Reply;
use super::seen::{self, Asked};

/// Headers that belong to HTTP itself or to browsers, not to an operation.
const UNTOLD: [&str; 6] =
    ["connection", "content-length", "content-type", "date", "vary", "x-content-type-options"];

static DOCUMENT: LazyLock<Value> = LazyLock::new(tripgate::http::openapi::document);

/// The document that everything is compared with.
pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

/// Every operation: its path template, its method in lower case, what is said of it.
pub(crate) fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let paths = document()["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        item.as_object()
            .into_iter()
            .flatten()
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// What `value` refers to, or itself.
pub(crate) fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => value,
    }
}

/// Holds a response against the document, and takes down what was seen of it.
pub(super) fn check_exchange(method: &Method, asked: &Asked<'_>, reply: &Reply) -> Result<(), String> {
    check(method, asked.path, reply)?;
    if let Some((_, operation)) = find(method, without_query(asked.path)) {
        seen::note(operation, asked, reply);
    }
    Ok(())
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Holds a response against the document.
pub(crate) fn check(method: &Method, path: &str, reply: &Reply) -> Result<(), String> {
    let path = without_query(path);
    let status = reply.status;
    let Some((name, operation)) = find(method, path) else {
        let told = check_unknown(reply).map_err(|fault| format!(": {fault}"));
        return told.map_err(|fault| format!("{method} {path} is no operation of the document{fault}"));
    };
    let of = |fault: String| format!("{name} ({method} {path}, {status}): {fault}");
    let response = resolved(&operation["responses"][status.to_string()]);
    if response.is_null() {
        return Err(of("the status is not documented".to_owned()));
    }
    check_headers(response, reply).map_err(of)?;
    check_content(response, reply, *method == Method::HEAD).map_err(of)
}

/// The operation at a path; HEAD is answered by GET's.
fn find(method: &Method, path: &str) -> Option<(&'static str, &'static Value)> {
    let method = match method.as_str() {
        "HEAD" => "get".to_owned(),
        other => other.to_lowercase(),
    };
    let fits = |template: &str| {
        let (known, given) = (template.split('/'), path.split('/'));
        known.clone().count() == given.clone().count()
            && known
                .zip(given)
                .all(|(known, given)| known == given || (known.starts_with('{') && !given.is_empty()))
    };
    // A name that stands there beats one that may be anything, whatever the method.
    let fitting = operations().map(|(template, ..)| template).filter(|template| fits(template));
    let nearest = fitting.min_by_key(|template| template.matches('{').count())?;
    operations()
        .find(|(template, known, _)| *template == nearest && *known == method)
        .map(|(_, _, operation)| (operation["operationId"].as_str().unwrap_or_default(), operation))
}

/// The router itself speaks where there is no operation: only to say that there is none.
fn check_unknown(reply: &Reply) -> Result<(), String> {
    if !matches!(reply.status, 404 | 405) {
        return Err(format!("and answered with {}", reply.status));
    }
    let problem = json!({ "$ref": "#/components/schemas/Problem" });
    let header = json!({ "required": true, "schema": { "type": "string" } });
    let response = json!({
        "content": { "application/problem+json": { "schema": problem } },
        "headers": { "X-Request-Id": header, "Cache-Control": header },
    });
    check_headers(&response, reply)?;
    let head = reply.asked.starts_with("HEAD ");
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
        let untold = UNTOLD.contains(&name)
            || name.starts_with("access-control-")
            || (name == "allow" && reply.status == 405);
        let Some(header) = documented.get(name) else {
            if untold {
                continue;
            }
            return Err(format!("the header {name} is not documented"));
        };
        let text = value.to_str().unwrap_or_default();
        let typed = match header["schema"]["type"].as_str() {
            Some("integer") => text.parse::<i64>().map_or(json!(text), Value::from),
            _ => json!(text),
        };
        fits(&header["schema"], &typed).map_err(|fault| format!("the header {name}: {fault}"))?;
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
            (kind, length) => Err(format!("no body is documented, came: {kind:?}, {length} bytes")),
        };
    };
    let Some(media) = media.get(found) else {
        return Err(format!("the content type {found:?} is not documented"));
    };
    if head {
        return match reply.body.len() {
            0 => Ok(()),
            length => Err(format!("HEAD was answered with a body of {length} bytes")),
        };
    }
    if !found.ends_with("json") {
        return Ok(());
    }
    let body = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
    fits(&media["schema"], &body)
}

/// Holds a value against a schema of the document.
pub(crate) fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    let validator = validator(schema)?;
    let faults: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{error} at {:?}", error.instance_path().to_string()))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Compiled once for each schema that is asked for.
fn validator(schema: &Value) -> Result<Arc<Validator>, String> {
    static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    static COMPONENTS: LazyLock<Value> = LazyLock::new(|| {
        let mut schemas = DOCUMENT["components"]["schemas"].clone();
        convert(&mut schemas);
        schemas
    });
    let key = schema.to_string();
    let known = KNOWN.lock().unwrap().get(&key).cloned();
    if let Some(known) = known {
        return Ok(known);
    }
    let mut asked = schema.clone();
    convert(&mut asked);
    let whole = json!({ "allOf": [asked], "components": { "schemas": *COMPONENTS } });
    let mut options = jsonschema::options()
        .with_draft(Draft::Draft4)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_format("date", |text: &str| text.parse::<chrono::NaiveDate>().is_ok())
        .with_format("date-time-local", |text: &str| text.parse::<chrono::NaiveDateTime>().is_ok())
        .with_format("uuid", |text: &str| text.len() == 36 && text.parse::<uuid::Uuid>().is_ok());
    for of_numbers_or_hints in ["int32", "int64", "float", "double", "password"] {
        options = options.with_format(of_numbers_or_hints, |_: &str| true);
    }
    let built = Arc::new(options.build(&whole).map_err(|error| error.to_string())?);
    KNOWN.lock().unwrap().insert(key, Arc::clone(&built));
    Ok(built)
}

/// From OpenAPI 3.0 to JSON Schema draft 4: `nullable` becomes a type, and objects are closed, so that
/// a member that nobody documented is a fault.
fn convert(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(convert);
            allow_null(members);
            if members.get("properties").is_some_and(Value::is_object) {
                members.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(convert),
        _ => {}
    }
}

fn allow_null(members: &mut Map<String, Value>) {
    if members.remove("nullable") != Some(Value::Bool(true)) {
        return;
    }
    if let Some(kind) = members.remove("type") {
        members.insert("type".to_owned(), json!([kind, "null"]));
    }
    if let Some(Value::Array(allowed)) = members.get_mut("enum") {
        allowed.push(Value::Null);
    }
}
