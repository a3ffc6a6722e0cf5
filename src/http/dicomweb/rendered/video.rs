//! Video, passed on as it is stored; players ask for ranges of it.

use futures::stream::{StreamExt, TryStreamExt};

use super::super::etag::Etag;
use super::super::ranged::Selected;
use crate::http::body::BoxError;
use crate::http::error::HttpError;
use crate::http::negotiation::{Accept, Offer};
use crate::http::service::{Answer, Asked};
use crate::ingest::layout::ITEM_HEADER_BYTES;
use crate::query::stored_object::StoredObject;

const MP4: &str = "video/mp4";
const MPEG: &str = "video/mpeg";
const TRANSPORT_STREAM: &str = "video/mp2t";
const H264: &str = "video/h264";

/// As much as tells the containers apart.
const HEAD_BYTES: u64 = 12;

pub(super) async fn rendered(object: StoredObject, asked: &Asked) -> Answer {
    let span = object.layout.all_fragments().ok_or(HttpError::NotFound("video"))?;
    let begin = (span.range.start + ITEM_HEADER_BYTES).min(span.range.end);
    let head = object.bytes(begin..span.range.end.min(begin + HEAD_BYTES)).await?;
    let media_type = container(&head);
    Accept::of(&asked.headers, asked.query.get("accept")).choose(&[Offer::single(media_type)])?;
    let etag = Etag::of([object.instance.sha256.as_slice()], media_type);
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let selected = Selected::of(&asked.headers, &etag, span.content_length())?;
    let content = selected.cut(object.frame_content(&span).await?.map_err(BoxError::from).boxed());
    let mut response = selected.response(content, media_type);
    etag.mark(&mut response);
    Ok(response)
}

/// The transfer syntax names the coding alone; what is around it, the bytes say.
fn container(head: &[u8]) -> &'static str {
    match head {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => MP4,
        [0x47, ..] => TRANSPORT_STREAM,
        [0, 0, 1, 0xBA | 0xB3, ..] => MPEG,
        _ => H264,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_by_their_first_bytes_w28() {
        assert_eq!(container(b"\0\0\0\x18ftypisom"), MP4);
        assert_eq!(container(&[0, 0, 1, 0xB3, 0x16, 0, 0xF0]), MPEG);
        assert_eq!(container(&[0x47, 0x40, 0, 0x10]), TRANSPORT_STREAM);
        assert_eq!(container(&[0, 0, 0, 1, 0x67]), H264);
    }
}
