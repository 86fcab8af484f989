//! An answer's body, in hand until its last byte was taken.
//!
//! hyper gives a whole body to its HTTP/2 layer as soon as one byte of the client's window is free,
//! and there it lies for as long as the window stays shut. What always holds: the request counts as
//! in hand for as long as the body, or any piece of it, is in memory, wherever that is; every byte that
//! leaves is noted. HTTP/1.1 copies what it is given at once, so there nothing is held by this.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;

use super::activity::{Answering, InFlight};

/// The most that hyper is given at a time. It copies what it writes over HTTP/1.1, and asks for no more
/// while a client does not take it.
const CHUNK_MAX: usize = 64 * 1024;

/// A body that keeps its request in hand.
pub(super) struct TrackedBody {
    body: BoxBody<Bytes, io::Error>,
    /// What of the last frame was not handed on yet.
    rest: Bytes,
    /// Gone with the last frame.
    answering: Option<Answering>,
}

impl TrackedBody {
    pub(super) fn new(body: BoxBody<Bytes, io::Error>, in_flight: InFlight) -> Self {
        let answering = (!body.is_end_stream()).then(|| in_flight.answering());
        Self { body, rest: Bytes::new(), answering }
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
                this.answering = None;
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(other) => {
                    return Poll::Ready(Some(Ok(other.map_data(|data| Chunk { data, answering: None }))));
                }
            }
        }
        let data = this.rest.split_to(this.rest.len().min(CHUNK_MAX));
        let answering = if this.is_end_stream() { this.answering.take() } else { this.answering.clone() };
        Poll::Ready(Some(Ok(Frame::data(Chunk { data, answering }))))
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

/// Some bytes of an answer.
#[derive(Debug)]
pub(super) struct Chunk {
    data: Bytes,
    answering: Option<Answering>,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, bytes: usize) {
        if let Some(answering) = &self.answering {
            answering.note_taken(bytes);
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
    async fn a_large_answer_is_handed_on_piece_by_piece_and_whole() {
        // S-76
        let sent: Vec<u8> = (0..200_001_u32).flat_map(u32::to_le_bytes).collect();
        let body = Full::new(Bytes::from(sent.clone())).map_err(|never| match never {});
        let mut answer =
            TrackedBody::new(BoxBody::new(body), Activity::begin(&Arc::new(Activity::default())));
        let mut taken = Vec::new();
        assert_eq!(answer.size_hint().exact(), Some(sent.len() as u64));
        while let Some(frame) = answer.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!((1..=CHUNK_MAX).contains(&piece.remaining()));
            taken.extend_from_slice(piece.chunk());
            assert_eq!(answer.size_hint().exact(), Some((sent.len() - taken.len()) as u64));
        }
        assert!(answer.is_end_stream() && taken == sent);
    }
}
