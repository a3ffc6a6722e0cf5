//! Frames as pictures.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use http::Response;

use super::super::etag::Etag;
use super::super::instances::{self, set_content_type};
use super::super::rendering_parameters::Surface;
use super::super::stored;
use super::not_renderable;
use crate::db;
use crate::http::State;
use crate::http::body::{self, BoxError};
use crate::http::endpoint::FrameList;
use crate::http::error::HttpError;
use crate::http::multipart::{Part, Writer};
use crate::http::negotiation::{Accept, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::query::Scope;
use crate::query::rendering::{self, Format, Rendering};
use crate::query::stored_object::StoredObject;

const JPEG: &str = "image/jpeg";
const PNG: &str = "image/png";

/// The frames asked for; of an instance as such, its first.
pub(super) async fn of_instance(
    state: Arc<State>,
    object: StoredObject,
    frames: Option<FrameList>,
    surface: Surface,
    asked: &Asked,
) -> Answer {
    let wanted = frames.map_or_else(|| vec![1], |list| list.0);
    if wanted.iter().any(|&frame| u64::from(frame) > object.layout.frame_count()) {
        return Err(HttpError::NotFound("frame"));
    }
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    let offer = accept.choose(&offers(wanted.len() == 1))?.clone();
    let form = format!("{}{wanted:?}{surface:?}", offer.content_type());
    let etag = Etag::of([object.instance.sha256.as_slice()], &form);
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let location = asked.urls.of_instance(&object.instance);
    let source = Source { state, object, surface, offer, location };
    let mut response = source.answer(wanted).await?;
    etag.mark(&mut response);
    Ok(response)
}

fn offers(is_one: bool) -> Vec<Offer> {
    let singles = [Offer::single(JPEG), Offer::single(PNG)];
    let multiparts = [Offer::multipart(JPEG), Offer::multipart(PNG)];
    if is_one { [singles, multiparts].concat() } else { multiparts.to_vec() }
}

/// One instance, and how its frames are to be drawn.
struct Source {
    state: Arc<State>,
    object: StoredObject,
    surface: Surface,
    offer: Offer,
    /// URL of the instance.
    location: String,
}

impl Source {
    /// The first frame is drawn before the status leaves: what cannot be drawn is 406. The others
    /// follow one by one.
    async fn answer(self, frames: Vec<u32>) -> Answer {
        let Some((&first, rest)) = frames.split_first() else { return Err(HttpError::NotFound("frame")) };
        let picture = self.picture(first).await?;
        if self.offer.packaging == Packaging::Single {
            let mut response = Response::new(body::full(picture));
            set_content_type(&mut response, self.offer.media_type);
            return Ok(response);
        }
        let writer = Writer::new();
        let content_type = writer.content_type(self.offer.media_type);
        let first = self.part(picture, first);
        let (source, rest) = (Arc::new(self), rest.to_vec());
        let rest = stream::iter(rest).then(move |frame| {
            let source = Arc::clone(&source);
            async move { Ok(source.part(source.picture(frame).await?, frame)) }
        });
        let mut response = Response::new(writer.body(stream::iter([Ok(first)]).chain(rest)));
        set_content_type(&mut response, &content_type);
        Ok(response)
    }

    fn part(&self, picture: Vec<u8>, frame: u32) -> Part {
        part(picture, &self.offer, format!("{}/frames/{frame}/rendered", self.location))
    }

    async fn picture(&self, frame: u32) -> Result<Vec<u8>, HttpError> {
        picture(&self.state, &self.object, frame, self.surface.rendering(self.offer.media_type)).await
    }
}

fn part(picture: Vec<u8>, offer: &Offer, location: String) -> Part {
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
        not_renderable()
    })
}

/// The first frame of every image of the scope, drawn while the answer is sent; objects without
/// an image are passed over.
pub(super) async fn of_scope(state: Arc<State>, scope: Scope, surface: Surface, asked: &Asked) -> Answer {
    if db::retrieve::with_rows(&state.db, &scope).await?.is_empty() {
        return Err(not_renderable());
    }
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
            Ok(Some(part(picture, &offer, location)))
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
