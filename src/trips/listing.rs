//! Lists of trips: filters, search, sort order and pages.
//!
//! Every list contains the trips of one owner. Search and the order of titles ignore case and accents on
//! every database, because they compare a folded form of the texts (without case and accents), which is
//! stored with the trip.

use futures_util::FutureExt;
use search_index::fold;
use uuid::Uuid;

use super::query::{Filter, Listing, Query};
use super::sort_keys::days;
use super::{PAGE_MAX, Trip, Trips, TripsError, cursor, store};

/// A page of the owner's trips.
#[derive(Debug, Clone)]
pub struct Page {
    /// The trips, at most `limit`.
    pub items: Vec<Trip>,
    /// The cursor of the next page, if there is one; valid only for the same owner and list.
    pub next: Option<String>,
    /// The entity tag of this page, for the state that was read.
    pub etag: String,
}

impl Trips {
    /// Validates a list request.
    ///
    /// # Errors
    ///
    /// [`TripsError::InvalidCursor`]; [`TripsError::EmptySearch`] if `q` is empty after folding.
    pub fn listing(&self, owner: Uuid, query: Query) -> Result<Listing, TripsError> {
        let q = query.q.as_deref().map(fold);
        if q.as_ref().is_some_and(String::is_empty) {
            return Err(TripsError::EmptySearch);
        }
        let mut statuses = query.statuses;
        statuses.sort_unstable();
        statuses.dedup();
        let filter = Filter {
            statuses,
            q,
            starts_from: query.starts_from.map(days),
            starts_until: query.starts_until.map(days),
        };
        let limit = query.limit.clamp(1, PAGE_MAX);
        let mut listing = Listing { owner, limit, sort: query.sort, filter, after: None };
        if let Some(cursor) = query.cursor {
            let position = cursor::decode(&cursor, &listing, &self.cursors);
            listing.after = Some(position.ok_or(TripsError::InvalidCursor)?);
        }
        Ok(listing)
    }

    /// Returns the current entity tag of the page without reading the page.
    ///
    /// # Errors
    ///
    /// [`TripsError::Store`].
    pub async fn etag(&self, listing: &Listing) -> Result<String, TripsError> {
        let counter = self.counters.get(listing.owner).await?;
        Ok(self.etag_at(listing, counter.unwrap_or_default().changes))
    }

    /// Returns the page after the cursor of `listing`.
    ///
    /// # Errors
    ///
    /// [`TripsError::Store`]; for a search also [`TripsError::SearchTimedOut`] and
    /// [`TripsError::TooManySearches`].
    pub async fn list(&self, listing: Listing) -> Result<Page, TripsError> {
        let found = if let Some(q) = listing.filter.q.clone() {
            self.searches.run(&self.db, listing.clone(), q).await?
        } else {
            let read = self.db.read(listing.clone(), |tx, listing| store::page(tx, listing, None).boxed());
            read.await.map_err(TripsError::Store)?
        };
        let store::FoundPage { trips, changes, last } = found;
        let next = last.map(|position| cursor::encode(&position, &listing, &self.cursors));
        Ok(Page { items: trips, next, etag: self.etag_at(&listing, changes) })
    }

    /// Returns the database's query plan for this page.
    ///
    /// # Errors
    ///
    /// [`TripsError::Store`].
    pub async fn explain(&self, listing: Listing) -> Result<String, TripsError> {
        let plan = self.db.read(listing, |tx, listing| store::explain(tx, listing).boxed()).await;
        plan.map_err(TripsError::Store)
    }

    /// Returns the entity tag: the owner's change counter, and a MAC over everything that identifies the
    /// page. The MAC includes the version of the program, because another version may serialize the same
    /// trips differently.
    fn etag_at(&self, listing: &Listing, changes: i64) -> String {
        let mut page_id = listing.fingerprint();
        page_id.extend_from_slice(listing.owner.as_bytes());
        page_id.extend_from_slice(&listing.limit.to_be_bytes());
        page_id.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
        if let Some(position) = &listing.after {
            page_id.push(0);
            page_id.extend(position.to_bytes());
        }
        let mac = self.cursors.tag(&page_id);
        let short_mac = mac.as_ref().iter().take(8).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        format!("{changes}-{short_mac:x}")
    }
}
