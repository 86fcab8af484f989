//! Joins statements so that SQLite runs them in one call.
//!
//! The driver runs each SQLite connection on a separate thread. The round trip to that thread takes longer
//! than a small statement. Batching is justified by two benchmarks of `benches/run` (results in
//! `docs/benchmarks.md`): `POST /api/v1/sync` of 500 operations, and `POST /api/v1/trips` from 64 clients.
//! The driver caches prepared statements by SQL text, and each batch is one text. To keep the number of
//! different texts small, statements are joined only in a few ways.

use std::mem;

use sea_orm::{Statement, Values};

/// Maximum number of different statements that are joined. A change of one trip has at most this many
/// statements, and there are few kinds of changes.
const MAX_MIXED: usize = 4;
/// Maximum number of statements in a batch. The connection can't run anything else until a batch has ended.
const MAX_BATCH: u64 = 64;

/// One or more statements that run in one call.
#[derive(Debug)]
pub(super) struct StatementBatch {
    pub(super) statement: Statement,
    /// Number of statements in the batch.
    pub(super) count: u64,
}

impl StatementBatch {
    pub(super) fn single(statement: Statement) -> Self {
        Self { statement, count: 1 }
    }

    fn join(mut self, next: Self) -> Self {
        self.statement.sql.push_str("; ");
        self.statement.sql.push_str(&next.statement.sql);
        let values = next.statement.values.unwrap_or(Values(Vec::new()));
        self.statement.values.get_or_insert(Values(Vec::new())).0.extend(values);
        self.count += next.count;
        self
    }
}

/// Returns the statements of one caller: one batch of all statements if there are few, otherwise one batch
/// for each statement.
pub(super) fn from_statements(statements: Vec<Statement>) -> Vec<StatementBatch> {
    let is_joined = statements.len() <= MAX_MIXED;
    let batches = statements.into_iter().map(StatementBatch::single);
    if is_joined { batches.reduce(StatementBatch::join).into_iter().collect() } else { batches.collect() }
}

/// Joins consecutive batches with the same text, in groups whose size is a power of two. Keeps the order of
/// the statements.
pub(super) fn merge(batches: Vec<StatementBatch>) -> Vec<StatementBatch> {
    let mut merged = Vec::new();
    let mut run: Vec<StatementBatch> = Vec::new();
    for batch in batches {
        if run.last().is_some_and(|last| last.statement.sql != batch.statement.sql) {
            merge_run(mem::take(&mut run), &mut merged);
        }
        run.push(batch);
    }
    merge_run(run, &mut merged);
    merged
}

/// Joins batches that all have the same text.
fn merge_run(run: Vec<StatementBatch>, merged: &mut Vec<StatementBatch>) {
    let limit = run.first().map_or(1, |first| (MAX_BATCH / first.count).max(1));
    let mut run = run.into_iter();
    while run.len() > 0 {
        let size = 1 << run.len().min(usize::try_from(limit).unwrap_or(1)).ilog2();
        merged.extend(run.by_ref().take(size).reduce(StatementBatch::join));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sea_orm::DbBackend;

    /// Returns statements with these texts, each with one value.
    fn statements(texts: &[u8]) -> Vec<Statement> {
        let statement = |(index, text): (usize, &u8)| {
            Statement::from_sql_and_values(DbBackend::Sqlite, format!("{text} ?"), [(index as u64).into()])
        };
        texts.iter().enumerate().map(statement).collect()
    }

    fn texts(batches: &[StatementBatch]) -> Vec<&str> {
        batches.iter().map(|batch| batch.statement.sql.as_str()).collect()
    }

    #[test]
    fn few_statements_are_always_merged_and_many_statements_only_if_their_texts_are_equal() {
        assert_eq!(texts(&merge(from_statements(statements(&[1, 2, 2])))), ["1 ?; 2 ?; 2 ?"]);
        assert_eq!(
            texts(&merge(from_statements(statements(&[1, 2, 2, 2, 3])))),
            ["1 ?", "2 ?; 2 ?", "2 ?", "3 ?"]
        );
        let pairs = (0..5).flat_map(|_| from_statements(statements(&[1, 2]))).collect();
        assert_eq!(texts(&merge(pairs)), ["1 ?; 2 ?; 1 ?; 2 ?; 1 ?; 2 ?; 1 ?; 2 ?", "1 ?; 2 ?"]);
        assert!(merge(from_statements(Vec::new())).is_empty());
    }

    proptest! {
        #[test]
        fn statements_keep_their_order_and_values(
            kinds in prop::collection::vec(0..3_u8, 0..300),
            in_pairs in any::<bool>(),
        ) {
            let all = statements(&kinds);
            let batches = if in_pairs {
                all.chunks(2).flat_map(|pair| from_statements(pair.to_vec())).collect()
            } else {
                from_statements(all.clone())
            };
            let merged = merge(batches);
            let sent: Vec<&str> = merged.iter().flat_map(|batch| batch.statement.sql.split("; ")).collect();
            prop_assert_eq!(sent, all.iter().map(|statement| statement.sql.as_str()).collect::<Vec<_>>());
            let values = merged.iter().filter_map(|batch| batch.statement.values.clone());
            let values: Vec<sea_orm::Value> = values.flatten().collect();
            prop_assert_eq!(values, (0..kinds.len() as u64).map(Into::into).collect::<Vec<_>>());
            for batch in &merged {
                prop_assert_eq!(batch.statement.sql.split("; ").count() as u64, batch.count);
                prop_assert!(batch.count <= MAX_BATCH);
            }
        }
    }
}
