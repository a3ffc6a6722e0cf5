//! The parts of a request as they arrive (RFC 2046 5.1, PS3.18 8.6.1.2): nothing but a delimiter
//! that may have begun is ever held back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{Stream, StreamExt};
use memchr::memmem::Finder;

use crate::http::body::Inbound;

/// What the text before the first part, the header of a part and the text after the last may take.
const FRAMING_BYTES_MAX: usize = 64 * 1024;
const CRLF: &[u8] = b"\r\n";

#[derive(Debug, thiserror::Error)]
pub(crate) enum PartsError {
    #[error("the body cannot be read")]
    Body(#[source] io::Error),
    #[error("the body has no such boundary")]
    NoBoundary,
    #[error("the body ends before its last boundary")]
    Truncated,
    #[error("a boundary is followed by something else than a line end")]
    Delimiter,
    #[error("the header of a part is longer than {FRAMING_BYTES_MAX} bytes")]
    LongHeader,
}

/// The header fields of a part that a store request or an upload has a use for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PartHead {
    pub(crate) content_type: Option<String>,
    pub(crate) content_location: Option<String>,
    pub(crate) content_disposition: Option<String>,
}

/// Where in the message the next byte lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first delimiter.
    Preamble,
    Content,
    /// Right behind a delimiter.
    Delimited,
    /// Behind the last delimiter, or where the body broke off.
    End,
}

pub(crate) struct Parts {
    body: Inbound,
    buffer: Bytes,
    delimiter: Finder<'static>,
    place: Place,
}

impl Parts {
    pub(crate) fn of(body: Inbound, boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        Self {
            body,
            // The first delimiter may begin the body; it is sought as if a line ended before it.
            buffer: Bytes::from_static(CRLF),
            delimiter: Finder::new(delimiter.as_bytes()).into_owned(),
            place: Place::Preamble,
        }
    }

    /// The head of the next part, passing over what is left of the one before; `None` behind the
    /// last part.
    pub(crate) async fn next(&mut self) -> Result<Option<PartHead>, PartsError> {
        match self.place {
            Place::Preamble => self.pass_preamble().await?,
            Place::Content => while self.chunk().await?.is_some() {},
            Place::Delimited | Place::End => {}
        }
        if self.place == Place::End {
            return Ok(None);
        }
        let head = self.head().await;
        if !matches!(head, Ok(Some(_))) {
            self.place = Place::End;
        }
        head
    }

