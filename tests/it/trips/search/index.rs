//! The index of the search: many candidates, and trips that were written before the index existed.

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};
use tripgate::db;

use super::{create_many, found};
use crate::harness::TestApp;
use crate::trips::{create_trip, id, stop};

async fn connect(app: &TestApp) -> DatabaseConnection {
    let mut options = ConnectOptions::new(app.settings().database_url.expose());
    Database::connect(options.max_connections(1).sqlx_logging(false).to_owned()).await.unwrap()
}

#[tokio::test]
async fn matches_are_found_among_thousands_of_similar_short_trips() {
    //
    matches_are_found_among_similar_trips(|_| false).await;
}

#[tokio::test]
async fn matches_are_found_among_thousands_of_similar_long_and_short_trips() {
    //
    matches_are_found_among_similar_trips(|number| number % 3 > 0).await;
}

async fn matches_are_found_among_similar_trips(is_long: fn(usize) -> bool) {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    // These trips contain each piece of the search text, but not the whole text.
    let rest = |number: usize| if is_long(number) { "-".repeat(600) } else { String::new() };
    let similar = |number: usize| json!({ "title": "abcd bcde", "notes": format!("cdef {}{}", number % 10, rest(number)) });
    let matching = |number| json!({ "title": "x abcdef x", "notes": rest(number) });
    let mut trips: Vec<Value> = (0..1_050).map(similar).collect();
    trips.push(matching(0));
    trips.extend((0..1_050).map(similar));
    trips.extend([matching(1), similar(3), matching(2)]);
    let ids = create_many(&ada, &trips).await;
    let expected = [&ids[1_050], &ids[2_101], &ids[2_103]];
    for (sort, reversed) in
        [("-created_at", true), ("-updated_at", true), ("title", false), ("start_date", false)]
    {
        for limit in [1, 2, 3, 100] {
            let mut actual = found(&ada, "ABCDEF", sort, limit).await;
            if reversed {
                actual.reverse();
            }
            assert_eq!(actual.iter().collect::<Vec<_>>(), expected, "{sort}, {limit}");
        }
    }
    assert_eq!(found(&ada, "abcd bcde", "-created_at", 100).await.len(), 2_101);
    assert_eq!(found(&ada, "f 7", "title", 100).await.len(), 210);
}

#[tokio::test]
async fn a_search_finds_trips_that_were_written_before_the_search_index_existed() {
    //
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let body =
        json!({ "title": "Évora", "destination": "PORTUGAL", "notes": "ÀÉ", "stops": [stop("Café Arcada")] });
    let created = create_trip(&ada, &body).await;
    create_many(&eve, &vec![json!({ "title": "Lisboa", "stops": [stop("Belém")] }); 230]).await;
    let url = app.settings().database_url.expose().to_owned();
    let database = connect(&app).await;
    let steps = Migrator::migrations();
    let later = steps.iter().rev().position(|step| step.name().ends_with("trip_search")).unwrap();
    db::migrate_down(&url, u32::try_from(later).unwrap() + 1).await.unwrap();
    database.execute_unprepared("UPDATE trips SET search = 'old'").await.unwrap();
    db::migrate_up(&url).await.unwrap();
    let unknown = "SELECT count(*) FROM trips WHERE search = 'old' OR length(search_long) < 8";
    let unknown = Statement::from_string(database.get_database_backend(), unknown);
    let unknown: i64 = database.query_one_raw(unknown).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    assert_eq!(unknown, 0);
    let app = app.replica().await;
    let ada = app.anonymous().with_grant(ada.grant());
    for q in ["evora", "Portugal", "ae", "cafe arc", "e"] {
        assert_eq!(found(&ada, q, "-created_at", 5).await, [id(&created)], "{q}");
    }
    assert_eq!(found(&ada, "belem", "-created_at", 5).await, [""; 0]);
    let eve = app.anonymous().with_grant(eve.grant());
    assert_eq!(found(&eve, "belem", "title", 100).await.len(), 230);
}

#[tokio::test]
async fn a_trip_whose_search_signature_has_the_default_value_is_found() {
    // A row that another program writes can have the default 0xff in the columns of the signature.
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = create_trip(&ada, &json!({ "title": "Lisbon" })).await;
    let reset = match connect(&app).await.get_database_backend() {
        sea_orm::DbBackend::Postgres => "UPDATE trips SET search_short = '\\xff', search_long = '\\xff'",
        _ => "UPDATE trips SET search_short = x'ff', search_long = x'ff'",
    };
    connect(&app).await.execute_unprepared(reset).await.unwrap();
    for q in ["l", "is", "sbo", "lisbon"] {
        assert_eq!(found(&ada, q, "title", 5).await, [id(&created)], "{q}");
    }
    assert_eq!(found(&ada, "porto", "title", 5).await, [""; 0]);
}
