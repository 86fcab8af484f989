//! Lists of trips: filters, search, sort order and pages.
//!
//! Every list contains the trips of one owner. Search and the order of titles ignore case and accents on
//! every database, because they compare a folded form of the texts (without case and accents), which is
//! stored with the trip.

use bytes::Bytes;
use futures_util::FutureExt;
use search_index::fold;
use uuid::Uuid;

use super::page_cache::{CachedPage, Moment, PageKey};
use super::query::{Filter, Listing, Query};
use super::sort_keys::days;
use super::{BorrowedTrip, PAGE_MAX, Trips, TripsError, cursor, store};

/// A page of the owner's trips as JSON.
#[derive(Debug, Clone)]
pub struct RenderedPage {
    /// The page.
    pub json: Bytes,
    /// The cursor of the next page, if there is one; valid only for the same owner and list.
    pub next: Option<String>,
    /// The entity tag of this page, for the state that was read.
    pub etag: String,
}

/// The change counter of an owner, and the entity tag of a page at this value.
#[derive(Debug, Clone)]
pub struct PageState {
    /// The entity tag of the page.
    pub etag: String,
    /// The owner's change counter.
    changes: i64,
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

    /// Returns the current state of the page without reading the page.
    ///
    /// # Errors
    ///
    /// [`TripsError::Store`].
    pub async fn page_state(&self, listing: &Listing) -> Result<PageState, TripsError> {
        let changes = self.change_counter(listing.owner).await?;
        Ok(PageState { etag: etag(&self.page_key(listing), changes), changes })
    }

    /// Returns the page after the cursor of `listing` as JSON. Returns a cached page if there is one and no
    /// trip of the owner has changed since the page was read. Otherwise, reads the page and renders it with
    /// `to_json`. `state` is the current state of the page, if the request has already read the state.
    ///
    /// # Errors
    ///
    /// [`TripsError::Store`]; [`TripsError::CorruptStops`] if `to_json` fails; for a search also
    /// [`TripsError::SearchTimedOut`] and [`TripsError::TooManySearches`].
    pub async fn rendered_page<F>(
        &self,
        listing: Listing,
        state: Option<PageState>,
        to_json: F,
    ) -> Result<RenderedPage, TripsError>
    where
        F: FnOnce(Vec<BorrowedTrip<'_>>, Option<&str>) -> Result<Vec<u8>, serde_json::Error>,
    {
        let key = self.page_key(&listing);
        let is_cacheable = listing.filter.q.is_none() && self.pages.is_on();
        // Query the counter only if the cache has the page.
        if is_cacheable && let Some(page) = self.pages.find(&key, self.moment()) {
            let changes = match state {
                Some(state) => state.changes,
                None => self.change_counter(key.owner).await?,
            };
            if self.pages.is_current(&key, &page, changes, self.db.opened_connections()) {
                let (json, next) = page.content();
                return Ok(RenderedPage { json, next, etag: etag(&key, changes) });
            }
        }
        let read_at = self.moment();
        let (found, next) = self.read_page(listing).await?;
        let (changes, trips) = (found.changes, found.trips().collect::<Result<_, _>>()?);
        let json = to_json(trips, next.as_deref()).map_err(TripsError::CorruptStops)?;
        let etag = etag(&key, changes);
        if is_cacheable && self.pages.should_store(&key, json.len()) {
            let page = CachedPage::new(changes, json, next, read_at);
            let (json, next) = page.content();
            self.pages.store(key, page);
            return Ok(RenderedPage { json, next, etag });
        }
        Ok(RenderedPage { json: json.into(), next, etag })
    }

    /// Reads the page after the cursor of `listing`. Returns the page, and the cursor of the next page.
    async fn read_page(&self, listing: Listing) -> Result<(store::FoundPage, Option<String>), TripsError> {
        let found = if let Some(q) = listing.filter.q.clone() {
            self.searches.run(&self.db, listing.clone(), q).await?
        } else {
            let read = self.db.read(listing.clone(), |tx, listing| store::page(tx, listing, None).boxed());
            read.await.map_err(TripsError::Store)?
        };
        let next = found.last.as_ref().map(|position| cursor::encode(position, &listing, &self.cursors));
        Ok((found, next))
    }

    /// Returns the size of all cached pages, in bytes.
    pub fn cached_page_bytes(&self) -> u64 {
        self.pages.bytes()
    }

    fn moment(&self) -> Moment {
        Moment { time: self.clock.monotonic(), connections: self.db.opened_connections() }
    }

    async fn change_counter(&self, owner: Uuid) -> Result<i64, TripsError> {
        Ok(self.counters.get(owner).await?.unwrap_or_default().changes)
    }

    /// Returns the database's query plans for the statements that read the page of `listing`.
    ///
    /// # Errors
    ///
    /// [`TripsError::Store`].
    pub async fn explain(&self, listing: Listing) -> Result<String, TripsError> {
        let plan = self.db.read(listing, |tx, listing| store::explain(tx, listing).boxed()).await;
        plan.map_err(TripsError::Store)
    }

    /// Returns the key of the page: the owner, and a MAC over everything that identifies the page. The MAC
    /// includes the version of the program, because another version may serialize the same trips differently.
    fn page_key(&self, listing: &Listing) -> PageKey {
        let mut page_id = listing.fingerprint();
        page_id.extend_from_slice(listing.owner.as_bytes());
        page_id.extend_from_slice(&listing.limit.to_be_bytes());
        page_id.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
        if let Some(position) = &listing.after {
            page_id.push(0);
            page_id.extend(position.to_bytes());
        }
        let tag = self.cursors.tag(&page_id);
        let mut mac = [0; 32];
        for (to, from) in mac.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        PageKey { owner: listing.owner, mac }
    }
}

/// Returns the entity tag of a page: the owner's change counter, and a part of the MAC that identifies the
/// page.
fn etag(key: &PageKey, changes: i64) -> String {
    format!("{changes}-{:x}", key.mac_word::<0>())
}
