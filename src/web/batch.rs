//! A JSON body that lists many operations, each of which succeeds or fails on its own.
//!
//! If the body as a whole has an error (malformed JSON, too many operations, an operation without a valid
//! `op_id`), the request is rejected. An error in one operation is reported for that operation, and the other
//! operations are executed.

use std::marker::PhantomData;

use poem::{Request, RequestBody, Result};
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use serde_json::Value;
use uuid::Uuid;

use super::body::{Body, invalid_json};
use super::body_budget::Admission;
use super::examples::{self, RequestSchema};
use super::incoming::Incoming;
use super::problem::{FieldError, Problem};
use super::validate::{self, max_values, registry};
use crate::idempotency::digest_json;
use crate::strict_json::{JsonError, ListLimits, parse_list};

/// The maximum size of a batch body, in bytes.
pub const BATCH_MAX: usize = 4 * 1024 * 1024;
/// The field of the body that lists the operations.
const LIST: &str = "operations";
/// The field of an operation that holds its id.
const OP_ID: &str = "op_id";
/// The maximum number of JSON values in the body outside of the operations.
const OTHER_VALUES: usize = 256;

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
    /// A digest of the operation's JSON, which does not depend on the order of the fields.
    pub digest: [u8; 32],
    /// The parsed operation, or its JSON and the errors in it. The JSON pointers of these errors are relative
    /// to the operation.
    pub checked: Result<T, (Value, Vec<FieldError>)>,
}

/// The body of a batch request, which has not been read yet.
pub struct Batch<W: BatchBody>(Incoming, PhantomData<W>);

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
        Ok(Self(Incoming::take(request, body, BATCH_MAX)?, PhantomData))
    }
}

impl<W: BatchBody> Batch<W> {
    /// Reads the operations of `user` and converts each operation as soon as it is parsed, so that only one
    /// operation at a time is in memory as a tree of JSON values. The caller must hold the returned admission
    /// until the operations are processed.
    ///
    /// # Errors
    ///
    /// A problem of the body as a whole.
    pub async fn parse<U: Send + 'static>(
        self,
        user: Uuid,
        convert: impl FnMut(Item<W::Operation>) -> U + Send + 'static,
    ) -> Result<(Vec<U>, Admission), Problem> {
        let received = self.0.read(Some(user)).await?;
        received.parse(move |bytes| parse::<W, U>(&bytes, convert)).await
    }
}

fn parse<W: BatchBody, U>(
    text: &[u8],
    mut convert: impl FnMut(Item<W::Operation>) -> U,
) -> Result<Vec<U>, Problem> {
    let (whole, operation) = (registry::<W>(), registry::<W::Operation>());
    let schema = <W::Operation as Type>::schema_ref();
    let limits = ListLimits {
        items: W::MAX_OPERATIONS,
        item_values: max_values(&operation, &schema),
        other_values: OTHER_VALUES,
    };
    let (mut items, mut op_id_errors, mut index) = (Vec::new(), Vec::new(), 0);
    let parsed = parse_list(text, LIST, limits, |value| {
        if let Some((raw_op_id, op_id)) = parse_op_id(&value) {
            items.push(convert(item(&operation, &schema, raw_op_id, op_id, value)));
        } else {
            let detail = "Operation ID is required and must be a UUID with hyphens.";
            op_id_errors.push(FieldError::new(format!("/{LIST}/{index}/{OP_ID}"), "invalid_format", detail));
        }
        index += 1;
    });
    let rest = match parsed {
        Ok(rest) => rest,
        Err(JsonError::TooManyItems) => {
            let detail = format!("Operations must have at most {} entries.", W::MAX_OPERATIONS);
            return Err(Problem::invalid(vec![FieldError::new(format!("/{LIST}"), "too_many", detail)]));
        }
        Err(error) => return Err(invalid_json(error)),
    };
    let mut errors = validate::check(&whole, &W::schema_ref(), &rest);
    errors.extend(op_id_errors);
    if errors.is_empty() { Ok(items) } else { Err(Problem::invalid(errors)) }
}

impl_apirequest_for_payload!(Batch<W>, W: BatchBody);

/// Returns the `op_id` of an operation, as the client wrote it and as a UUID.
fn parse_op_id(operation: &Value) -> Option<(String, Uuid)> {
    let raw_op_id = operation.get(OP_ID)?.as_str()?;
    let op_id = Uuid::try_parse(raw_op_id).ok().filter(|_| raw_op_id.len() == 36)?;
    Some((raw_op_id.to_owned(), op_id))
}

fn item<T: ParseFromJSON + 'static>(
    registry: &Registry,
    schema: &MetaSchemaRef,
    raw_op_id: String,
    op_id: Uuid,
    value: Value,
) -> Item<T> {
    let digest = digest_json(&value);
    let errors = validate::check(registry, schema, &value);
    let checked = if errors.is_empty() {
        T::parse_from_json(Some(value)).map_err(|_| (Value::Null, vec![validate::unreadable()]))
    } else {
        Err((value, errors))
    };
    Item { raw_op_id, op_id, digest, checked }
}
