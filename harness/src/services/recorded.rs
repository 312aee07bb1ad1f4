//! A body that tells how far it got.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::server::{Body, BodyError};

/// How an answer's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    /// Bytes handed to the connection.
    pub(super) bytes: u64,
    /// Whether all of it was.
    pub(super) complete: bool,
}

/// Learns how an answer ended. Dropping it untold means: there was no answer.
pub(super) trait Listen: Send + Sync + Unpin + 'static {
    /// A part of the answer's body was handed to the connection.
    fn sent(&mut self, _bytes: u64) {}

    /// The answer's body ended.
    fn ended(&mut self, ending: Ending);
}

/// A body that tells its listener how it ended, also when the connection is cut and it is dropped.
///
/// What counts is what was handed to the connection: a client that cuts within the last bytes that the
/// kernel still holds is not noticed, on this side of any TCP connection.
pub(super) struct Recorded<L: Listen> {
    inner: Body,
    listener: L,
    bytes: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Sending,
    Ended,
    Failed,
}

impl<L: Listen> Recorded<L> {
    /// Records `inner`. `bodiless` says that no body will be sent (the answer to HEAD).
    pub(super) fn new(inner: Body, listener: L, bodiless: bool) -> Self {
        let state = if bodiless { State::Ended } else { State::Sending };
        Self { inner, listener, bytes: 0, state }
    }
}

impl<L: Listen> HttpBody for Recorded<L> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.bytes += length;
                self.listener.sent(length);
            }
            Poll::Ready(Some(Err(_))) => self.state = State::Failed,
            Poll::Ready(None) if self.state == State::Sending => self.state = State::Ended,
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<L: Listen> Drop for Recorded<L> {
    fn drop(&mut self) {
        // The connection may stop asking at the last byte of a known length.
        let complete = match self.state {
            State::Ended => true,
            State::Sending => self.inner.is_end_stream(),
            State::Failed => false,
        };
        let ending = Ending { bytes: self.bytes, complete };
        self.listener.ended(ending);
    }
}
