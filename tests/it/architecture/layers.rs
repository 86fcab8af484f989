//! The layer table, and the imports between files: no import points upwards, and no imports are circular.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::source::{Source, paths};

/// The layers of the library from the bottom to the top, and their parts. A part may import from lower
/// layers, and from its own layer only what [`SAME_LAYER`] lists.
pub(super) const LAYERS: [(u8, &[&str]); 10] = [
    (0, &["listener"]),
    (
        1,
        &[
            "clock",
            "secrets",
            "strict_json",
            "error_chain",
            "audit",
            "calendar_date",
            "metrics",
            "plain_text",
            "repeated_warnings",
            "thread_priority",
            "traces",
            "uniform_time",
        ],
    ),
    (2, &["db", "passwords", "config", "data_dir"]),
    (
        3,
        &[
            "accounts",
            "backups",
            "clients",
            "epochs",
            "events",
            "exports",
            "flows",
            "idempotency",
            "invites",
            "leases",
            "mail",
            "operators",
            "passkeys",
            "personal_tokens",
            "recovery",
            "replicas",
            "second_factors",
            "sessions",
            "shares",
            "sync",
            "throttle",
            "tokens",
            "totp",
            "trips",
        ],
    ),
    (4, &["web"]),
    // Layer 5 contains the `api` of each domain module.
    (5, &[]),
    (6, &["app"]),
    (7, &["http", "housekeeping", "admin"]),
    (8, &["serve"]),
    (9, &["cli", "main", "lib"]),
];

/// The imports that are allowed inside of a layer: a part, and the parts that it may import. In addition,
/// `api` modules may import each other to share wire types.
pub(super) const SAME_LAYER: [(&str, &[&str]); 17] = [
    ("uniform_time", &["secrets"]),
    // The parent of a span is the span of the current request, which `audit` stores.
    ("traces", &["audit", "error_chain"]),
    ("data_dir", &["db"]),
    // `passwords` defines the bounds of some settings.
    ("config", &["passwords"]),
    ("mail", &["leases"]),
    ("flows", &["mail"]),
    ("accounts", &["events", "flows", "mail", "throttle", "tokens"]),
    ("passkeys", &["accounts", "events"]),
    ("second_factors", &["accounts", "passkeys", "totp"]),
    ("clients", &["personal_tokens", "sessions", "throttle", "tokens"]),
    ("personal_tokens", &["accounts", "events", "tokens"]),
    (
        "sessions",
        &[
            "accounts",
            "events",
            "flows",
            "invites",
            "mail",
            "passkeys",
            "personal_tokens",
            "second_factors",
            "throttle",
            "tokens",
        ],
    ),
    ("recovery", &["accounts", "events", "flows", "mail", "sessions", "throttle", "tokens"]),
    ("trips", &["epochs", "idempotency"]),
    ("shares", &["trips"]),
    ("sync", &["trips"]),
    ("exports", &["accounts", "events", "mail", "passkeys", "personal_tokens", "totp", "trips"]),
];

/// The layer of the `api` modules.
const API_LAYER: u8 = 5;

