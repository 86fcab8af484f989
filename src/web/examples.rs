//! The examples in the OpenAPI document. Each example is built by the type of the body, so that it always has
//! the form that the API accepts or returns. A body without an example does not compile.
//!
//! The texts and ids that the examples of several modules share are defined here. The examples tell one
//! story: Grace signs up, and plans a week in Lisbon.

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{Example, ParseFromJSON, ToJSON, Type};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::clock;

/// The address of the server in the examples.
pub const SERVER: &str = "https://trips.example.org";
/// Grace's email address.
pub const EMAIL: &str = "grace@example.org";
/// Grace's display name.
pub const NAME: &str = "Grace";
/// The language of Grace's mails.
pub const LOCALE: &str = "en-GB";
/// Grace's password.
pub const PASSWORD: &str = "a quiet sea in winter";
/// The name of Grace's phone.
pub const DEVICE: &str = "Grace's phone";
/// The id of Grace's account.
pub const USER: Uuid = Uuid::from_u128(0x019c_adb9_5028_7000_8bd7_be52_06ff_4901);
/// The id of the session on Grace's phone.
pub const SESSION: Uuid = Uuid::from_u128(0x019c_adb9_5028_7000_bd7b_e520_6ff4_9326);
/// The id of Grace's trip.
pub const TRIP: Uuid = Uuid::from_u128(0x019c_adb9_9c40_7000_8e0c_6c1f_3a8d_2b55);
/// The id of a stop of that trip.
pub const STOP: Uuid = Uuid::from_u128(0x019c_adb9_9c40_7000_9a41_07d2_5e6b_c3f8);
/// The id of the flow that confirms Grace's address.
pub const FLOW: Uuid = Uuid::from_u128(0x019c_adb9_5028_7000_a3f1_6d0c_52be_7719);
/// A code from a mail.
pub const CODE: &str = "31415926";
/// The token of a link in a mail, without a valid signature.
pub const LINK_TOKEN: &str = "AZytuVAocACj8W0MUr53GWxpbmstc2lnbmF0dXJlIQ";
/// An access token without a valid signature.
pub const ACCESS_TOKEN: &str = "eyJ0eXAiOiJhdCtqd3QifQ.e30.c2lnbmF0dXJl";
/// A device token without a valid signature.
pub const DEVICE_TOKEN: &str =
    "AZytuVAofQALN1vgZP1JMgGcrblQKHsAjyRuoDfBkAcxqm5Jd0Xk0QAAAABrl3x8b3VyLWV4YW1wbGUtdGFn";
/// A refresh token.
pub const REFRESH_TOKEN: &str = "v1.019cadb950287000bd7be5206ff49326.1.c2lnbmF0dXJl";
/// A token of a login that waits for the second factor.
pub const MFA_TOKEN: &str = "bXkgbG9naW4gd2FpdHMgZm9yIGEgY29kZSBvZiB0aGU";
/// A code of Grace's authenticator app.
pub const TOTP_CODE: &str = "492039";
/// The scopes of the access token and the refresh token.
pub const SCOPE: &str = "account trips:read trips:write";

/// Returns the time that is `seconds` after Grace signed up.
pub fn at(seconds: i64) -> DateTime<Utc> {
    clock::from_millis(1_772_441_129_000) + TimeDelta::seconds(seconds)
}

/// A type that can be the body of a request.
pub trait RequestSchema: ParseFromJSON + ToJSON + Example + 'static {}
impl<T: ParseFromJSON + ToJSON + Example + 'static> RequestSchema for T {}

/// Returns the schema of a request body with its example.
pub(super) fn request_schema<T: Type + ToJSON + Example>() -> MetaSchemaRef {
    with_example(T::schema_ref(), T::example().to_json())
}

/// Returns the schema `T` of a response body with the example of `E`, which may be a variant of `T`.
pub(super) fn response_schema<T: Type, E: Serialize + Example>() -> MetaSchemaRef {
    with_example(T::schema_ref(), serde_json::to_value(E::example()).ok())
}

fn with_example(schema: MetaSchemaRef, example: Option<Value>) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema { all_of: vec![schema], example, ..MetaSchema::ANY }))
}

/// Moves the examples of an operation from the schemas to the request and response bodies. The generator can
/// attach examples only to schemas, but operations that share a schema have different examples.
pub(crate) fn hoist(operation: &mut Value) {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    let mut contents: Vec<&mut Value> =
        responses.into_iter().flatten().filter_map(|(_, response)| response.get_mut("content")).collect();
    hoist_all(&mut contents);
    hoist_all(&mut operation.pointer_mut("/requestBody/content").into_iter().collect::<Vec<_>>());
}

fn hoist_all(contents: &mut [&mut Value]) {
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
