//! Answers in `application/dicom+xml`: one document for each data set (PS3.18 8.7.3.1).

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value};

use super::etag::Etag;
use crate::dicom::xml;
pub(super) use crate::dicom::xml::MEDIA_TYPE;
use crate::http::body::{self, Body, BoxError};
use crate::http::multipart::{Part, Writer};

/// A data set and the URL of what it describes.
pub(super) struct Described {
    pub(super) location: String,
    pub(super) set: Map<String, Value>,
}

impl Described {
    fn into_part(self) -> Result<Part, BoxError> {
        let document = Bytes::from(xml::write(&self.set)?);
        Ok(Part {
            content_type: MEDIA_TYPE.to_owned(),
            location: self.location,
            length: Some(document.len() as u64),
            content: stream::iter([Ok(document)]).boxed(),
        })
    }
}

/// One part for each data set. Making XML is work, which no async thread does: `page` is called on
/// a blocking one.
pub(super) fn multipart<P, F>(etag: &Etag, pages: P) -> Response<Body>
where
    P: Stream<Item = Result<F, BoxError>> + Send + 'static,
    F: FnOnce() -> Result<Vec<Described>, BoxError> + Send + 'static,
{
    let parts = pages.and_then(blocking).map_ok(stream::iter).try_flatten();
    let writer = Writer::with_boundary(etag.boundary());
    let content_type = writer.content_type(MEDIA_TYPE);
    response(&content_type, writer.body(parts))
}

async fn blocking<F>(page: F) -> Result<Vec<Result<Part, BoxError>>, BoxError>
where
    F: FnOnce() -> Result<Vec<Described>, BoxError> + Send + 'static,
{
    let parts = || Ok(page()?.into_iter().map(Described::into_part).collect());
    tokio::task::spawn_blocking(parts).await?
}

/// The only part as the whole body.
pub(super) fn single<P, F>(pages: P) -> Response<Body>
where
    P: Stream<Item = Result<F, BoxError>> + Send + 'static,
    F: FnOnce() -> Result<Vec<Described>, BoxError> + Send + 'static,
{
    let parts = pages.and_then(blocking).map_ok(stream::iter).try_flatten();
    let content = parts.map_ok(|part| part.content).try_flatten();
    response(MEDIA_TYPE, body::streamed(content))
}

fn response(content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    if let Ok(value) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}
