//! Peers must go on reading: those of a connection, and of each stream of an HTTP/2 connection,
//! where one that takes nothing of its stream may still answer pings.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::body::{Body, BoxError};
use super::limit_hit;

/// Fails when a write has waited for the peer longer than the limit: an answer that nobody reads
/// would hold its file and its memory for ever.
pub(super) struct Stalling<S> {
    stream: S,
    limit: Duration,
    /// While a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, deadline: None }
    }

    fn within_limit<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        limit_hit("http.response_stall_timeout_s");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client has stopped reading")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within_limit(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.within_limit(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.within_limit(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.within_limit(cx, shut)
    }
}

type Chunk = Result<Frame<Bytes>, BoxError>;

#[derive(Debug, thiserror::Error)]
#[error("the client has stopped reading")]
struct Stalled;

/// The same body, read by a task of its own: HTTP/2 asks a body for nothing while its peer takes
/// nothing, so that the body itself would never learn of it. When the limit is over the task lets
/// go of the file. A body that is in memory already holds nothing else.
pub(super) fn unless_stalled(body: Body, limit: Duration) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    let (sender, receiver) = mpsc::channel(1);
    let giving = tokio::spawn(give(body, sender, limit));
    let taken = stream::unfold((receiver, Some(giving)), |(mut receiver, giving)| async move {
        match (receiver.recv().await, giving) {
            (Some(chunk), giving) => Some((chunk, (receiver, giving))),
            (None, giving) => match giving?.await {
                Ok(Ok(())) => None,
                Ok(Err(stalled)) => Some((Err(stalled.into()), (receiver, None))),
                Err(panicked) => Some((Err(panicked.into()), (receiver, None))),
            },
        }
    });
    StreamBody::new(taken.fuse()).boxed_unsync()
}

async fn give(mut body: Body, taker: mpsc::Sender<Chunk>, limit: Duration) -> Result<(), Stalled> {
    while let Some(chunk) = body.frame().await {
        match tokio::time::timeout(limit, taker.send(chunk)).await {
            Ok(Ok(())) => {}
            // The stream is closed: nobody asks how it went.
            Ok(Err(_)) => return Ok(()),
            Err(_) => {
                limit_hit("http.response_stall_timeout_s");
                return Err(Stalled);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_peer_that_stops_reading_is_given_up() {
        let (near, _far) = tokio::io::duplex(8);
        let mut guarded = Stalling::new(near, Duration::from_millis(20));
        let error = guarded.write_all(&[0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    fn nine_bytes() -> Body {
        body::streamed(stream::repeat_with(|| Ok(Bytes::from_static(b"x"))).take(9))
    }

    #[tokio::test]
    async fn a_stream_that_nobody_takes_is_given_up_and_never_looks_whole() {
        let body = unless_stalled(nine_bytes(), Duration::from_millis(20));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn a_stream_that_is_taken_comes_whole() {
        let body = unless_stalled(nine_bytes(), Duration::from_secs(60));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "xxxxxxxxx");
    }

    #[tokio::test]
    async fn a_peer_that_reads_slowly_is_served() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut guarded = Stalling::new(near, Duration::from_secs(60));
        let reading = async {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                far.read_exact(&mut [0; 8]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(guarded.write_all(&[0; 32]), reading);
        assert!(written.is_ok());
    }
}
