//! The parameters of a list of trips: filters, sort order and position.

use chrono::NaiveDate;
use uuid::Uuid;

use super::Status;
use super::sort_keys::NO_START;

/// The maximum length of a search text, in characters.
pub const SEARCH_MAX: usize = 200;

/// The sort order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// By time of creation, newest first.
    #[default]
    Created,
    /// By first day, earliest first; trips without a first day are last.
    Start,
    /// By first day, latest first; trips without a first day are last.
    LatestStart,
    /// By last change, latest first.
    Updated,
    /// By title, in the order of the code points of the folded title.
    Title,
}

impl Sort {
    /// Returns the value of the `sort` query parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "-created_at",
            Self::Start => "start_date",
            Self::LatestStart => "-start_date",
            Self::Updated => "-updated_at",
            Self::Title => "title",
        }
    }
}

/// The parameters of a list request.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The maximum number of trips on the page: 1 to [`PAGE_MAX`](super::PAGE_MAX).
    pub limit: u16,
    /// The sort order.
    pub sort: Sort,
    /// Returns only trips with one of these statuses. If empty, returns trips with any status.
    pub statuses: Vec<Status>,
    /// Returns only trips whose title, destination, notes or names of stops contain this text.
    pub q: Option<String>,
    /// Returns only trips that start on this day or later.
    pub starts_from: Option<NaiveDate>,
    /// Returns only trips that start on this day or earlier.
    pub starts_until: Option<NaiveDate>,
    /// The `next` cursor of the previous page.
    pub cursor: Option<String>,
}

/// A valid list request of one owner.
#[derive(Debug, Clone)]
pub struct Listing {
    pub(super) owner: Uuid,
    pub(super) limit: u16,
    pub(super) sort: Sort,
    pub(super) filter: Filter,
    pub(super) after: Option<ListPosition>,
}

/// The filters of a list, in the form that the queries compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// Sorted and without duplicates. If empty, the list contains trips with any status.
    pub(super) statuses: Vec<Status>,
    /// The folded search text.
    pub(super) q: Option<String>,
    pub(super) starts_from: Option<i64>,
    pub(super) starts_until: Option<i64>,
}

impl Filter {
    /// Returns the inclusive range of start keys if the list filters by first day. The range excludes trips
    /// without a first day.
    pub(super) fn start_range(&self) -> Option<(i64, i64)> {
        let is_filtered = self.starts_from.is_some() || self.starts_until.is_some();
        is_filtered.then(|| {
            (self.starts_from.unwrap_or(i64::MIN), self.starts_until.unwrap_or(NO_START).min(NO_START - 1))
        })
    }
}

impl Listing {
    /// Returns an unambiguous encoding of the sort order and the filters, the same for every page. Two
    /// different lists of an owner never have the same fingerprint.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        let Filter { statuses, q, starts_from, starts_until } = &self.filter;
        let day = |day: &Option<i64>| day.map_or_else(String::new, |day| day.to_string());
        let statuses: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
        let mut fingerprint = Vec::with_capacity(64);
        let parts: [&str; 5] = [
            self.sort.name(),
            &statuses.join(","),
            &day(starts_from),
            &day(starts_until),
            // `None` and an empty text have the same encoding, but `Trips::listing` rejects an empty search
            // text.
            q.as_deref().unwrap_or_default(),
        ];
        for part in parts {
            fingerprint.extend_from_slice(part.as_bytes());
            // No part contains the separator: folding removes control characters.
            fingerprint.push(0);
        }
        fingerprint
    }
}

/// The value by which a list sorts a trip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SortValue {
    /// Unix milliseconds, days since 1970-01-01 or a change number.
    Number(i64),
    /// A folded title.
    Text(String),
}

/// A position in a list, directly after one trip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListPosition {
    /// The sort value of that trip.
    pub(super) value: SortValue,
    /// The id of that trip.
    pub(super) id: Uuid,
}

impl ListPosition {
    /// Returns the payload of the cursor: the sort value, then the id.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = match &self.value {
            SortValue::Number(number) => number.to_be_bytes().to_vec(),
            SortValue::Text(text) => text.clone().into_bytes(),
        };
        bytes.extend_from_slice(self.id.as_bytes());
        bytes
    }
}
