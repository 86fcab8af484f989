//! The paths of the server with their methods, media types and parameters, read from the OpenAPI document and
//! the list of pages. `Allow` headers and the details of some problems are built from this table.

use std::sync::LazyLock;

use serde_json::Value;

/// The table of paths.
#[derive(Debug)]
pub(super) struct PathTable(Vec<PathEntry>);

#[derive(Debug)]
struct PathEntry {
    segments: Vec<String>,
    /// The path with its parameters in braces.
    template: String,
    /// The value of `Allow`.
    allow: String,
    /// The operations with their methods.
    operations: Vec<(String, OperationInfo)>,
}

/// What an operation accepts.
#[derive(Debug)]
pub(super) struct OperationInfo {
    /// The media type of the body, if there is one.
    pub(super) media_type: Option<String>,
    /// Whether the operation requires no credential.
    pub(super) is_public: bool,
    parameters: Vec<Parameter>,
}

/// A query parameter or a header.
#[derive(Debug)]
struct Parameter {
    name: String,
    is_query: bool,
    /// Whether a request can contain the parameter more than once.
    is_list: bool,
    /// The rule for its value: "must be …".
    rule: String,
}

impl PathTable {
    /// Returns the table of this server. The table is built when a request needs it for the first time.
    pub(super) fn get() -> &'static Self {
        static TABLE: LazyLock<PathTable> =
            LazyLock::new(|| PathTable::from_document(&super::openapi::document()));
        &TABLE
    }

    /// Builds the table from the finished document.
    fn from_document(document: &Value) -> Self {
        let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
        let mut table: Vec<_> =
            paths.filter_map(|(path, item)| PathEntry::from_item(document, path, item)).collect();
        // The pages are not in the document. They support only GET and HEAD.
        table.extend(super::docs::paths().map(|path| PathEntry {
            segments: segments(path),
            template: template(path),
            allow: "GET, HEAD".to_owned(),
            operations: Vec::new(),
        }));
        Self(table)
    }

    /// Returns the value of `Allow` for the path.
    pub(super) fn allow(&self, path: &str) -> Option<&str> {
        self.find(path).map(|entry| entry.allow.as_str())
    }

    /// Returns the template of the path, for example `/api/v1/trips/{id}`.
    pub(super) fn route(&self, path: &str) -> Option<&str> {
        self.find(path).map(|entry| entry.template.as_str())
    }

    /// Returns whether documented operations have this path.
    pub(super) fn has_operations(&self, path: &str) -> bool {
        self.find(path).is_some_and(|entry| !entry.operations.is_empty())
    }

    /// Returns the operation of the path and method.
    pub(super) fn operation(&self, path: &str, method: &str) -> Option<&OperationInfo> {
        let method = if method == "HEAD" { "GET" } else { method };
        self.find(path)?.operations.iter().find(|(known, _)| known == method).map(|(_, operation)| operation)
    }

    /// Returns the entry that matches the path.
    fn find(&self, path: &str) -> Option<&PathEntry> {
        let path = segments(path);
        let is_match = |template: &[String]| {
            template.len() == path.len()
                && template
                    .iter()
                    .zip(&path)
                    .all(|(part, segment)| part.starts_with(['{', ':']) || part == segment)
        };
        // A literal segment takes precedence over a parameter.
        let parameters =
            |template: &[String]| template.iter().filter(|part| part.starts_with(['{', ':'])).count();
        let matching = self.0.iter().filter(|entry| is_match(&entry.segments));
        matching.min_by_key(|entry| parameters(&entry.segments))
    }
}

