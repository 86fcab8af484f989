//! The responses of sync: pages of the change feed, and the results of operations.

use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;
use uuid::Uuid;

use super::super::Outcome;
use super::operations::OP_ID;
use crate::audit;
use crate::metrics;
use crate::trips::api::{TripBody, to_problem};
use crate::trips::{Change, TripsError};
use crate::web::examples;
use crate::web::idempotency_key::reused;
use crate::web::problem::{Problem, ProblemBody, ProblemCode, grouped};

/// The last change of a resource. `trip` is the current state of the trip, and is absent if the trip was
/// deleted.
#[derive(Debug, Object, Serialize)]
pub(super) struct SyncChange {
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
pub(super) struct SyncChanges {
    /// Changes in the order in which they happened. Each trip occurs only with its last change.
    pub(super) changes: Vec<SyncChange>,
    /// Cursor of the next page. Store it together with the changes, and send it as `cursor` in the next
    /// request.
    pub(super) next_cursor: String,
    /// Whether more changes are available now. A page with fewer than `limit` changes can be followed by more
    /// changes, because large trips end a page early.
    pub(super) has_more: bool,
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

/// The result of an operation. `trip` is the current trip. It is absent if there is none, if the operation
/// was rejected, or if the token does not have the scope `trips:read`. `problem` gives the reason of a
/// rejection; the pointers in its `errors` refer to the operation.
#[derive(Debug, Object, Serialize)]
pub(super) struct SyncResult {
    /// `op_id` of the operation.
    op_id: String,
    /// `applied`: the operation was applied. `duplicate`: an earlier request within 7 days applied it, and
    /// this request did not apply it again. `conflict`: it was not applied, because the trip does not have
    /// `base_version`, because the trip of a `create` exists already, or because an operation that it builds
    /// on was not applied. `rejected`: it was not applied, for the reason in `problem`. The list may grow.
    /// Keep an operation if its result has a status that the app does not know.
    status: String,
    /// Current trip. Absent if it does not exist, if the operation was rejected, or if the token does not
    /// have the scope `trips:read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    trip: Option<TripBody>,
    /// Reason of the rejection; the pointers in its `errors` refer to the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// The results of the operations.
#[derive(Debug, Object, Serialize)]
pub(super) struct SyncResults {
    /// One result for each operation, in the same order. The list ends early when its trips reach 8 MiB.
    /// Operations without a result were not processed. Send them again, except the operations on a trip for
    /// which an earlier operation was not applied.
    pub(super) results: Vec<SyncResult>,
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

fn too_many_remembered(max: i64) -> Problem {
    let detail = format!(
        "The app has uploaded at least {} changes within 7 days, the maximum. Please try again in a few days.",
        grouped(max)
    );
    Problem::new(ProblemCode::QuotaExceeded, detail)
}

impl SyncResult {
    /// Creates the result of an operation that was processed. `offending_date` is the JSON pointer for an
    /// error about the order of the two dates. The result contains the trip only if the caller can read
    /// trips.
    pub(super) fn from_outcome(
        op_id: String,
        outcome: Outcome,
        offending_date: &str,
        can_read: bool,
    ) -> Self {
        let (status, trip, problem) = match outcome {
            Outcome::Applied(trip) => ("applied", trip, None),
            Outcome::Duplicate(trip) => ("duplicate", trip, None),
            Outcome::Conflict(trip) => ("conflict", trip, None),
            Outcome::Rejected(error @ TripsError::Invalid(_)) => {
                ("rejected", None, Some(to_problem(error, offending_date).under("/trip")))
            }
            Outcome::Rejected(error) => ("rejected", None, Some(error.into())),
            Outcome::OperationIdReused => ("rejected", None, Some(reused("/op_id"))),
            Outcome::TooManyRemembered(max) => ("rejected", None, Some(too_many_remembered(max))),
            // `SyncResult::rejected` reports the errors of an invalid operation.
            Outcome::Unreadable => ("rejected", None, None),
        };
        let trip = trip.filter(|_| can_read);
        let problem = problem.map(|problem| problem.body(&audit::request_id()));
        metrics::synced(status);
        Self { op_id, status: status.to_owned(), trip: trip.map(TripBody::from), problem }
    }

    /// Creates the result of an operation that is invalid.
    pub(super) fn rejected(op_id: String, problem: &Problem) -> Self {
        let problem = problem.body(&audit::request_id());
        metrics::synced("rejected");
        Self { op_id, status: "rejected".to_owned(), trip: None, problem: Some(problem) }
    }
}
