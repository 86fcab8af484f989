//! Query plans of lists: every query uses an index that starts with the owner.

use ::entity::users;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, EntityTrait};
use tripgate::trips::{Query, Sort, Status};
use uuid::Uuid;

use crate::harness::TestApp;

/// Inserts 300 trips for each of 60 users. The tests list the trips of one of these users; a query plan
/// without an index on the owner would also read the trips of the others.
async fn fill(database: &DatabaseConnection) {
    let (numbers, id, analyze) = match database.get_database_backend() {
        DbBackend::Sqlite => (
            "(WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < 300) SELECT g FROM n)",
            "randomblob(16)",
            "ANALYZE",
        ),
        DbBackend::Postgres => {
            ("(SELECT generate_series(1, 300) AS g)", "gen_random_uuid()", "ANALYZE trips")
        }
        _ => {
            ("(SELECT seq AS g FROM seq_1_to_300)", "UNHEX(REPLACE(UUID(), '-', ''))", "ANALYZE TABLE trips")
        }
    };
    let others = (1..=60).map(crate::operation::schema::user);
    users::Entity::insert_many(others).exec_without_returning(database).await.unwrap();
    let fill = format!(
        "INSERT INTO trips (owner_id, created_at, id, title, status, version, change_seq, updated_at, start_key, title_key, search) \
         SELECT users.id, n.g, {id}, 'Lisbon', 'planned', 1, n.g, n.g, 20000 + n.g, 'lisbon', 'lisbon' \
         FROM {numbers} AS n CROSS JOIN users"
    );
    database.execute_unprepared(&fill).await.unwrap();
    database.execute_unprepared(analyze).await.unwrap();
}

/// Returns every combination of sort order and filters.
fn queries() -> Vec<Query> {
    let day = chrono::NaiveDate::from_ymd_opt(2027, 1, 1);
    let mut all = Vec::new();
    for sort in [Sort::Created, Sort::Start, Sort::LatestStart, Sort::Updated, Sort::Title] {
        for filters in 0..16_u8 {
            let has = |bit: u8| filters & bit != 0;
            all.push(Query {
                limit: 20,
                sort,
                statuses: if has(1) { vec![Status::Planned, Status::Active] } else { Vec::new() },
                q: has(2).then(|| "lisbon".to_owned()),
                starts_from: day.filter(|_| has(4)),
                starts_until: day.filter(|_| has(8)),
                cursor: None,
            });
        }
    }
    all
}

#[tokio::test]
async fn no_query_plan_reads_rows_of_other_owners() {
    // S-53
    let app = TestApp::start().await;
    let mut options = ConnectOptions::new(app.settings().database_url.expose());
    let database =
        Database::connect(options.max_connections(1).sqlx_logging(false).to_owned()).await.unwrap();
    fill(&database).await;
    let trips = &app.services().trips;
    let owner = Uuid::from_u128(3);
    let mut plans = 0;
    for query in queries() {
        let first = trips.listing(owner, query.clone()).unwrap();
        let page = trips.listing(owner, Query { limit: 5, ..query.clone() }).unwrap();
        let page = trips.rendered_page(page, None, |_, _| Ok(Vec::new())).await.unwrap();
        let next = page
            .next
            .map(|cursor| trips.listing(owner, Query { cursor: Some(cursor), ..query.clone() }).unwrap());
        for listing in [Some(first), next].into_iter().flatten() {
            let plan = trips.explain(listing).await.unwrap();
            plans += 1;
            let reads: Vec<&str> = plan
                .lines()
                .filter(|line| line.contains("trips") && !line.contains("trip_counters"))
                .collect();
            // MariaDB recognizes conditions that no row can satisfy.
            let is_empty = plan.contains("Impossible WHERE");
            assert!(!reads.is_empty() || is_empty, "{query:?}\n{plan}");
            match database.get_database_backend() {
                DbBackend::Sqlite => {
                    assert!(
                        reads.iter().all(|line| line.contains("SEARCH") && line.contains("owner_id=?")),
                        "{query:?}\n{plan}"
                    );
                }
                DbBackend::Postgres => {
                    assert!(!plan.contains("Seq Scan on trips"), "{query:?}\n{plan}");
                    // In a plan, the condition of a scan follows the scan and precedes the next node.
                    let mut scans = 0;
                    for node in plan.split("->").filter(|node| {
                        node.contains("Index") && node.contains("Scan") && !node.contains("trip_counters")
                    }) {
                        let condition = node.lines().find(|line| line.contains("Index Cond"));
                        assert!(
                            condition.is_some_and(|line| line.contains("owner_id = ")),
                            "{query:?}\n{plan}"
                        );
                        scans += 1;
                    }
                    assert!(scans > 0, "{query:?}\n{plan}");
                }
                _ => assert!(!plan.contains("| ALL |") && !plan.contains("| index |"), "{query:?}\n{plan}"),
            }
            // Without filters, an index provides the order.
            let is_plain = query.q.is_none()
                && query.statuses.is_empty()
                && query.starts_from.is_none()
                && query.starts_until.is_none();
            let sorts = ["TEMP B-TREE", "Sort", "filesort"];
            assert!(!is_plain || !sorts.iter().any(|word| plan.contains(word)), "{query:?}\n{plan}");
        }
    }
    assert!(plans >= 80 + 40, "{plans}");
}