    /// What is left of the present part.
    pub(crate) fn content(&mut self) -> Content<'_> {
        Content(self)
    }

    async fn pass_preamble(&mut self) -> Result<(), PartsError> {
        let mut passed = 0;
        let ended = loop {
            match self.chunk().await {
                Ok(Some(text)) => passed += text.len(),
                Ok(None) => return Ok(()),
                Err(PartsError::Truncated) => break PartsError::NoBoundary,
                Err(error) => break error,
            }
            if passed > FRAMING_BYTES_MAX {
                break PartsError::NoBoundary;
            }
        };
        self.place = Place::End;
        Err(ended)
    }

    /// The rest of the delimiter's line and the header behind it; `None` at the closing delimiter.
    async fn head(&mut self) -> Result<Option<PartHead>, PartsError> {
        self.fill(|buffer| buffer.len() >= 2).await?;
        if self.buffer.starts_with(b"--") {
            self.pass_epilogue().await;
            return Ok(None);
        }
        let line = self.take_through(CRLF).await?;
        if !line.trim_ascii().is_empty() {
            return Err(PartsError::Delimiter);
        }
        self.fill(|buffer| buffer.len() >= 2).await?;
        self.place = Place::Content;
        if self.buffer.starts_with(CRLF) {
            self.buffer.advance(CRLF.len());
            return Ok(Some(PartHead::default()));
        }
        let header = self.take_through(b"\r\n\r\n").await?;
        Ok(Some(PartHead::parse(&String::from_utf8_lossy(&header))))
    }

    /// Takes bytes up to and with `end`.
    async fn take_through(&mut self, end: &[u8]) -> Result<Bytes, PartsError> {
        let finder = Finder::new(end);
        self.fill(|buffer| finder.find(buffer).is_some()).await?;
        let at = finder.find(&self.buffer).ok_or(PartsError::Truncated)?;
        Ok(self.buffer.split_to(at + end.len()))
    }

    /// Reads until `enough` of the header is there.
    async fn fill(&mut self, enough: impl Fn(&[u8]) -> bool) -> Result<(), PartsError> {
        while !enough(&self.buffer) {
            if self.buffer.len() > FRAMING_BYTES_MAX {
                return Err(PartsError::LongHeader);
            }
            let more = self.body.next().await.ok_or(PartsError::Truncated)?;
            self.append(more.map_err(PartsError::Body)?);
        }
        Ok(())
    }

    /// So that a client which goes on writing finds nobody hanging up on it.
    async fn pass_epilogue(&mut self) {
        let mut passed = self.buffer.len();
        while passed <= FRAMING_BYTES_MAX {
            let Some(Ok(more)) = self.body.next().await else { return };
            passed += more.len();
        }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, PartsError> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The next bytes before a delimiter; `None` at it.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, PartsError>> {
        loop {
            if !matches!(self.place, Place::Preamble | Place::Content) {
                return Poll::Ready(Ok(None));
            }
            let certain = match self.delimiter.find(&self.buffer) {
                Some(0) => {
                    self.buffer.advance(self.delimiter.needle().len());
                    self.place = Place::Delimited;
                    return Poll::Ready(Ok(None));
                }
                Some(at) => at,
                None => self.buffer.len() - begun(&self.buffer, self.delimiter.needle()),
            };
            if certain > 0 {
                return Poll::Ready(Ok(Some(self.buffer.split_to(certain))));
            }
            let failed = match std::task::ready!(self.body.poll_next_unpin(cx)) {
                Some(Ok(more)) => {
                    self.append(more);
                    continue;
                }
                Some(Err(error)) => PartsError::Body(error),
                None => PartsError::Truncated,
            };
            self.place = Place::End;
            return Poll::Ready(Err(failed));
        }
    }

    fn append(&mut self, more: Bytes) {
        if self.buffer.is_empty() {
            self.buffer = more;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.buffer.len() + more.len());
        joined.extend_from_slice(&self.buffer);
        joined.extend_from_slice(&more);
        self.buffer = joined.freeze();
    }
}

/// How many bytes at the end of `buffer` may be the beginning of `delimiter`.
fn begun(buffer: &[u8], delimiter: &[u8]) -> usize {
    let longest = buffer.len().min(delimiter.len() - 1);
    let tail = &buffer[buffer.len() - longest..];
    memchr::memchr_iter(delimiter[0], tail)
        .find(|at| delimiter.starts_with(&tail[*at..]))
        .map_or(0, |at| tail.len() - at)
}

impl PartHead {
    /// Fields that are continued on the next line are joined; other fields have no meaning here.
    fn parse(header: &str) -> Self {
        let joined = header.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut head = Self::default();
        for (name, value) in joined.split("\r\n").filter_map(|line| line.split_once(':')) {
            let value = value.trim().to_owned();
            match name.trim().to_ascii_lowercase().as_str() {
                "content-type" => head.content_type = Some(value),
                "content-location" => head.content_location = Some(value),
                "content-disposition" => head.content_disposition = Some(value),
                _ => {}
            }
        }
        head
    }
}

/// The bytes of one part. A body that breaks off ends it with the reason.
pub(crate) struct Content<'a>(&'a mut Parts);

impl Stream for Content<'_> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = std::task::ready!(self.0.poll_chunk(cx));
        Poll::Ready(match chunk {
            Ok(chunk) => chunk.map(Ok),
            Err(PartsError::Body(error)) => Some(Err(error)),
            Err(error) => Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error))),
        })
    }
}

#[cfg(test)]
mod tests;
