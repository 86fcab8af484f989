//! The request and response bodies of a trip's stops.

use std::borrow::Cow;

use poem_openapi::Object;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Example, MaybeUndefined, ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde::ser::{Error, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::trips::{Stop, StopPatch, Stops, TripViolation, generated_stop_id};
use crate::web::body::into_patch;
use crate::web::examples;
use crate::web::local_time::LocalTime;
use crate::web::path_id::{AnyId, BodyId, ClientMadeId};
use crate::web::plain_text::{Line, Notes};

/// A stop of a trip.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Stop")]
pub(super) struct StopBody {
    /// Id of the stop, unique in its trip. Never changes.
    id: Uuid,
    /// Name of the stop.
    name: String,
    /// Degrees north of the equator (WGS 84). Present together with `longitude`.
    #[serde(skip_serializing_if = "Option::is_none")]
    latitude: Option<f64>,
    /// Degrees east of Greenwich (WGS 84). Present together with `latitude`.
    #[serde(skip_serializing_if = "Option::is_none")]
    longitude: Option<f64>,
    /// Time zone of the stop's local times: an IANA name. If absent, the trip's time zone applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// Arrival, as local time in the stop's time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    arrives_at: Option<LocalTime>,
    /// Departure, as local time in the stop's time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    departs_at: Option<LocalTime>,
    /// Notes of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
}

impl From<Stop> for StopBody {
    fn from(stop: Stop) -> Self {
        let Stop { id, name, latitude, longitude, time_zone, arrives_at, departs_at, notes } = stop;
        let (arrives_at, departs_at) = (arrives_at.map(LocalTime), departs_at.map(LocalTime));
        Self { id, name, latitude, longitude, time_zone, arrives_at, departs_at, notes }
    }
}

/// Returns the stop that the example requests create and change.
pub(super) fn example_stop() -> Stop {
    NewStop::example().into_stop(|| examples::STOP)
}

impl Example for StopBody {
    fn example() -> Self {
        example_stop().into()
    }
}

/// The stops of a trip, returned in the form in which they are stored.
#[derive(Debug)]
pub(crate) struct StopList(pub(crate) Stops);

impl Serialize for StopList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StopsJson(self.0.as_json()).serialize(serializer)
    }
}

/// The stored JSON array of stops.
#[derive(Debug)]
pub(super) struct StopsJson<'a>(pub(super) &'a str);

impl Serialize for StopsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            "[]" => serializer.serialize_seq(Some(0))?.end(),
            text => serde_json::from_str::<&RawValue>(text).map_err(S::Error::custom)?.serialize(serializer),
        }
    }
}

impl Type for StopList {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        Vec::<StopBody>::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        Vec::<StopBody>::schema_ref()
    }

    fn register(registry: &mut Registry) {
        StopBody::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for StopList {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let list: Vec<Stop> =
            serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)?;
        Stops::new(&list).map(Self).map_err(|_| ParseError::custom("not a list of stops"))
    }
}

impl ToJSON for StopList {
    fn to_json(&self) -> Option<Value> {
        serde_json::from_str(self.0.as_json()).ok()
    }
}

/// A stop in a request: a new stop, or an existing stop with its id.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct NewStop {
    /// Id of an existing stop of the trip, or a UUIDv7 in lower case that the app has generated. If absent,
    /// the server generates the id.
    #[oai(nullable)]
    id: Option<ClientMadeId>,
    /// Name of the stop, 1 to 200 characters in one line.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Line,
    /// Degrees north of the equator (WGS 84), -90 to 90. Required together with `longitude`.
    #[oai(nullable, validator(minimum(value = "-90"), maximum(value = "90")))]
    latitude: Option<f64>,
    /// Degrees east of Greenwich (WGS 84), -180 to 180. Required together with `latitude`.
    #[oai(nullable, validator(minimum(value = "-180"), maximum(value = "180")))]
    longitude: Option<f64>,
    /// Time zone of the stop's local times: an IANA name, such as `Atlantic/Azores`. If absent, the trip's
    /// time zone applies.
    #[oai(nullable, validator(max_length = 64))]
    time_zone: Option<String>,
    /// Arrival, as local time in the stop's time zone.
    #[oai(nullable)]
    arrives_at: Option<LocalTime>,
    /// Departure, as local time in the stop's time zone; not before `arrives_at`.
    #[oai(nullable)]
    departs_at: Option<LocalTime>,
    /// Notes, at most 2,000 characters. They may contain line breaks and tabs, and no other control characters.
    #[oai(nullable, validator(max_length = 2000))]
    notes: Option<Notes>,
}

