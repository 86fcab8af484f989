//! The HTTP operations that synchronize an app: the change feed, and the upload of offline operations.

use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Mutation, OPERATIONS_MAX, Operation, Outcome, SyncError};
use crate::audit;
use crate::sync::Sync;
use crate::trips::api::{TripBody, UpdateTrip, offending_date, to_problem};
use crate::trips::{Change, Patch, Trips, TripsError};
use crate::web::Tag;
use crate::web::batch::{Batch, BatchBody, Item};
use crate::web::caller::{Caller, TripsRead, TripsWrite};
use crate::web::examples;
use crate::web::idempotency_key::reused;
use crate::web::json::Json;
use crate::web::path_id::{AnyId, BodyId};
use crate::web::problem::{FieldError, Problem, ProblemBody, ProblemCode, ProblemResponse};

/// The last change of a resource. `trip` is its current state; it is absent if the trip was deleted.
#[derive(Debug, Object, Serialize)]
struct SyncChange {
    /// Kind of the resource: `trip`. The list may grow. Ignore unknown kinds.
    kind: String,
    /// Id of the resource.
    id: Uuid,
    /// `upsert`: the trip was created or changed. Store `trip`, whether or not the app has this trip already.
    /// `delete`: the trip was deleted. Delete it if the app has it. The list may grow.
    op: String,
    /// Version of the trip. For a deleted trip, its last version plus 1.
    version: i64,
    /// Current trip. Absent if it does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    trip: Option<TripBody>,
}

impl From<Change> for SyncChange {
    fn from(change: Change) -> Self {
        Self {
            kind: "trip".to_owned(),
            id: change.id,
            op: if change.trip.is_some() { "upsert" } else { "delete" }.to_owned(),
            version: change.version,
            trip: change.trip.map(TripBody::from),
        }
    }
}

/// A page of the change feed.
#[derive(Debug, Object, Serialize)]
struct SyncChanges {
    /// Changes in the order in which they happened. Each trip occurs only with its last change.
    changes: Vec<SyncChange>,
    /// Cursor of the next page. Store it together with the changes, and send it as `cursor` in the next
    /// request.
    next_cursor: String,
    /// Whether more changes are available now. Do not go by the number of changes: pages with large trips are
    /// shorter than `limit`.
    has_more: bool,
}

impl Example for SyncChanges {
    fn example() -> Self {
        let change = |id, op: &str, version, trip| SyncChange {
            kind: "trip".to_owned(),
            id,
            op: op.to_owned(),
            version,
            trip,
        };
        let deleted_id = Uuid::from_u128(0x019c_adb9_b1c2_7000_85e7_41d9_c02f_6a7e);
        let (created, deleted) = (
            change(examples::TRIP, "upsert", 2, Some(TripBody::example())),
            change(deleted_id, "delete", 2, None),
        );
        Self {
            changes: vec![created, deleted],
            next_cursor: "AAAAAAAAAAQBnK25UCh-SYvR7Hq3zA0xWm".to_owned(),
            has_more: false,
        }
    }
}

/// What an operation does with a trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum SyncVerb {
    /// Creates the trip.
    Create,
    /// Changes the trip.
    Update,
    /// Deletes the trip.
    Delete,
}

/// An operation that was done offline. `trip` is the whole trip without its id for `create`, and a JSON Merge
/// Patch (RFC 7396) for `update`, in which `stops` replaces all stops. It is absent for `delete`.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct SyncOperation {
    /// Id of the operation: a UUID that the app generates, the same in every attempt. The operation is
    /// applied once.
    op_id: AnyId,
    /// Kind of the operation.
    op: SyncVerb,
    /// Id of the trip. For `create`, it is a UUIDv7 that the app has generated.
    id: AnyId,
    /// `version` that the trip had when the user changed or deleted it. Required for `update` and `delete`.
    /// An operation that builds on an earlier one in the same request names the version that results from the
    /// earlier one: one more. If the earlier one is not applied, this one is a `conflict`.
    #[oai(validator(minimum(value = "1")))]
    base_version: Option<i64>,
    /// For `create`, the whole trip without its id. For `update`, a merge patch (RFC 7396), in which `stops`
    /// replaces all stops. Absent for `delete`.
    trip: Option<UpdateTrip>,
}

/// The operations that were done offline.
#[derive(Debug, Object)]
struct SyncOperations {
    /// Operations in the order in which they were done, at most 500. Each has its own result.
    #[oai(validator(max_items = 500))]
    operations: Vec<SyncOperation>,
}

