//! The operations that an app recorded offline, in the body of `POST /sync`.
//!
//! An operation is a tagged union: `op` selects the schema of its other fields, so that SDKs know which
//! fields each kind of operation requires.

use std::borrow::Cow;
use std::marker::PhantomData;

use poem_openapi::Object;
use poem_openapi::registry::{MetaDiscriminatorObject, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde_json::Value;
use uuid::Uuid;

use super::super::{Mutation, OPERATIONS_MAX, Operation};
use crate::trips::Trips;
use crate::trips::api::{ReplaceTrip, UpdateTrip, offending_date};
use crate::web::batch::{BatchBody, Item};
use crate::web::examples;
use crate::web::path_id::{AnyId, BodyId, ClientMadeId};
use crate::web::problem::Problem;

/// The id of the operation in the examples.
pub(super) const OP_ID: Uuid = Uuid::from_u128(0x1b9d_6bcd_bbfd_4b2d_9b5d_ab8d_fbbd_4bed);

/// A kind of operation.
trait Verb: Send + Sync {
    /// The value of `op`.
    const NAME: &'static str;
}

macro_rules! verbs {
    ($($verb:ident = $name:literal),*) => {$(
        #[derive(Debug)]
        struct $verb;

        impl Verb for $verb {
            const NAME: &'static str = $name;
        }
    )*};
}

verbs!(Create = "create", Update = "update", Delete = "delete");

/// The field `op`, which has one value in each schema.
#[derive(Debug)]
struct Op<V>(PhantomData<V>);

impl<V: Verb> Type for Op<V> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        format!("op_{}", V::NAME).into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let enum_items = vec![V::NAME.into()];
        MetaSchemaRef::Inline(Box::new(MetaSchema { enum_items, ..MetaSchema::new("string") }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<V: Verb> ParseFromJSON for Op<V> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let is_match = value.as_ref().and_then(Value::as_str) == Some(V::NAME);
        if is_match { Ok(Self(PhantomData)) } else { Err(ParseError::custom("another operation")) }
    }
}

impl<V: Verb> ToJSON for Op<V> {
    fn to_json(&self) -> Option<Value> {
        Some(V::NAME.into())
    }
}

/// Creates a trip. The result is `conflict` if the user has a trip with this id already.
#[derive(Debug, Object)]
pub(super) struct SyncCreate {
    /// Id of the operation: a UUID that the app generates, the same in every attempt. The operation is
    /// applied once.
    op_id: AnyId,
    /// Always `create`.
    op: Op<Create>,
    /// Id of the trip: a UUIDv7 in lower case that the app has generated.
    id: ClientMadeId,
    /// The whole trip, without its id.
    trip: ReplaceTrip,
}

/// Changes a trip. The result is `conflict` if the trip does not have `base_version`.
#[derive(Debug, Object)]
pub(super) struct SyncUpdate {
    /// Id of the operation: a UUID that the app generates, the same in every attempt. The operation is
    /// applied once.
    op_id: AnyId,
    /// Always `update`.
    op: Op<Update>,
    /// Id of the trip.
    id: AnyId,
    /// `version` that the trip had when the user changed it. If an earlier operation in the same request
    /// changes the same trip, send the version that the earlier operation produces, which is its own
    /// `base_version` plus 1. If the earlier operation is not applied, the result of this operation is
    /// `conflict`.
    #[oai(validator(minimum(value = "1")))]
    base_version: i64,
    /// A merge patch (RFC 7396), in which `stops` replaces all stops.
    trip: UpdateTrip,
}

/// Deletes a trip. The result is `conflict` if the trip does not have `base_version`, and `applied` if the
/// trip is already deleted.
#[derive(Debug, Object)]
pub(super) struct SyncDelete {
    /// Id of the operation: a UUID that the app generates, the same in every attempt. The operation is
    /// applied once.
    op_id: AnyId,
    /// Always `delete`.
    op: Op<Delete>,
    /// Id of the trip.
    id: AnyId,
    /// `version` that the trip had when the user deleted it. If an earlier operation in the same request
    /// changes the same trip, send the version that the earlier operation produces, as in `SyncUpdate`.
    #[oai(validator(minimum(value = "1")))]
    base_version: i64,
}

/// An operation that was done offline.
#[derive(Debug)]
pub(super) enum SyncOperation {
    Create(SyncCreate),
    Update(SyncUpdate),
    Delete(SyncDelete),
}

impl Type for SyncOperation {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "SyncOperation".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Reference(Self::name().into_owned())
    }

    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(Self::name().into_owned(), |registry| {
            let variants = [
                variant::<Create, SyncCreate>(registry),
                variant::<Update, SyncUpdate>(registry),
                variant::<Delete, SyncDelete>(registry),
            ];
            let (one_of, mapping) = variants.into_iter().unzip();
            MetaSchema {
                description: Some("An operation that was done offline. `op` selects its schema."),
                one_of,
                discriminator: Some(MetaDiscriminatorObject { property_name: "op", mapping }),
                ..MetaSchema::ANY
            }
        });
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

/// Registers the schema of one kind of operation. Returns the reference to the schema and the entry of the
/// discriminator.
fn variant<V: Verb, T: Type>(registry: &mut Registry) -> (MetaSchemaRef, (String, String)) {
    T::register(registry);
    (T::schema_ref(), (V::NAME.to_owned(), format!("#/components/schemas/{}", T::name())))
}

impl ParseFromJSON for SyncOperation {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let op = value.as_ref().and_then(|value| value.get("op")).and_then(Value::as_str);
        match op {
            Some(Create::NAME) => {
                SyncCreate::parse_from_json(value).map(Self::Create).map_err(ParseError::propagate)
            }
            Some(Update::NAME) => {
                SyncUpdate::parse_from_json(value).map(Self::Update).map_err(ParseError::propagate)
            }
            Some(Delete::NAME) => {
                SyncDelete::parse_from_json(value).map(Self::Delete).map_err(ParseError::propagate)
            }
            _ => Err(ParseError::custom("an unknown operation")),
        }
    }
}

