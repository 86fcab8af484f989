//! Which methods each path has, read from the document and the list of pages: what `Allow` says.

use std::sync::LazyLock;

use serde_json::Value;

/// The table of paths and their methods.
#[derive(Debug)]
pub(super) struct Paths(Vec<(Vec<String>, String)>);

impl Paths {
    /// Of this program. Worked out at the first preflight or wrong request, so that nobody else pays for it.
    pub(super) fn known() -> &'static Self {
        static KNOWN: LazyLock<Paths> = LazyLock::new(|| Paths::of(&super::spec::document()));
        &KNOWN
    }

    /// From the finished document.
    fn of(document: &Value) -> Self {
        let operations = document.get("paths").and_then(Value::as_object).into_iter().flatten();
        let mut table: Vec<_> = operations
            .filter_map(|(path, item)| {
                let mut methods: Vec<String> =
                    item.as_object()?.keys().map(|method| method.to_uppercase()).collect();
                if methods.iter().any(|method| method == "GET") {
                    methods.push("HEAD".to_owned());
                }
                Some((segments(path), methods.join(", ")))
            })
            .collect();
        // The pages are not in the document; all of them only answer GET.
        table.extend(super::docs::paths().map(|path| (segments(path), "GET, HEAD".to_owned())));
        Self(table)
    }

    /// The methods of the path, as `Allow` lists them.
    pub(super) fn allow(&self, path: &str) -> Option<&str> {
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
        let fitting = self.0.iter().filter(|(template, _)| fits(template));
        fitting.min_by_key(|(template, _)| parameters(template)).map(|(_, methods)| methods.as_str())
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
        let paths = Paths::of(
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
}
