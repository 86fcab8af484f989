//! The HTTP operations that synchronize an app: the change feed, and the upload of offline operations.

mod operations;
mod responses;

use poem_openapi::OpenApi;
use poem_openapi::param::Query;

use self::operations::{Parsed, SyncOperations, parse_operation};
use self::responses::{SyncChange, SyncChanges, SyncResult, SyncResults};
use super::SyncError;
use crate::sync::Sync;
use crate::trips::Trips;
use crate::web::Tag;
use crate::web::batch::{Batch, Item};
use crate::web::caller::{Caller, TripsRead, TripsWrite};
use crate::web::json::Json;
use crate::web::problem::{Problem, ProblemCode, ProblemResponse};

impl From<SyncError> for Problem {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::InvalidCursor => Self::new(
                ProblemCode::InvalidCursor,
                "The list cannot be continued from here. Please load it again.",
            ),
            SyncError::CursorTooOld => Self::new(
                ProblemCode::ResyncRequired,
                "This device was offline for too long. Please load all trips again.",
            ),
            SyncError::Trips(error) => error.into(),
            SyncError::Store(error) => error.into(),
        }
    }
}

/// The number of field errors in one response after which each further invalid operation lists only one
/// error.
const MAX_RESPONSE_ERRORS: usize = 1000;

/// The operations that download and upload changes.
#[derive(Debug)]
pub struct SyncApi {
    sync: Sync,
    trips: Trips,
}

impl SyncApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(sync: &Sync, trips: &Trips) -> Self {
        Self { sync: sync.clone(), trips: trips.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Sync")]
impl SyncApi {
    /// Get changes
    ///
    /// For each of the user's trips that was changed or deleted after the position of the cursor, returns the last
    /// change. Without a cursor, returns all trips, and the deletions of the last 180 days. An app that stores
    /// trips on the device calls this operation when it starts, comes to the foreground, or is online again. While
    /// `has_more` is true, request the next page. No changed trip is missing, however many devices write at the same
    /// time.
    ///
    /// - 400 `invalid_cursor`: the cursor belongs to another list or another user. Start again without a
    ///   cursor.
    /// - 410 `resync_required`: the cursor is older than 180 days, the server no longer stores all deletions
    ///   since the cursor was issued, or the database was restored from a backup. Start again without a
    ///   cursor, and delete the local trips that the feed does not contain. Keep the offline
    ///   operations that the app has not sent yet.
    #[oai(path = "/sync", method = "get", operation_id = "get_changes")]
    async fn changes(
        &self,
        caller: Caller<TripsRead>,
        /// `next_cursor` of the previous response. Without it, the feed begins at the start.
        cursor: Query<Option<String>>,
        /// Maximum number of changes on the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "500")))]
        limit: Query<u16>,
    ) -> Result<Json<SyncChanges>, ProblemResponse<410>> {
        let page = self.sync.changes(caller.user(), cursor.0.as_deref(), limit.0).await?;
        let changes = page.changes.into_iter().map(SyncChange::from).collect();
        Ok(Json(SyncChanges { changes, next_cursor: page.next, has_more: page.has_more }))
    }

    /// Send offline operations
    ///
    /// Applies, in order, the operations that an app recorded while it was offline. Each operation has its
    /// own result, so 200 does not mean that all were applied: check each `status`. No operation overwrites a
    /// version that the app has not seen: `update` and `delete` name the version that they are based on, and
    /// result in a `conflict` if the trip has another version now. A `delete` of a trip that is already
    /// deleted is `applied`.
    ///
    /// If the response is lost, send the same request again. For 7 days after an operation was applied, it is
    /// not applied again, however often it is sent. An operation that was not applied is processed again when
    /// it is sent again. If an operation is not applied, the operations that build on it are not applied
    /// either. The body has at most 4 MiB.
    ///
    /// - 413 `content_too_large`: the body has more than 4 MiB. Send fewer operations.
    /// - 422 `invalid`: the body has no list `operations`, the list is too long, or an operation has no valid
    ///   `op_id`. No operation was applied.
    /// - 503 `overloaded`: many large requests arrive at the same time. Repeat the request after `Retry-After`
    ///   seconds.
    #[oai(path = "/sync", method = "post", operation_id = "send_operations")]
    async fn send(
        &self,
        caller: Caller<TripsWrite>,
        body: Batch<SyncOperations>,
    ) -> Result<Json<SyncResults>, ProblemResponse> {
        let (user, trips, mut room) = (caller.user(), self.trips.clone(), MAX_RESPONSE_ERRORS);
        let convert = move |item: Item<_>| {
            let op_id = item.raw_op_id.clone();
            let (operation, mut parsed) = parse_operation(item, &trips);
            parsed.limit_errors(&mut room);
            (operation, (op_id, parsed))
        };
        let (parsed, _admission) = body.parse(user, convert).await?;
        let (operations, parsed): (Vec<_>, Vec<_>) = parsed.into_iter().unzip();
        let outcomes = self.sync.apply(user, operations).await?;
        let result = |((op_id, parsed), outcome)| match parsed {
            Parsed::Valid(offending_date) => {
                SyncResult::from_outcome(op_id, outcome, offending_date, caller.can_read_trips())
            }
            Parsed::Invalid(problem) => SyncResult::rejected(op_id, &problem),
        };
        Ok(Json(SyncResults { results: parsed.into_iter().zip(outcomes).map(result).collect() }))
    }
}

fn default_limit() -> u16 {
    100
}
