//! A response body that keeps its request in flight until hyper has taken the last byte of the body.
//!
//! hyper passes a whole body to its HTTP/2 layer as soon as one byte of the client's window is free, and the
//! body stays there while the window is closed. Invariants: a request is in flight for as long as its body,
//! or any chunk of it, is in memory; every byte that hyper takes for sending is recorded. On HTTP/1.1, hyper
//! copies each chunk at once, so the chunks do not keep the request in flight.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;

use super::activity::{InFlight, PendingBody};

/// Maximum size of one frame. On HTTP/1.1, this size limits the memory for a client that does not read: hyper
/// copies each frame, and polls for no further frame until the client reads.
const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// A body that keeps its request in flight.
pub(super) struct TrackedBody {
    body: BoxBody<Bytes, io::Error>,
    /// The part of the inner body's last frame that was not returned yet.
    rest: Bytes,
    /// `None` after the last frame.
    pending: Option<PendingBody>,
}

impl TrackedBody {
    pub(super) fn new(body: BoxBody<Bytes, io::Error>, in_flight: InFlight) -> Self {
        let pending = (!body.is_end_stream()).then(|| in_flight.into_pending_body());
        Self { body, rest: Bytes::new(), pending }
    }
}

impl Body for TrackedBody {
    type Data = Chunk;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, io::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)).transpose()? else {
                this.pending = None;
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(other) => {
                    return Poll::Ready(Some(Ok(other.map_data(|data| Chunk { data, pending: None }))));
                }
            }
        }
        let data = this.rest.split_to(this.rest.len().min(MAX_CHUNK_BYTES));
        let pending = if this.is_end_stream() { this.pending.take() } else { this.pending.clone() };
        Poll::Ready(Some(Ok(Frame::data(Chunk { data, pending }))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// A part of a response body.
#[derive(Debug)]
pub(super) struct Chunk {
    data: Bytes,
    pending: Option<PendingBody>,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, bytes: usize) {
        if let Some(pending) = &self.pending {
            pending.record_sent(bytes);
        }
        self.data.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::{BodyExt, Full};

    use super::*;
    use crate::listener::activity::Activity;

    #[tokio::test]
    async fn a_large_body_is_split_into_chunks_and_arrives_complete() {
        // S-76
        let sent: Vec<u8> = (0..200_001_u32).flat_map(u32::to_le_bytes).collect();
        let body = Full::new(Bytes::from(sent.clone())).map_err(|never| match never {});
        let mut tracked =
            TrackedBody::new(BoxBody::new(body), Activity::begin(&Arc::new(Activity::default())));
        let mut received = Vec::new();
        assert_eq!(tracked.size_hint().exact(), Some(sent.len() as u64));
        while let Some(frame) = tracked.frame().await {
            let chunk = frame.unwrap().into_data().unwrap();
            assert!((1..=MAX_CHUNK_BYTES).contains(&chunk.remaining()));
            received.extend_from_slice(chunk.chunk());
            assert_eq!(tracked.size_hint().exact(), Some((sent.len() - received.len()) as u64));
        }
        assert!(tracked.is_end_stream() && received == sent);
    }
}
