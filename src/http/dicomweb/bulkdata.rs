//! Bulk data, PS3.18 10.4.1.1.5: one large value of one instance.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dicom_dictionary_std::tags;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use http::{Response, StatusCode};

use super::etag::Etag;
use super::frames::{self, OCTETS};
use super::instances::set_content_type;
use super::stored;
use crate::dicom::attributes::AttributeId;
use crate::http::State;
use crate::http::body::{self, Body, BoxError};
use crate::http::endpoint::FrameList;
use crate::http::error::HttpError;
use crate::http::multipart::{Part, Writer};
use crate::http::negotiation::{Accept, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::query::Scope;
use crate::query::stored_object::StoredObject;

const PIXEL_DATA: &str = "7FE00010";
const PDF: &str = "application/pdf";

pub(super) async fn retrieve(state: Arc<State>, scope: Scope, path: &str, asked: &Asked) -> Answer {
    let object = stored::open_one(&state, &scope).await?;
    let path = path.to_ascii_uppercase();
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    if path == PIXEL_DATA && object.is_encapsulated() && accept.choose(&[Offer::single(OCTETS)]).is_err() {
        let all = (1..=object.layout.frame_count()).filter_map(|frame| u32::try_from(frame).ok()).collect();
        return frames::retrieve(state, scope, FrameList(all), asked).await;
    }
    let value = Value::find(&state, object, &path).await?.ok_or(HttpError::NotFound("bulk data"))?;
    let offer = accept.choose(&value.offers())?.clone();
    let etag =
        Etag::of([value.object.instance.sha256.as_slice()], &format!("{path}{}", offer.content_type()));
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let mut response = match offer.packaging {
        Packaging::Single => value.single(&offer, &asked.headers).await?,
        Packaging::Multipart => {
            let location = format!("{}/bulkdata/{path}", asked.urls.of_scope(&scope));
            value.multipart(&offer, location).await?
        }
    };
    etag.mark(&mut response);
    Ok(response)
}

/// One value, in the stored file or, when it was small, in the metadata.
pub(super) struct Value {
    object: StoredObject,
    held: Held,
    is_pdf: bool,
}

enum Held {
    Range(Range<u64>),
    Bytes(Bytes),
}

impl Value {
    pub(super) async fn find(
        state: &State,
        object: StoredObject,
        path: &str,
    ) -> Result<Option<Self>, HttpError> {
        let is_pdf = path.parse() == Ok(AttributeId(tags::ENCAPSULATED_DOCUMENT)) && is_pdf(&object);
        let in_file = match path {
            PIXEL_DATA => object.layout.pixel_data_range(),
            _ => object.layout.bulk(path).map(|bulk| bulk.offset..bulk.offset + bulk.length),
        };
        let held = match in_file {
            Some(range) if object.is_big_endian() => Some(Held::Bytes(swapped(&object, path, range).await?)),
            Some(range) => Some(Held::Range(range)),
            None => inline(state, &object, path).await?.map(Held::Bytes),
        };
        Ok(held.map(|held| Self { object, held, is_pdf }))
    }

    fn offers(&self) -> Vec<Offer> {
        let mut offers = vec![Offer::single(OCTETS), Offer::multipart(OCTETS)];
        if self.is_pdf {
            offers.splice(0..0, [Offer::single(PDF), Offer::multipart(PDF)]);
        }
        offers
    }

    fn len(&self) -> u64 {
        match &self.held {
            Held::Range(range) => range.end - range.start,
            Held::Bytes(bytes) => bytes.len() as u64,
        }
    }

    async fn content(&self, part: Range<u64>) -> Result<super::Content, HttpError> {
        match &self.held {
            Held::Range(range) => {
                let wanted = range.start + part.start..range.start + part.end;
                Ok(self.object.stream(vec![wanted]).await?.map_err(BoxError::from).boxed())
            }
            Held::Bytes(bytes) => {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(stream::iter([Ok(bytes.slice(at(part.start)..at(part.end)))]).boxed())
            }
        }
    }

    /// 206 only when the client asked for a range (RFC 9110 14).
    pub(super) async fn single(
        &self,
        offer: &Offer,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, HttpError> {
        let size = self.len();
        let range = asked_range(headers, size)?;
        let part = range.clone().unwrap_or(0..size);
        let length = part.end - part.start;
        let mut response = Response::new(body::streamed(self.content(part.clone()).await?));
        set_content_type(&mut response, &offer.content_type());
        response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        if range.is_some() {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let text = format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
            let value = HeaderValue::from_str(&text).map_err(HttpError::internal("naming a range"))?;
            response.headers_mut().insert(CONTENT_RANGE, value);
        }
        Ok(response)
    }

    async fn multipart(&self, offer: &Offer, location: String) -> Result<Response<Body>, HttpError> {
        let writer = Writer::new();
        let content_type = writer.content_type(offer.media_type);
        let content = self.content(0..self.len()).await?;
        let part = Part { content_type: offer.content_type(), location, length: Some(self.len()), content };
        let mut response = Response::new(writer.body(stream::iter([Ok(part)])));
        set_content_type(&mut response, &content_type);
        Ok(response)
    }
}

pub(super) fn is_pdf(object: &StoredObject) -> bool {
    object.instance.sop_class.as_str() == dicom_dictionary_std::uids::ENCAPSULATED_PDF_STORAGE
}

/// Values at the root that were small enough for the metadata.
async fn inline(state: &State, object: &StoredObject, path: &str) -> Result<Option<Bytes>, HttpError> {
    let Ok(id) = path.parse::<AttributeId>() else { return Ok(None) };
    let attributes = object.attributes(&state.db).await?;
    let value = attributes.element_opt(id.0).ok().flatten().and_then(|element| element.to_bytes().ok());
    Ok(value.map(|bytes| Bytes::from(bytes.into_owned())))
}

/// Bulk data is little endian (PS3.18 8.7.3.5.1).
async fn swapped(object: &StoredObject, path: &str, range: Range<u64>) -> Result<Bytes, HttpError> {
    let vr = match &object.layout.pixel_data {
        Some(crate::ingest::layout::PixelDataLayout::Native { vr, .. }) if path == PIXEL_DATA => vr.as_str(),
        _ => object.layout.bulk(path).map_or("OB", |bulk| bulk.vr.as_str()),
    };
    let width = match vr {
        "OW" | "US" | "SS" => 2,
        "OL" | "OF" | "UL" | "SL" | "FL" => 4,
        "OD" | "OV" | "FD" | "UV" | "SV" => 8,
        _ => 1,
    };
    let mut bytes = object.bytes(range).await?.to_vec();
    bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    Ok(bytes.into())
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
        (Err(_), Ok(suffix)) if first.trim().is_empty() && suffix > 0 => size.saturating_sub(suffix)..size,
        _ => return Ok(None),
    };
    if range.start < range.end { Ok(Some(range)) } else { Err(HttpError::RangeNotSatisfiable(size)) }
}

#[cfg(test)]
mod tests {
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
        check("items=0-1", Ok(None));
        check("bytes=0-1,5-6", Ok(None));
    }
}
