//! The HTTP operations on share links: the owner of a trip creates and revokes the link, and anyone who has
//! the link can open it in an app or a browser.

mod page;

use chrono::NaiveDate;
use poem::http::Uri;
use poem_openapi::param::Path;
use poem_openapi::payload::Html;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi, ResponseContent};
use serde::Serialize;

use super::SharesError;
use crate::shares::Shares;
use crate::trips::Trip;
use crate::trips::api::{StopList, example_trip};
use crate::web::accept::Representation;
use crate::web::body::NoBody;
use crate::web::caller::{Caller, TripsWrite};
use crate::web::examples;
use crate::web::json::{Json, serialize_date};
use crate::web::page::POLICY;
use crate::web::path_id::PathId;
use crate::web::problem::{Problem, ProblemCode, ProblemResponse};
use crate::web::{SHARED_LINKS, Tag};

/// A share link to a trip.
#[derive(Debug, Object, Serialize)]
struct Share {
    /// URL to give to other people, who need no account. A browser shows the trip as a page; an app gets the
    /// trip as JSON.
    url: String,
    /// Last part of `url`, for an app that shows the trip on its own page.
    token: String,
}

impl Share {
    fn new(server: &str, token: String) -> Self {
        Self { url: format!("{server}{SHARED_LINKS}{token}"), token }
    }
}

impl Example for Share {
    fn example() -> Self {
        Self::new(examples::SERVER, "AaIBnK25nEBwAI4MbB86jStVq2Zx1c9dYk0sT7uVwXg".to_owned())
    }
}

/// A trip as a share link shows it, without any information about its owner.
#[derive(Debug, Object, Serialize)]
struct SharedTrip {
    /// Title of the trip.
    title: String,
    /// Destination of the trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// First day of the trip.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_date")]
    start_date: Option<NaiveDate>,
    /// Last day of the trip.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_date")]
    end_date: Option<NaiveDate>,
    /// Time zone of the trip, and of each stop without a time zone of its own: an IANA name, such as `Europe/Lisbon`.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// Notes of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    /// Status of the trip: `planned`, `active`, `completed` or `archived`. The list may grow.
    status: String,
    /// Stops of the trip, in travel order.
    stops: StopList,
}

impl Example for SharedTrip {
    fn example() -> Self {
        example_trip().into()
    }
}

impl From<Trip> for SharedTrip {
    fn from(trip: Trip) -> Self {
        let fields = trip.fields.into_inner();
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
    /// The share link.
    #[oai(status = 200)]
    Ok(
        Json<Share>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum RevokedLink {
    /// The share link was revoked, or the trip had none.
    #[oai(status = 204)]
    NoContent,
}

/// The shared trip, in the format that the client prefers.
#[derive(ResponseContent)]
enum SharedTripContent {
    Json(Json<SharedTrip>),
    Page(Html<String>),
}

#[derive(ApiResponse)]
enum OpenedLink {
    /// The shared trip: as JSON, or as an HTML page.
    #[oai(status = 200)]
    Ok(
        SharedTripContent,
        /// `no-store`: the response must not be cached, because the link can be revoked at any time.
        #[oai(header = "Cache-Control")]
        String,
        /// `no-referrer`: the link is a secret, which a browser must not send to other sites.
        #[oai(header = "Referrer-Policy")]
        String,
        /// `noindex`: search engines must not index the trip.
        #[oai(header = "X-Robots-Tag")]
        String,
        /// `Accept`: the response depends on this request header.
        #[oai(header = "Vary")]
        String,
        /// Present only if the response is a page. With this policy, the page can't run scripts or load
        /// anything from other hosts.
        #[oai(header = "Content-Security-Policy")]
        Option<String>,
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

/// The operations on share links.
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
    /// Creates a share link: anyone who has the link can read the trip without logging in. The link always
    /// shows the current state of the trip. Sharing the trip again returns the same link until it is revoked.
    /// Deleting the trip revokes the link too.
    ///
    /// - 404 `not_found`: there is no such trip, or it belongs to another user. Reload the list of trips.
    #[oai(path = "/trips/:id/share", method = "put", operation_id = "share_trip")]
    async fn share(
        &self,
        caller: Caller<TripsWrite>,
        /// Id of the trip.
        id: Path<PathId>,
        _no_body: NoBody,
    ) -> Result<SharedLink, ProblemResponse<404>> {
        let token = self.shares.share(caller.user(), id.uuid()).await?;
        let share = Share::new(self.shares.public_url(), token);
        Ok(SharedLink::Ok(Json(share), "no-store".to_owned()))
    }

    /// Revoke the share link
    ///
    /// Revokes the share link of a trip: the link returns 404 from now on. Sharing the trip again creates
    /// another link. Also succeeds if there is no link.
    ///
    /// - 404 `not_found`: there is no such trip, or it belongs to another user. Reload the list of trips.
    #[oai(path = "/trips/:id/share", method = "delete", operation_id = "unshare_trip")]
    async fn revoke(
        &self,
        caller: Caller<TripsWrite>,
        /// Id of the trip.
        id: Path<PathId>,
        _no_body: NoBody,
    ) -> Result<RevokedLink, ProblemResponse<404>> {
        self.shares.revoke(caller.user(), id.uuid()).await?;
        Ok(RevokedLink::NoContent)
    }

    /// Get a shared trip
    ///
    /// Returns the trip that a share link belongs to. Requires no authentication, and returns no information
    /// about the owner. This operation is for an app that opens a share link, and for a web page that shows
    /// the trip.
    ///
    /// A browser gets a small page without scripts instead of JSON: the response is HTML only if `Accept`
    /// prefers `text/html` to `application/json`. In this case, errors are pages too.
    ///
    /// - 404 `not_found`: the link was revoked, its trip was deleted, or the token is wrong. Tell the user
    ///   that the link is not valid.
    #[oai(path = "/shared/:token", method = "get", operation_id = "get_shared_trip")]
    async fn get_shared(
        &self,
        /// `token` of the share link.
        token: Path<String>,
        representation: Representation,
        uri: &Uri,
    ) -> Result<OpenedLink, ProblemResponse<404>> {
        let trip = self.shares.resolve(&token).await.map_err(invalid_link)?;
        let value = |text: &str| text.to_owned();
        let (content, policy) = match representation {
            Representation::Json => (SharedTripContent::Json(Json(trip.into())), None),
            Representation::Html => {
                (SharedTripContent::Page(Html(page::page(trip, uri.path())?)), Some(value(POLICY)))
            }
        };
        let (cache, referrer, robots) = (value("no-store"), value("no-referrer"), value("noindex"));
        Ok(OpenedLink::Ok(content, cache, referrer, robots, value("Accept"), policy))
    }
}

/// Returns the problem of a link that can't be opened, for the person who tries to open it.
fn invalid_link(error: SharesError) -> Problem {
    match error {
        SharesError::NotFound => Problem::new(
            ProblemCode::NotFound,
            "This link is not valid. Please check that it is complete, or ask for a new one.",
        ),
        error => error.into(),
    }
}
