//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header): a request with a key is executed
//! once, and every repetition gets the same response.
//!
//! A key has 1 to 255 visible ASCII characters. A client sends the key either bare or, as in the draft, as a
//! quoted string (RFC 9651); both forms denote the same key. A malformed or duplicate header is rejected,
//! because a client that sends the header relies on its effect. Requests are compared by method, path and
//! body; white space and the order of fields in the body don't matter.

use std::sync::Arc;

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::caller::user_deleted;
use super::field_label::field_label;
use super::problem::{FieldError, Problem, ProblemCode, grouped};
use crate::db::within_one_deadline;
use crate::idempotency::{
    Claimed, Idempotency, IdempotencyError, Reference, Request as Keyed, ResultRecorder, Saved,
    SavedResponse, digest,
};

/// The name of the header.
pub const HEADER: &str = "idempotency-key";
/// The maximum length of a key, in characters.
const KEY_MAX: usize = 255;
/// The `Retry-After` of the response while the first request with the same key is still running, in seconds.
const IN_PROGRESS_RETRY_SECS: u64 = 1;

/// The idempotency key of a request, if it has one.
#[derive(Debug)]
pub struct IdempotencyKey(Option<Key>);

#[derive(Debug)]
struct Key {
    /// The digest of the key.
    key_digest: [u8; 32],
    /// The method and the path.
    target: String,
}

impl IdempotencyKey {
    /// Reads the `Idempotency-Key` header.
    fn from_request(request: &Request) -> Result<Self, Problem> {
        let mut values = request.headers().get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let key = parse(value.as_bytes()).filter(|_| values.next().is_none()).ok_or_else(|| {
            Problem::new(
                ProblemCode::InvalidIdempotencyKey,
                "Idempotency-Key must be sent once and have 1 to 255 visible ASCII characters.",
            )
        })?;
        let target = format!("{} {}", request.method(), request.uri().path());
        Ok(Self(Some(Key { key_digest: digest(&key), target })))
    }

    /// Returns the values that identify the request: its owner, its key, and a digest of its method, path and
    /// body. `body` is the digest of the body. Returns `None` if the request has no key.
    pub fn request(&self, owner: Uuid, body: [u8; 32]) -> Option<Keyed> {
        let Key { key_digest, target } = self.0.as_ref()?;
        Some(Keyed { owner, key: *key_digest, digest: digest(&[target.as_bytes(), b"\n", &body].concat()) })
    }
}

/// Parses the value of the header.
fn parse(value: &[u8]) -> Option<Vec<u8>> {
    let key = match value {
        [b'"', quoted @ .., b'"'] => unquote(quoted)?,
        [b'"', ..] => return None,
        bare => bare.to_vec(),
    };
    ((1..=KEY_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic)).then_some(key)
}

/// Decodes the inside of an RFC 9651 string (§3.3.3).
fn unquote(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = quoted.iter();
    let mut key = Vec::with_capacity(quoted.len());
    while let Some(byte) = bytes.next() {
        key.push(match byte {
            b'"' => return None,
            b'\\' => *bytes.next().filter(|next| matches!(next, b'"' | b'\\'))?,
            other => *other,
        });
    }
    Some(key)
}

impl<'a> ApiExtractor<'a> for IdempotencyKey {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = false;
    type ParamType = String;
    type ParamRawType = String;

    fn register(_: &mut Registry) {}

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        let mut schema = MetaSchema::new("string");
        (schema.min_length, schema.max_length) = (Some(1), Some(KEY_MAX));
        schema.pattern = Some("^[!-~]+$".to_owned());
        Some(MetaSchemaRef::Inline(Box::new(schema)))
    }

    fn param_raw_type(&self) -> Option<&String> {
        None
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<String>,
    ) -> Result<Self> {
        Ok(Self::from_request(request)?)
    }
}

/// An operation whose request can be repeated. An implementing type holds all parts of the request that the
/// response needs. `T` is the result of the operation.
pub trait Repeatable<T>: Send + Sync + 'static {
    /// The part of the result that the response needs. However large the request is, this part has at most
    /// 512 characters as JSON.
    type Reference: Serialize + DeserializeOwned;

    /// Returns the part of the result that is saved.
    fn reference(&self, result: &T) -> Self::Reference;

    /// Returns the response. The response depends only on this operation and the reference, so that it is the
    /// same for each repetition.
    ///
    /// # Errors
    ///
    /// A problem if the response can't be built from this operation and the reference.
    fn response(&self, reference: Self::Reference) -> Result<SavedResponse, Problem>;
}

/// The response to a request that may have a key.
#[derive(Debug)]
pub struct IdempotentResponse {
    /// The response, which is the same for each repetition.
    pub response: SavedResponse,
    /// Whether this is the saved response of an earlier request.
    pub replayed: bool,
}

