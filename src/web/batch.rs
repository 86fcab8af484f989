//! A JSON body that lists many operations, each of which succeeds or fails on its own.
//!
//! An error in the body as a whole (malformed JSON, too many operations, an operation without a valid
//! `op_id`) rejects the request. An error in one operation is reported for that operation; the others are
//! executed.

use std::marker::PhantomData;
use std::mem;

use poem::{Request, RequestBody, Result};
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::ParseFromJSON;
use serde_json::Value;
use uuid::Uuid;

use super::body::{Body, read_up_to};
use super::examples::{self, RequestSchema};
use super::problem::{FieldError, Problem, ProblemCode};
use super::validate::{self, registry};
use crate::idempotency::digest_json;
use crate::strict_json as strict;

/// The maximum size of a batch body, in bytes.
pub const BATCH_MAX: usize = 4 * 1024 * 1024;
/// The field of the body that lists the operations.
const LIST: &str = "operations";
/// The field of an operation that holds its id.
const OP_ID: &str = "op_id";

/// The whole body: an object whose only field, `operations`, lists the operations.
pub trait BatchBody: RequestSchema {
    /// The type of one operation. Its `op_id` is a UUID.
    type Operation: ParseFromJSON + 'static;
    /// The maximum number of operations.
    const MAX_OPERATIONS: usize;
}

/// One operation of a batch.
#[derive(Debug)]
pub struct Item<T> {
    /// The `op_id` as the client wrote it.
    pub raw_op_id: String,
    /// The parsed `op_id`.
    pub op_id: Uuid,
    /// A digest of the operation's JSON. It does not depend on the order of the fields.
    pub digest: [u8; 32],
    /// The parsed operation, or its JSON and the errors in it. Pointers are relative to the operation.
    pub checked: Result<T, (Value, Vec<FieldError>)>,
}

/// The operations of a request, in order.
#[derive(Debug)]
pub struct Batch<W: BatchBody>(pub Vec<Item<W::Operation>>, PhantomData<W>);

impl<W: BatchBody> Payload for Batch<W> {
    const CONTENT_TYPE: &'static str = <Body<W> as Payload>::CONTENT_TYPE;

    fn check_content_type(content_type: &str) -> bool {
        <Body<W> as Payload>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        examples::request_schema::<W>()
    }

    fn register(registry: &mut Registry) {
        W::register(registry);
    }
}

impl<W: BatchBody> ParsePayload for Batch<W> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> Result<Self> {
        let bytes = read_up_to(request, body, BATCH_MAX).await?;
        let mut value = strict::parse(&bytes)
            .map_err(|error| Problem::new(ProblemCode::InvalidJson, format!("The request body {error}.")))?;
        let list = value.get_mut(LIST).and_then(Value::as_array_mut).map(mem::take).unwrap_or_default();
        let mut errors = validate::check(&registry::<W>(), &W::schema_ref(), &value);
        if list.len() > W::MAX_OPERATIONS {
            let detail = format!("Operations must have at most {} entries.", W::MAX_OPERATIONS);
            errors.push(FieldError::new(format!("/{LIST}"), "too_many", detail));
            return Err(Problem::invalid(errors).into());
        }
        let mut items = Vec::with_capacity(list.len());
        for (index, value) in list.into_iter().enumerate() {
            if let Some((raw_op_id, op_id)) = parse_op_id(&value) {
                items.push(item(raw_op_id, op_id, value));
            } else {
                let detail = "Operation ID is required and must be a UUID with hyphens.";
                errors.push(FieldError::new(format!("/{LIST}/{index}/{OP_ID}"), "invalid_format", detail));
            }
        }
        if errors.is_empty() {
            return Ok(Self(items, PhantomData));
        }
        Err(Problem::invalid(errors).into())
    }
}

impl_apirequest_for_payload!(Batch<W>, W: BatchBody);

/// Returns the `op_id` of an operation as it was written, and as a UUID.
fn parse_op_id(operation: &Value) -> Option<(String, Uuid)> {
    let raw_op_id = operation.get(OP_ID)?.as_str()?;
    let op_id = Uuid::try_parse(raw_op_id).ok().filter(|_| raw_op_id.len() == 36)?;
    Some((raw_op_id.to_owned(), op_id))
}

fn item<T: ParseFromJSON + 'static>(raw_op_id: String, op_id: Uuid, value: Value) -> Item<T> {
    let digest = digest_json(value.clone());
    let errors = validate::check(&registry::<T>(), &T::schema_ref(), &value);
    let checked = if errors.is_empty() {
        T::parse_from_json(Some(value.clone())).map_err(|_| (value, vec![validate::unreadable()]))
    } else {
        Err((value, errors))
    };
    Item { raw_op_id, op_id, digest, checked }
}
