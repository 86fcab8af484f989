//! Tests of the threads that read rows.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};

use futures_util::future::join_all;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DbBackend, Value};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;
use crate::db::{Rows, StoreError};
use crate::error_chain::error_chain;

/// A statement that takes some tenths of a second.
const SLOW: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) \
     SELECT sum(i) FROM n";

/// A statement that exceeds every time limit of the tests.
fn endless() -> Statement {
    sql(&SLOW.replace("1000000", "100000000000"))
}

fn sql(text: &str) -> Statement {
    Statement::from_string(DbBackend::Sqlite, text)
}

/// A database file with a table `t` of one column, and a connection that writes to the file.
struct Written {
    connection: rusqlite::Connection,
    file: DatabaseFile,
    _dir: TempDir,
}

impl Written {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a b%?.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection.execute_batch("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (1)").unwrap();
        Self { connection, file: DatabaseFile { path, is_immutable: false }, _dir: dir }
    }

    fn readers(&self, size: usize, limit: Duration) -> RowReaders {
        RowReaders::new(self.file.clone(), size, limit)
    }

    fn insert(&self) {
        self.connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    }
}

async fn count(readers: &RowReaders) -> Result<usize, DbErr> {
    readers.query(sql("SELECT i FROM t")).await.map(|rows| rows.len())
}

/// Waits until no thread is busy. A thread becomes idle shortly after its last statement has ended.
async fn until_idle(readers: &RowReaders) {
    while readers.usage().0 > 0 {
        tokio::task::yield_now().await;
    }
}

async fn until_busy(readers: &RowReaders) {
    while readers.usage().0 == 0 {
        tokio::task::yield_now().await;
    }
}

/// Returns two threads, and a statement that runs on one of them for two seconds and then fails.
async fn with_a_long_statement(
    written: &Written,
) -> (Arc<RowReaders>, JoinHandle<Result<SqliteRows, DbErr>>) {
    let readers = Arc::new(written.readers(2, Duration::from_secs(2)));
    let long = tokio::spawn({
        let readers = Arc::clone(&readers);
        async move { readers.query(endless()).await }
    });
    until_busy(&readers).await;
    (readers, long)
}

fn store_error<T: std::fmt::Debug>(result: Result<T, DbErr>) -> StoreError {
    result.unwrap_err().into()
}

