//! Statements that are sent to SQLite together.
//!
//! Its connection lives on a thread of its own, and the way there and back takes longer than a small
//! statement does. The driver keeps prepared those texts that it has seen last, and a bundle has one text: so
//! statements are joined in ways of which there are few.

use std::mem;

use sea_orm::{Statement, Values};

/// The most statements that are joined whatever they are. A change of one trip has no more, and there are few
/// kinds of it.
const FEW: usize = 4;
/// The most statements of one bundle: while they run, nothing else does.
const MANY: u64 = 64;

/// Statements that are sent at once.
#[derive(Debug)]
pub(super) struct StatementBatch {
    pub(super) statement: Statement,
    /// How many there are in it.
    pub(super) count: u64,
}

impl StatementBatch {
    pub(super) fn one(statement: Statement) -> Self {
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

/// The statements of one function: in one bundle if they are few, else in one each.
pub(super) fn of(statements: Vec<Statement>) -> Vec<StatementBatch> {
    let is_few = statements.len() <= FEW;
    let bundles = statements.into_iter().map(StatementBatch::one);
    if is_few { bundles.reduce(StatementBatch::join).into_iter().collect() } else { bundles.collect() }
}

/// The same statements in fewer bundles: neighbours with the same text are joined, a power of two of them.
pub(super) fn merged(bundles: Vec<StatementBatch>) -> Vec<StatementBatch> {
    let mut merged = Vec::new();
    let mut run: Vec<StatementBatch> = Vec::new();
    for bundle in bundles {
        if run.last().is_some_and(|last| last.statement.sql != bundle.statement.sql) {
            merge(mem::take(&mut run), &mut merged);
        }
        run.push(bundle);
    }
    merge(run, &mut merged);
    merged
}

/// Joins bundles that all have the same text.
fn merge(run: Vec<StatementBatch>, merged: &mut Vec<StatementBatch>) {
    let most = run.first().map_or(1, |first| (MANY / first.count).max(1));
    let mut run = run.into_iter();
    while run.len() > 0 {
        let size = 1 << run.len().min(usize::try_from(most).unwrap_or(1)).ilog2();
        merged.extend(run.by_ref().take(size).reduce(StatementBatch::join));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sea_orm::DbBackend;

    /// The text and the one value of each.
    fn statements(texts: &[u8]) -> Vec<Statement> {
        let statement = |(at, text): (usize, &u8)| {
            Statement::from_sql_and_values(DbBackend::Sqlite, format!("{text} ?"), [(at as u64).into()])
        };
        texts.iter().enumerate().map(statement).collect()
    }

    fn texts(bundles: &[StatementBatch]) -> Vec<&str> {
        bundles.iter().map(|bundle| bundle.statement.sql.as_str()).collect()
    }

    #[test]
    fn a_few_are_sent_together_and_many_with_their_like() {
        assert_eq!(texts(&merged(of(statements(&[1, 2, 2])))), ["1 ?; 2 ?; 2 ?"]);
        assert_eq!(texts(&merged(of(statements(&[1, 2, 2, 2, 3])))), ["1 ?", "2 ?; 2 ?", "2 ?", "3 ?"]);
        let pairs = (0..5).flat_map(|_| of(statements(&[1, 2]))).collect();
        assert_eq!(texts(&merged(pairs)), ["1 ?; 2 ?; 1 ?; 2 ?; 1 ?; 2 ?; 1 ?; 2 ?", "1 ?; 2 ?"]);
        assert!(merged(of(Vec::new())).is_empty());
    }

    proptest! {
        #[test]
        fn all_are_sent_in_their_order(kinds in prop::collection::vec(0..3_u8, 0..300), few in any::<bool>()) {
            let all = statements(&kinds);
            let bundles = if few { all.chunks(2).flat_map(|pair| of(pair.to_vec())).collect() } else { of(all.clone()) };
            let merged = merged(bundles);
            let sent: Vec<&str> = merged.iter().flat_map(|bundle| bundle.statement.sql.split("; ")).collect();
            prop_assert_eq!(sent, all.iter().map(|one| one.sql.as_str()).collect::<Vec<_>>());
            let values = merged.iter().filter_map(|bundle| bundle.statement.values.clone());
            let values: Vec<sea_orm::Value> = values.flatten().collect();
            prop_assert_eq!(values, (0..kinds.len() as u64).map(Into::into).collect::<Vec<_>>());
            for bundle in &merged {
                prop_assert_eq!(bundle.statement.sql.split("; ").count() as u64, bundle.count);
                prop_assert!(bundle.count <= MANY);
            }
        }
    }
}
