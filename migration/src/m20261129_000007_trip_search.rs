//! Adds the signatures by which a search skips trips, and the names of stops to the searched text.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};
use sea_orm_migration::sea_orm::prelude::Uuid;
use sea_orm_migration::sea_orm::sea_query::{Expr, ExprTrait, Order, Query, SelectStatement};
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};
use search_index::{Column, Signatures, searchable};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The step adds each column separately, and only if the column is missing, so that the step can be repeated.
/// The default is a signature that matches every search.
const COLUMNS: [(&str, Column); 2] = [("search_short", Column::Short), ("search_long", Column::Long)];

/// The number of trips that the step reads at a time.
const BATCH: usize = 200;

/// The key of a trip, and the texts that a search compares.
type Row = (Uuid, i64, Uuid, String, Option<String>, Option<String>, String);

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_connection().get_database_backend();
        for (column, _) in COLUMNS {
            if !manager.has_column("trips", column).await? {
                let statement =
                    format!("ALTER TABLE trips ADD COLUMN {column} {{signature}} NOT NULL {{default_ff}}");
                dialect::run(manager, &[&statement]).await?;
            }
            if backend == DbBackend::Postgres {
                // A search reads the signatures of all trips of a user, so PostgreSQL must not move the
                // signatures out of the row.
                let statement = format!("ALTER TABLE trips ALTER COLUMN {column} SET STORAGE PLAIN");
                dialect::run(manager, &[&statement]).await?;
            }
        }
        fill(manager).await?;
        // PostgreSQL needs no index: it stores long texts outside of the row, so that reading the rows of all
        // trips is cheap.
        if backend != DbBackend::Postgres {
            for (column, signature) in COLUMNS {
                if !manager.has_index("trips", &index(column)).await? {
                    // On SQLite, a search reads the short texts directly, so the index contains only the
                    // signatures of long texts.
                    let long = format!(" WHERE length({column}) > {}", signature.short_text_max());
                    let statement = format!(
                        "CREATE INDEX {} ON trips (owner_id, created_at, id, {column}){}",
                        index(column),
                        if backend == DbBackend::Sqlite { &long } else { "" }
                    );
                    dialect::run(manager, &[&statement]).await?;
                }
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (column, _) in COLUMNS {
            if manager.has_index("trips", &index(column)).await? {
                dialect::run(manager, &[&format!("DROP INDEX {}{{on_trips}}", index(column))]).await?;
            }
            if manager.has_column("trips", column).await? {
                dialect::run(manager, &[&format!("ALTER TABLE trips DROP COLUMN {column}")]).await?;
            }
        }
        Ok(())
    }
}

fn index(column: &str) -> String {
    format!("trips_{column}")
}

/// Writes the searched text and the signatures of all trips.
async fn fill(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let mut last = None;
    loop {
        let rows = connection.query_all(&select_after(last)).await?;
        for row in &rows {
            let row: Row = row.try_get_many_by_index()?;
            last = Some((row.0, row.1, row.2));
            fill_one(manager, row).await?;
        }
        if rows.len() < BATCH {
            return Ok(());
        }
    }
}

/// Returns the query of the next rows in the order of the primary key.
fn select_after(last: Option<(Uuid, i64, Uuid)>) -> SelectStatement {
    let keys = ["owner_id", "created_at", "id"];
    let mut query = Query::select();
    query.columns(keys).columns(["title", "destination", "notes", "stops"]).from("trips");
    if let Some((owner, created, id)) = last {
        let same_owner = Expr::col("owner_id").eq(owner);
        let same_time = same_owner.clone().and(Expr::col("created_at").eq(created));
        let after = Expr::col("owner_id")
            .gt(owner)
            .or(same_owner.and(Expr::col("created_at").gt(created)))
            .or(same_time.and(Expr::col("id").gt(id)));
        // The first condition lets databases seek to the owner.
        query.and_where(Expr::col("owner_id").gte(owner)).and_where(after);
    }
    for key in keys {
        query.order_by(key, Order::Asc);
    }
    query.limit(BATCH as u64).take()
}

async fn fill_one(manager: &SchemaManager<'_>, row: Row) -> Result<(), DbErr> {
    let (owner, _, id, title, destination, notes, stops) = row;
    let stops: serde_json::Value = serde_json::from_str(&stops).unwrap_or_default();
    let names = stops.as_array().into_iter().flatten().filter_map(|stop| stop.get("name")?.as_str());
    let texts = [Some(title.as_str()), destination.as_deref(), notes.as_deref()].into_iter().flatten();
    let text = searchable(texts.chain(names));
    let Signatures { short, long } = Signatures::of(&text);
    let update = Query::update()
        .table("trips")
        .value("search", text)
        .value("search_short", short)
        .value("search_long", long)
        .and_where(Expr::col("owner_id").eq(owner))
        .and_where(Expr::col("id").eq(id))
        .take();
    manager.get_connection().execute(&update).await?;
    Ok(())
}
