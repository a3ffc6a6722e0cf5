//! Bodies: in as a guarded stream of chunks, out as one boxed type.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use http_body::{Body as HttpBody, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Empty, Full, StreamBody};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What every handler answers with.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A request body behind its limits.
pub(crate) type Inbound = BoxStream<'static, io::Result<Bytes>>;

/// Why a body stopped before its end; travels inside the `io::Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyStopped {
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    #[error("the client sent nothing for {0:?}")]
    Idle(Duration),
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
}

/// Ends with [`BodyStopped`] when a limit is passed.
pub(crate) fn inbound<B>(body: B, limits: InboundLimits) -> Inbound
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let frames = TryStreamExt::map_err(BodyStream::new(body), |e| io::Error::other(e.into()));
    let chunks = frames.try_filter_map(|frame| std::future::ready(Ok(frame.into_data().ok()))).boxed();
    stream::unfold(Some((chunks, 0_u64)), move |state| guarded_chunk(state, limits)).boxed()
}

type Guarded = Option<(BoxStream<'static, io::Result<Bytes>>, u64)>;

async fn guarded_chunk(state: Guarded, limits: InboundLimits) -> Option<(io::Result<Bytes>, Guarded)> {
    let (mut chunks, seen) = state?;
    let Ok(next) = tokio::time::timeout(limits.idle_timeout, chunks.next()).await else {
        return Some((Err(stopped(BodyStopped::Idle(limits.idle_timeout))), None));
    };
    let chunk = match next? {
        Ok(chunk) => chunk,
        Err(error) => return Some((Err(error), None)),
    };
    let seen = seen.saturating_add(chunk.len() as u64);
    if seen > limits.bytes_max {
        return Some((Err(stopped(BodyStopped::TooLarge { bytes_max: limits.bytes_max })), None));
    }
    Some((Ok(chunk), Some((chunks, seen))))
}

fn stopped(reason: BodyStopped) -> io::Error {
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
    StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: InboundLimits = InboundLimits { bytes_max: 4, idle_timeout: Duration::from_millis(20) };

    #[tokio::test]
    async fn a_body_over_the_limit_ends_with_the_reason() {
        let chunks: Vec<_> = inbound(full("12345"), LIMITS).collect().await;
        let error = chunks[0].as_ref().unwrap_err();
        assert_eq!(BodyStopped::find(error), Some(BodyStopped::TooLarge { bytes_max: 4 }));
        assert_eq!(chunks.len(), 1);
    }

    #[tokio::test]
    async fn a_silent_client_is_given_up() {
        let silent = streamed(stream::pending());
        let chunks: Vec<_> = inbound(silent, LIMITS).collect().await;
        let error = chunks[0].as_ref().unwrap_err();
        assert!(matches!(BodyStopped::find(error), Some(BodyStopped::Idle(_))));
    }
}