/// Returns the module path of a file: `src/trips/store/mod.rs` is `trips`, `store`.
pub(super) fn module_path(file: &str) -> Vec<String> {
    let inside = file.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
    let mut parts: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// Returns every path inside of the library that the code names, as absolute module paths.
pub(super) fn imports(source: &Source) -> BTreeSet<Vec<String>> {
    let own = module_path(&source.path);
    // Ignore the unit tests at the end of a file, because their `super` is the file itself.
    let code = source.code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = BTreeSet::new();
    for root in ["crate", "super", "self"] {
        for path in paths(code, root) {
            let mut base = match root {
                "crate" => Vec::new(),
                "super" => own[..own.len() - 1].to_vec(),
                _ => own.clone(),
            };
            for part in path.split("::") {
                match part {
                    "super" => drop(base.pop()),
                    "self" => {}
                    name => base.push(name.to_owned()),
                }
            }
            found.insert(base);
        }
    }
    found
}

/// Returns the part that a module path belongs to, and whether the path is inside the `api` of a domain
/// module, which counts as a separate part.
fn part(path: &[String]) -> Option<(&str, bool)> {
    let first = path.first()?;
    let is_domain = LAYERS.iter().any(|(layer, parts)| *layer == 3 && parts.contains(&first.as_str()));
    Some((first, is_domain && path.get(1).is_some_and(|second| second == "api")))
}

fn layer((name, is_api): (&str, bool)) -> Option<u8> {
    if is_api {
        return Some(API_LAYER);
    }
    LAYERS.iter().find(|(_, parts)| parts.contains(&name)).map(|(layer, _)| *layer)
}

/// Returns the imports in `source` that the layer table does not allow.
pub(super) fn upward_imports(source: &Source) -> Vec<String> {
    let own = module_path(&source.path);
    let Some((name, is_api)) = part(&own) else { return Vec::new() };
    let Some(from) = layer((name, is_api)) else {
        return vec![format!("{} belongs to no layer of the table", source.path)];
    };
    let mut broken = Vec::new();
    for path in imports(source) {
        let Some(target) = part(&path) else { continue };
        if target == (name, is_api) {
            continue;
        }
        let Some(to) = layer(target) else {
            // The path is a macro or a type at the root of the crate.
            continue;
        };
        let same_layer = SAME_LAYER.iter().any(|(part, known)| *part == name && known.contains(&target.0));
        let is_allowed = to < from || (to == from && (is_api || same_layer));
        // Only a module itself may use its queries. The command line may use only the OpenAPI document of `http`.
        let is_private = path.get(1).is_some_and(|inner| inner == "store") && target.0 != name;
        let is_internal = name == "cli" && target.0 == "http" && path.get(1).is_some_and(|x| x != "openapi");
        if !is_allowed || is_private || is_internal {
            broken.push(format!("{} imports crate::{}", source.path, path.join("::")));
        }
    }
    broken
}

/// Maps each child of a folder to the children that it imports, and each imported child to a file with the
/// import.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

/// Returns the imports between siblings, for every folder. The siblings are the direct children of a folder.
/// In the top folder, `trips` and `trips::api` are separate siblings.
pub(super) fn sibling_imports(all: &[Source]) -> BTreeMap<String, Graph> {
    let modules: BTreeSet<Vec<String>> = all.iter().map(|source| module_path(&source.path)).collect();
    let exists = |path: &[String]| modules.iter().any(|module| module.starts_with(path));
    let test_only = test_modules(all);
    let mut graphs: BTreeMap<String, Graph> = BTreeMap::new();
    for source in all {
        let own = module_path(&source.path);
        if test_only.iter().any(|module| own.starts_with(module)) {
            continue;
        }
        for target in imports(source) {
            let common = own.iter().zip(&target).take_while(|(a, b)| a == b).count();
            let mut folder = own[..common].join("::");
            let (mut from, mut to) = match (own.get(common), target.get(common)) {
                (Some(from), Some(to)) if exists(&target[..=common]) => (from.clone(), to.clone()),
                _ => continue,
            };
            // At the top level, the `api` of a module is a sibling of the module.
            if common == 0 {
                for (name, path) in [(&mut from, &own), (&mut to, &target)] {
                    if let Some((part, true)) = part(path) {
                        *name = format!("{part}::api");
                    }
                }
                "crate".clone_into(&mut folder);
            }
            graphs.entry(folder).or_default().entry(from).or_default().insert(to, source.path.clone());
        }
    }
    graphs
}

/// Returns the modules that are compiled for unit tests only.
fn test_modules(all: &[Source]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for source in all {
        for declared in source.code.split("#[cfg(test)]\nmod ").skip(1) {
            let Some((name, _)) = declared.split_once(';').filter(|(name, _)| !name.contains(' ')) else {
                continue;
            };
            let mut path = module_path(&source.path);
            path.push(name.to_owned());
            found.insert(path);
        }
    }
    found
}

/// Returns the cycles of a graph, each as the path from a node back to the same node.
pub(super) fn circles(folder: &str, graph: &Graph) -> Vec<String> {
    fn visit<'a>(graph: &'a Graph, at: &'a str, path: &mut Vec<&'a str>, found: &mut BTreeSet<Vec<&'a str>>) {
        if let Some(start) = path.iter().position(|node| *node == at) {
            let mut circle = path[start..].to_vec();
            let least =
                circle.iter().enumerate().min_by_key(|(_, node)| **node).map_or(0, |(place, _)| place);
            circle.rotate_left(least);
            found.insert(circle);
            return;
        }
        path.push(at);
        for next in graph.get(at).into_iter().flat_map(BTreeMap::keys) {
            visit(graph, next, path, found);
        }
        path.pop();
    }
    let mut found = BTreeSet::new();
    for start in graph.keys() {
        visit(graph, start, &mut Vec::new(), &mut found);
    }
    found
        .into_iter()
        .map(|circle| format!("in {folder}: {} import each other", circle.join(" -> ")))
        .collect()
}

/// Returns whether a folder of `src/` contains database queries.
pub(super) fn has_store(part: &str) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part);
    folder.join("store.rs").exists() || folder.join("store").exists()
}
