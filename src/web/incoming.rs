//! Reads request bodies, with a size limit, a deadline and a share of the budget for large bodies.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use poem::error::ReadBodyError;
use poem::{Body, Request, RequestBody};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::body_budget::{Admission, BodyBudget, FREE_BYTES};
use super::problem::{Problem, ProblemCode, from_poem, too_large};

/// The time within which the whole body must arrive. While the server waits for a share of the budget, it
/// does not read the body, so this wait does not count.
const BODY_TIMEOUT: Duration = Duration::from_secs(8);

/// A body that is not read yet.
pub(super) struct Incoming {
    body: Body,
    /// The value of `Content-Length`.
    declared: Option<usize>,
    max_bytes: usize,
    budget: Arc<BodyBudget>,
}

/// A body in memory.
pub(super) struct Received {
    bytes: Vec<u8>,
    admission: Admission,
    budget: Arc<BodyBudget>,
}

impl Incoming {
    /// Takes the body of a request, without reading it. The body may have at most `max_bytes`, and no content
    /// coding.
    pub(super) fn take(request: &Request, body: &mut RequestBody, max_bytes: usize) -> Result<Self, Problem> {
        // A body whose declared length is too large is refused before it arrives.
        let declared = request.header("content-length").and_then(|length| length.parse::<usize>().ok());
        if declared.is_some_and(|length| length > max_bytes) {
            return Err(too_large(max_bytes));
        }
        if request.header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Err(Problem::new(
                ProblemCode::UnsupportedMediaType,
                "The request body must be sent without compression (Content-Encoding).",
            ));
        }
        let budget = request.data::<Arc<BodyBudget>>().cloned();
        let budget =
            budget.ok_or_else(|| Problem::internal("the middleware attached no budget for bodies"))?;
        let body = body.take().map_err(|error| from_poem(error.into()))?;
        Ok(Self { body, declared, max_bytes, budget })
    }

    /// Reads the body within the deadline. If the body is a batch, `batch_of` is the user that sends it.
    pub(super) async fn read(self, batch_of: Option<Uuid>) -> Result<Received, Problem> {
        let Self { body, declared, max_bytes, budget } = self;
        let mut admission = Admission::default();
        let mut capacity = declared.unwrap_or_default().min(FREE_BYTES);
        if let Some(length) = declared.filter(|length| *length > FREE_BYTES) {
            admission = budget.admit(length, batch_of).await?;
            capacity = length;
        }
        let mut bytes = Vec::with_capacity(capacity);
        let limit = if capacity > FREE_BYTES { max_bytes } else { FREE_BYTES };
        let mut chunks = Box::pin(body.into_bytes_stream());
        let mut deadline = Instant::now() + BODY_TIMEOUT;
        let mut rest = collect(&mut chunks, &mut bytes, limit, deadline).await?;
        if let Some(chunk) = rest.take_if(|_| limit < max_bytes) {
            // The length is not known, so the body gets the share of a body of the maximum size.
            let begin = Instant::now();
            admission = budget.admit(max_bytes, batch_of).await?;
            deadline += begin.elapsed();
            bytes.reserve_exact(max_bytes - bytes.len());
            bytes.extend_from_slice(&chunk);
            rest = collect(&mut chunks, &mut bytes, max_bytes, deadline).await?;
        }
        if rest.is_some() || bytes.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        Ok(Received { bytes, admission, budget })
    }
}

/// Appends chunks while they fit into `limit` bytes. Returns the first chunk that does not fit.
async fn collect(
    chunks: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
    bytes: &mut Vec<u8>,
    limit: usize,
    deadline: Instant,
) -> Result<Option<Bytes>, Problem> {
    let read = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| from_poem(ReadBodyError::Io(error).into()))?;
            if bytes.len() + chunk.len() > limit {
                return Ok(Some(chunk));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(None)
    };
    match timeout_at(deadline, read).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            ProblemCode::RequestTimeout,
            "The request took too long to arrive. Please try again.",
        )),
    }
}

impl Received {
    /// Returns the bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the result of `parse`, which runs on a thread of low priority if the body is large. Also
    /// returns the share of the budget, which the caller must hold while it uses the result.
    pub(super) async fn parse<T: Send + 'static>(
        self,
        parse: impl FnOnce(Vec<u8>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(T, Admission), Problem> {
        let Self { bytes, admission, budget } = self;
        let parsed =
            if bytes.len() <= FREE_BYTES { parse(bytes) } else { budget.parse(move || parse(bytes)).await? };
        Ok((parsed?, admission))
    }
}
