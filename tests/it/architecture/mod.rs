//! The rules of the building, read from its sources: who names which library, who knows whom.
//!
//! Comments and texts don't count. `lib.rs` lists the rooms, `app.rs` wires them, and both name them
//! all; nothing else is excepted.

mod source;
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use source::{Source, paths, queries, sources, words};

/// The most lines of a file.
const LINES_MAX: usize = 400;

/// The part of the library that a file belongs to, and whether it is a room's face or its queries.
fn place(path: &str) -> (&str, &str) {
    let inside = path.strip_prefix("src/").unwrap();
    let (part, file) = inside.split_once('/').unwrap_or((inside, ""));
    // A face and the queries behind it may be spread over several files.
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

/// Libraries that have one home, and whether a file lies in it.
type Home = (&'static [&'static str], fn(&str, &str) -> bool);
const HOMES: [Home; 4] = [
    (&["poem", "poem_openapi"], |part, file| ["http", "listener"].contains(&part) || file == "api.rs"),
    (&["sea_orm", "entity", "sqlx"], |part, file| part == "db" || file == "store.rs"),
    (&["jsonwebtoken"], |part, _| part == "tokens"),
    (&["bcrypt"], |part, _| part == "passwords"),
];

fn strangers(source: &Source) -> Vec<String> {
    let (part, file) = place(&source.path);
    let named: BTreeSet<&str> = words(&source.code).collect();
    let foreign = HOMES.iter().filter(|(_, is_home)| !is_home(part, file));
    foreign
        .flat_map(|(libraries, _)| *libraries)
        .filter(|library| named.contains(*library))
        .map(|library| format!("{} names {library}, whose home is elsewhere", source.path))
        .collect()
}

#[test]
fn each_library_is_named_only_in_its_home() {
    let broken: Vec<String> = sources("src").iter().flat_map(strangers).collect();
    none(&broken);
}

/// Which other parts of the library each may name. A room that is not listed knows no other room; the
/// edge and the composition root know them all; what else is not listed may name none.
const KNOWS: [(&str, &[&str]); 15] = [
    // Beneath the rooms.
    ("db", &["clock", "secrets"]),
    ("passwords", &["clock", "secrets"]),
    // What the settings allow is bounded by what these can take, and a secret is shown by neither.
    ("config", &["passwords", "secrets"]),
    // The rooms, each with what lies beneath.
    ("accounts", &["audit", "clock", "db", "strict_json", "secrets", "passwords"]),
    ("sessions", &["audit", "clock", "db", "strict_json", "secrets", "accounts", "passwords", "tokens"]),
    ("clients", &["audit", "clock", "db", "strict_json", "secrets", "sessions", "tokens"]),
    ("trips", &["audit", "clock", "db", "strict_json", "secrets", "idempotency"]),
    ("shares", &["audit", "clock", "db", "strict_json", "secrets", "trips"]),
    ("sync", &["audit", "clock", "db", "strict_json", "secrets", "trips"]),
    // The edge: it routes to the rooms' faces, knows callers by their tokens, and tells what failed.
    ("http", &["app", "audit", "error_chain", "clock", "db", "strict_json", "passwords"]),
    // The composition root.
    ("app", &["clock", "config", "db", "housekeeping", "http", "listener", "passwords", "secrets"]),
    // Beside the requests.
    ("housekeeping", &["app", "error_chain"]),
    // What an operator types: it prints the document too.
    ("cli", &["app", "error_chain", "clock", "config", "http"]),
    ("main", &[]),
    ("lib", &[]),
];
/// What every room may name.
const BENEATH: [&str; 6] = ["audit", "error_chain", "clock", "db", "strict_json", "secrets"];

/// A room is what has queries of its own.
fn is_room(part: &str) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part);
    folder.join("store.rs").exists() || folder.join("store").exists()
}

