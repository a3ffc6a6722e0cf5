//! `multipart/related`: reading the parts of a request and writing those of an answer
//! (PS3.18 8.6.1.2, RFC 2387).

mod parts;

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};

use super::body::{self, Body, BoxError};

pub(crate) use parts::{Content, PartHead, Parts, PartsError};

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
    /// With a boundary that the caller answers for: no part has it in it.
    pub(crate) fn with_boundary(boundary: String) -> Self {
        Self { boundary }
    }

    /// Of an answer of this one part, where its length is known.
    pub(crate) fn length(&self, part: &Part) -> Option<u64> {
        Some((self.header(part).len() + self.closing().len()) as u64 + part.length?)
    }

    fn closing(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
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
        let closing = Bytes::from(self.closing());
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
        let location = match part.location.as_str() {
            "" => String::new(),
            location => format!("Content-Location: {location}\r\n"),
        };
        format!("\r\n--{}\r\nContent-Type: {}\r\n{location}{length}\r\n", self.boundary, part.content_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn writer() -> Writer {
        Writer::with_boundary("radiant-boundary".into())
    }

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
        let writer = writer();
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
        assert!(writer().body(parts).collect().await.is_err());
    }

    #[test]
    fn the_type_is_quoted_g8() {
        let writer = Writer::with_boundary("b".into());
        assert_eq!(
            writer.content_type("application/dicom"),
            "multipart/related; type=\"application/dicom\"; boundary=b"
        );
    }
}
