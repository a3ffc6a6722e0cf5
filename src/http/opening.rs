//! Peers must begin to speak: who tells HTTP/1 from HTTP/2 waits without limit for the bytes that
//! they differ in.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::limit_hit;

/// What HTTP/2 begins with (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Fails when the limit is over before it is known which protocol the peer speaks.
pub(super) struct Opening<S> {
    stream: S,
    unknown: Option<Unknown>,
}

/// Nothing has come, or the beginning of what HTTP/2 begins with.
struct Unknown {
    matched: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Unknown {
    /// Whether these bytes tell.
    fn ends_with(&mut self, bytes: &[u8]) -> bool {
        let expected = &PREFACE[self.matched..];
        let common = bytes.len().min(expected.len());
        self.matched += common;
        bytes[..common] != expected[..common] || self.matched == PREFACE.len()
    }
}

impl<S> Opening<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        let unknown = Unknown { matched: 0, deadline: Box::pin(tokio::time::sleep(limit)) };
        Self { stream, unknown: Some(unknown) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some(unknown) = &mut self.unknown else { return read };
        if read.is_pending() && unknown.deadline.as_mut().poll(cx).is_ready() {
            limit_hit("http.header_timeout_s");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client says nothing")));
        }
        if unknown.ends_with(&buffer.filled()[before..]) {
            self.unknown = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What the server reads of a peer that says this and then nothing.
    async fn read(said: &[u8]) -> io::Result<usize> {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(said).await.unwrap();
        let mut opening = Opening::new(near, Duration::from_millis(20));
        opening.read_exact(&mut vec![0; said.len()]).await?;
        let waiting = tokio::time::timeout(Duration::from_millis(60), opening.read(&mut [0; 1])).await;
        waiting.unwrap_or(Ok(0))
    }

    #[tokio::test]
    async fn a_peer_that_does_not_say_what_it_speaks_is_given_up() {
        for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            assert_eq!(read(said).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn a_peer_that_speaks_is_left_to_its_protocol() {
        for said in [&b"G"[..], b"PO", PREFACE, b"PRI * HTTP/1"] {
            assert!(read(said).await.is_ok());
        }
    }
}