fn wrong_ways(source: &Source) -> Vec<String> {
    let (part, file) = place(&source.path);
    let listed = KNOWS.iter().find(|(name, _)| *name == part).map(|(_, known)| *known);
    let known = listed.unwrap_or(if is_room(part) { &BENEATH } else { &[] });
    let knows_rooms = ["app", "http"].contains(&part);
    let is_face = file == "api.rs";
    let mut broken = Vec::new();
    for path in paths(&source.code, "crate") {
        let mut parts = path.split("::");
        let (other, inner) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let own = other == part;
        let may = own
            || known.contains(&other)
            || (knows_rooms && is_room(other))
            || (is_face && ["app", "http"].contains(&other));
        // A face may show what the face of a room shows that its own room knows; the edge routes to faces.
        let to_face = inner == "api" && !(part == "http" || (is_face && !own));
        let to_queries = inner == "store" && !own;
        let to_spec = part == "cli" && other == "http" && inner != "openapi";
        if !may || to_face || to_queries || to_spec {
            broken.push(format!("{} names crate::{path}", source.path));
        }
    }
    let names_in_room = |name: &str| {
        let inner = paths(&source.code, "super").into_iter().chain(paths(&source.code, "self"));
        inner
            .chain(paths(&source.code, &format!("crate::{part}")))
            .any(|path| path.split("::").next() == Some(name))
    };
    // Nobody calls upwards, and nobody reaches past the next landing.
    if is_room(part) {
        for (landing, not) in [("api.rs", "store"), ("store.rs", "api"), ("mod.rs", "api")] {
            if file == landing && names_in_room(not) {
                broken.push(format!("{} names {not}.rs of its room", source.path));
            }
        }
    }
    broken
}

#[test]
fn rooms_know_each_other_in_one_direction() {
    let broken: Vec<String> = sources("src").iter().flat_map(wrong_ways).collect();
    none(&broken);
}

#[test]
fn every_room_keeps_its_queries_to_itself_and_shows_a_face() {
    let all = sources("src");
    for source in &all {
        let (part, file) = place(&source.path);
        if is_room(part) && file == "mod.rs" {
            let open = source.code.contains("pub mod store") || source.code.contains("pub(crate) mod store");
            assert!(!open, "{} shows its queries", source.path);
        }
    }
}

#[test]
fn every_query_on_what_somebody_owns_takes_the_owner() {
    // S-53
    let mut broken = Vec::new();
    // An account is its own owner; keys, clients and leases belong to the server.
    let owned = |source: &Source| {
        let (part, file) = place(&source.path);
        file == "store.rs" && !["accounts", "clients", "leases", "tokens"].contains(&part)
    };
    for source in sources("src").iter().filter(|source| owned(source)) {
        let owned = &source.path;
        let found = queries(&source.code);
        assert!(!found.is_empty(), "{owned} has no queries");
        for (name, parameters) in found {
            let sweeps = name == "sweep";
            // A token that was checked names its session or its trip, and so their owner; a list is its owner's;
            // what is read for several owners comes back by owner.
            let bound = [
                "owner: Uuid",
                "owners: &[Uuid]",
                "presented: &RefreshToken",
                "shown: &ShareToken",
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
fn no_file_is_longer_than_can_be_read_in_one_sitting() {
    let folders = ["src", "entity/src", "migration/src", "tests"];
    let broken: Vec<String> = folders
        .into_iter()
        .flat_map(sources)
        .map(|source| (source.text.lines().count(), source.path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path} has {lines} lines; split it inside its room"))
        .collect();
    none(&broken);
}

#[test]
fn every_file_says_what_it_is() {
    for source in ["src", "entity/src", "migration/src", "tests"].into_iter().flat_map(sources) {
        assert!(source.text.starts_with("//! "), "{} begins without a word on itself", source.path);
    }
}

#[test]
fn rows_have_no_rules_and_steps_don_t_know_the_rows() {
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

/// What may be done in one place alone.
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
fn the_linter_bans_what_has_one_home() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clippy.toml");
    let rules = fs::read_to_string(path).unwrap();
    for name in BANNED {
        assert!(rules.contains(&format!("path = \"{name}\"")), "clippy.toml does not ban {name}");
    }
    let homes = ["src/clock.rs", "src/config/", "src/passwords", "src/lib.rs"];
    for source in sources("src") {
        let lifted = source.code.contains("clippy::disallowed_methods");
        let at_home = homes.iter().any(|home| source.path.starts_with(home));
        assert!(!lifted || at_home, "{} lifts a ban outside of its home", source.path);
    }
}
