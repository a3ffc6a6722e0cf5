//! Frames, PS3.18 10.4.1.1.6: as they are stored, one ranged read each, or decoded.

use std::sync::Arc;

use bytes::Bytes;
use dicom_dictionary_std::uids;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Response;

use super::etag::Etag;
use super::instances::set_content_type;
use super::native;
use super::stored;
use crate::http::State;
use crate::http::body::{self, BoxError};
use crate::http::endpoint::FrameList;
use crate::http::error::HttpError;
use crate::http::multipart::{Part, Writer};
use crate::http::negotiation::{Accept, NotAcceptable, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::query::Scope;
use crate::query::stored_object::StoredObject;

pub(super) const OCTETS: &str = "application/octet-stream";

pub(super) async fn retrieve(state: Arc<State>, scope: Scope, frames: FrameList, asked: &Asked) -> Answer {
    let object = stored::open_one(&state, &scope).await?;
    let count = object.layout.frame_count();
    if frames.0.iter().any(|&frame| u64::from(frame) > count) {
        return Err(HttpError::NotFound("frame"));
    }
    let offers = offers(&object, frames.0.len() == 1);
    let offer = Accept::of(&asked.headers, asked.query.get("accept")).choose(&offers)?.clone();
    let etag = Etag::of([object.instance.sha256.as_slice()], &format!("{}{frames:?}", offer.content_type()));
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let source = Source { location: asked.urls.of_scope(&scope), object, offer };
    let mut response = source.answer(state, frames).await?;
    etag.mark(&mut response);
    Ok(response)
}

/// As stored first, then little endian, which every client can read.
fn offers(object: &StoredObject, is_one: bool) -> Vec<Offer> {
    let stored = object.instance.transfer_syntax.as_str();
    let mut forms = vec![(OCTETS, uids::EXPLICIT_VR_LITTLE_ENDIAN)];
    if object.is_encapsulated() {
        forms.insert(0, (media_type(stored), stored));
    }
    let packagings: &[fn(&'static str) -> Offer] =
        if is_one { &[Offer::multipart, Offer::single] } else { &[Offer::multipart] };
    let offer = |&(media_type, syntax): &(&'static str, &str)| {
        packagings.iter().map(move |packaging| packaging(media_type).in_syntax(syntax)).collect::<Vec<_>>()
    };
    forms.iter().flat_map(offer).collect()
}

/// PS3.18 Table 8.7.3-5; the content of a frame without its item headers.
pub(super) fn media_type(transfer_syntax: &str) -> &'static str {
    match transfer_syntax {
        uids::RLE_LOSSLESS => "image/dicom-rle",
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => "image/jls",
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => "image/jp2",
        uids::JPEG2000MC_LOSSLESS | uids::JPEG2000MC => "image/jpx",
        uids::HTJ2K_LOSSLESS | uids::HTJ2K_LOSSLESS_RPCL | uids::HTJ2K => "image/jphc",
        uids::JPEGXL_LOSSLESS | uids::JPEGXLJPEG_RECOMPRESSION | uids::JPEGXL => "image/jxl",
        other if other.starts_with("1.2.840.10008.1.2.4.10") => video_type(other),
        other if other.starts_with("1.2.840.10008.1.2.4.") => "image/jpeg",
        _ => OCTETS,
    }
}

fn video_type(transfer_syntax: &str) -> &'static str {
    match transfer_syntax {
        uids::MPEG2MPML | uids::MPEG2MPHL => "video/mpeg",
        _ => "video/mp4",
    }
}

struct Source {
    object: StoredObject,
    offer: Offer,
    /// URL of the instance.
    location: String,
}

impl Source {
    /// The first frame is made before the status leaves: what cannot be decoded is 406.
    async fn answer(self, state: Arc<State>, frames: FrameList) -> Answer {
        let first = self.part(&state, frames.0[0]).await?;
        if self.offer.packaging == Packaging::Single {
            let mut response = Response::new(body::streamed(first.content));
            set_content_type(&mut response, &self.offer.content_type());
            return Ok(response);
        }
        let writer = Writer::new();
        let content_type = writer.content_type(self.offer.media_type);
        let source = Arc::new(self);
        let rest = stream::iter(frames.0.into_iter().skip(1)).then(move |frame| {
            let (source, state) = (Arc::clone(&source), Arc::clone(&state));
            async move { source.part(&state, frame).await.map_err(BoxError::from) }
        });
        let mut response = Response::new(writer.body(stream::iter([Ok(first)]).chain(rest)));
        set_content_type(&mut response, &content_type);
        Ok(response)
    }

    async fn part(&self, state: &State, frame: u32) -> Result<Part, HttpError> {
        let stored_form =
            self.offer.transfer_syntax.as_deref() == Some(self.object.instance.transfer_syntax.as_str());
        let as_it_lies = !self.object.is_encapsulated() && native::lies_ready(&self.object, frame);
        let (length, content) = if stored_form && self.object.is_encapsulated() || as_it_lies {
            self.stored(frame).await?
        } else {
            let bytes = self.decoded(state, frame).await?;
            (bytes.len() as u64, stream::iter([Ok(bytes)]).boxed())
        };
        let location = format!("{}/frames/{frame}", self.location);
        Ok(Part { content_type: self.offer.content_type(), location, length: Some(length), content })
    }

    async fn stored(&self, frame: u32) -> Result<(u64, super::Content), HttpError> {
        let span = self.object.frame_span(frame.into()).await?.ok_or(HttpError::NotFound("frame"))?;
        let content = self.object.frame_content(&span).await?;
        Ok((span.content_length(), content.map_err(BoxError::from).boxed()))
    }

    async fn decoded(&self, state: &State, frame: u32) -> Result<Bytes, HttpError> {
        let decoded = native::little_endian(state, &self.object, frame).await?;
        decoded.map_err(|reason| {
            tracing::info!(%reason, instance = %self.object.instance.sop_instance, "a frame could not be decoded");
            let stored = self.object.instance.transfer_syntax.as_str();
            let available = format!("{}; transfer-syntax={stored}", media_type(stored));
            HttpError::NotAcceptable(NotAcceptable { available })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_frames_have_the_media_types_of_the_table_w14b() {
        for (syntax, expected) in [
            ("1.2.840.10008.1.2.4.50", "image/jpeg"),
            ("1.2.840.10008.1.2.4.70", "image/jpeg"),
            ("1.2.840.10008.1.2.4.80", "image/jls"),
            ("1.2.840.10008.1.2.4.91", "image/jp2"),
            ("1.2.840.10008.1.2.4.201", "image/jphc"),
            ("1.2.840.10008.1.2.4.110", "image/jxl"),
            ("1.2.840.10008.1.2.4.100", "video/mpeg"),
            ("1.2.840.10008.1.2.4.102", "video/mp4"),
            ("1.2.840.10008.1.2.5", "image/dicom-rle"),
        ] {
            assert_eq!(media_type(syntax), expected, "{syntax}");
        }
    }
}
