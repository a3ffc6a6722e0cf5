//! One range of a representation whose length is known (RFC 9110 14).

use std::ops::Range;

use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use http::{Response, StatusCode};

use super::Content;
use super::etag::Etag;
use super::instances::set_content_type;
use crate::http::body::{self, Body};
use crate::http::error::HttpError;

/// What of a representation goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Selected {
    pub(in crate::http) part: Range<u64>,
    size: u64,
    /// 206 only when the client asked for a range.
    is_partial: bool,
}

impl Selected {
    /// # Errors
    /// 416 for a range that begins behind the end.
    pub(super) fn of(headers: &HeaderMap, etag: &Etag, size: u64) -> Result<Self, HttpError> {
        let asked = if etag.lets_range(headers) { asked_range(headers, size)? } else { None };
        let is_partial = asked.is_some();
        Ok(Self { part: asked.unwrap_or(0..size), size, is_partial })
    }

    /// Of content that the version names.
    pub(in crate::http) fn of_version(
        headers: &HeaderMap,
        version: &[u8],
        size: u64,
    ) -> Result<Self, HttpError> {
        Self::of(headers, &Etag::of([version], ""), size)
    }

    pub(super) fn whole(size: u64) -> Self {
        Self { part: 0..size, size, is_partial: false }
    }

    /// `content` is that of the part.
    pub(in crate::http) fn response(self, content: Content, content_type: &str) -> Response<Body> {
        let Self { part, size, is_partial } = self;
        let mut response = Response::new(body::streamed(content));
        set_content_type(&mut response, content_type);
        response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        response.headers_mut().insert(CONTENT_LENGTH, (part.end - part.start).into());
        if is_partial {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let text = format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
            if let Ok(value) = HeaderValue::from_str(&text) {
                response.headers_mut().insert(CONTENT_RANGE, value);
            }
        }
        response
    }

    /// The part of a content that can only be read from its beginning.
    pub(super) fn cut(&self, content: Content) -> Content {
        let Range { start, end } = self.part;
        let mut position = 0;
        let cut = content.map_ok(move |chunk: Bytes| {
            let length = chunk.len() as u64;
            let at = |offset: u64| offset.saturating_sub(position).min(length) as usize;
            let piece = chunk.slice(at(start)..at(end).max(at(start)));
            position += length;
            piece
        });
        cut.boxed()
    }
}

/// One range of `size` bytes; several, and other units, are answered with the whole.
fn asked_range(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>, HttpError> {
    let text = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) =
        text.and_then(|text| text.strip_prefix("bytes=")).and_then(|set| set.split_once('-'))
    else {
        return Ok(None);
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(suffix)) if first.trim().is_empty() => size.saturating_sub(suffix)..size,
        _ => return Ok(None),
    };
    if range.start < range.end { Ok(Some(range)) } else { Err(HttpError::RangeNotSatisfiable(size)) }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::header::IF_RANGE;

    use super::*;

    #[track_caller]
    fn check(range: &str, expected: Result<Option<Range<u64>>, StatusCode>) {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        assert_eq!(asked_range(&headers, 100).map_err(|error| error.status()), expected, "{range}");
    }

    #[test]
    fn ranges_are_those_of_rfc_9110_w17() {
        check("bytes=0-9", Ok(Some(0..10)));
        check("bytes=90-", Ok(Some(90..100)));
        check("bytes=-5", Ok(Some(95..100)));
        check("bytes=0-1000", Ok(Some(0..100)));
        check("bytes=100-", Err(StatusCode::RANGE_NOT_SATISFIABLE));
        check("bytes=-0", Err(StatusCode::RANGE_NOT_SATISFIABLE));
        check("items=0-1", Ok(None));
        check("bytes=0-1,5-6", Ok(None));
    }

    #[test]
    fn a_range_of_what_has_changed_is_the_whole_w17() {
        let etag = Etag::of([&b"a"[..]], "");
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, "bytes=1-2".parse().unwrap());
        headers.insert(IF_RANGE, "\"other\"".parse().unwrap());
        assert!(!Selected::of(&headers, &etag, 5).unwrap().is_partial);
        headers.remove(IF_RANGE);
        assert_eq!(Selected::of(&headers, &etag, 5).unwrap().part, 1..3);
    }

    #[tokio::test]
    async fn a_stream_is_cut_across_its_chunks() {
        let chunks = ["ab", "cd", "ef"].map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())));
        let selected = Selected { part: 1..4, size: 6, is_partial: true };
        let cut: Vec<Bytes> = selected.cut(stream::iter(chunks).boxed()).try_collect().await.unwrap();
        assert_eq!(cut.concat(), b"bcd");
    }
}