#[tokio::test]
async fn a_statement_is_interrupted_at_its_deadline_and_the_next_one_runs() {
    // A-1, S-105
    let written = Written::new();
    let readers = written.readers(1, Duration::from_millis(20));
    let started = Instant::now();
    let error = store_error(readers.query(endless()).await);
    assert!(matches!(error, StoreError::TimedOut(_)), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(count(&readers).await.unwrap(), 1);
}

#[tokio::test]
async fn a_statement_that_begins_after_a_commit_sees_the_committed_rows() {
    let written = Written::new();
    let readers = written.readers(4, DATABASE_TIMEOUT);
    for rows in 2..100 {
        written.insert();
        let counts = join_all((0..8).map(|_| count(&readers))).await;
        assert!(counts.into_iter().all(|found| found.unwrap() == rows), "{rows}");
    }
    until_idle(&readers).await;
    assert_eq!(readers.usage(), (0, 4));
}

#[tokio::test]
async fn a_short_statement_does_not_wait_until_a_long_one_has_ended() {
    let written = Written::new();
    let (readers, long) = with_a_long_statement(&written).await;
    assert_eq!(count(&readers).await.unwrap(), 1);
    assert!(!long.is_finished());
    assert!(long.await.unwrap().is_err());
}

#[tokio::test]
async fn statements_start_at_once_while_another_statement_is_slow() {
    let written = Written::new();
    let (readers, long) = with_a_long_statement(&written).await;
    tokio::time::sleep(QUICK * 3).await;
    let mut shortest = Duration::MAX;
    for _ in 0..20 {
        let started = Instant::now();
        assert_eq!(count(&readers).await.unwrap(), 1);
        shortest = shortest.min(started.elapsed());
        // A thread that is still awake would take the next statement at once.
        while readers.usage().0 > 1 {
            tokio::task::yield_now().await;
        }
    }
    assert!(shortest < PATIENCE, "{shortest:?}");
    assert!(!long.is_finished());
}

#[tokio::test]
async fn a_dropped_query_does_not_affect_other_queries() {
    let written = Written::new();
    let readers = written.readers(1, DATABASE_TIMEOUT);
    for _ in 0..4 {
        // When the queries are dropped, the first query is running, and the second query is in the queue.
        let both = join_all([readers.query(sql(SLOW)), readers.query(endless())]);
        assert!(timeout(Duration::from_millis(2), both).await.is_err());
        assert_eq!(count(&readers).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_damaged_file_is_reported_with_the_error_of_the_driver() {
    let written = Written::new();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
         INSERT INTO t SELECT i FROM n; PRAGMA wal_checkpoint(TRUNCATE)";
    written.connection.execute_batch(fill).unwrap();
    let path = &written.file.path;
    let mut damaged = OpenOptions::new().write(true).open(path).unwrap();
    damaged.seek(SeekFrom::Start(4096)).unwrap();
    damaged.write_all(&[0xA5; 4096].repeat(64)).unwrap();
    let error = store_error(count(&written.readers(1, DATABASE_TIMEOUT)).await);
    let url = crate::db::file_url(path);
    let driver = Database::connect(ConnectOptions::new(format!("{url}?mode=ro"))).await.unwrap();
    let by_driver = StoreError::from(driver.query_all_raw(sql("SELECT i FROM t")).await.unwrap_err());
    assert!(matches!((&error, &by_driver), (StoreError::Other(_), StoreError::Other(_))), "{error:?}");
    assert_eq!(error_chain(&error), error_chain(&by_driver));
}

#[tokio::test]
async fn a_missing_file_makes_the_database_unavailable_until_the_file_is_back() {
    let written = Written::new();
    let elsewhere = written.file.path.with_extension("away");
    std::fs::rename(&written.file.path, &elsewhere).unwrap();
    let readers = written.readers(1, DATABASE_TIMEOUT);
    let error = store_error(count(&readers).await);
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!written.file.path.exists());
    std::fs::rename(&elsewhere, &written.file.path).unwrap();
    assert_eq!(count(&readers).await.unwrap(), 1);
}

#[tokio::test]
async fn write_statements_and_values_of_unknown_types_are_rejected() {
    let written = Written::new();
    let readers = written.readers(1, DATABASE_TIMEOUT);
    let error = store_error(readers.query(sql("INSERT INTO t VALUES (2)")).await);
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let number = Statement::from_sql_and_values(DbBackend::Sqlite, "SELECT ?", [1.5_f64.into()]);
    let error = store_error(readers.query(number).await);
    assert!(matches!(error, StoreError::Other(_)), "{error:?}");
    assert_eq!(count(&readers).await.unwrap(), 1);
}

#[tokio::test]
async fn values_are_bound_as_the_driver_binds_them() {
    let written = Written::new();
    let readers = written.readers(1, DATABASE_TIMEOUT);
    let driver = Database::connect(crate::db::file_url(&written.file.path)).await.unwrap();
    let values: [Value; 10] = [
        true.into(),
        (-3_i32).into(),
        i64::MIN.into(),
        u64::from(u32::MAX).into(),
        "it's \u{c9}vora".into(),
        vec![0_u8, 255].into(),
        Uuid::from_u128(7).into(),
        Value::String(None),
        Value::Uuid(None),
        Value::BigInt(None),
    ];
    for value in values {
        let text = "SELECT quote(?1) || typeof(?1)";
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, text, [value.clone()]);
        let rows = Rows::from(readers.query(statement.clone()).await.unwrap());
        let by_driver = Rows::from(driver.query_all_raw(statement).await.unwrap());
        let [bound, by_driver] = [rows, by_driver].map(|rows| rows.get(0).unwrap().get::<String>(0).unwrap());
        assert_eq!(bound, by_driver, "{value:?}");
    }
}

#[test]
fn a_slow_statement_is_logged_without_its_values_and_other_statements_are_not_logged() {
    let written = Written::new();
    let path = written.file.path.with_extension("log");
    let log = tracing_subscriber::fmt().with_writer(Arc::new(File::create(&path).unwrap())).finish();
    let mut reader = Reader::open(&written.file).unwrap();
    tracing::subscriber::with_default(log, || {
        for (slow, text) in [(DATABASE_TIMEOUT, "SELECT i, ? FROM t"), (Duration::ZERO, "SELECT ?, i FROM t")]
        {
            reader.slow = slow;
            let values = ["a value of a user".into()];
            let statement = Statement::from_sql_and_values(DbBackend::Sqlite, text, values);
            assert_eq!(reader.query(&statement, DATABASE_TIMEOUT).unwrap().len(), 1);
        }
    });
    let log = std::fs::read_to_string(path).unwrap();
    assert_eq!(log.matches("slow statement").count(), 1, "{log}");
    assert!(log.contains("SELECT ?, i FROM t") && !log.contains("a value of a user"), "{log}");
}

#[tokio::test]
async fn a_panic_fails_only_its_statement() {
    let written = Written::new();
    let readers = written.readers(1, DATABASE_TIMEOUT);
    readers.0.state().threads = 1;
    let worker = Worker(Arc::clone(&readers.0));
    let mut runs = 0;
    let thread = thread::spawn(move || {
        worker.run_each(|_| {
            runs += 1;
            assert!(runs > 1, "the first statement panics");
            Ok(SqliteRows::new(1))
        });
    });
    let results = join_all([count(&readers), count(&readers)]).await;
    assert!(matches!(store_error(results[0].as_ref().map_err(Clone::clone)), StoreError::Other(_)));
    assert!(results[1].is_ok());
    readers.close().await;
    thread.join().unwrap();
}

#[tokio::test]
async fn statements_wait_while_the_file_is_replaced_and_then_see_the_new_commits() {
    // S-72, F-6
    let mut written = Written::new();
    written.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    written.file.is_immutable = true;
    let readers = Arc::new(written.readers(2, DATABASE_TIMEOUT));
    assert_eq!(count(&readers).await.unwrap(), 1);
    written.insert();
    assert_eq!(count(&readers).await.unwrap(), 1, "an immutable connection does not read the log");
    let slow = tokio::spawn({
        let readers = Arc::clone(&readers);
        async move { readers.query(sql(SLOW)).await.map(|rows| rows.len()) }
    });
    until_busy(&readers).await;
    let (replaced, later) = tokio::join!(
        readers.replace_file(DatabaseFile { is_immutable: false, ..written.file.clone() }),
        async {
            tokio::task::yield_now().await;
            count(&readers).await
        }
    );
    replaced.unwrap();
    assert_eq!(later.unwrap(), 2);
    assert_eq!(slow.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn closing_waits_for_running_statements_and_rejects_new_ones() {
    let written = Written::new();
    let readers = Arc::new(written.readers(1, DATABASE_TIMEOUT));
    let slow = tokio::spawn({
        let readers = Arc::clone(&readers);
        async move { join_all([readers.query(sql(SLOW)), readers.query(sql(SLOW))]).await }
    });
    until_busy(&readers).await;
    readers.close().await;
    assert_eq!(readers.usage(), (0, 1));
    assert!(slow.await.unwrap().into_iter().all(|rows| rows.is_ok()));
    // Replacing the file later does not open the pool again.
    readers.replace_file(written.file.clone()).await.unwrap();
    let rejected = count(&readers).await;
    assert!(matches!(rejected, Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))));
}

#[tokio::test]
async fn a_statement_that_gets_no_thread_in_time_is_not_run() {
    let written = Written::new();
    let wait = Duration::from_millis(20);
    // A pool without threads never runs a statement.
    let readers = RowReaders::with_wait(written.file.clone(), 0, DATABASE_TIMEOUT, wait);
    let error = store_error(count(&readers).await);
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(readers.0.state().queue.is_empty());
}
