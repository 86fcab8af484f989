//! Links over HTTP: made and ended by the owner, opened by anyone.

use chrono::NaiveDate;
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::SharesError;
use crate::shares::Shares;
use crate::trips::Trip;
use crate::trips::api::{StopList, example_trip};
use crate::web::body::NoBody;
use crate::web::caller::{Caller, TripsWrite};
use crate::web::examples;
use crate::web::json::{Json, serialize_date};
use crate::web::path_id::PathId;
use crate::web::problem::{Problem, ProblemResponse};
use crate::web::{API, Tag};

/// A link to a trip.
#[derive(Debug, Object, Serialize)]
struct Share {
    /// What to give to others: a GET of it answers with the trip, as JSON. Whoever has it needs nothing else.
    url: String,
    /// The last part of `url`, for an app that shows the trip on a page of its own.
    token: String,
}

impl Share {
    fn of(server: &str, token: String) -> Self {
        Self { url: format!("{server}{API}/shared/{token}"), token }
    }
}

impl Example for Share {
    fn example() -> Self {
        Self::of(examples::SERVER, "AaIBnK25nEBwAI4MbB86jStVq2Zx1c9dYk0sT7uVwXg".to_owned())
    }
}

/// A trip as it is shown to others: nothing of its owner.
#[derive(Debug, Object, Serialize)]
struct SharedTrip {
    /// What its owner calls it.
    title: String,
    /// Where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// The first day.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_date")]
    start_date: Option<NaiveDate>,
    /// The last day.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_date")]
    end_date: Option<NaiveDate>,
    /// The time zone that its local times are in (IANA name).
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// The owner's notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    /// Where it stands: `planned`, `active`, `completed` or `archived`. The list may grow.
    status: String,
    /// Where it goes, in travel order.
    stops: StopList,
}

impl Example for SharedTrip {
    fn example() -> Self {
        example_trip().into()
    }
}

impl From<Trip> for SharedTrip {
    fn from(trip: Trip) -> Self {
        let fields = trip.fields;
        Self {
            title: fields.title,
            destination: fields.destination,
            start_date: fields.start_date,
            end_date: fields.end_date,
            time_zone: fields.time_zone,
            notes: fields.notes,
            status: fields.status.name().to_owned(),
            stops: StopList(fields.stops),
        }
    }
}

#[derive(ApiResponse)]
enum SharedLink {
    /// The link.
    #[oai(status = 200)]
    Ok(
        Json<Share>,
        /// Nobody may keep this answer but its recipient.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum EndedLink {
    /// There is no link any more.
    #[oai(status = 204)]
    Gone,
}

#[derive(ApiResponse)]
enum Presented {
    /// The trip.
    #[oai(status = 200)]
    Ok(
        Json<SharedTrip>,
        /// Nobody may keep this answer: the link may end at any moment.
        #[oai(header = "Cache-Control")]
        String,
        /// The link is a secret: a page that shows it tells it to no other.
        #[oai(header = "Referrer-Policy")]
        String,
        /// It is for people, not for search engines.
        #[oai(header = "X-Robots-Tag")]
        String,
    ),
}

impl From<SharesError> for Problem {
    fn from(error: SharesError) -> Self {
        match error {
            SharesError::NotFound => Self::not_found(),
            SharesError::Trips(error) => error.into(),
            SharesError::Store(error) => error.into(),
        }
    }
}

/// The operations of this room.
#[derive(Debug)]
pub struct SharesApi {
    shares: Shares,
}

impl SharesApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(shares: &Shares) -> Self {
        Self { shares: shares.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Trips")]
impl SharesApi {
    /// Share a trip
    ///
    /// To show a trip to others: makes a link for anyone who has it, without signing in, and gives the same one
    /// each time until it is ended. It ends with the trip, too. Whoever has it sees the trip as it is at that
    /// moment, and can't change it.
    ///
    /// 404 `not_found` if there is no such trip, or it is somebody else's.
    #[oai(path = "/trips/:id/share", method = "put", operation_id = "share_trip")]
    async fn share(
        &self,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<PathId>,
        _nothing: NoBody,
    ) -> Result<SharedLink, ProblemResponse<404>> {
        let token = self.shares.share(caller.user(), id.uuid()).await?;
        let share = Share::of(self.shares.public_url(), token);
        Ok(SharedLink::Ok(Json(share), "no-store".to_owned()))
    }

    /// End the link to a trip
    ///
    /// Whoever has the link finds nothing there from now on; sharing the trip again makes another one. Also 204
    /// if there was none.
    ///
    /// 404 `not_found` if there is no such trip, or it is somebody else's.
    #[oai(path = "/trips/:id/share", method = "delete", operation_id = "unshare_trip")]
    async fn revoke(
        &self,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<PathId>,
        _nothing: NoBody,
    ) -> Result<EndedLink, ProblemResponse<404>> {
        self.shares.revoke(caller.user(), id.uuid()).await?;
        Ok(EndedLink::Gone)
    }

    /// Get a shared trip
    ///
    /// What a link shows, to anyone: for an app that opens such a link, or a page that shows it. Nothing of the
    /// trip's owner is told.
    ///
    /// 404 `not_found` if the link was ended, its trip was deleted, or there never was one.
    #[oai(path = "/shared/:token", method = "get", operation_id = "get_shared_trip")]
    async fn open(
        &self,
        /// The last part of the link.
        token: Path<String>,
    ) -> Result<Presented, ProblemResponse<404>> {
        let trip = self.shares.resolve(&token).await?;
        let own = |text: &str| text.to_owned();
        Ok(Presented::Ok(Json(trip.into()), own("no-store"), own("no-referrer"), own("noindex")))
    }
}
