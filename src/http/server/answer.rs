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

use super::pulse::{Answering, InFlight};

/// A body that keeps its request in hand.
pub(super) struct Answer {
    body: BoxBody<Bytes, io::Error>,
    /// Gone with the last frame.
    answering: Option<Answering>,
}

impl Answer {
    pub(super) fn new(body: BoxBody<Bytes, io::Error>, in_flight: InFlight) -> Self {
        let answering = (!body.is_end_stream()).then(|| in_flight.answering());
        Self { body, answering }
    }
}

impl Body for Answer {
    type Data = Piece;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, io::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()? else {
            self.answering = None;
            return Poll::Ready(None);
        };
        let answering =
            if self.body.is_end_stream() { self.answering.take() } else { self.answering.clone() };
        Poll::Ready(Some(Ok(frame.map_data(|data| Piece { data, answering }))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Some bytes of an answer.
#[derive(Debug)]
pub(super) struct Piece {
    data: Bytes,
    answering: Option<Answering>,
}

impl Buf for Piece {
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
