//! `multipart/related`: reading the parts of a request and writing those of an answer
//! (PS3.18 8.6.1.2, RFC 2387).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};

use super::body::{self, Body, BoxError};

/// Hands a stream over one chunk per poll. multer drinks whatever is ready before it yields, so
/// a fast sender would fill the memory; this keeps one chunk in flight.
pub(crate) struct OneAtATime<S> {
    inner: S,
    gave: bool,
    framing: Framing,
}

impl<S> OneAtATime<S> {
    pub(crate) fn new(inner: S, framing: Framing) -> Self {
        Self { inner, gave: false, framing }
    }
}

/// Counts what is read in search of the next part. multer keeps all of it until the part begins:
/// a body without its boundary, or a part header without end, would fill the memory.
#[derive(Clone)]
pub(crate) struct Framing(Arc<AtomicUsize>);

/// What boundary and part headers may take.
const FRAMING_BYTES_MAX: usize = 64 * 1024;
const WITHIN_A_PART: usize = usize::MAX;

impl Framing {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(WITHIN_A_PART)))
    }

    /// The next part is sought: what is read counts until it is found.
    pub(crate) fn sought(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(crate) fn found(&self) {
        self.0.store(WITHIN_A_PART, Ordering::Relaxed);
    }

    /// Whether a chunk may be read. One that begins within the limit may end beyond it.
    fn admits(&self, bytes: usize) -> bool {
        let seen = self.0.load(Ordering::Relaxed);
        if seen != WITHIN_A_PART {
            self.0.store(seen.saturating_add(bytes).min(WITHIN_A_PART - 1), Ordering::Relaxed);
        }
        seen == WITHIN_A_PART || seen < FRAMING_BYTES_MAX
    }
}

impl<S: Stream<Item = io::Result<Bytes>> + Unpin> Stream for OneAtATime<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if std::mem::take(&mut self.gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.inner.poll_next_unpin(cx);
        self.gave = matches!(next, Poll::Ready(Some(_)));
        match next {
            Poll::Ready(Some(Ok(chunk))) if !self.framing.admits(chunk.len()) => {
                Poll::Ready(Some(Err(io::Error::other("no part begins where one should"))))
            }
            next => next,
        }
    }
}

/// One part of an answer.
pub(crate) struct Part {
    pub(crate) content_type: String,
    pub(crate) location: String,
    pub(crate) length: Option<u64>,
    pub(crate) content: BoxStream<'static, Result<Bytes, BoxError>>,
}

/// The writer of one answer.
pub(crate) struct Writer {
    boundary: String,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { boundary: format!("radiant-{}", crate::ids::row_id()) }
    }

    /// `type` is always quoted, PS3.18 8.7.1.
    pub(crate) fn content_type(&self, part_type: &str) -> String {
        format!("multipart/related; type=\"{part_type}\"; boundary={}", self.boundary)
    }

    /// Streams the parts; an error among them breaks the answer off.
    pub(crate) fn body<P>(self, parts: P) -> Body
    where
        P: Stream<Item = Result<Part, BoxError>> + Send + 'static,
    {
        let closing = Bytes::from(format!("\r\n--{}--\r\n", self.boundary));
        let written = parts.flat_map(move |part| self.part(part));
        body::streamed(written.chain(stream::iter([Ok(closing)])))
    }

    fn part(&self, part: Result<Part, BoxError>) -> BoxStream<'static, Result<Bytes, BoxError>> {
        match part {
            Ok(part) => {
                let header = Bytes::from(self.header(&part));
                stream::iter([Ok(header)]).chain(part.content).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn header(&self, part: &Part) -> String {
        let length = part.length.map(|bytes| format!("Content-Length: {bytes}\r\n")).unwrap_or_default();
        format!(
            "\r\n--{}\r\nContent-Type: {}\r\nContent-Location: {}\r\n{length}\r\n",
            self.boundary, part.content_type, part.location
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn part(content: &'static str) -> Result<Part, BoxError> {
        Ok(Part {
            content_type: "application/dicom".into(),
            location: "/x".into(),
            length: Some(content.len() as u64),
            content: stream::iter([Ok(Bytes::from(content))]).boxed(),
        })
    }

    #[tokio::test]
    async fn what_the_writer_writes_the_reader_reads() {
        let writer = Writer::new();
        let boundary = writer.boundary.clone();
        let body = writer.body(stream::iter([part("one\r\n"), part("")])).collect().await.unwrap();
        let mut read = multer::Multipart::new(stream::iter([Ok::<_, BoxError>(body.to_bytes())]), boundary);
        for expected in ["one\r\n", ""] {
            let field = read.next_field().await.unwrap().unwrap();
            assert_eq!(field.headers()["content-location"], "/x");
            assert_eq!(field.bytes().await.unwrap(), expected);
        }
        assert!(read.next_field().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_failing_part_breaks_the_answer_off_w44() {
        let parts = stream::iter([part("one"), Err("gone".into()), part("two")]);
        assert!(Writer::new().body(parts).collect().await.is_err());
    }

    #[test]
    fn the_type_is_quoted_g8() {
        let writer = Writer { boundary: "b".into() };
        assert_eq!(
            writer.content_type("application/dicom"),
            "multipart/related; type=\"application/dicom\"; boundary=b"
        );
    }

    #[tokio::test]
    async fn a_ready_stream_is_not_drunk_in_one_poll() {
        let chunks = (0..2).map(|_| Ok(Bytes::from_static(b"x")));
        let mut paced = OneAtATime::new(stream::iter(chunks), Framing::new());
        let polls: Vec<bool> = std::future::poll_fn(|cx| {
            Poll::Ready((0..3).map(|_| paced.poll_next_unpin(cx).is_ready()).collect())
        })
        .await;
        assert_eq!(polls, [true, false, true]);
    }

    #[tokio::test]
    async fn a_body_without_its_boundary_is_not_kept() {
        let given = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&given);
        let chunks = std::iter::repeat_with(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from_static(&[0; 1024]))
        });
        let framing = Framing::new();
        let body = OneAtATime::new(stream::iter(chunks.take(1000)), framing.clone());
        let mut parts = multer::Multipart::new(body, "b");
        framing.sought();
        assert!(parts.next_field().await.is_err());
        assert_eq!(given.load(Ordering::Relaxed), 1 + FRAMING_BYTES_MAX / 1024);
    }
}