/// Executes `act`, or returns the saved response if an earlier request with the same key has succeeded. If
/// the request has a key, `act` gets a [`ResultRecorder`], which saves the result in the transaction of
/// `act`.
///
/// # Errors
///
/// The errors of `act`; 409 if the first request with the key is still running, and 422 if the key was used
/// for another request.
pub async fn run_once<T, E, Fut, R: Repeatable<T>>(
    idempotency: &Idempotency,
    request: Option<Keyed>,
    operation: R,
    act: impl FnOnce(Option<ResultRecorder<T>>) -> Fut + Send + 'static,
) -> Result<IdempotentResponse, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    let Some(request) = request else {
        let result = act(None).await.map_err(Into::into)?;
        let response = operation.response(operation.reference(&result))?;
        return Ok(IdempotentResponse { response, replayed: false });
    };
    let (keys, operation) = (idempotency.clone(), Arc::new(operation));
    // Use a separate task, so that the claim on the key is completed or released even if the client
    // disconnects.
    let task =
        tokio::spawn(async move { within_one_deadline(run_claimed(&keys, &request, operation, act)).await });
    task.await.map_err(|error| Problem::internal(format!("the task of a keyed request failed: {error}")))?
}

async fn run_claimed<T, E: Into<Problem>, Fut: Future<Output = Result<T, E>>, R: Repeatable<T>>(
    keys: &Idempotency,
    request: &Keyed,
    operation: Arc<R>,
    act: impl FnOnce(Option<ResultRecorder<T>>) -> Fut,
) -> Result<IdempotentResponse, Problem> {
    let claim = match keys.claim(request).await? {
        Claimed::Replay(saved) => {
            let response = repeat(&*operation, saved)?;
            return Ok(IdempotentResponse { response, replayed: true });
        }
        Claimed::Start(claim) => claim,
    };
    let recorded = Arc::clone(&operation);
    let refer = move |result: &T| {
        // Writing to memory can't fail.
        Reference(serde_json::to_string(&recorded.reference(result)).unwrap_or_default())
    };
    match act(Some(ResultRecorder::new(claim.clone(), Arc::new(refer)))).await {
        Ok(result) => {
            let response = operation.response(operation.reference(&result))?;
            Ok(IdempotentResponse { response, replayed: false })
        }
        Err(error) => {
            let problem = error.into();
            let release = keys.release_in_background(claim);
            // If the database is unavailable, don't wait for it a second time.
            if problem.code() != ProblemCode::DatabaseUnavailable
                && problem.code() != ProblemCode::OutcomeUnknown
            {
                drop(release.await);
            }
            Err(problem)
        }
    }
}

/// Returns the response to a repetition of a completed request.
fn repeat<T, R: Repeatable<T>>(operation: &R, saved: Saved) -> Result<SavedResponse, Problem> {
    match saved {
        Saved::Response(response) => Ok(response),
        Saved::Reference(Reference(json)) => {
            let reference = serde_json::from_str(&json)
                .map_err(|error| Problem::internal(format!("failed to read a saved result: {error}")))?;
            operation.response(reference)
        }
    }
}

/// Returns the problem for a key whose first request is still running.
pub fn in_progress() -> Problem {
    let detail = "Your request is still being processed. Please try again in a moment.";
    Problem::new(ProblemCode::IdempotencyInProgress, detail).retry_after(IN_PROGRESS_RETRY_SECS)
}

fn too_many_keys(max: i64) -> Problem {
    let detail =
        format!("The app can add at most {} entries a day. Please try again tomorrow.", grouped(max));
    Problem::new(ProblemCode::QuotaExceeded, detail)
}

/// Returns the problem for a key that was used for another request. `pointer` names the field or header of
/// the key.
pub fn reused(pointer: &str) -> Problem {
    let detail = format!(
        "{} was already used for another request. Use a new one for each request.",
        field_label(pointer)
    );
    let error = FieldError::new(pointer, "reused", detail);
    Problem::new(ProblemCode::IdempotencyKeyReused, "The app sent a different request under a used key.")
        .with_errors(vec![error])
}

impl From<IdempotencyError> for Problem {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::InProgress => in_progress(),
            IdempotencyError::Reused => reused("/Idempotency-Key"),
            IdempotencyError::QuotaExceeded(max) => too_many_keys(max),
            IdempotencyError::NoSuchOwner => user_deleted(),
            IdempotencyError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_may_be_quoted_or_unquoted() {
        for (value, key) in [
            ("a", "a"),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("\"8e03978e\"", "8e03978e"),
            ("\"a\\\"b\\\\c\"", "a\"b\\c"),
            ("a\"b", "a\"b"),
            ("~!", "~!"),
        ] {
            assert_eq!(parse(value.as_bytes()).as_deref(), Some(key.as_bytes()), "{value}");
        }
    }

    #[test]
    fn a_malformed_idempotency_key_is_rejected() {
        // S-61
        let long = "x".repeat(KEY_MAX + 1);
        let quoted = format!("\"{long}\"");
        for value in [
            "", "\"\"", "\"", "\"a", "a b", "a\tb", "\"a b\"", "\"a\"b\"", "\"a\\x\"", "\"a\\\"", "é",
            "\u{7f}", &long, &quoted,
        ] {
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
        assert!(parse("x".repeat(KEY_MAX).as_bytes()).is_some());
    }
}
