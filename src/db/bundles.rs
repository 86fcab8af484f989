//! Statements that are sent to SQLite together.
//!
//! Its connection lives on a thread of its own, and the way there and back takes longer than a small
//! statement does. SQLite keeps those texts prepared that it has seen last, so few different ones come out
//! of here: whatever is alike is sent in powers of two.

use std::mem;

use sea_orm::{Statement, Values};

/// How many statements of different texts are sent at once.
const FEW: usize = 4;
/// How many statements are sent at once.
const MANY: u64 = 64;

/// Statements that are sent at once.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) statement: Statement,
    /// How many there are in it.
    pub(super) count: u64,
}

impl Bundle {
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

/// Those of one use-case: together if they are few.
pub(super) fn of(statements: Vec<Statement>) -> Vec<Bundle> {
    let is_few = statements.len() <= FEW;
    let bundles = statements.into_iter().map(Bundle::one);
    if is_few { bundles.reduce(Bundle::join).into_iter().collect() } else { bundles.collect() }
}

/// Fewer, in the same order.
pub(super) fn merged(bundles: Vec<Bundle>) -> Vec<Bundle> {
    let mut merged = Vec::new();
    let mut run: Vec<Bundle> = Vec::new();
    for bundle in bundles {
        if run.last().is_some_and(|last| last.statement.sql != bundle.statement.sql) {
            merge(mem::take(&mut run), &mut merged);
        }
        run.push(bundle);
    }
    merge(run, &mut merged);
    merged
}

/// Bundles of one text.
fn merge(run: Vec<Bundle>, merged: &mut Vec<Bundle>) {
    let most = run.first().map_or(1, |first| (MANY / first.count).max(1));
    let mut run = run.into_iter();
    while run.len() > 0 {
        let size = 1 << run.len().min(usize::try_from(most).unwrap_or(1)).ilog2();
        merged.extend(run.by_ref().take(size).reduce(Bundle::join));
    }
}

/// The same, with the last one repeated up to a power of two: for lists in statements, whose texts then are
/// few, so that the database keeps them prepared.
pub fn padded<T: Clone>(list: &[T]) -> Vec<T> {
    let size = list.len().next_power_of_two();
    list.iter().chain(std::iter::repeat_n(list.last(), size).flatten()).take(size).cloned().collect()
}

/// All of the list, in pieces of which each has a power of two: for statements of many rows, for the same
/// reason.
pub fn pieces<T>(mut list: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (piece, rest) = list.split_at_checked(1 << list.len().checked_ilog2()?)?;
        list = rest;
        Some(piece)
    })
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

    fn texts(bundles: &[Bundle]) -> Vec<&str> {
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
        fn lists_have_few_lengths(list in prop::collection::vec(any::<u8>(), 0..200)) {
            let padded = padded(&list);
            prop_assert!(padded.len() == list.len().next_power_of_two() || list.is_empty() && padded.is_empty());
            prop_assert_eq!(&padded[..list.len()], &list);
            prop_assert!(padded[list.len()..].iter().all(|one| Some(one) == list.last()));
            let pieces: Vec<&[u8]> = pieces(&list).collect();
            prop_assert!(pieces.iter().all(|piece| piece.len().is_power_of_two()));
            prop_assert_eq!(pieces.concat(), list);
        }

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
