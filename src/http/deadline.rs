//! An answer must begin in time: counted from the arrival of a request, and anew from every piece
//! of its body. What the client takes for its body is bounded elsewhere.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::stream::{Stream, StreamExt};
use tokio::time::Instant;

use super::body::Inbound;
use super::error::HttpError;
use super::limit_hit;
use super::service::Answer;

const RETRY_AFTER_S: u64 = 30;

/// Since when we are waited for.
#[derive(Debug, Clone)]
pub(super) struct Deadline {
    limit: Duration,
    /// None while it is us who wait, for the body.
    ours_since: Arc<Mutex<Option<Instant>>>,
}

impl Deadline {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, ours_since: Arc::new(Mutex::new(Some(Instant::now()))) }
    }

    /// The same body, whose pieces give us more time.
    pub(super) fn watch(&self, body: Inbound) -> Inbound {
        let json_bytes_max = body.json_bytes_max();
        Inbound::of(Watched { body, deadline: self.clone() }, json_bytes_max)
    }

    pub(super) async fn bound(self, answering: impl Future<Output = Answer>) -> Answer {
        let mut answering = pin!(answering);
        loop {
            tokio::select! {
                biased;
                answer = &mut answering => return answer,
                () = tokio::time::sleep(self.left()) => {}
            }
            if self.left().is_zero() {
                limit_hit("http.answer_timeout_s");
                let reason = "the answer took too long";
                return Err(HttpError::Unavailable { reason, retry_after_s: RETRY_AFTER_S });
            }
        }
    }

    fn left(&self) -> Duration {
        let waited = self.since().map_or(Duration::ZERO, |since| since.elapsed());
        self.limit.saturating_sub(waited)
    }

    fn since(&self) -> Option<Instant> {
        *self.ours_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ours(&self, since: Option<Instant>) {
        *self.ours_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

struct Watched {
    body: Inbound,
    deadline: Deadline,
}

impl Stream for Watched {
    type Item = std::io::Result<bytes::Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.deadline.is_ours(None);
        let chunk = ready!(self.body.poll_next_unpin(cx));
        self.deadline.is_ours(Some(Instant::now()));
        Poll::Ready(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::*;
    use bytes::Bytes;
    use futures::stream;

    const LIMIT: Duration = Duration::from_millis(40);

    fn fine() -> Answer {
        Ok(http::Response::new(body::empty()))
    }

    #[tokio::test]
    async fn who_does_not_answer_is_given_up() {
        let answer = Deadline::new(LIMIT).bound(std::future::pending()).await;
        assert!(matches!(answer, Err(HttpError::Unavailable { .. })));
    }

    #[tokio::test]
    async fn who_waits_for_a_body_has_time() {
        let deadline = Deadline::new(LIMIT);
        let slow = stream::iter(0..4).then(|_| async {
            tokio::time::sleep(LIMIT).await;
            Ok(Bytes::from_static(b"x"))
        });
        let body = deadline.watch(Inbound::of(slow, 0));
        let reading = async {
            assert_eq!(body.collect::<Vec<_>>().await.len(), 4);
            fine()
        };
        assert!(deadline.clone().bound(reading).await.is_ok());
    }
}
