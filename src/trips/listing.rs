//! Finding trips: what a list is narrowed to, the order that it is in, and its pages.
//!
//! Every list is of one owner. Case and accents don't count, neither in what is searched nor in the
//! order of titles, on any database: both are compared in a folded form that is kept beside the trip.

use chrono::{Datelike, NaiveDate};
use futures_util::FutureExt;
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use super::cursor::Position;
use super::fields::{Status, TripFields};
use super::{PAGE_MAX, TITLE_MAX, Trip, Trips, TripsError, store};

/// The longest text that is searched for, in characters.
pub const SEARCH_MAX: usize = 200;
/// In place of the first day where there is none: after all others.
const NO_START: i64 = 9_000_000;

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The newest.
    #[default]
    Created,
    /// The earliest first day; what has none comes last.
    Start,
    /// What changed last.
    Updated,
    /// The first title of the alphabet.
    Title,
}

impl Sort {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "-created_at",
            Self::Start => "start_date",
            Self::Updated => "-updated_at",
            Self::Title => "title",
        }
    }
}

/// What a list is asked for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The most trips of a page: 1 to [`PAGE_MAX`].
    pub limit: u16,
    /// In which order.
    pub sort: Sort,
    /// Only those that stand so.
    pub status: Option<Status>,
    /// Only those in whose title, destination or notes this stands.
    pub q: Option<String>,
    /// Only those that start on this day or later.
    pub starts_from: Option<NaiveDate>,
    /// Only those that start on this day or earlier.
    pub starts_until: Option<NaiveDate>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A list that can be had: what was asked for makes sense.
#[derive(Debug, Clone)]
pub struct Listing {
    pub(super) owner: Uuid,
    pub(super) limit: u16,
    pub(super) sort: Sort,
    pub(super) filter: Filter,
    pub(super) after: Option<Position>,
}

/// What a list is narrowed to, as the database compares it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) status: Option<Status>,
    /// Folded.
    pub(super) q: Option<String>,
    pub(super) starts_from: Option<i64>,
    pub(super) starts_until: Option<i64>,
}

impl Filter {
    /// A list of trips that have a first day.
    pub(super) fn starts(&self) -> Option<(i64, i64)> {
        let asked = self.starts_from.is_some() || self.starts_until.is_some();
        asked.then(|| {
            (self.starts_from.unwrap_or(i64::MIN), self.starts_until.unwrap_or(NO_START).min(NO_START - 1))
        })
    }
}

impl Listing {
    /// What distinguishes this list from all others, whatever the page: none of two has the same.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        let Filter { status, q, starts_from, starts_until } = &self.filter;
        let day = |day: &Option<i64>| day.map_or_else(String::new, |day| day.to_string());
        let mut name = Vec::with_capacity(64);
        let parts: [&str; 5] = [
            self.sort.name(),
            status.map_or("", Status::name),
            &day(starts_from),
            &day(starts_until),
            // None is not the empty text, but that is searched for by nobody.
            q.as_deref().unwrap_or_default(),
        ];
        for part in parts {
            name.extend_from_slice(part.as_bytes());
            // In no part: texts are folded, which leaves no control character.
            name.push(0);
        }
        name
    }
}

/// Some of the owner's trips.
#[derive(Debug, Clone)]
pub struct Page {
    /// At most as many as were asked for.
    pub items: Vec<Trip>,
    /// Where the next page begins, if there is one; for the same owner and list alone.
    pub next: Option<String>,
    /// Names this page in the state that it was read in.
    pub tag: String,
}

