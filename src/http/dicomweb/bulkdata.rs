//! Bulk data, PS3.18 10.4.1.1.5: one large value of one instance, or all of a scope.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Response;
use http::header::{CONTENT_LENGTH, HeaderMap};

use super::Content;
use super::etag::Etag;
use super::frames::{self, OCTETS};
use super::instances::{self, log_broken, set_content_type};
use super::ranged::Selected;
use super::stored;
use crate::dicom::attributes::AttributeId;
use crate::dicom::reencode::swap_unit;
use crate::http::State;
use crate::http::body::{Body, BoxError};
use crate::http::error::HttpError;
use crate::http::multipart::{Part, Writer};
use crate::http::negotiation::{Accept, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::query::Scope;
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::StoredObject;
use crate::query::transcoding::swapped;
use crate::volume::attributes::text;

const PIXEL_DATA: &str = "7FE00010";
const DOCUMENT: &str = "00420011";

/// Compressed pixel data are given frame by frame, without the headers of fragments.
pub(super) async fn retrieve(state: Arc<State>, scope: Scope, path: &str, asked: &Asked) -> Answer {
    let object = stored::open_one(&state, &scope).await?;
    let path = path.to_ascii_uppercase();
    if path == PIXEL_DATA && object.is_encapsulated() {
        return frames::pixel_data(state, scope, asked).await;
    }
    let value = Value::find(&state, object, &path).await?.ok_or(HttpError::NotFound("bulk data"))?;
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    let offer = accept.choose(&value.offers())?.clone();
    match offer.packaging {
        Packaging::Single => value.single(&offer, &asked.headers).await,
        Packaging::Multipart => {
            let location = format!("{}/bulkdata/{path}", asked.urls.of_scope(&scope));
            value.multipart(&offer, location, &asked.headers).await
        }
    }
}

/// One value, in the stored file or, when it was small, in the metadata.
pub(super) struct Value {
    object: StoredObject,
    held: Held,
    path: String,
    /// What an encapsulated document says of itself.
    media_type: Option<&'static str>,
}

enum Held {
    /// In units of `swap` bytes to be reversed: bulk data are little endian (PS3.18 8.7.3.5.1).
    Range {
        range: Range<u64>,
        swap: usize,
    },
    Bytes(Bytes),
}

impl Value {
    pub(super) async fn find(
        state: &State,
        object: StoredObject,
        path: &str,
    ) -> Result<Option<Self>, HttpError> {
        let in_file = match path {
            PIXEL_DATA => object.layout.pixel_data_range(),
            _ => object.layout.bulk(path).map(|bulk| bulk.offset..bulk.offset + bulk.length),
        };
        let held = match in_file {
            Some(range) => {
                let swap = if object.is_big_endian() { unit(state, &object, path).await? } else { 1 };
                Some(Held::Range { range, swap })
            }
            None => inline(&object.attributes(&state.db).await?, path).map(Held::Bytes),
        };
        let media_type =
            if path == DOCUMENT { document_type(&object.attributes(&state.db).await?) } else { None };
        Ok(held.map(|held| Self { object, held, path: path.to_owned(), media_type }))
    }

    fn offers(&self) -> Vec<Offer> {
        let types = self.media_type.into_iter().chain([OCTETS]);
        types.flat_map(|media_type| [Offer::single(media_type), Offer::multipart(media_type)]).collect()
    }

    fn len(&self) -> u64 {
        match &self.held {
            Held::Range { range, .. } => range.end - range.start,
            Held::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// `location` is that of a part, which tells it.
    fn etag(&self, offer: &Offer, location: &str) -> Etag {
        let form = format!("{}{:?}{}{location}", self.path, offer.packaging, offer.content_type());
        Etag::of([self.object.instance.sha256.as_slice()], &form)
    }

    async fn content(&self, selected: &Selected) -> Result<Content, HttpError> {
        match &self.held {
            Held::Range { range, swap: 1 } => {
                let wanted = range.start + selected.part.start..range.start + selected.part.end;
                Ok(self.object.stream(vec![wanted]).await?.map_err(BoxError::from).boxed())
            }
            Held::Range { range, swap } => {
                let whole = swapped(self.object.stream(vec![range.clone()]).await?, *swap);
                Ok(selected.cut(whole.map_err(BoxError::from).boxed()))
            }
            Held::Bytes(bytes) => Ok(selected.cut(stream::iter([Ok(bytes.clone())]).boxed())),
        }
    }

    pub(super) async fn single(
        &self,
        offer: &Offer,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, HttpError> {
        let etag = self.etag(offer, "");
        if let Some(response) = etag.not_modified(headers) {
            return Ok(response);
        }
        let selected = Selected::of(headers, &etag, self.len())?;
        let content = self.content(&selected).await?;
        let mut response = selected.response(content, &offer.content_type());
        etag.mark(&mut response);
        Ok(response)
    }

    async fn multipart(&self, offer: &Offer, location: String, headers: &HeaderMap) -> Answer {
        let etag = self.etag(offer, &location);
        if let Some(response) = etag.not_modified(headers) {
            return Ok(response);
        }
        let writer = Writer::with_boundary(etag.boundary());
        let content_type = writer.content_type(offer.media_type);
        let part = self.part(offer.content_type(), location).await?;
        let length = writer.length(&part);
        let mut response = Response::new(writer.body(stream::iter([Ok(part)])));
        set_content_type(&mut response, &content_type);
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        etag.mark(&mut response);
        Ok(response)
    }

    async fn part(&self, content_type: String, location: String) -> Result<Part, HttpError> {
        let content = self.content(&Selected::whole(self.len())).await?;
        Ok(Part { content_type, location, length: Some(self.len()), content })
    }
}

/// Every value that the metadata of a scope refer to, but compressed pixel data, which have forms
/// of their own (10.4.1.1.6).
pub(super) async fn all(state: Arc<State>, scope: Scope, asked: &Asked) -> Answer {
    let held = stored::held(&state, &scope).await?;
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    let offer = accept.choose(&[Offer::multipart(OCTETS)])?.clone();
    let etag = Etag::of([held.version.as_slice()], &format!("bulk data {}", asked.urls.of_scope(&scope)));
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let (urls, opener) = (asked.urls.clone(), Arc::clone(&state));
    let parts = instances::all(Arc::clone(&state), scope).and_then(move |instance| {
        let (state, urls) = (Arc::clone(&opener), urls.clone());
        async move {
            let paths = paths(&state, &instance).await;
            let paths = paths.inspect_err(|error| log_broken(&instance, error))?;
            Ok(stream::iter(paths.into_iter().map(Ok)).and_then(move |path| {
                let (state, urls, instance) = (Arc::clone(&state), urls.clone(), instance.clone());
                async move { part_of(&state, &urls, instance, &path).await }
            }))
        }
    });
    let mut parts = parts.try_flatten().boxed();
    let first = parts.try_next().await.map_err(HttpError::of_part)?;
    let first = first.ok_or(HttpError::NotFound("bulk data"))?;
    let writer = Writer::with_boundary(etag.boundary());
    let content_type = writer.content_type(offer.media_type);
    let mut response = Response::new(writer.body(stream::iter([Ok(first)]).chain(parts)));
    set_content_type(&mut response, &content_type);
    etag.mark(&mut response);
    Ok(response)
}

async fn paths(state: &State, instance: &StoredInstance) -> Result<Vec<String>, HttpError> {
    let object = stored::open(state, instance.clone()).await?;
    let mut paths: Vec<String> = object.layout.bulk.iter().map(|bulk| bulk.path.clone()).collect();
    let pixels = object.layout.pixel_data_range().filter(|_| !object.is_encapsulated());
    let is_new = |range: &Range<u64>| object.layout.bulk.iter().all(|bulk| bulk.offset != range.start);
    if pixels.is_some_and(|range| is_new(&range)) {
        paths.push(PIXEL_DATA.to_owned());
    }
    Ok(paths)
}

async fn part_of(state: &State, urls: &Urls, instance: StoredInstance, path: &str) -> Result<Part, BoxError> {
    let location = format!("{}/bulkdata/{path}", urls.of_instance(&instance));
    let object = stored::open(state, instance.clone()).await?;
    let value = Value::find(state, object, path).await?.ok_or(HttpError::NotFound("bulk data"))?;
    let part = value.part(OCTETS.to_owned(), location).await;
    Ok(part.inspect_err(|error| log_broken(&instance, error))?)
}

/// The forms of documents that the standard has (PS3.3 C.24.2).
fn document_type(attributes: &InMemDicomObject) -> Option<&'static str> {
    const DOCUMENTS: [&str; 8] = [
        "application/pdf",
        "text/xml",
        "model/stl",
        "model/obj",
        "model/mtl",
        "image/jpeg",
        "image/png",
        "video/mp4",
    ];
    let said = text(attributes, tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT)?.to_ascii_lowercase();
    DOCUMENTS.into_iter().find(|known| *known == said)
}

async fn unit(state: &State, object: &StoredObject, path: &str) -> Result<usize, HttpError> {
    if path == PIXEL_DATA {
        return Ok(object.pixel_unit(&state.db).await?);
    }
    let vr = object.layout.bulk(path).and_then(|bulk| bulk.vr.parse::<VR>().ok());
    Ok(vr.map_or(1, swap_unit))
}

/// Values that were small enough for the metadata, at any depth.
fn inline(attributes: &InMemDicomObject, path: &str) -> Option<Bytes> {
    let mut data_set = attributes;
    let mut parts = path.split('/');
    loop {
        let id = parts.next()?.parse::<AttributeId>().ok()?;
        let element = data_set.element_opt(id.0).ok().flatten()?;
        match parts.next() {
            None => return element.to_bytes().ok().map(|bytes| Bytes::from(bytes.into_owned())),
            Some(item) => data_set = element.items()?.get(item.parse::<usize>().ok()?)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::value::DataSetSequence;
    use dicom_core::{DataElement, PrimitiveValue};

    use super::*;

    #[test]
    fn small_values_are_found_within_sequences() {
        let value = DataElement::new(tags::WAVEFORM_DATA, VR::OB, PrimitiveValue::from(vec![1_u8, 2]));
        let items = vec![InMemDicomObject::new_empty(), InMemDicomObject::from_element_iter([value])];
        let sequence = DataElement::new(tags::WAVEFORM_SEQUENCE, VR::SQ, DataSetSequence::from(items));
        let object = InMemDicomObject::from_element_iter([sequence]);
        assert_eq!(inline(&object, "54000100/1/54001010").as_deref(), Some(&[1, 2][..]));
        for absent in ["54000100/0/54001010", "54000100/2/54001010", "54001010", "54000100/x/54001010"] {
            assert_eq!(inline(&object, absent), None, "{absent}");
        }
    }
}
