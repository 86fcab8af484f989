//! `GET /me/events`: the security events of the account.

use chrono::{DateTime, Utc};
use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::{Event, Events, EventsError};
use crate::web::Tag;
use crate::web::caller::{AccountScope, Caller};
use crate::web::examples;
use crate::web::json::{Json, serialize_instant};
use crate::web::problem::{Problem, ProblemCode, ProblemResponse};

/// A security event of the account.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "SecurityEvent")]
pub(crate) struct EventBody {
    /// Id of the event.
    id: Uuid,
    /// Kind of the event, such as `login_succeeded`, `login_failed`, `new_device`, `password_changed` or
    /// `session_ended`. The list may grow; the documentation for app developers lists all kinds.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// Time of the event.
    #[serde(serialize_with = "serialize_instant")]
    at: DateTime<Utc>,
    /// Id of the session that the event belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    /// IP address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    /// Name of the device, as sent when logging in.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    /// `User-Agent` of the login.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

impl From<Event> for EventBody {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            kind: event.kind,
            at: event.at,
            session_id: event.session,
            ip: event.address,
            device_name: event.device.name,
            user_agent: event.device.user_agent,
        }
    }
}

/// A page of the security events of the account.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "SecurityEventPage")]
struct EventPageBody {
    /// The events, the newest first.
    #[oai(validator(max_items = 100))]
    items: Vec<EventBody>,
    /// Cursor of the next page. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl Example for EventPageBody {
    fn example() -> Self {
        let login = EventBody {
            id: Uuid::from_u128(0x019c_adb9_5028_7000_a1d4_3c55_90e7_1b02),
            kind: "signup".to_owned(),
            at: examples::at(0),
            session_id: Some(examples::SESSION),
            ip: Some("192.0.2.7".to_owned()),
            device_name: Some(examples::DEVICE.to_owned()),
            user_agent: Some("Trips/1.4 (iPhone; iOS 19.1)".to_owned()),
        };
        Self { items: vec![login], next_cursor: None }
    }
}

#[derive(ApiResponse)]
enum ListedEvents {
    /// A page of the security events of the account.
    #[oai(status = 200)]
    Ok(Json<EventPageBody>),
}

impl From<EventsError> for Problem {
    fn from(error: EventsError) -> Self {
        match error {
            EventsError::InvalidCursor => Self::new(
                ProblemCode::InvalidCursor,
                "The list cannot be continued from here. Please load it again.",
            ),
            EventsError::Store(error) => error.into(),
        }
    }
}

fn default_limit() -> u16 {
    20
}

/// The operation that lists security events.
#[derive(Debug)]
pub struct EventsApi {
    events: Events,
}

impl EventsApi {
    /// Creates the operation on top of the service that it calls.
    pub fn new(events: &Events) -> Self {
        Self { events: events.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/me/events", tag = "Tag::Account")]
impl EventsApi {
    /// List the security events
    ///
    /// Returns the security events of the last 90 days, the newest first: logins, failed logins, new devices,
    /// and changes to the account, each with IP address and device. Show them to the user, who can then
    /// notice a login by another person. If there are very many failed logins, only some of them are listed.
    ///
    /// - 400 `invalid_cursor`: the cursor belongs to another user, or was not issued by this server. Start again
    ///   without a cursor.
    #[oai(path = "/", method = "get", operation_id = "list_events")]
    async fn list(
        &self,
        caller: Caller<AccountScope>,
        /// Maximum number of events on the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<u16>,
        /// `next_cursor` of the previous page. Without it, the response is the first page.
        cursor: Query<Option<String>>,
    ) -> Result<ListedEvents, ProblemResponse> {
        let page = self.events.list(caller.user(), cursor.0.as_deref(), limit.0).await?;
        let items = page.items.into_iter().map(EventBody::from).collect();
        Ok(ListedEvents::Ok(Json(EventPageBody { items, next_cursor: page.next })))
    }
}
