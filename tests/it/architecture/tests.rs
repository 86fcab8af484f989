//! Checks that the architecture tests report violations.

use super::layers::{circles, sibling_imports, upward_imports};
use super::libraries_away_from_home;
use super::source::{Source, code_of, paths, queries, words};

fn made_up(path: &str, code: &str) -> Source {
    Source { path: path.to_owned(), text: String::new(), code: code_of(code) }
}

#[test]
fn comments_and_string_literals_are_ignored() {
    let text =
        "a /* poem */ b // poem\n\"poem \\\" poem\" 'p' '\\'' '\"' c r#\"poem \" poem\"# &'d str br\"poem\"";
    let code = code_of(text);
    let found: Vec<&str> = words(&code).collect();
    assert_eq!(found, ["a", "b", "c", "d", "str"]);
}

#[test]
fn a_use_of_an_external_library_outside_its_allowed_modules_is_reported() {
    for (path, code) in [
        ("src/trips/mod.rs", "use poem::Request;"),
        ("src/trips/mod.rs", "fn f() { ::entity::trips::find() }"),
        ("src/trips/api.rs", "use sea_orm::EntityTrait;"),
        ("src/web/caller.rs", "use jsonwebtoken as j;"),
        ("src/accounts/store.rs", "bcrypt::cost()"),
        ("src/app/mod.rs", "poem::Route::new()"),
    ] {
        assert_eq!(libraries_away_from_home(&made_up(path, code)).len(), 1, "{path}: {code}");
    }
    assert!(libraries_away_from_home(&made_up("src/app/mod.rs", "settings.bcrypt_cost // poem")).is_empty());
}

#[test]
fn an_upward_import_is_reported() {
    for (path, code) in [
        ("src/accounts/mod.rs", "use crate::sessions::Sessions;"),
        ("src/accounts/mod.rs", "use crate::{clock::Clock, trips::{Trips}};"),
        ("src/trips/mod.rs", "use crate::accounts::User;"),
        ("src/sessions/mod.rs", "crate::accounts::store::find()"),
        ("src/sessions/mod.rs", "use crate::accounts::api::UserBody;"),
        ("src/sessions/mod.rs", "use crate::web::Tag;"),
        ("src/trips/mod.rs", "use self::api::TripBody;"),
        ("src/trips/store/mod.rs", "use super::api::TripBody;"),
        ("src/web/caller.rs", "use crate::app::App;"),
        ("src/trips/api/mod.rs", "use crate::app::App;"),
        ("src/http/mod.rs", "use crate::serve::serve;"),
        ("src/listener/mod.rs", "use crate::clock::Clock;"),
        ("src/clock/mod.rs", "crate::db::open()"),
        ("src/cli/mod.rs", "crate::http::router()"),
        ("src/unheard_of.rs", "fn f() {}"),
    ] {
        assert_eq!(upward_imports(&made_up(path, code)).len(), 1, "{path}: {code}");
    }
    for (path, code) in [
        ("src/sessions/mod.rs", "use crate::accounts::{self, Accounts as A, api_like};"),
        (
            "src/sessions/api/mod.rs",
            "use crate::accounts::api::UserBody; use crate::web::Tag; use super::Sessions;",
        ),
        ("src/trips/mod.rs", "mod store; use crate::clock::Clock; store::find()"),
        ("src/http/mod.rs", "use crate::{app}; crate::trips::api::TripsApi"),
        ("src/trips/mod.rs", "#[cfg(test)]\nmod tests { use crate::app::App; }"),
    ] {
        assert_eq!(upward_imports(&made_up(path, code)), [""; 0], "{path}: {code}");
    }
}

#[test]
fn a_circular_import_is_reported_between_modules_and_between_sibling_files() {
    let found = |files: &[(&str, &str)]| -> Vec<String> {
        let all: Vec<Source> = files.iter().map(|(path, code)| made_up(path, code)).collect();
        sibling_imports(&all).iter().flat_map(|(folder, graph)| circles(folder, graph)).collect()
    };
    let modules =
        [("src/db/mod.rs", "use crate::passwords::P;"), ("src/passwords/mod.rs", "crate::db::open()")];
    assert_eq!(found(&modules), ["in crate: db -> passwords import each other"]);
    let siblings = [
        ("src/trips/mod.rs", "use feed::Feed; use self::stops::Stops;"),
        ("src/trips/feed.rs", "use super::stops::Stops;"),
        ("src/trips/stops.rs", "use super::{listing};"),
        ("src/trips/listing.rs", "use crate::trips::feed::Feed;"),
    ];
    assert_eq!(found(&siblings), ["in trips: feed -> stops -> listing import each other"]);
    // `mod.rs` and the files of its folder may import each other. An `api` is in a layer above its module.
    let allowed = [
        ("src/trips/mod.rs", "use self::feed::Feed;"),
        ("src/trips/feed.rs", "use super::Trip;"),
        ("src/trips/api/mod.rs", "use crate::web::Tag; use super::feed;"),
        ("src/web/mod.rs", "use crate::trips::Trip;"),
    ];
    assert_eq!(found(&allowed), [""; 0]);
}

#[test]
fn the_parameters_of_an_sql_query_function_are_found() {
    let found = queries(
        "pub(super) async fn find<T>(\n tx: &Tx,\n id: Uuid,\n) -> Result<(), E> { f(tx) } fn other(a: u8) -> u8 { a }",
    );
    assert_eq!(found, [("find".to_owned(), " tx: &Tx, id: Uuid, ".to_owned())]);
}

#[test]
fn a_use_statement_with_grouped_paths_is_expanded_to_its_paths() {
    let code = "use crate::{\n a as b,\n c::{self, d::{e as f, g}, h::*,},\n}; crate::i::j(); my_crate::k; use crate::l;";
    let found: Vec<String> = paths(code, "crate").into_iter().collect();
    let wanted = ["a", "c::d::e", "c::d::g", "c::h", "c::self", "i::j", "l"];
    assert_eq!(found, wanted);
}
