//! Finds out whether a handler left a part of an HTTP/1.1 request's body unread.
//!
//! The next request on a connection follows the body. So if the rest of the body has not arrived yet, the
//! connection closes after the response. Without this module, hyper would also close the connection, but
//! without sending `Connection: close`, and a client that reuses the connection would lose its next request.
//! Bytes that have arrived already are read and discarded, so that rejecting a small body does not close the
//! connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;

/// Maximum number of bytes to discard.
const MAX_BYTES: usize = 64 * 1024;

type Shared = Arc<Mutex<BoxBody<Bytes, io::Error>>>;

/// The handler's share of a body.
pub(super) struct SharedBody(Shared);

/// The connection's share of the same body, inspected after the handler has returned.
pub(super) struct UnreadBody(Shared);

/// Splits a body into the handler's and the connection's share. Returns an empty body as the error, because
/// an empty body can't have an unread rest.
pub(super) fn share(
    body: BoxBody<Bytes, io::Error>,
) -> Result<(SharedBody, UnreadBody), BoxBody<Bytes, io::Error>> {
    if body.is_end_stream() {
        return Err(body);
    }
    let body = Arc::new(Mutex::new(body));
    Ok((SharedBody(Arc::clone(&body)), UnreadBody(body)))
}

impl UnreadBody {
    /// Discards the bytes that have arrived. Returns true if further bytes have not arrived yet, if more than
    /// [`MAX_BYTES`] were unread, or if reading fails.
    pub(super) fn has_rest(self) -> bool {
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