/// The id of the operation in the examples.
const OP_ID: Uuid = Uuid::from_u128(0x1b9d_6bcd_bbfd_4b2d_9b5d_ab8d_fbbd_4bed);

impl BatchBody for SyncOperations {
    type Operation = SyncOperation;
    const MAX_OPERATIONS: usize = OPERATIONS_MAX;
}

impl Example for SyncOperations {
    fn example() -> Self {
        let operation = SyncOperation {
            op_id: BodyId(OP_ID),
            op: SyncVerb::Update,
            id: BodyId(examples::TRIP),
            base_version: Some(1),
            trip: Some(UpdateTrip::example()),
        };
        Self { operations: vec![operation] }
    }
}

/// The result of an operation. `trip` is the current trip; it is absent if there is none, and if the
/// operation was rejected. `problem` gives the reason of a rejection; the pointers in its `errors` refer to
/// the operation.
#[derive(Debug, Object, Serialize)]
struct SyncResult {
    /// `op_id` of the operation.
    op_id: String,
    /// `applied`: the operation was applied. `duplicate`: an earlier request within 7 days applied it, and it
    /// was not repeated. `conflict`: it was not applied, because the trip does not have `base_version`,
    /// because the trip of a `create` exists already, or because an operation that it builds on was not
    /// applied. `rejected`: it was not applied, for the reason in `problem`. The list may grow. Keep an
    /// operation whose status is unknown.
    status: String,
    /// Current trip. Absent if it does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    trip: Option<TripBody>,
    /// Reason of the rejection; the pointers in its `errors` refer to the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// The results of the operations.
#[derive(Debug, Object, Serialize)]
struct SyncResults {
    /// One result for each operation, in the same order. The list ends early if its trips would exceed 8 MiB.
    /// Operations without a result were not processed: send them again, except those on a trip of which an
    /// earlier operation was not applied.
    results: Vec<SyncResult>,
}

impl Example for SyncResults {
    fn example() -> Self {
        let applied = SyncResult {
            op_id: OP_ID.to_string(),
            status: "applied".to_owned(),
            trip: Some(TripBody::example()),
            problem: None,
        };
        Self { results: vec![applied] }
    }
}

impl SyncResult {
    /// Creates the result of an operation that was processed. `offending_date` is the pointer of an error
    /// about the order of the two dates.
    fn from_outcome(op_id: String, outcome: Outcome, offending_date: &str) -> Self {
        let (status, trip, problem) = match outcome {
            Outcome::Applied(trip) => ("applied", trip, None),
            Outcome::Duplicate(trip) => ("duplicate", trip, None),
            Outcome::Conflict(trip) => ("conflict", trip, None),
            Outcome::Rejected(error @ TripsError::Invalid(_)) => {
                ("rejected", None, Some(to_problem(error, offending_date).under("/trip")))
            }
            Outcome::Rejected(error) => ("rejected", None, Some(error.into())),
            Outcome::OperationIdReused => ("rejected", None, Some(reused("/op_id"))),
            // `SyncResult::rejected` reports the errors.
            Outcome::Unreadable => ("rejected", None, None),
        };
        let problem = problem.map(|problem| problem.body(&audit::request_id()));
        Self { op_id, status: status.to_owned(), trip: trip.map(TripBody::from), problem }
    }