/// Without case, accents and control characters; words are a blank apart.
pub(super) fn fold(text: &str) -> String {
    let is_accent = |letter: &char| ('\u{300}'..='\u{36f}').contains(letter);
    let letters = text.nfd().filter(|letter| !is_accent(letter)).flat_map(char::to_lowercase);
    let folded: String = letters
        .map(|letter| match letter {
            'ς' => 'σ',
            letter if letter.is_control() => ' ',
            letter => letter,
        })
        .filter(|letter| !is_accent(letter))
        .nfc()
        .collect();
    folded.replace('ß', "ss").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The forms in which a trip is found and sorted.
#[derive(Debug)]
pub(super) struct SortKeys {
    pub(super) start: i64,
    pub(super) title: String,
    pub(super) search: String,
}

impl SortKeys {
    pub(super) fn of(draft: &TripFields) -> Self {
        let title = fold(&draft.title);
        let mut search = title.clone();
        for text in [&draft.destination, &draft.notes].into_iter().flatten() {
            // In no folded text, so nothing is found across the two.
            search.push('\n');
            search.push_str(&fold(text));
        }
        let title: String = title.chars().take(TITLE_MAX).collect();
        // The cut may have left a blank at the end, which not all databases tell from none.
        Self { start: start_key(draft.start_date), title: title.trim_end().to_owned(), search }
    }
}

/// Days since 1970, so that all databases compare them alike.
pub(super) fn start_key(day: Option<NaiveDate>) -> i64 {
    day.map_or(NO_START, days)
}

fn days(day: NaiveDate) -> i64 {
    i64::from(day.num_days_from_ce()) - i64::from(NaiveDate::default().num_days_from_ce())
}

impl Trips {
    /// The list that is asked for.
    ///
    /// # Errors
    ///
    /// [`TripsError::BadCursor`]; [`TripsError::EmptySearch`] if `q` has no letter in it.
    pub fn listing(&self, owner: Uuid, query: Query) -> Result<Listing, TripsError> {
        let q = query.q.as_deref().map(fold);
        if q.as_ref().is_some_and(String::is_empty) {
            return Err(TripsError::EmptySearch);
        }
        let filter = Filter {
            status: query.status,
            q,
            starts_from: query.starts_from.map(days),
            starts_until: query.starts_until.map(days),
        };
        let limit = query.limit.clamp(1, PAGE_MAX);
        let mut listing = Listing { owner, limit, sort: query.sort, filter, after: None };
        if let Some(cursor) = query.cursor {
            let position = Position::decode(&cursor, &listing, &self.cursors);
            listing.after = Some(position.ok_or(TripsError::BadCursor)?);
        }
        Ok(listing)
    }

    /// The tag that a page of this list has at this moment, without reading the page.
    ///
    /// # Errors
    ///
    /// [`TripsError::Store`].
    pub async fn tag(&self, listing: &Listing) -> Result<String, TripsError> {
        let changes = self.counters.get(listing.owner).await?;
        Ok(self.tag_at(listing, changes.unwrap_or(0)))
    }

    /// The page after the listing's cursor.
    ///
    /// # Errors
    ///
    /// [`TripsError::Store`].
    pub async fn list(&self, listing: Listing) -> Result<Page, TripsError> {
        let found = self.db.read(listing.clone(), |tx, listing| store::page(tx, listing).boxed()).await;
        let store::Found { trips, changes, last } = found.map_err(TripsError::Store)?;
        let next = last.map(|position| position.encode(&listing, &self.cursors));
        Ok(Page { items: trips, next, tag: self.tag_at(&listing, changes) })
    }

    /// How the database would read this page, in its own words: for whoever wants to know what it costs.
    ///
    /// # Errors
    ///
    /// [`TripsError::Store`].
    pub async fn explain(&self, listing: Listing) -> Result<String, TripsError> {
        let plan = self.db.read(listing, |tx, listing| store::explain(tx, listing).boxed()).await;
        plan.map_err(TripsError::Store)
    }

    /// The owner's changes, and what distinguishes this page from all others that there are. Another
    /// version of the program may write the same trips otherwise.
    fn tag_at(&self, listing: &Listing, changes: i64) -> String {
        let mut name = listing.fingerprint();
        name.extend_from_slice(listing.owner.as_bytes());
        name.extend_from_slice(&listing.limit.to_be_bytes());
        name.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
        if let Some(position) = &listing.after {
            name.push(0);
            name.extend(position.bytes());
        }
        let code = self.cursors.code(&name);
        let short = code.as_ref().iter().take(8).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        format!("{changes}-{short:x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_and_accents_don_t_count() {
        for (text, folded) in [
            ("Évora", "evora"),
            ("E\u{301}VORA", "evora"),
            ("São Tomé e Príncipe", "sao tome e principe"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδός", "οδοσ"),
            ("İstanbul", "istanbul"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("  a\t\u{0}b\r\nc ", "a b c"),
            ("서울", "서울"),
            ("が", "が"),
            ("100%_\\", "100%_\\"),
            ("\u{301}", ""),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing_more(text in "\\PC{0,20}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn days_are_in_order(one in 0..3_652_000_i32, other in 0..3_652_000_i32) {
            let day = |number| NaiveDate::from_num_days_from_ce_opt(number + 1);
            prop_assert_eq!(start_key(day(one)).cmp(&start_key(day(other))), one.cmp(&other));
            prop_assert!(start_key(day(one)) < start_key(None));
        }
    }
}
