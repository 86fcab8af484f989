//! Sync over HTTP.

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

/// What became of something.
#[derive(Debug, Object, Serialize)]
struct SyncChange {
    /// What it is: `trip`. The list may grow; skip what you don't know.
    kind: String,
    /// Its id.
    id: Uuid,
    /// `upsert`: it is as `trip` says, whether or not you have it. `delete`: it is gone, whether or not you
    /// had it. The list may grow.
    op: String,
    /// The version that it has, or would have.
    version: i64,
    /// The trip as it is. Absent if it was deleted.
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

/// A piece of the feed of changes.
#[derive(Debug, Object, Serialize)]
struct SyncChanges {
    /// In the order in which they happened; each trip stands at its last change alone.
    changes: Vec<SyncChange>,
    /// Keep it, together with what you made of these changes, and send it as `cursor` next time.
    next_cursor: String,
    /// Whether there is more right now. Go by this: pieces of large trips end before `limit`.
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
        let gone = Uuid::from_u128(0x019c_adb9_b1c2_7000_85e7_41d9_c02f_6a7e);
        let (made, deleted) =
            (change(examples::TRIP, "upsert", 2, Some(TripBody::example())), change(gone, "delete", 2, None));
        Self {
            changes: vec![made, deleted],
            next_cursor: "AAAAAAAAAAQBnK25UCh-SYvR7Hq3zA0xWm".to_owned(),
            has_more: false,
        }
    }
}

/// What an app may have done to a trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum SyncVerb {
    /// Made it.
    Create,
    /// Changed it.
    Update,
    /// Deleted it.
    Delete,
}

/// Something that was done offline.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct SyncOperation {
    /// A UUID that you make for it, the same each time that you send it: it is applied once.
    op_id: AnyId,
    /// What was done.
    op: SyncVerb,
    /// The trip's id; that of a new one is a UUIDv7 that you have made.
    id: AnyId,
    /// The `version` that the trip had when it was changed or deleted: required for `update` and `delete`. An
    /// operation on what an earlier one of the same request leaves behind names the version after that: one
    /// more. If the earlier one is not applied, neither is this one: `conflict`.
    #[oai(validator(minimum(value = "1")))]
    base_version: Option<i64>,
    /// For `create` the whole trip but its id, for `update` a merge patch (RFC 7396): what is absent stays as it
    /// is, `null` clears it, and `stops` takes the place of all of them.
    trip: Option<UpdateTrip>,
}

/// What was done offline, in order.
#[derive(Debug, Object)]
struct SyncOperations {
    /// Each is decided on its own, after those before it.
    #[oai(validator(max_items = 500))]
    operations: Vec<SyncOperation>,
}

/// An operation of the examples.
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

/// What became of an operation.
#[derive(Debug, Object, Serialize)]
struct SyncResult {
    /// Of the operation.
    op_id: String,
    /// `applied`: done. `duplicate`: done before, within 7 days, and not again. `conflict`: not done, for the
    /// trip is not at `base_version`, there is one already that `create` was to make, or an operation was not
    /// done that this one was made on; `trip` is the server's, and absent if there is none. `rejected`: not
    /// done, for the reason in `problem`. The list may grow: keep an operation whose status you don't know.
    status: String,
    /// The trip as it is now. Absent if it is gone, and if the operation was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    trip: Option<TripBody>,
    /// Why it was rejected; pointers in its `errors` are into the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// What became of the operations.
#[derive(Debug, Object, Serialize)]
struct SyncResults {
    /// One for each operation, in the same order. It ends early where the trips in it would take more than
    /// 8 MiB: operations without a result were not looked at; send them again, but none
    /// of a trip of which an earlier one was not applied.
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
    /// `offending_date` is the date that was sent, of two in the wrong order.
    fn of(op_id: String, outcome: Outcome, offending_date: &str) -> Self {
        let (status, trip, problem) = match outcome {
            Outcome::Applied(trip) => ("applied", trip, None),
            Outcome::Duplicate(trip) => ("duplicate", trip, None),
            Outcome::Conflict(trip) => ("conflict", trip, None),
            Outcome::Rejected(error @ TripsError::Invalid(_)) => {
                ("rejected", None, Some(to_problem(error, offending_date).under("/trip")))
            }
            Outcome::Rejected(error) => ("rejected", None, Some(error.into())),
            Outcome::OperationIdReused => ("rejected", None, Some(reused("/op_id"))),
            // The caller knows what is wrong with it.
            Outcome::Unreadable => ("rejected", None, None),
        };
        let problem = problem.map(|problem| problem.body(&audit::request_id()));
        Self { op_id, status: status.to_owned(), trip: trip.map(TripBody::from), problem }
    }

