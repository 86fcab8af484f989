//! Inserts trips with one transaction each, the straightforward way: the same two statements as the
//! server, through sea-orm, on one connection with a fair queue in front of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait, Value,
};

const RAISE: &str = "UPDATE trip_counters SET value = value + 1 WHERE owner_id = ?";
const INSERT: &str = "INSERT INTO trips (owner_id, created_at, id, title, destination, status, version, \
     change_seq, updated_at) VALUES (?, ?, ?, ?, ?, 'planned', 1, \
     (SELECT value FROM trip_counters WHERE owner_id = ?), ?)";

/// Writes with `clients` clients for `seconds`; returns rate and latency as a JSON object.
pub(crate) async fn measure(database: &str, clients: u64, seconds: u64) -> Result<String, DbErr> {
    let connection = open(database).await?;
    let owners: Vec<Vec<u8>> = connection
        .query_all_raw(Statement::from_string(
            DbBackend::Sqlite,
            "SELECT owner_id FROM trip_counters LIMIT 200",
        ))
        .await?
        .iter()
        .map(|row| row.try_get_by_index(0))
        .collect::<Result<_, _>>()?;
    let owners = Arc::new(owners);
    let next = Arc::new(AtomicU64::new(count(&connection).await?));
    let started = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (connection, owners, next) = (connection.clone(), Arc::clone(&owners), Arc::clone(&next));
            tokio::spawn(async move {
                let mut took = Vec::new();
                while started.elapsed() < Duration::from_secs(seconds) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let write_started = Instant::now();
                    write(&connection, &owners, number).await?;
                    took.push(write_started.elapsed());
                }
                Ok::<_, DbErr>(took)
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.map_err(|error| DbErr::Custom(error.to_string()))??);
    }
    let elapsed = started.elapsed().as_secs_f64();
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    let count = u32::try_from(took.len()).unwrap_or(u32::MAX);
    connection.close().await?;
    Ok(format!(
        "{{\"per_second\": {}, \"p99_ms\": {}}}",
        f64::from(count) / elapsed,
        p99.as_secs_f64() * 1000.0
    ))
}

/// Returns the number of existing trips, from which the numbers of new trips continue.
async fn count(connection: &DatabaseConnection) -> Result<u64, DbErr> {
    let statement = Statement::from_string(DbBackend::Sqlite, "SELECT count(*) FROM trips");
    let row = connection.query_one_raw(statement).await?;
    let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Opens the database in the same way as the server: write-ahead log, every COMMIT synced.
async fn open(database: &str) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(format!("sqlite://{database}"));
    options
        .max_connections(1)
        .acquire_timeout(Duration::from_mins(1))
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .foreign_keys(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
        });
    Database::connect(options).await
}

async fn write(connection: &DatabaseConnection, owners: &[Vec<u8>], number: u64) -> Result<(), DbErr> {
    let turn = usize::try_from(number).unwrap_or_default() % owners.len().max(1);
    let owner: Value = owners.get(turn).cloned().unwrap_or_default().into();
    // The time is later than that of all existing trips, as for a new trip.
    let millis = 2_000_000_000_000_u64 + number;
    let id = [millis.to_be_bytes(), number.to_be_bytes()].concat();
    let now = Value::from(i64::try_from(millis).unwrap_or_default());
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..Default::default()
    };
    let transaction = connection.begin_with_options(options).await?;
    let raise = Statement::from_sql_and_values(DbBackend::Sqlite, RAISE, [owner.clone()]);
    transaction.execute_raw(raise).await?;
    let values = [
        owner.clone(),
        now.clone(),
        id.into(),
        "Ten days along the coast".into(),
        "Lisbon".into(),
        owner,
        now,
    ];
    let insert = Statement::from_sql_and_values(DbBackend::Sqlite, INSERT, values);
    transaction.execute_raw(insert).await?;
    transaction.commit().await
}
