//! Records which parts of the document the tests exercise; `.ci/check_coverage.py` reports the rest.
//!
//! `TRIPGATE_TEST_SEEN` names the file. Each part is added as one line when it first occurs: a status of an
//! operation, a parameter or a request field of a successful request, a header or a field of a response.
//! Without the variable, nothing is recorded.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::{LazyLock, Mutex};

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::conformance::resolved;
use super::reply::Reply;

/// The environment variable with the path of the file.
const VARIABLE: &str = "TRIPGATE_TEST_SEEN";

static FILE: LazyLock<Option<String>> = LazyLock::new(|| {
    #[expect(
        clippy::disallowed_methods,
        reason = "the variable controls the tests; it is not a server setting"
    )]
    std::env::var(VARIABLE).ok()
});

/// The parts of a request that the document describes.
pub(super) struct SentRequest<'a> {
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// Records the parts of the document that this exchange exercised.
pub(super) fn record(operation: &'static Value, sent: &SentRequest<'_>, reply: &Reply) {
    if FILE.is_none() {
        return;
    }
    let id = operation["operationId"].as_str().unwrap_or_default();
    let mut found = vec![format!("status {id} {}", reply.status)];
    let response = &operation["responses"][reply.status.to_string()];
    // A shared response may document a header that this operation does not send.
    for (name, _) in response["headers"].as_object().into_iter().flatten() {
        if reply.headers.contains_key(name) {
            found.push(format!("header {id} {} {name}", reply.status));
        }
    }
    fields(&resolved(response)["content"], &reply.body, &mut found);
    if reply.status < 400 {
        let query = sent.path.split_once('?').unwrap_or_default().1;
        let in_query = |name: &str| {
            url::form_urlencoded::parse(query.as_bytes()).any(|(parameter, _)| parameter == name)
        };
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default();
            if in_query(name) || sent.headers.contains_key(name) {
                found.push(format!("parameter {id} {name}"));
            }
        }
        fields(&operation["requestBody"]["content"], sent.body, &mut found);
    }
    write(found);
}

/// Adds the fields of a body, named after their schemas.
fn fields(content: &'static Value, body: &[u8], found: &mut Vec<String>) {
    let Some((media_type, media)) = content.as_object().and_then(|content| content.iter().next()) else {
        return;
    };
    let value = if media_type.ends_with("json") {
        serde_json::from_slice(body).unwrap_or_default()
    } else {
        url::form_urlencoded::parse(body)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    };
    walk("", &media["schema"], &value, found);
}

fn walk(name: &str, schema: &'static Value, value: &Value, found: &mut Vec<String>) {
    let reference = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let (name, schema) = (reference.unwrap_or(name), resolved(schema));
    if reference.is_some() && !value.is_null() {
        found.push(format!("schema {name}"));
    }
    if schema["enum"].is_array() {
        found.push(format!("value {name} {}", value.as_str().unwrap_or_default()));
    }
    if let Some(tag) = schema["discriminator"]["propertyName"].as_str() {
        let variants = schema["oneOf"].as_array().into_iter().flatten();
        let is_selected = |variant: &&Value| resolved(variant)["properties"][tag]["enum"][0] == value[tag];
        for variant in variants.filter(is_selected) {
            walk(name, variant, value, found);
        }
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        walk(name, part, value, found);
    }
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(field) {
            found.push(format!("member {name} {field}"));
            walk(&format!("{name}.{field}"), schema, value, found);
        }
    }
    for item in value.as_array().into_iter().flatten() {
        walk(name, &schema["items"], item, found);
    }
}

fn write(found: Vec<String>) {
    static KNOWN: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap();
    let new: Vec<String> = found.into_iter().filter(|line| known.insert(line.clone())).collect();
    if let Some(file) = FILE.as_ref().filter(|_| !new.is_empty()) {
        // Several processes may append; each writes whole lines.
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(format!("{}\n", new.join("\n")).as_bytes()).unwrap();
    }
}
