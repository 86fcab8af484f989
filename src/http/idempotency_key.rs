//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header): a request under a key is run
//! once, and answered alike each time it is sent.
//!
//! A key is 1 to 255 visible ASCII characters, as they are or as the string of RFC 9651 that the draft
//! shows, in quotation marks; both are the same key. What is no key is refused, also two of them: who sends
//! one relies on it. What the request is, is told by its method, path and body; the order of the body's
//! members and white space don't count.

use std::sync::Arc;

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use uuid::Uuid;

use super::caller::user_deleted;
use super::problem::{FieldError, Problem, ProblemCode};
use crate::app::App;
use crate::error_chain::chain;
use crate::idempotency::{
    Claimed, Idempotency, IdempotencyError, Render, Request as Keyed, ResponseRecorder, SavedResponse, digest,
};

/// Where keys come from.
const HEADER: &str = "idempotency-key";
/// The longest key, in characters.
const KEY_MAX: usize = 255;
/// When a client should ask again for the answer of a request that runs, in seconds.
const SOON_SECS: u64 = 1;

/// The key of a request, if it has one.
#[derive(Debug)]
pub struct IdempotencyKey(Option<Key>);

#[derive(Debug)]
struct Key {
    /// The digest of the key.
    name: [u8; 32],
    /// Method and path.
    target: String,
}

impl IdempotencyKey {
    fn of(request: &Request) -> Result<Self, Problem> {
        let mut values = request.headers().get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let key = parse(value.as_bytes()).filter(|_| values.next().is_none()).ok_or_else(|| {
            Problem::new(
                ProblemCode::InvalidIdempotencyKey,
                "Idempotency-Key must stand there once and have 1 to 255 visible ASCII characters.",
            )
        })?;
        let target = format!("{} {}", request.method(), request.uri().path());
        Ok(Self(Some(Key { name: digest(&key), target })))
    }

    /// The request under this key, for whoever sends it; `body` is the digest of what it says.
    pub fn request(&self, owner: Uuid, body: [u8; 32]) -> Option<Keyed> {
        let Key { name, target } = self.0.as_ref()?;
        Some(Keyed { owner, key: *name, digest: digest(&[target.as_bytes(), b"\n", &body].concat()) })
    }
}

/// The key within the header's value.
fn parse(value: &[u8]) -> Option<Vec<u8>> {
    let key = match value {
        [b'"', quoted @ .., b'"'] => unquote(quoted)?,
        [b'"', ..] => return None,
        bare => bare.to_vec(),
    };
    ((1..=KEY_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic)).then_some(key)
}

/// A string of RFC 9651 §3.3.3, without its marks.
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
        Ok(Self::of(request)?)
    }
}

/// What a request was answered, and whether it was before.
#[derive(Debug)]
pub struct IdempotentResponse {
    /// The same each time.
    pub answer: SavedResponse,
    /// Whether it was done by an earlier request.
    pub replayed: bool,
}

/// Does what makes something: once, if the request has a key. `act` is given the receipt to sign in its
/// transaction.
///
/// # Errors
///
/// Those of `act`; of keys 409 and 422.
pub async fn run_once<T, E, Fut>(
    app: &App,
    request: Option<Keyed>,
    render: impl Fn(&T) -> SavedResponse + Send + Sync + 'static,
    act: impl FnOnce(Option<ResponseRecorder<T>>) -> Fut + Send + 'static,
) -> Result<IdempotentResponse, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    let Some(request) = request else {
        let made = act(None).await.map_err(Into::into)?;
        return Ok(IdempotentResponse { answer: render(&made), replayed: false });
    };
    let (keys, render): (_, Render<T>) = (app.idempotency.clone(), Arc::new(render));
    // In a task of its own: a client that goes away leaves no claim that nobody works at.
    let told = tokio::spawn(async move { claimed(&keys, &request, render, act).await });
    told.await.map_err(|stopped| Problem::internal(format!("a keyed request ended: {stopped}")))?
}

async fn claimed<T, E: Into<Problem>, Fut: Future<Output = Result<T, E>>>(
    keys: &Idempotency,
    request: &Keyed,
    render: Render<T>,
    act: impl FnOnce(Option<ResponseRecorder<T>>) -> Fut,
) -> Result<IdempotentResponse, Problem> {
    let claim = match keys.begin(request).await? {
        Claimed::Replay(answer) => return Ok(IdempotentResponse { answer, replayed: true }),
        Claimed::Start(claim) => claim,
    };
    match act(Some(ResponseRecorder::new(claim.clone(), Arc::clone(&render)))).await {
        Ok(made) => Ok(IdempotentResponse { answer: render(&made), replayed: false }),
        Err(error) => {
            if let Err(error) = keys.release(claim).await {
                tracing::debug!(causes = chain(&error), "an idempotency key was not let go of");
            }
            Err(error.into())
        }
    }
}

/// The first request with the key still runs.
pub fn in_progress() -> Problem {
    let detail = "The first request with this Idempotency-Key still runs; ask again for its answer.";
    Problem::new(ProblemCode::IdempotencyInProgress, detail).retry_after(SOON_SECS)
}

/// What is told of a key that stands for something else.
pub fn reused(pointer: &str) -> Problem {
    let detail = "was used for another request; every request needs a key of its own";
    let fault = FieldError::new(pointer, "reused", detail);
    Problem::new(ProblemCode::IdempotencyKeyReused, "This key stands for another request.")
        .with_errors(vec![fault])
}

impl From<IdempotencyError> for Problem {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::InProgress => in_progress(),
            IdempotencyError::Reused => reused("/Idempotency-Key"),
            IdempotencyError::NoSuchOwner => user_deleted(),
            IdempotencyError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_bare_or_in_quotation_marks() {
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
    fn what_is_no_key_is_none() {
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
