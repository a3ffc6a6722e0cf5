//! Rendered images, thumbnails and documents, PS3.18 10.4.1.1.3 and 10.4.1.1.4.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use http::Response;

use super::bulkdata::{self, Value};
use super::etag::Etag;
use super::instances::{self, set_content_type};
use super::rendering_parameters::{self, Surface};
use super::stored;
use crate::db;
use crate::http::State;
use crate::http::body::{self, BoxError};
use crate::http::endpoint::FrameList;
use crate::http::error::HttpError;
use crate::http::multipart::{Part, Writer};
use crate::http::negotiation::{Accept, NotAcceptable, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::query::Scope;
use crate::query::rendering::{self, Format, Rendering};
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::StoredObject;

const JPEG: &str = "image/jpeg";
const PNG: &str = "image/png";
const PDF: &str = "application/pdf";
const DOCUMENT_PATH: &str = "00420011";

pub(super) async fn rendered(
    state: Arc<State>,
    scope: Scope,
    frames: Option<FrameList>,
    asked: &Asked,
) -> Answer {
    let surface = rendering_parameters::rendered(&asked.query)?;
    let first = stored::first_page(&state, &scope).await?;
    match scope {
        Scope::Instance(..) => one(&state, first[0].clone(), frames, &surface, asked).await,
        Scope::Study(_) | Scope::Series(..) => several(state, scope, surface, asked).await,
    }
}

pub(super) async fn thumbnail(
    state: Arc<State>,
    scope: Scope,
    frames: Option<FrameList>,
    asked: &Asked,
) -> Answer {
    let surface = rendering_parameters::thumbnail(&asked.query)?;
    let representative = representative(&state, &scope).await?;
    one(&state, representative, frames, &surface, asked).await
}

/// The first instance that has an image; of a whole scope the middle one of its first page,
/// where the subject usually is.
async fn representative(state: &State, scope: &Scope) -> Result<StoredInstance, HttpError> {
    let page = stored::first_page(state, scope).await?;
    let images = db::retrieve::with_rows(&state.db, scope).await?;
    let is_image = |instance: &&StoredInstance| images.contains(&instance.row);
    let shown: Vec<&StoredInstance> = page.iter().filter(is_image).collect();
    let middle = shown.get(shown.len() / 2).copied().or(page.first());
    middle.cloned().ok_or(HttpError::NotFound("image"))
}

async fn one(
    state: &State,
    instance: StoredInstance,
    frames: Option<FrameList>,
    surface: &Surface,
    asked: &Asked,
) -> Answer {
    let object = stored::open(state, instance).await?;
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    if bulkdata::is_pdf(&object) && frames.is_none() {
        return document(state, object, &accept, asked).await;
    }
    let wanted = frames.map_or_else(|| vec![1], |list| list.0);
    if wanted.iter().any(|&frame| u64::from(frame) > object.layout.frame_count()) {
        return Err(HttpError::NotFound("frame"));
    }
    let offer = accept.choose(&image_offers(wanted.len() == 1))?.clone();
    let form = format!("{}{wanted:?}{surface:?}", offer.content_type());
    let etag = Etag::of([object.instance.sha256.as_slice()], &form);
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let mut response = images(state, &object, &wanted, surface, &offer, asked).await?;
    etag.mark(&mut response);
    Ok(response)
}

fn image_offers(is_one: bool) -> Vec<Offer> {
    let singles = [Offer::single(JPEG), Offer::single(PNG)];
    let multiparts = [Offer::multipart(JPEG), Offer::multipart(PNG)];
    if is_one { [singles, multiparts].concat() } else { multiparts.to_vec() }
}

async fn images(
    state: &State,
    object: &StoredObject,
    frames: &[u32],
    surface: &Surface,
    offer: &Offer,
    asked: &Asked,
) -> Answer {
    let rendering = surface.rendering(offer.media_type);
    let mut pictures = Vec::with_capacity(frames.len());
    for &frame in frames {
        pictures.push(picture(state, object, frame, rendering).await?);
    }
    if offer.packaging == Packaging::Single {
        let mut response = Response::new(body::full(pictures.pop().unwrap_or_default()));
        set_content_type(&mut response, offer.media_type);
        return Ok(response);
    }
    let writer = Writer::new();
    let content_type = writer.content_type(offer.media_type);
    let location = asked.urls.of_instance(&object.instance);
    let parts: Vec<_> = pictures
        .into_iter()
        .zip(frames)
        .map(|(picture, frame)| Ok(image_part(picture, offer, format!("{location}/frames/{frame}/rendered"))))
        .collect();
    let mut response = Response::new(writer.body(stream::iter(parts)));
    set_content_type(&mut response, &content_type);
    Ok(response)
}

fn image_part(picture: Vec<u8>, offer: &Offer, location: String) -> Part {
    let length = Some(picture.len() as u64);
    let content = stream::iter([Ok(picture.into())]).boxed();
    Part { content_type: offer.media_type.to_owned(), location, length, content }
}

/// # Errors
/// 406 for what cannot be decoded: the instance is there, but not in this form.
async fn picture(
    state: &State,
    object: &StoredObject,
    frame: u32,
    rendering: Rendering,
) -> Result<Vec<u8>, HttpError> {
    let bytes = object.frame(frame.into()).await?.ok_or(HttpError::NotFound("frame"))?;
    let attributes = object.attributes(&state.db).await?;
    let syntax = object.instance.transfer_syntax.clone();
    let render =
        move || rendering::render(&attributes, frame as usize - 1, bytes.encoded(syntax.as_str()), rendering);
    state.decodes.run(render).await?.map_err(|error| {
        tracing::info!(
            reason = crate::causes::chain(&error),
            instance = %object.instance.sop_instance,
            "a frame could not be rendered"
        );
        let available = String::from("multipart/related; type=\"application/dicom\"");
        HttpError::NotAcceptable(NotAcceptable { available })
    })
}

async fn document(state: &State, object: StoredObject, accept: &Accept, asked: &Asked) -> Answer {
    let offer = accept.choose(&[Offer::single(PDF)])?.clone();
    let value = Value::find(state, object, DOCUMENT_PATH).await?.ok_or(HttpError::NotFound("document"))?;
    value.single(&offer, &asked.headers).await
}

/// The first frame of every image of the scope, rendered while the answer is sent; objects
/// without an image are passed over.
async fn several(state: Arc<State>, scope: Scope, surface: Surface, asked: &Asked) -> Answer {
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    let offer = accept.choose(&[Offer::multipart(JPEG), Offer::multipart(PNG)])?.clone();
    let writer = Writer::new();
    let content_type = writer.content_type(offer.media_type);
    let rendering = surface.rendering(offer.media_type);
    let urls = asked.urls.clone();
    let parts = instances::all(Arc::clone(&state), scope).try_filter_map(move |instance| {
        let (state, offer, urls) = (Arc::clone(&state), offer.clone(), urls.clone());
        async move {
            let location = format!("{}/rendered", urls.of_instance(&instance));
            let object = stored::open(&state, instance).await?;
            if object.layout.frame_count() == 0 {
                return Ok(None);
            }
            let picture = picture(&state, &object, 1, rendering).await.map_err(BoxError::from)?;
            Ok(Some(image_part(picture, &offer, location)))
        }
    });
    let mut response = Response::new(writer.body(parts));
    set_content_type(&mut response, &content_type);
    Ok(response)
}

impl Surface {
    fn rendering(&self, media_type: &str) -> Rendering {
        let format = if media_type == PNG { Format::Png } else { Format::Jpeg { quality: self.quality } };
        Rendering { format, window: self.window, viewport: self.viewport }
    }
}