    fn refused(op_id: String, faults: Vec<FieldError>) -> Self {
        let problem = Problem::invalid(faults).body(&audit::request_id());
        Self { op_id, status: "rejected".to_owned(), trip: None, problem: Some(problem) }
    }
}

/// What the operation does, or what no schema can say is wrong with it.
fn parse_mutation(
    op: SyncVerb,
    base: Option<i64>,
    trip: Option<UpdateTrip>,
    trips: &Trips,
) -> Result<Mutation, Vec<FieldError>> {
    let mut faults = Vec::new();
    if trip.is_none() && op != SyncVerb::Delete {
        faults.push(FieldError::new("/trip", "required", "Trip is required to create or update a trip."));
    }
    if trip.is_some() && op == SyncVerb::Delete {
        faults.push(FieldError::new("/trip", "not_allowed", "Trip must be absent when a trip is deleted."));
    }
    if base.is_none() && op != SyncVerb::Create {
        let detail = "Base version is required to update or delete a trip.";
        faults.push(FieldError::new("/base_version", "required", detail));
    }
    if base.is_some() && op == SyncVerb::Create {
        faults.push(FieldError::new(
            "/base_version",
            "not_allowed",
            "Base version must be absent when a trip is created.",
        ));
    }
    if op == SyncVerb::Create && trip.as_ref().is_some_and(|trip| !trip.has_title()) {
        faults.push(FieldError::new("/trip/title", "required", "Title is required to create a trip."));
    }
    let patch = match trip.map(|trip| trip.check(trips)).transpose() {
        Ok(patch) => patch.unwrap_or_default(),
        Err(more) => {
            faults.extend(more.into_iter().map(|fault| fault.under("/trip")));
            Patch::default()
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(match op {
        SyncVerb::Create => Mutation::Create(patch),
        SyncVerb::Update => Mutation::Update(patch),
        SyncVerb::Delete => Mutation::Delete,
    })
}

/// What is told of an operation, apart from what became of it.
enum Sent {
    /// Of two dates in the wrong order, the one that it sent.
    Readable(&'static str),
    /// What is wrong with it.
    Unreadable(Vec<FieldError>),
}

/// The operation, as far as it can be read.
fn read(item: Item<SyncOperation>, trips: &Trips) -> (Operation, Sent) {
    let Item { op_id, digest, checked, .. } = item;
    let unreadable = |id, base, faults| {
        (Operation { op_id, digest, id, base, mutation: Mutation::Unreadable }, Sent::Unreadable(faults))
    };
    let SyncOperation { op, id: BodyId(id), base_version, trip, .. } = match checked {
        Ok(operation) => operation,
        Err((value, faults)) => {
            let id = value.get("id").and_then(Value::as_str).and_then(|id| Uuid::try_parse(id).ok());
            let base = value.get("base_version").and_then(Value::as_i64);
            return unreadable(id.unwrap_or_default(), base.unwrap_or_default(), faults);
        }
    };
    let base = base_version.unwrap_or_default();
    match parse_mutation(op, base_version, trip, trips) {
        Ok(mutation) => {
            let offending_date =
                if let Mutation::Update(patch) = &mutation { offending_date(patch) } else { "/end_date" };
            (Operation { op_id, digest, id, base, mutation }, Sent::Readable(offending_date))
        }
        Err(faults) => unreadable(id, base, faults),
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

/// The operations of this room.
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
    /// Get what changed
    ///
    /// For an app that keeps trips on the phone, when it starts, comes to the foreground or is online again:
    /// everything of the caller's that changed since the cursor, also what was deleted; without a cursor all
    /// that there is, and what was deleted in the last 180 days. Ask again while `has_more`. Nothing is missed
    /// and nothing comes twice, however many devices write meanwhile.
    ///
    /// A cursor is good for 180 days; 410 `resync_required` after that: start again without one, and drop what
    /// does not come. 400 `invalid_cursor` if the cursor is not one of this feed and this user.
    #[oai(path = "/sync", method = "get", operation_id = "get_changes")]
    async fn changes(
        &self,
        caller: Caller<TripsRead>,
        /// `next_cursor` of the last answer. From the start if absent.
        cursor: Query<Option<String>>,
        /// The most changes to return.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "500")))]
        limit: Query<u16>,
    ) -> Result<Json<SyncChanges>, ProblemResponse<410>> {
        let piece = self.sync.changes(caller.user(), cursor.0.as_deref(), limit.0).await?;
        let changes = piece.changes.into_iter().map(SyncChange::from).collect();
        Ok(Json(SyncChanges { changes, next_cursor: piece.next, has_more: piece.has_more }))
    }

    /// Send what was done offline
    ///
    /// For an app that was used offline: each operation is decided on its own, in order, and has its own
    /// result, so 200 does not mean that all was done: look at each `status`. None overwrites what its app has
    /// not seen: `update` and `delete` name the version that they were made on, and are a `conflict` if the
    /// trip has another one by now. To delete what is gone already is `applied`.
    ///
    /// An operation is applied once, however often it is sent within 7 days; one that was not applied is
    /// decided anew, and nothing that was made on top of it is applied either. So send all of it again when
    /// the answer was lost. The body may have 4 MiB. 422 for the whole only if it is no list of operations
    /// that have an `op_id`; then none was done.
    #[oai(path = "/sync", method = "post", operation_id = "send_operations")]
    async fn send(
        &self,
        caller: Caller<TripsWrite>,
        body: Batch<SyncOperations>,
    ) -> Result<Json<SyncResults>, ProblemResponse> {
        let (mut operations, mut all) = (Vec::new(), Vec::new());
        for item in body.0 {
            let name = item.raw_op_id.clone();
            let (operation, sent) = read(item, &self.trips);
            operations.push(operation);
            all.push((name, sent));
        }
        let outcomes = self.sync.apply(caller.user(), operations).await?;
        let result = |((name, sent), outcome)| match sent {
            Sent::Readable(offending_date) => SyncResult::of(name, outcome, offending_date),
            Sent::Unreadable(faults) => SyncResult::refused(name, faults),
        };
        Ok(Json(SyncResults { results: all.into_iter().zip(outcomes).map(result).collect() }))
    }
}

fn default_limit() -> u16 {
    100
}
