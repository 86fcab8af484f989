//! What a handler left of an HTTP/1.1 request's body.
//!
//! The next request of a connection stands behind the body, so where the rest has not come yet the
//! connection ends with the answer. hyper ends it too, but without a word: a client that keeps the
//! connection for its next request then loses that one. What is there already is read and thrown away,
//! so that refusing a small body costs no connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;

/// The most that is thrown away, in bytes.
const MAX_BYTES: usize = 64 * 1024;

type Shared = Arc<Mutex<BoxBody<Bytes, io::Error>>>;

/// A body that is lent to a handler.
pub(super) struct SharedBody(Shared);

/// Whoever lent a body to a handler, and looks at it afterwards.
pub(super) struct UnreadBody(Shared);

/// Lends a body; gives an empty one back, of which nothing can be left.
pub(super) fn lend(
    body: BoxBody<Bytes, io::Error>,
) -> Result<(SharedBody, UnreadBody), BoxBody<Bytes, io::Error>> {
    if body.is_end_stream() {
        return Err(body);
    }
    let body = Arc::new(Mutex::new(body));
    Ok((SharedBody(Arc::clone(&body)), UnreadBody(body)))
}

impl UnreadBody {
    /// Whether something is left that has not come yet, or too much to wait for.
    pub(super) fn remains(self) -> bool {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut discarded = 0;
        while !body.is_end_stream() && discarded <= MAX_BYTES {
            match body.frame().now_or_never() {
                Some(Some(Ok(frame))) => discarded += frame.data_ref().map_or(0, Bytes::len),
                Some(None) => return false,
                Some(Some(Err(_))) | None => return true,
            }
        }
        !body.is_end_stream()
    }
}

impl Body for SharedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