impl ToJSON for SyncOperation {
    fn to_json(&self) -> Option<Value> {
        match self {
            Self::Create(operation) => operation.to_json(),
            Self::Update(operation) => operation.to_json(),
            Self::Delete(operation) => operation.to_json(),
        }
    }
}

/// The operations that were done offline.
#[derive(Debug, Object)]
pub(super) struct SyncOperations {
    /// Operations in the order in which they were done, at most 500. Each has its own result.
    #[oai(validator(max_items = 500))]
    operations: Vec<SyncOperation>,
}

impl BatchBody for SyncOperations {
    type Operation = SyncOperation;
    const MAX_OPERATIONS: usize = OPERATIONS_MAX;
}

impl Example for SyncOperations {
    fn example() -> Self {
        let operation = SyncUpdate {
            op_id: BodyId(OP_ID),
            op: Op(PhantomData),
            id: BodyId(examples::TRIP),
            base_version: 1,
            trip: UpdateTrip::example(),
        };
        Self { operations: vec![SyncOperation::Update(operation)] }
    }
}

/// The result of parsing an operation, which the response needs in addition to the outcome.
pub(super) enum Parsed {
    /// The operation is valid by itself. Contains the JSON pointer that is reported if `end_date` is before
    /// `start_date` after the operation is applied to the stored trip.
    Valid(&'static str),
    /// The operation is invalid. Contains the problem.
    Invalid(Problem),
}

impl Parsed {
    /// Keeps at most `room` errors, but at least one. Subtracts the number of kept errors from `room`.
    pub(super) fn limit_errors(&mut self, room: &mut usize) {
        if let Self::Invalid(problem) = self {
            *room -= problem.limit_errors((*room).max(1)).min(*room);
        }
    }
}

/// Parses an operation. An invalid operation is processed too, so that the operations that build on it fail
/// too.
pub(super) fn parse_operation(item: Item<SyncOperation>, trips: &Trips) -> (Operation, Parsed) {
    let Item { op_id, digest, checked, .. } = item;
    let (id, base, mutation) = match checked {
        Ok(SyncOperation::Create(SyncCreate { id, trip, .. })) => {
            (id.0, 0, trip.check(trips.new_id()).map(Mutation::Create))
        }
        Ok(SyncOperation::Update(SyncUpdate { id, base_version, trip, .. })) => {
            (id.0, base_version, trip.check(trips.new_id()).map(Mutation::Update))
        }
        Ok(SyncOperation::Delete(SyncDelete { id, base_version, .. })) => {
            (id.0, base_version, Ok(Mutation::Delete))
        }
        Err((value, errors)) => {
            let id = value.get("id").and_then(Value::as_str).and_then(|id| Uuid::try_parse(id).ok());
            let base = value.get("base_version").and_then(Value::as_i64).unwrap_or_default();
            let operation =
                Operation { op_id, digest, id: id.unwrap_or_default(), base, mutation: Mutation::Unreadable };
            return (operation, Parsed::Invalid(Problem::invalid(errors)));
        }
    };
    match mutation {
        Ok(mutation) => {
            let offending_date =
                if let Mutation::Update(patch) = &mutation { offending_date(patch) } else { "/end_date" };
            (Operation { op_id, digest, id, base, mutation }, Parsed::Valid(offending_date))
        }
        Err(errors) => {
            let problem = Problem::invalid(errors).under("/trip");
            (Operation { op_id, digest, id, base, mutation: Mutation::Unreadable }, Parsed::Invalid(problem))
        }
    }
}
