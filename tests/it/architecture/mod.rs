//! The rules of the architecture, checked on the sources: the layers, no circular imports, and the parts of the
//! library that may use each external library.
//!
//! Comments and string literals are ignored, except in the checks of the length and of the module
//! documentation of a file.

mod layers;
mod source;
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use layers::{circles, has_store, sibling_imports, upward_imports};
use source::{Source, queries, sources, words};

/// The maximum number of lines in a file.
const LINES_MAX: usize = 400;

/// Returns the part of the library that a file belongs to, and its role: `api.rs`, `store.rs`, or the name of
/// the file.
fn place(path: &str) -> (&str, &str) {
    let inside = path.strip_prefix("src/").unwrap();
    let (part, file) = inside.split_once('/').unwrap_or((inside, ""));
    // The API and the queries of a module may be spread over several files.
    let file = match file.split_once('/') {
        Some(("api", _)) => "api.rs",
        Some(("store", _)) => "store.rs",
        _ => file,
    };
    (part.trim_end_matches(".rs"), file)
}

#[track_caller]
fn none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// External libraries, and a function that returns whether a file of a part may use them.
type Home = (&'static [&'static str], fn(&str, &str) -> bool);
const HOMES: [Home; 7] = [
    (&["poem", "poem_openapi"], |part, file| ["http", "listener", "web"].contains(&part) || file == "api.rs"),
    (&["sea_orm", "entity", "sqlx"], |part, file| part == "db" || file == "store.rs"),
    (&["rusqlite"], |part, _| part == "db"),
    (&["jsonwebtoken"], |part, _| part == "tokens"),
    (&["bcrypt", "bcrypt_lanes"], |part, _| part == "passwords"),
    (&["prometheus"], |part, _| part == "metrics"),
    (&["lettre", "minijinja"], |part, _| part == "mail"),
];

fn libraries_away_from_home(source: &Source) -> Vec<String> {
    let (part, file) = place(&source.path);
    let named: BTreeSet<&str> = words(&source.code).collect();
    let foreign = HOMES.iter().filter(|(_, is_home)| !is_home(part, file));
    foreign
        .flat_map(|(libraries, _)| *libraries)
        .filter(|library| named.contains(*library))
        .map(|library| format!("{} names {library}, which belongs to another part", source.path))
        .collect()
}

#[test]
fn external_libraries_are_used_only_in_their_allowed_modules() {
    let broken: Vec<String> = sources("src").iter().flat_map(libraries_away_from_home).collect();
    none(&broken);
}

#[test]
fn no_import_points_upwards() {
    let broken: Vec<String> = sources("src").iter().flat_map(upward_imports).collect();
    none(&broken);
}

#[test]
fn neither_modules_nor_sibling_files_import_each_other_in_a_circle() {
    let graphs = sibling_imports(&sources("src"));
    let broken: Vec<String> = graphs.iter().flat_map(|(folder, graph)| circles(folder, graph)).collect();
    none(&broken);
}

#[test]
fn the_store_with_the_queries_of_a_module_is_private() {
    let all = sources("src");
    for source in &all {
        let (part, file) = place(&source.path);
        if has_store(part) && file == "mod.rs" {
            let open = source.code.contains("pub mod store") || source.code.contains("pub(crate) mod store");
            assert!(!open, "{} makes its queries public", source.path);
        }
    }
}

