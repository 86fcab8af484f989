//! That the rules see what breaks them.

use super::source::{Source, code_of, paths, queries, words};
use super::{strangers, wrong_ways};

fn made_up(path: &str, code: &str) -> Source {
    Source { path: path.to_owned(), text: String::new(), code: code_of(code) }
}

#[test]
fn a_comment_or_a_text_names_nothing() {
    let text =
        "a /* poem */ b // poem\n\"poem \\\" poem\" 'p' '\\'' '\"' c r#\"poem \" poem\"# &'d str br\"poem\"";
    let code = code_of(text);
    let found: Vec<&str> = words(&code).collect();
    assert_eq!(found, ["a", "b", "c", "d", "str"]);
}

#[test]
fn a_library_away_from_home_is_seen() {
    for (path, code) in [
        ("src/trips/mod.rs", "use poem::Request;"),
        ("src/trips/mod.rs", "fn f() { ::entity::trips::find() }"),
        ("src/trips/api.rs", "use sea_orm::EntityTrait;"),
        ("src/http/caller.rs", "use jsonwebtoken as j;"),
        ("src/accounts/store.rs", "bcrypt::cost()"),
        ("src/app.rs", "poem::Route::new()"),
    ] {
        assert_eq!(strangers(&made_up(path, code)).len(), 1, "{path}: {code}");
    }
    assert!(strangers(&made_up("src/app.rs", "settings.bcrypt_cost // poem")).is_empty());
}

#[test]
fn a_step_in_the_wrong_direction_is_seen() {
    for (path, code) in [
        ("src/accounts/mod.rs", "use crate::sessions::Sessions;"),
        ("src/accounts/mod.rs", "use crate::{clock::Clock, tokens::{Scopes}};"),
        ("src/trips/mod.rs", "use crate::accounts::User;"),
        ("src/trips/api.rs", "use crate::accounts::api::patched;"),
        ("src/sessions/mod.rs", "crate::accounts::store::find()"),
        ("src/sessions/mod.rs", "use crate::accounts::api::UserBody;"),
        ("src/sessions/mod.rs", "use crate::http::Tag;"),
        ("src/trips/api.rs", "use super::{Trip, store as rows};"),
        ("src/trips/store.rs", "use super::api::TripBody;"),
        ("src/trips/mod.rs", "use self::api::TripBody;"),
        ("src/clock.rs", "crate::db::open()"),
        ("src/cli/mod.rs", "crate::http::problem_code::ProblemCode::ALL"),
    ] {
        assert_eq!(wrong_ways(&made_up(path, code)).len(), 1, "{path}: {code}");
    }
    for (path, code) in [
        ("src/sessions/mod.rs", "use crate::accounts::{self, Accounts as A, api_like};"),
        ("src/sessions/api.rs", "use crate::accounts::api::UserBody; use crate::http::Tag;"),
        ("src/trips/mod.rs", "mod store; use crate::clock::Clock; store::find()"),
        ("src/http/mod.rs", "use crate::{trips}; crate::trips::api::TripsApi"),
    ] {
        assert!(wrong_ways(&made_up(path, code)).is_empty(), "{path}: {code}");
    }
}

#[test]
fn a_query_without_the_owner_is_seen() {
    let found = queries(
        "pub(super) async fn find<T>(\n tx: &Tx,\n id: Uuid,\n) -> Result<(), E> { f(tx) } fn other(a: u8) -> u8 { a }",
    );
    assert_eq!(found, [("find".to_owned(), " tx: &Tx, id: Uuid, ".to_owned())]);
}

#[test]
fn a_group_of_paths_is_unfolded() {
    let code = "use crate::{\n a as b,\n c::{self, d::{e as f, g}, h::*,},\n}; crate::i::j(); my_crate::k; use crate::l;";
    let found: Vec<String> = paths(code, "crate").into_iter().collect();
    let wanted = ["a", "c::d::e", "c::d::g", "c::h", "c::self", "i::j", "l"];
    assert_eq!(found, wanted);
}
