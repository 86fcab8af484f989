//! The stored forms by which trips are sorted and searched.

use chrono::{Datelike, NaiveDate};
use search_index::{Signatures, fold, searchable};

use super::{TITLE_MAX, TripFields};

/// The sort key of a trip without a first day. It is greater than the sort key of any day.
pub(super) const NO_START: i64 = 9_000_000;

/// The stored values by which a trip is sorted and searched.
#[derive(Debug)]
pub(super) struct SortKeys {
    pub(super) start: i64,
    pub(super) title: String,
    pub(super) search: String,
    pub(super) signatures: Signatures,
}

impl SortKeys {
    pub(super) fn new(fields: &TripFields) -> Self {
        let names = fields.stops.names();
        let texts = [Some(fields.title.as_str()), fields.destination.as_deref(), fields.notes.as_deref()];
        let search = searchable(texts.into_iter().flatten().chain(names.iter().map(AsRef::as_ref)));
        let title: String = fold(&fields.title).chars().take(TITLE_MAX).collect();
        // Truncation can leave a space at the end, and some databases ignore trailing spaces in comparisons.
        let title = title.trim_end().to_owned();
        let signatures = Signatures::of(&search);
        Self { start: start_key(fields.start_date), title, search, signatures }
    }
}

/// Returns the number of days since 1970-01-01, or [`NO_START`]. All databases sort numbers in the same
/// order.
pub(super) fn start_key(day: Option<NaiveDate>) -> i64 {
    day.map_or(NO_START, days)
}

pub(super) fn days(day: NaiveDate) -> i64 {
    i64::from(day.num_days_from_ce()) - i64::from(NaiveDate::default().num_days_from_ce())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn trips_are_sorted_by_start_date_and_trips_without_a_start_date_come_last(one in 0..3_652_000_i32, other in 0..3_652_000_i32) {
            let day = |number| NaiveDate::from_num_days_from_ce_opt(number + 1);
            prop_assert_eq!(start_key(day(one)).cmp(&start_key(day(other))), one.cmp(&other));
            prop_assert!(start_key(day(one)) < start_key(None));
        }
    }
}