    fn rejected(op_id: String, errors: Vec<FieldError>) -> Self {
        let problem = Problem::invalid(errors).body(&audit::request_id());
        Self { op_id, status: "rejected".to_owned(), trip: None, problem: Some(problem) }
    }
}

/// Returns the mutation, or the errors that the schema can't express.
fn parse_mutation(
    op: SyncVerb,
    base: Option<i64>,
    trip: Option<UpdateTrip>,
    trips: &Trips,
) -> Result<Mutation, Vec<FieldError>> {
    let mut errors = Vec::new();
    if trip.is_none() && op != SyncVerb::Delete {
        errors.push(FieldError::new("/trip", "required", "Trip is required to create or update a trip."));
    }
    if trip.is_some() && op == SyncVerb::Delete {
        errors.push(FieldError::new("/trip", "not_allowed", "Trip must be absent when a trip is deleted."));
    }
    if base.is_none() && op != SyncVerb::Create {
        let detail = "Base version is required to update or delete a trip.";
        errors.push(FieldError::new("/base_version", "required", detail));
    }
    if base.is_some() && op == SyncVerb::Create {
        errors.push(FieldError::new(
            "/base_version",
            "not_allowed",
            "Base version must be absent when a trip is created.",
        ));
    }
    if op == SyncVerb::Create && trip.as_ref().is_some_and(|trip| !trip.has_title()) {
        errors.push(FieldError::new("/trip/title", "required", "Title is required to create a trip."));
    }
    let patch = match trip.map(|trip| trip.check(trips)).transpose() {
        Ok(patch) => patch.unwrap_or_default(),
        Err(trip_errors) => {
            errors.extend(trip_errors.into_iter().map(|error| error.under("/trip")));
            Patch::default()
        }
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(match op {
        SyncVerb::Create => Mutation::Create(patch),
        SyncVerb::Update => Mutation::Update(patch),
        SyncVerb::Delete => Mutation::Delete,
    })
}

/// What the result of an operation depends on besides its outcome.
enum Parsed {
    /// The pointer of an error about the order of the two dates.
    Valid(&'static str),
    /// The errors of an invalid operation.
    Invalid(Vec<FieldError>),
}

/// Parses an operation. An invalid one takes part too, so that the operations that build on it fail.
fn parse_operation(item: Item<SyncOperation>, trips: &Trips) -> (Operation, Parsed) {
    let Item { op_id, digest, checked, .. } = item;
    let invalid = |id, base, errors| {
        (Operation { op_id, digest, id, base, mutation: Mutation::Unreadable }, Parsed::Invalid(errors))
    };
    let SyncOperation { op, id: BodyId(id), base_version, trip, .. } = match checked {
        Ok(operation) => operation,
        Err((value, errors)) => {
            let id = value.get("id").and_then(Value::as_str).and_then(|id| Uuid::try_parse(id).ok());
            let base = value.get("base_version").and_then(Value::as_i64);
            return invalid(id.unwrap_or_default(), base.unwrap_or_default(), errors);
        }
    };
    let base = base_version.unwrap_or_default();
    match parse_mutation(op, base_version, trip, trips) {
        Ok(mutation) => {
            let offending_date =
                if let Mutation::Update(patch) = &mutation { offending_date(patch) } else { "/end_date" };
            (Operation { op_id, digest, id, base, mutation }, Parsed::Valid(offending_date))
        }
        Err(errors) => invalid(id, base, errors),
    }
}

impl From<SyncError> for Problem {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::InvalidCursor => Self::new(
                ProblemCode::InvalidCursor,
                "The list can't be continued from here. Please load it again.",
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
    /// Returns everything of the user that changed since the cursor, including deletions. Without a cursor,
    /// returns all trips, and the deletions of the last 180 days. An app that stores trips on the device
    /// calls this when it starts, comes to the foreground, or is online again. While `has_more` is true,
    /// request the next page. No change is missing or repeated, however many devices write at the same time.
    ///
    /// - 400 `invalid_cursor`: the cursor is not one of this feed and this user. Start again without a
    ///   cursor.
    /// - 410 `resync_required`: the cursor is older than 180 days. Start again without a cursor, and delete
    ///   the local trips that the feed does not contain.
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
    /// Applies the operations that an app recorded while it was offline, in order. Each has its own result,
    /// so 200 does not mean that all were applied: check each `status`. No operation overwrites a version
    /// that the app has not seen: `update` and `delete` name the version that they are based on, and are a
    /// `conflict` if the trip has another version now. A `delete` of a trip that is already deleted is
    /// `applied`.
    ///
    /// If the response is lost, send the same request again. Within 7 days, an operation is applied once,
    /// however often it is sent. An operation that was not applied is decided again, and no operation that
    /// builds on it is applied either. The body can have up to 4 MiB.
    ///
    /// - 413 `content_too_large`: the body has more than 4 MiB. Send fewer operations.
    /// - 422 `invalid`: the body is not a list of operations with an `op_id`. No operation was applied.
    #[oai(path = "/sync", method = "post", operation_id = "send_operations")]
    async fn send(
        &self,
        caller: Caller<TripsWrite>,
        body: Batch<SyncOperations>,
    ) -> Result<Json<SyncResults>, ProblemResponse> {
        let (mut operations, mut parsed) = (Vec::new(), Vec::new());
        for item in body.0 {
            let op_id = item.raw_op_id.clone();
            let (operation, result) = parse_operation(item, &self.trips);
            operations.push(operation);
            parsed.push((op_id, result));
        }
        let outcomes = self.sync.apply(caller.user(), operations).await?;
        let result = |((op_id, parsed), outcome)| match parsed {
            Parsed::Valid(offending_date) => SyncResult::from_outcome(op_id, outcome, offending_date),
            Parsed::Invalid(errors) => SyncResult::rejected(op_id, errors),
        };
        Ok(Json(SyncResults { results: parsed.into_iter().zip(outcomes).map(result).collect() }))
    }
}

fn default_limit() -> u16 {
    100
}
