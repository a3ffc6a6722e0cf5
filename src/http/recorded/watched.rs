//! A body that tells the trail when it has been sent, or that it was not.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::outcome;
use crate::audit::{Action, Begun, Outcome};
use crate::http::body::{Body, BoxError};

/// The same response, which ends its entry.
pub(super) fn watched(response: Response<Body>, begun: Begun) -> Response<Body> {
    let outcome = outcome(response.status());
    let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    response.map(|body| {
        Watched { body, begun: Some(begun), outcome, left: length, is_begun: false }.boxed_unsync()
    })
}

/// A body that is being sent.
struct Watched {
    body: Body,
    begun: Option<Begun>,
    outcome: Outcome,
    /// Bytes of the announced length that are still to come: behind the last one nobody asks for more.
    left: Option<u64>,
    /// Somebody has asked for its bytes: to HEAD nobody sends any.
    is_begun: bool,
}

impl Watched {
    fn end(&mut self, outcome: Outcome) {
        if let Some(begun) = self.begun.take() {
            begun.end(outcome);
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.is_begun = true;
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let outcome = self.outcome;
        match &frame {
            Some(Err(_)) => self.end(Outcome::Error),
            None => self.end(outcome),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                if self.left == Some(0) || self.body.is_end_stream() {
                    self.end(outcome);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Live news have no other end than that nobody listens any more.
        let is_endless = self.begun.as_ref().is_some_and(|begun| begun.action() == Action::FollowEvents);
        if !self.is_begun || is_endless {
            self.end(self.outcome);
        }
    }
}
