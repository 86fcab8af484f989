//! What the tests have seen of the document: `.ci/seen` asks what none of them has.
//!
//! Where the variable below names a file, a line is added to it for each thing that is seen for the first
//! time: an operation's status, a parameter or a member of a body that was sent with success, a header
//! or a member of an answer. Without it nothing is written, so a single test can be run as ever.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::{LazyLock, Mutex};

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::conformance::resolved;
use super::reply::Reply;

/// Names the file.
const VARIABLE: &str = "TRIPGATE_TEST_SEEN";

static FILE: LazyLock<Option<String>> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "it says where to write, and is no setting of the server")]
    std::env::var(VARIABLE).ok()
});

/// What a request was, as far as it was documented.
pub(super) struct Asked<'a> {
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// Takes down what this exchange with an operation has shown.
pub(super) fn note(operation: &'static Value, asked: &Asked<'_>, reply: &Reply) {
    if FILE.is_none() {
        return;
    }
    let id = operation["operationId"].as_str().unwrap_or_default();
    let mut found = vec![format!("status {id} {}", reply.status)];
    let answer = &operation["responses"][reply.status.to_string()];
    // Those of shared answers are not all on each of them.
    for (name, _) in answer["headers"].as_object().into_iter().flatten() {
        if reply.headers.contains_key(name) {
            found.push(format!("header {id} {} {name}", reply.status));
        }
    }
    members(&resolved(answer)["content"], &reply.body, &mut found);
    if reply.status < 400 {
        let query = asked.path.split_once('?').unwrap_or_default().1;
        let in_query =
            |name: &str| url::form_urlencoded::parse(query.as_bytes()).any(|(given, _)| given == name);
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default();
            if in_query(name) || asked.headers.contains_key(name) {
                found.push(format!("parameter {id} {name}"));
            }
        }
        members(&operation["requestBody"]["content"], asked.body, &mut found);
    }
    write(found);
}

/// The members of a body, by the schemas that it is made of.
fn members(content: &'static Value, body: &[u8], found: &mut Vec<String>) {
    let Some((media, said)) = content.as_object().and_then(|content| content.iter().next()) else { return };
    let value = if media.ends_with("json") {
        serde_json::from_slice(body).unwrap_or_default()
    } else {
        url::form_urlencoded::parse(body)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    };
    walk("", &said["schema"], &value, found);
}

fn walk(name: &str, schema: &'static Value, value: &Value, found: &mut Vec<String>) {
    let referred = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let (name, schema) = (referred.unwrap_or(name), resolved(schema));
    if referred.is_some() && !value.is_null() {
        found.push(format!("schema {name}"));
    }
    if schema["enum"].is_array() {
        found.push(format!("value {name} {}", value.as_str().unwrap_or_default()));
    }
    for (member, said) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(member) {
            found.push(format!("member {name} {member}"));
            walk(&format!("{name}.{member}"), said, value, found);
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
        // Other processes may write to it too: each writes whole lines.
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(format!("{}\n", new.join("\n")).as_bytes()).unwrap();
    }
}