#[test]
fn every_query_function_for_rows_of_a_user_has_a_parameter_for_the_owner() {
    // S-53
    let mut broken = Vec::new();
    // The queries of these modules take no owner. An account is its own owner. Keys, clients, invites,
    // leases, mails, operators, replicas and throttle buckets belong to the server, and an epoch belongs to
    // the database. Queries for flows take the id or the subject of the flow, which the caller must know or
    // own.
    let without_owner = [
        "accounts",
        "clients",
        "epochs",
        "flows",
        "invites",
        "leases",
        "mail",
        "operators",
        "replicas",
        "throttle",
        "tokens",
    ];
    let owned = |source: &Source| {
        let (part, file) = place(&source.path);
        file == "store.rs" && !without_owner.contains(&part) && !source.path.ends_with("_tests.rs")
    };
    for source in sources("src").iter().filter(|source| owned(source)) {
        let owned = &source.path;
        let found = queries(&source.code);
        assert!(!found.is_empty(), "{owned} has no queries");
        for (name, parameters) in found {
            // These queries concern the rows of all owners: they delete expired rows, encrypt secrets again, read the
            // relying party, which is the same for all passkeys, and check that a credential id is new.
            let sweeps = ["sweep", "next_page", "any_rp_id", "is_registered"].contains(&name.as_str());
            // These parameters restrict a query to the rows of an owner. A verified token names a session or
            // a trip, which has one owner. A listing has one owner. A query for several owners returns the
            // rows of each owner separately.
            let bound = [
                "owner: Uuid",
                "owners: &[Uuid]",
                // The challenge of a login belongs to no user yet.
                "user: Option<Uuid>",
                "presented: &RefreshToken",
                "token: &LoginToken",
                "token: &ShareToken",
                "presented: PresentedId",
                "presented: PresentedChallenge",
                "nonce: &Nonce",
                "listing: &Listing",
            ];
            let is_bound = bound.iter().any(|how| parameters.contains(how));
            if !is_bound && !sweeps {
                broken.push(format!("{owned}: {name}({parameters}) does not take the owner"));
            }
        }
    }
    none(&broken);
}

#[test]
fn no_file_has_more_than_400_lines() {
    let folders = [
        "src",
        "entity/src",
        "migration/identifiers/src",
        "migration/search-index/src",
        "migration/src",
        "tests",
    ];
    let broken: Vec<String> = folders
        .into_iter()
        .flat_map(sources)
        .map(|source| (source.text.lines().count(), source.path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path} has {lines} lines; split it inside its module"))
        .collect();
    none(&broken);
}

#[test]
fn every_file_has_module_documentation() {
    for source in [
        "src",
        "entity/src",
        "migration/identifiers/src",
        "migration/search-index/src",
        "migration/src",
        "tests",
    ]
    .into_iter()
    .flat_map(sources)
    {
        assert!(source.text.starts_with("//! "), "{} has no module documentation", source.path);
    }
}

#[test]
fn entities_and_migrations_depend_neither_on_each_other_nor_on_the_server_nor_on_serde() {
    let names = |source: &Source, names: &[&str]| {
        let named = words(&source.code).find(|word| names.contains(word));
        named.map(|name| format!("{} names {name}", source.path))
    };
    let mut broken: Vec<String> =
        sources("migration/src").iter().filter_map(|source| names(source, &["entity", "tripgate"])).collect();
    broken.extend(
        sources("entity/src").iter().filter_map(|source| {
            names(source, &["serde", "Serialize", "Deserialize", "migration", "tripgate"])
        }),
    );
    none(&broken);
    for manifest in ["migration", "entity"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest).join("Cargo.toml");
        let manifest = fs::read_to_string(path).unwrap();
        for line in manifest.lines() {
            let depends = ["entity", "migration", "tripgate", "serde"];
            let name = line.split([' ', '=', '.']).next().unwrap_or_default();
            assert!(!depends.contains(&name), "{line}");
        }
    }
}

/// Functions, each of which only one module may call.
const BANNED: [&str; 8] = [
    "chrono::Utc::now",
    "std::env::var",
    "std::env::var_os",
    "std::env::vars",
    "std::env::vars_os",
    "bcrypt::hash",
    "bcrypt::verify",
    "bcrypt::non_truncating_verify",
];

#[test]
fn the_linter_bans_functions_that_only_one_module_may_call() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clippy.toml");
    let rules = fs::read_to_string(path).unwrap();
    for name in BANNED {
        assert!(rules.contains(&format!("path = \"{name}\"")), "clippy.toml does not ban {name}");
    }
    let homes = ["src/clock/", "src/config/", "src/passwords", "src/lib.rs"];
    for source in sources("src") {
        let lifted = source.code.contains("clippy::disallowed_methods");
        let at_home = homes.iter().any(|home| source.path.starts_with(home));
        assert!(!lifted || at_home, "{} allows a function that only another module may call", source.path);
    }
}
