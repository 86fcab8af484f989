//! What each path takes, read from the document and the list of pages: its methods, which `Allow` lists,
//! and what is told to whoever sends something else.

use std::sync::LazyLock;

use serde_json::Value;

/// The table of paths.
#[derive(Debug)]
pub(super) struct PathTable(Vec<Known>);

#[derive(Debug)]
struct Known {
    segments: Vec<String>,
    /// Its methods, as `Allow` lists them.
    allow: String,
    /// What its operations take, with the method of each.
    operations: Vec<(String, OperationInfo)>,
}

/// What an operation takes.
#[derive(Debug)]
pub(super) struct OperationInfo {
    /// Its `operationId`.
    pub(super) id: String,
    /// The media type of its body, if it has one.
    pub(super) media: Option<String>,
    /// The names of its parameters, and what each must be.
    parameters: Vec<(String, String)>,
}

impl PathTable {
    /// Of this program. Worked out at the first preflight or wrong request, so that nobody else pays for it.
    pub(super) fn known() -> &'static Self {
        static KNOWN: LazyLock<PathTable> = LazyLock::new(|| PathTable::of(&super::openapi::document()));
        &KNOWN
    }

    /// From the finished document.
    fn of(document: &Value) -> Self {
        let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
        let mut table: Vec<_> = paths.filter_map(|(path, item)| Known::of(document, path, item)).collect();
        // The pages are not in the document; all of them only answer GET.
        table.extend(super::docs::paths().map(|path| Known {
            segments: segments(path),
            allow: "GET, HEAD".to_owned(),
            operations: Vec::new(),
        }));
        Self(table)
    }

    /// The methods of the path, as `Allow` lists them.
    pub(super) fn allow(&self, path: &str) -> Option<&str> {
        self.find(path).map(|known| known.allow.as_str())
    }

    /// What the operation takes.
    pub(super) fn takes(&self, path: &str, method: &str) -> Option<&OperationInfo> {
        let method = if method == "HEAD" { "GET" } else { method };
        self.find(path)?.operations.iter().find(|(known, _)| known == method).map(|(_, takes)| takes)
    }

    fn find(&self, path: &str) -> Option<&Known> {
        let asked = segments(path);
        let fits = |template: &[String]| {
            template.len() == asked.len()
                && template
                    .iter()
                    .zip(&asked)
                    .all(|(known, given)| known.starts_with(['{', ':']) || known == given)
        };
        // A name that stands there beats one that may be anything.
        let parameters =
            |template: &[String]| template.iter().filter(|part| part.starts_with(['{', ':'])).count();
        let fitting = self.0.iter().filter(|known| fits(&known.segments));
        fitting.min_by_key(|known| parameters(&known.segments))
    }
}

impl Known {
    fn of(document: &Value, path: &str, item: &Value) -> Option<Self> {
        let operations: Vec<(String, OperationInfo)> = item
            .as_object()?
            .iter()
            .map(|(method, operation)| (method.to_uppercase(), OperationInfo::of(document, operation)))
            .collect();
        let mut methods: Vec<&str> = operations.iter().map(|(method, _)| method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        Some(Self { segments: segments(path), allow: methods.join(", "), operations })
    }
}

impl OperationInfo {
    fn of(document: &Value, operation: &Value) -> Self {
        let content = operation.pointer("/requestBody/content").and_then(Value::as_object);
        let parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let parameter = |parameter: &Value| {
            let name = parameter.get("name")?.as_str()?.to_owned();
            Some((name, allowed(document, parameter.get("schema")?)))
        };
        Self {
            id: operation.get("operationId").and_then(Value::as_str).unwrap_or_default().to_owned(),
            media: content.and_then(|content| content.keys().next()).cloned(),
            parameters: parameters.filter_map(parameter).collect(),
        }
    }

    /// Name and what it must be; headers are found in any case.
    pub(super) fn parameter(&self, name: &str) -> Option<(&str, &str)> {
        let found = self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(name, allowed)| (name.as_str(), allowed.as_str()))
    }
}

/// What a parameter must be, for people.
fn allowed(document: &Value, schema: &Value) -> String {
    let referred = schema.get("$ref").and_then(Value::as_str).map(|path| path.trim_start_matches('#'));
    let schema = referred.and_then(|at| document.pointer(at)).unwrap_or(schema);
    let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
    let bound = |name: &str| schema.get(name).map(Value::to_string);
    let between = |least: Option<String>, most: Option<String>| match (least, most) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (least, most) => least.map(|it| format!("at least {it}")).or(most.map(|it| format!("at most {it}"))),
    };
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        return format!("must be one of {}", values.join(", "));
    }
    match (text("type"), text("format")) {
        ("integer", _) => {
            let range = between(bound("minimum"), bound("maximum"));
            format!("must be an integer{}", range.map(|range| format!(" from {range}")).unwrap_or_default())
        }
        (_, "date") => "must be a calendar date, written YYYY-MM-DD".to_owned(),
        _ => match between(bound("minLength"), bound("maxLength")) {
            Some(range) => format!("must have {range} characters"),
            None => "is missing, or not of the documented form".to_owned(),
        },
    }
}

fn segments(path: &str) -> Vec<String> {
    path.trim_start_matches('/').split('/').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_has_the_methods_of_its_operations() {
        let paths = PathTable::of(
            &json!({ "paths": { "/a/{id}": { "get": {}, "delete": {} }, "/b": { "post": {} }, "/a/b": { "put": {} } } }),
        );
        assert_eq!(paths.allow("/a/b"), Some("PUT"));
        assert_eq!(paths.allow("/a/7"), Some("GET, DELETE, HEAD"));
        assert_eq!(paths.allow("/b"), Some("POST"));
        for page in ["/", "/docs", "/docs/x", "/openapi.json", "/problems/x", "/favicon.ico"] {
            assert_eq!(paths.allow(page), Some("GET, HEAD"), "{page}");
        }
        assert_eq!(paths.allow("/a/7/8"), None);
    }
    #[test]
    fn what_a_parameter_must_be_is_said_by_its_schema() {
        let document =
            json!({ "components": { "schemas": { "Kind": { "type": "string", "enum": ["a", "b"] } } } });
        for (schema, wanted) in [
            (json!({ "$ref": "#/components/schemas/Kind" }), r#"must be one of "a", "b""#),
            (json!({ "type": "integer", "minimum": 1, "maximum": 9 }), "must be an integer from 1 to 9"),
            (json!({ "type": "integer" }), "must be an integer"),
            (json!({ "type": "string", "format": "date" }), "must be a calendar date, written YYYY-MM-DD"),
            (json!({ "type": "string", "minLength": 1, "maxLength": 9 }), "must have 1 to 9 characters"),
            (json!({ "type": "string", "maxLength": 9 }), "must have at most 9 characters"),
            (json!({ "type": "string" }), "is missing, or not of the documented form"),
        ] {
            assert_eq!(allowed(&document, &schema), wanted);
        }
    }
}
