//! What the document shows: an example of each body, made by the very type, so that it has the form that
//! is sent and taken, and a body without one does not compile.
//!
//! The texts and ids that examples of several rooms tell of stand here: they are of one story. Grace
//! signs up, and plans a week in Lisbon.

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{Example, ParseFromJSON, ToJSON, Type};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::clock;

/// Where the server of the examples is.
pub const SERVER: &str = "https://trips.example.org";
/// Grace's email address.
pub const EMAIL: &str = "grace@example.org";
/// What to call her.
pub const NAME: &str = "Grace";
/// Her password.
pub const PASSWORD: &str = "a quiet sea in winter";
/// What she calls her phone.
pub const DEVICE: &str = "Grace's phone";
/// Her account.
pub const USER: Uuid = Uuid::from_u128(0x019c_adb9_5028_7000_8bd7_be52_06ff_4901);
/// The session of her phone.
pub const SESSION: Uuid = Uuid::from_u128(0x019c_adb9_5028_7000_bd7b_e520_6ff4_9326);
/// Her trip.
pub const TRIP: Uuid = Uuid::from_u128(0x019c_adb9_9c40_7000_8e0c_6c1f_3a8d_2b55);
/// A stop of that trip.
pub const STOP: Uuid = Uuid::from_u128(0x019c_adb9_9c40_7000_9a41_07d2_5e6b_c3f8);
/// An access token; its signature is none.
pub const ACCESS_TOKEN: &str = "eyJ0eXAiOiJhdCtqd3QifQ.e30.c2lnbmF0dXJl";
/// A refresh token; its signature is none.
pub const REFRESH_TOKEN: &str = "v1.019cadb950287000bd7be5206ff49326.1.c2lnbmF0dXJl";
/// What both are good for.
pub const SCOPE: &str = "account trips:read trips:write";

/// So many seconds after Grace signed up.
pub fn at(seconds: i64) -> DateTime<Utc> {
    clock::from_millis(1_772_441_129_000) + TimeDelta::seconds(seconds)
}

/// What a request is made of.
pub trait RequestSchema: ParseFromJSON + ToJSON + Example + 'static {}
impl<T: ParseFromJSON + ToJSON + Example + 'static> RequestSchema for T {}

/// The schema of a request's body, with its example.
pub(super) fn asked<T: Type + ToJSON + Example>() -> MetaSchemaRef {
    with(T::schema_ref(), T::example().to_json())
}

/// The schema of an answer's body, with an example that is another type's: of `T` as it is at first, say.
pub(super) fn told<T: Type, E: Serialize + Example>() -> MetaSchemaRef {
    with(T::schema_ref(), serde_json::to_value(E::example()).ok())
}

fn with(schema: MetaSchemaRef, example: Option<Value>) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema { all_of: vec![schema], example, ..MetaSchema::ANY }))
}

/// Moves the examples of an operation's bodies from the schemas, where alone the generator has room for
/// them, to the bodies: schemas are shared, and an answer's example is its own.
pub(super) fn place(operation: &mut Value) {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    let mut contents: Vec<&mut Value> =
        responses.into_iter().flatten().filter_map(|(_, response)| response.get_mut("content")).collect();
    lift(&mut contents);
    lift(&mut operation.pointer_mut("/requestBody/content").into_iter().collect::<Vec<_>>());
}

fn lift(contents: &mut [&mut Value]) {
    for media in
        contents.iter_mut().filter_map(|content| content.as_object_mut()).flat_map(|all| all.values_mut())
    {
        let example =
            media.get_mut("schema").and_then(Value::as_object_mut).and_then(|it| it.remove("example"));
        if let (Some(example), Some(media)) = (example, media.as_object_mut()) {
            media.insert("example".to_owned(), example);
        }
    }
}
