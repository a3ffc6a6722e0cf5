//! Bodies: in as a guarded stream of chunks, out as one boxed type.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use http_body::{Body as HttpBody, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Empty, Full, StreamBody};
use tokio::time::Instant;

use super::limit_hit;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What every handler answers with.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A request body behind its limits.
pub(crate) struct Inbound {
    chunks: BoxStream<'static, io::Result<Bytes>>,
    json_bytes_max: usize,
}

impl Inbound {
    /// `json_bytes_max` bounds what is taken where a few words of JSON are expected.
    pub(crate) fn of<S>(chunks: S, json_bytes_max: usize) -> Self
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        Self { chunks: chunks.boxed(), json_bytes_max }
    }

    pub(crate) fn json_bytes_max(&self) -> usize {
        self.json_bytes_max
    }
}

impl Stream for Inbound {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.as_mut().poll_next(context)
    }
}

/// Why a body stopped before its end; travels inside the `io::Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyStopped {
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    #[error("the client sent nothing for {0:?}")]
    Idle(Duration),
    #[error("the client sent less than {rate_min} bytes per second")]
    Slow { rate_min: u64 },
}

impl BodyStopped {
    /// Looks for the reason in a chain of errors.
    pub(crate) fn find(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(one) = next {
            if let Some(found) = one.downcast_ref::<Self>() {
                return Some(*found);
            }
            let inner = one.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match inner {
                Some(inner) => Some(inner),
                None => one.source(),
            };
        }
        None
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct InboundLimits {
    pub(crate) bytes_max: u64,
    pub(crate) idle_timeout: Duration,
    /// Bytes per second on the average, after the idle timeout.
    pub(crate) rate_min: u64,
}

impl InboundLimits {
    /// The reason to stop, after so many bytes and so much waiting for them.
    fn passed(&self, bytes: u64, waited: Duration) -> Option<BodyStopped> {
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        let wanted = waited_ms.saturating_mul(self.rate_min) / 1000;
        if bytes > self.bytes_max {
            Some(BodyStopped::TooLarge { bytes_max: self.bytes_max })
        } else if waited > self.idle_timeout && bytes < wanted {
            Some(BodyStopped::Slow { rate_min: self.rate_min })
        } else {
            None
        }
    }
}

/// Ends with [`BodyStopped`] when a limit is passed.
pub(crate) fn inbound<B>(body: B, limits: InboundLimits, json_bytes_max: usize) -> Inbound
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let frames = TryStreamExt::map_err(BodyStream::new(body), |e| io::Error::other(e.into()));
    let chunks = frames.try_filter_map(|frame| std::future::ready(Ok(frame.into_data().ok()))).boxed();
    let body = Guarded { chunks, bytes: 0, waited: Duration::ZERO };
    Inbound::of(stream::unfold(Some(body), move |body| guarded_chunk(body, limits)), json_bytes_max)
}

struct Guarded {
    chunks: BoxStream<'static, io::Result<Bytes>>,
    bytes: u64,
    /// For the client; what we take for the bytes ourselves is not its fault.
    waited: Duration,
}

async fn guarded_chunk(
    body: Option<Guarded>,
    limits: InboundLimits,
) -> Option<(io::Result<Bytes>, Option<Guarded>)> {
    let mut body = body?;
    let asked_at = Instant::now();
    let Ok(next) = tokio::time::timeout(limits.idle_timeout, body.chunks.next()).await else {
        return Some((Err(stopped(BodyStopped::Idle(limits.idle_timeout))), None));
    };
    let chunk = match next? {
        Ok(chunk) => chunk,
        Err(error) => return Some((Err(error), None)),
    };
    body.waited += asked_at.elapsed();
    body.bytes = body.bytes.saturating_add(chunk.len() as u64);
    match limits.passed(body.bytes, body.waited) {
        Some(reason) => Some((Err(stopped(reason)), None)),
        None => Some((Ok(chunk), Some(body))),
    }
}

fn stopped(reason: BodyStopped) -> io::Error {
    limit_hit(match reason {
        BodyStopped::TooLarge { .. } => "fixed.body_bytes",
        BodyStopped::Idle(_) => "http.body_idle_timeout_s",
        BodyStopped::Slow { .. } => "http.body_rate_min",
    });
    io::Error::other(reason)
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An error of the stream breaks the connection off, so that a client never takes a part for
/// the whole.
pub(crate) fn streamed<S>(chunks: S) -> Body
where
    S: Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
{
    let chunks = chunks.then(|chunk| async {
        // hyper drops what it has not flushed when a body fails, the head of the answer with it; it
        // flushes when it has to wait.
        if chunk.is_err() {
            tokio::task::yield_now().await;
        }
        chunk
    });
    // Compression asks once more after the end.
    StreamBody::new(chunks.map_ok(Frame::data).fuse()).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: InboundLimits =
        InboundLimits { bytes_max: 4, idle_timeout: Duration::from_millis(20), rate_min: 0 };

    #[tokio::test]
    async fn a_body_over_the_limit_ends_with_the_reason() {
        let chunks: Vec<_> = inbound(full("12345"), LIMITS, 16).collect().await;
        let error = chunks[0].as_ref().unwrap_err();
        assert_eq!(BodyStopped::find(error), Some(BodyStopped::TooLarge { bytes_max: 4 }));
        assert_eq!(chunks.len(), 1);
    }

    #[tokio::test]
    async fn a_silent_client_is_given_up() {
        let silent = streamed(stream::pending());
        let chunks: Vec<_> = inbound(silent, LIMITS, 16).collect().await;
        let error = chunks[0].as_ref().unwrap_err();
        assert!(matches!(BodyStopped::find(error), Some(BodyStopped::Idle(_))));
    }

    #[tokio::test]
    async fn a_client_that_drips_is_given_up() {
        let limits =
            InboundLimits { bytes_max: 1000, idle_timeout: Duration::from_millis(200), rate_min: 10_000 };
        let drips = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(Bytes::from_static(b"x"))
        });
        let chunks: Vec<_> = inbound(streamed(drips), limits, 16).collect().await;
        let error = chunks.last().unwrap().as_ref().unwrap_err();
        assert_eq!(BodyStopped::find(error), Some(BodyStopped::Slow { rate_min: 10_000 }));
    }
}