impl PathEntry {
    /// Builds the entry of a path item.
    fn from_item(document: &Value, path: &str, item: &Value) -> Option<Self> {
        let operations: Vec<(String, OperationInfo)> = item
            .as_object()?
            .iter()
            .map(|(method, operation)| {
                (method.to_uppercase(), OperationInfo::from_operation(document, operation))
            })
            .collect();
        let mut methods: Vec<&str> = operations.iter().map(|(method, _)| method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        Some(Self {
            segments: segments(path),
            template: template(path),
            allow: methods.join(", "),
            operations,
        })
    }
}

/// Returns whether an operation requires no credential.
fn is_public(operation: &Value) -> bool {
    let schemes = operation.get("security").and_then(Value::as_array);
    schemes.is_none_or(|schemes| schemes.is_empty() || schemes.contains(&serde_json::json!({})))
}

impl OperationInfo {
    /// Reads an operation of the document.
    fn from_operation(document: &Value, operation: &Value) -> Self {
        let content = operation.pointer("/requestBody/content").and_then(Value::as_object);
        let parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let parameter = |parameter: &Value| {
            let name = parameter.get("name")?.as_str()?.to_owned();
            let schema = parameter.get("schema")?;
            let is_query = parameter.get("in").and_then(Value::as_str) == Some("query");
            let items = schema.get("items");
            let rule = rule(document, items.unwrap_or(schema));
            Some(Parameter { name, is_query, is_list: items.is_some(), rule })
        };
        Self {
            is_public: is_public(operation),
            media_type: content.and_then(|content| content.keys().next()).cloned(),
            parameters: parameters.filter_map(parameter).collect(),
        }
    }

    /// Returns the name and the rule of a parameter. Header names are compared without case.
    pub(super) fn parameter(&self, name: &str) -> Option<(&str, &str)> {
        let found = self.parameters.iter().find(|known| known.name.eq_ignore_ascii_case(name));
        found.map(|known| (known.name.as_str(), known.rule.as_str()))
    }

    /// Returns the names of the query parameters.
    pub(super) fn query_parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().filter(|known| known.is_query).map(|known| known.name.as_str())
    }

    /// Returns whether the operation accepts several query parameters of this name.
    pub(super) fn is_list(&self, name: &str) -> bool {
        self.parameters.iter().any(|known| known.is_list && known.is_query && known.name == name)
    }
}

/// Returns the rule for the value of a parameter, which continues a sentence that begins with the name of the
/// parameter.
fn rule(document: &Value, schema: &Value) -> String {
    let referred = schema.get("$ref").and_then(Value::as_str).map(|path| path.trim_start_matches('#'));
    let schema = referred.and_then(|at| document.pointer(at)).unwrap_or(schema);
    let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
    let bound = |name: &str| schema.get(name).map(Value::to_string);
    let between = |least: Option<String>, most: Option<String>| match (least, most) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (least, most) => {
            least.map(|min| format!("at least {min}")).or(most.map(|max| format!("at most {max}")))
        }
    };
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        return format!("must be one of: {}", values.join(", "));
    }
    match (text("type"), text("format")) {
        ("integer", _) => {
            let range = between(bound("minimum"), bound("maximum"));
            format!(
                "must be a whole number{}",
                range.map(|range| format!(" from {range}")).unwrap_or_default()
            )
        }
        (_, "date") => "must be a date in the form YYYY-MM-DD, such as 2027-04-02".to_owned(),
        _ => match between(bound("minLength"), bound("maxLength")) {
            Some(range) => format!("must have {range} characters"),
            None => "is missing or not valid".to_owned(),
        },
    }
}

/// Converts the path of a page to a template with its parameters in braces. The router of the pages uses the
/// form `:name`.
fn template(path: &str) -> String {
    let segment = |part: &str| part.strip_prefix(':').map_or(part.to_owned(), |name| format!("{{{name}}}"));
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Splits a path into its segments.
fn segments(path: &str) -> Vec<String> {
    path.trim_start_matches('/').split('/').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_allowed_methods_of_a_path_are_the_methods_of_its_operations() {
        let paths = PathTable::from_document(
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
    fn the_error_for_an_invalid_parameter_states_the_rule_of_its_schema() {
        let document =
            json!({ "components": { "schemas": { "Kind": { "type": "string", "enum": ["a", "b"] } } } });
        for (schema, expected) in [
            (json!({ "$ref": "#/components/schemas/Kind" }), "must be one of: a, b"),
            (json!({ "type": "integer", "minimum": 1, "maximum": 9 }), "must be a whole number from 1 to 9"),
            (json!({ "type": "integer" }), "must be a whole number"),
            (
                json!({ "type": "string", "format": "date" }),
                "must be a date in the form YYYY-MM-DD, such as 2027-04-02",
            ),
            (json!({ "type": "string", "minLength": 1, "maxLength": 9 }), "must have 1 to 9 characters"),
            (json!({ "type": "string", "maxLength": 9 }), "must have at most 9 characters"),
            (json!({ "type": "string" }), "is missing or not valid"),
        ] {
            assert_eq!(rule(&document, &schema), expected);
        }
    }
}
