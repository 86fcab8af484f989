//! A JSON body of many operations, each of which is right or wrong by itself.
//!
//! What is wrong with the whole (no JSON, too many, an operation without a name) refuses the request; what
//! is wrong with one operation is told of that one, and the others are done.

use std::marker::PhantomData;
use std::mem;

use poem::{Request, RequestBody, Result};
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::ParseFromJSON;
use serde_json::Value;
use uuid::Uuid;

use super::body::{Body, read_up_to, registry};
use super::examples::{self, RequestSchema};
use super::problem::{FieldError, Problem, ProblemCode};
use super::validate;
use crate::idempotency::digest_json;
use crate::strict_json as strict;

/// The most bytes of such a body.
pub const BATCH_MAX: usize = 4 * 1024 * 1024;
/// The member of the body that lists the operations.
const LIST: &str = "operations";
/// The member of an operation that names it.
const NAME: &str = "op_id";

/// The whole body: an object whose one member `operations` lists them.
pub trait BatchBody: RequestSchema {
    /// One of them, with a UUID as its `op_id`.
    type Operation: ParseFromJSON + 'static;
    /// The most of them.
    const MOST: usize;
}

/// One operation.
#[derive(Debug)]
pub struct Item<T> {
    /// Its name as it was sent.
    pub name: String,
    /// Its name.
    pub op_id: Uuid,
    /// A digest of all that was said of it, whatever the order of its members.
    pub digest: [u8; 32],
    /// It, or what was sent for it and what is wrong with that; pointers are into it.
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
        examples::asked::<W>()
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
            .map_err(|error| Problem::new(ProblemCode::InvalidJson, format!("The body {error}.")))?;
        let list = value.get_mut(LIST).and_then(Value::as_array_mut).map(mem::take).unwrap_or_default();
        let mut faults = validate::check(&registry::<W>(), &W::schema_ref(), &value);
        if list.len() > W::MOST {
            let detail = format!("must have at most {} items", W::MOST);
            faults.push(FieldError::new(format!("/{LIST}"), "too_many", detail));
            return Err(Problem::invalid(faults).into());
        }
        let mut items = Vec::with_capacity(list.len());
        for (at, value) in list.into_iter().enumerate() {
            if let Some((name, op_id)) = named(&value) {
                items.push(item(name, op_id, value));
            } else {
                let detail = "must be there and be a UUID, written with hyphens".to_owned();
                faults.push(FieldError::new(format!("/{LIST}/{at}/{NAME}"), "invalid_format", detail));
            }
        }
        if faults.is_empty() {
            return Ok(Self(items, PhantomData));
        }
        faults.truncate(validate::MOST);
        Err(Problem::invalid(faults).into())
    }
}

impl_apirequest_for_payload!(Batch<W>, W: BatchBody);

fn named(operation: &Value) -> Option<(String, Uuid)> {
    let name = operation.get(NAME)?.as_str()?;
    let op_id = Uuid::try_parse(name).ok().filter(|_| name.len() == 36)?;
    Some((name.to_owned(), op_id))
}

fn item<T: ParseFromJSON + 'static>(name: String, op_id: Uuid, value: Value) -> Item<T> {
    let digest = digest_json(value.clone());
    let faults = validate::check(&registry::<T>(), &T::schema_ref(), &value);
    let checked = if faults.is_empty() {
        // The parser's own words may echo the input.
        let invalid =
            || vec![FieldError::new(String::new(), "invalid", "is not of the documented form".to_owned())];
        T::parse_from_json(Some(value.clone())).map_err(|_| (value, invalid()))
    } else {
        Err((value, faults))
    };
    Item { name, op_id, digest, checked }
}