impl Example for NewStop {
    fn example() -> Self {
        Self {
            id: None,
            name: Line::parse("Miradouro da Graça").unwrap_or_default(),
            latitude: Some(38.7165),
            longitude: Some(-9.1319),
            time_zone: None,
            arrives_at: "2027-04-03T17:30:00".parse().ok().map(LocalTime),
            departs_at: "2027-04-03T19:00:00".parse().ok().map(LocalTime),
            notes: None,
        }
    }
}

impl NewStop {
    pub(super) fn into_stop(self, new_id: impl FnOnce() -> Uuid) -> Stop {
        Stop {
            id: self.id.map_or_else(new_id, |id| id.0),
            name: self.name.into(),
            latitude: self.latitude,
            longitude: self.longitude,
            time_zone: self.time_zone,
            arrives_at: self.arrives_at.map(|at| at.0),
            departs_at: self.departs_at.map(|at| at.0),
            notes: self.notes.map(String::from),
        }
    }
}

/// Returns the stops of a whole trip. If `list` violates rules, returns an empty list of stops and the
/// violations. The server generates the ids of stops without an id from `seed`.
pub(super) fn parse_stops(list: Vec<NewStop>, seed: Uuid) -> (Stops, Vec<TripViolation>) {
    let list = list.into_iter().enumerate();
    let list: Vec<Stop> =
        list.map(|(index, stop)| stop.into_stop(|| generated_stop_id(seed, index))).collect();
    match Stops::new(&list) {
        Ok(stops) => (stops, Vec::new()),
        Err(violations) => (Stops::default(), violations),
    }
}

/// A JSON Merge Patch (RFC 7396) of a stop: an absent field is unchanged, and `null` clears a field. `name`
/// can't be cleared.
#[derive(Debug, Default, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct UpdateStop {
    /// Name of the stop, 1 to 200 characters in one line. Can't be cleared.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Option<Line>,
    /// Degrees north of the equator (WGS 84), -90 to 90. Set or cleared together with `longitude`.
    #[oai(nullable, validator(minimum(value = "-90"), maximum(value = "90")))]
    latitude: MaybeUndefined<f64>,
    /// Degrees east of Greenwich (WGS 84), -180 to 180. Set or cleared together with `latitude`.
    #[oai(nullable, validator(minimum(value = "-180"), maximum(value = "180")))]
    longitude: MaybeUndefined<f64>,
    /// Time zone of the stop's local times: an IANA name. If cleared, the trip's time zone applies.
    #[oai(nullable, validator(max_length = 64))]
    time_zone: MaybeUndefined<String>,
    /// Arrival, as local time in the stop's time zone.
    #[oai(nullable)]
    arrives_at: MaybeUndefined<LocalTime>,
    /// Departure, as local time in the stop's time zone; not before `arrives_at`.
    #[oai(nullable)]
    departs_at: MaybeUndefined<LocalTime>,
    /// Notes, at most 2,000 characters. They may contain line breaks and tabs, and no other control characters.
    #[oai(nullable, validator(max_length = 2000))]
    notes: MaybeUndefined<Notes>,
}

impl Example for UpdateStop {
    fn example() -> Self {
        let NewStop { name, departs_at, .. } = NewStop::example();
        let departs_at = departs_at.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value);
        Self { name: Some(name), departs_at, ..Self::default() }
    }
}

impl From<UpdateStop> for StopPatch {
    fn from(body: UpdateStop) -> Self {
        let time = |field| into_patch(field).map(|time| time.map(|LocalTime(time)| time));
        Self {
            name: body.name.map(String::from),
            latitude: into_patch(body.latitude),
            longitude: into_patch(body.longitude),
            time_zone: into_patch(body.time_zone),
            arrives_at: time(body.arrives_at),
            departs_at: time(body.departs_at),
            notes: into_patch(body.notes).map(|text| text.map(String::from)),
        }
    }
}

/// The travel order of the stops of a trip.
#[derive(Debug, Object)]
pub(super) struct StopOrder {
    /// Ids of all stops of the trip, each exactly once, in travel order.
    #[oai(validator(max_items = 500))]
    pub(super) stop_ids: Vec<AnyId>,
}

impl Example for StopOrder {
    fn example() -> Self {
        Self { stop_ids: vec![BodyId(examples::STOP)] }
    }
}
