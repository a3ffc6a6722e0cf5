//! Frames as pictures.

use std::sync::Arc;

use bytes::Bytes;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Response;

use super::super::etag::Etag;
use super::super::frame_numbers::FrameNumbers;
use super::super::instances::{self, log_broken, set_content_type};
use super::super::rendering_parameters::Surface;
use super::super::stored;
use super::{animation, category, not_renderable};
use crate::blobs::BlobKey;
use crate::db;
use crate::http::State;
use crate::http::body::{self, BoxError};
use crate::http::error::HttpError;
use crate::http::multipart::{Part, Writer};
use crate::http::negotiation::{Accept, NotAcceptable, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::ids::hex;
use crate::query::Scope;
use crate::query::rendering::category::Category;
use crate::query::rendering::encoding::Drawn;
use crate::query::rendering::presentation_state::View;
use crate::query::rendering::{self, Rendering, RenderingError};
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::StoredObject;
use crate::volume::attributes::integer;

pub(super) const GIF: &str = "image/gif";
const PROGRAM: &str = env!("CARGO_PKG_VERSION");
const MEDIA_TYPES: [&str; 3] = ["image/jpeg", "image/png", GIF];

/// What of an instance is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frames {
    These(Vec<u32>),
    /// The instance as such: all of it where the form can hold it, else the frame that stands for it.
    All,
    /// The frame that stands for the instance.
    Representative,
}

pub(super) async fn of_instance(
    state: Arc<State>,
    object: StoredObject,
    frames: Frames,
    surface: &Surface,
    asked: &Asked,
) -> Answer {
    let count = object.layout.frame_count();
    let frames = match frames {
        Frames::These(list) if list.iter().any(|&frame| u64::from(frame) > count) => {
            return Err(HttpError::NotFound("frame"));
        }
        Frames::All if count == 1 => Frames::Representative,
        frames => frames,
    };
    let offer = choose(&Accept::of(&asked.headers, asked.query.get("accept")), &frames)?;
    let rendering = surface.rendering(offer.media_type)?;
    let location = asked.urls.of_instance(&object.instance);
    let form = format!("{}{:?}{location}{frames:?}{rendering:?}", offer.content_type(), offer.packaging);
    let etag = Etag::of([object.instance.sha256.as_slice()], &form);
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let mut response = match state.answers.get(etag.as_str()) {
        Some(kept) => single(kept, offer.media_type)?,
        None => {
            let attributes = Arc::new(object.attributes(&state.db).await?);
            let source = Source { state, object: Arc::new(object), attributes, rendering };
            source.answer(frames, &offer, location, &etag).await?
        }
    };
    etag.mark(&mut response);
    surface.warn(response.headers_mut());
    Ok(response)
}

/// Several frames are several parts, or one animation.
fn choose(accept: &Accept, frames: &Frames) -> Result<Offer, NotAcceptable> {
    match frames {
        Frames::These(list) if list.len() > 1 => choose_parts(accept, &[Offer::single(GIF)]),
        Frames::These(_) | Frames::All | Frames::Representative => {
            let offers = [MEDIA_TYPES.map(Offer::single), MEDIA_TYPES.map(Offer::multipart)].concat();
            accept.choose(&offers).cloned()
        }
    }
}

/// A part for each picture, also for a client that names no more than the type of one.
fn choose_parts(accept: &Accept, or: &[Offer]) -> Result<Offer, NotAcceptable> {
    let offers = [&MEDIA_TYPES.map(Offer::multipart)[..], or].concat();
    let in_parts = |refused| match accept.choose(&MEDIA_TYPES.map(Offer::single)) {
        Ok(single) => Ok(Offer::multipart(single.media_type)),
        Err(_) => Err(refused),
    };
    accept.choose(&offers).cloned().or_else(in_parts)
}

/// One instance, and how its frames are to be drawn. Cheap to clone.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) state: Arc<State>,
    pub(super) object: Arc<StoredObject>,
    pub(super) attributes: Arc<InMemDicomObject>,
    pub(super) rendering: Rendering,
}

impl Source {
    async fn answer(self, frames: Frames, offer: &Offer, location: String, etag: &Etag) -> Answer {
        let frames = match (frames, offer.packaging, offer.media_type) {
            (Frames::These(list), ..) => FrameNumbers::These(list),
            (Frames::All, Packaging::Multipart, _) | (Frames::All, Packaging::Single, GIF) => {
                FrameNumbers::all_of(&self.object)
            }
            (Frames::All | Frames::Representative, ..) => FrameNumbers::These(vec![self.representative()]),
        };
        match (offer.packaging, frames.only()) {
            (Packaging::Single, Some(frame)) => {
                let picture = self.picture(frame).await?;
                self.state.answers.keep(etag.as_str(), picture.clone());
                single(picture, offer.media_type)
            }
            (Packaging::Single, None) => animation::answer(self, frames).await,
            (Packaging::Multipart, _) => self.multipart(frames, offer, location, etag).await,
        }
    }

    /// Representative Frame Number, else the middle, where the subject usually is.
    fn representative(&self) -> u32 {
        let count = u32::try_from(self.object.layout.frame_count()).unwrap_or(u32::MAX);
        let named = integer(&self.attributes, tags::REPRESENTATIVE_FRAME_NUMBER);
        let named = named.and_then(|frame| u32::try_from(frame).ok()).filter(|f| (1..=count).contains(f));
        named.unwrap_or(count / 2 + 1)
    }

    /// The first frame is drawn before the status leaves: what cannot be drawn is 406. The others
    /// follow one by one.
    async fn multipart(self, frames: FrameNumbers, offer: &Offer, location: String, etag: &Etag) -> Answer {
        let mut frames = frames.into_iter();
        let first = frames.next().ok_or(HttpError::NotFound("frame"))?;
        let media_type = offer.media_type;
        let located = move |frame: u32| format!("{location}/frames/{frame}/rendered");
        let first = part(self.picture(first).await?, media_type, located(first));
        let source = Arc::new(self);
        let rest = stream::iter(frames).then(move |frame| {
            let (source, location) = (Arc::clone(&source), located(frame));
            async move { Ok(part(source.picture(frame).await?, media_type, location)) }
        });
        multipart(stream::iter([Ok(first)]).chain(rest), media_type, etag)
    }

    /// As it was drawn before, if it lies on the disk.
    async fn picture(&self, frame: u32) -> Result<Bytes, HttpError> {
        let instance = &self.object.instance;
        let key = BlobKey::from_index(&instance.blob_key);
        let digest = hex(&instance.sha256);
        let form = format!("{PROGRAM} {} {digest} {frame} {:?}", rendering::VERSION, self.rendering);
        let source = self.clone();
        let draw = || async move { source.drawn(frame, None).await.map(Bytes::from) };
        let made = self.state.blobs.made_of(&key, form.as_bytes(), draw).await;
        made.map_err(|error| HttpError::of_all(&error))
    }

    pub(super) async fn drawn(&self, frame: u32, view: Option<View>) -> Result<Vec<u8>, HttpError> {
        let format = self.rendering.format;
        self.work(frame, view, move |drawn| drawn.encode(format)).await
    }

    /// Draws a frame, and makes something of it, off the async threads.
    ///
    /// # Errors
    /// 406 for what cannot be decoded: the instance is there, but not in this form.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        frame: u32,
        view: Option<View>,
        make: impl FnOnce(Drawn) -> Result<T, RenderingError> + Send + 'static,
    ) -> Result<T, HttpError> {
        let bytes = self.object.frame(frame.into()).await?.ok_or(HttpError::NotFound("frame"))?;
        let syntax = self.object.instance.transfer_syntax.clone();
        let (attributes, rendering) = (Arc::clone(&self.attributes), self.rendering);
        let work = move || {
            let encoded = bytes.encoded(syntax.as_str());
            make(rendering::draw(&attributes, frame as usize - 1, encoded, &rendering, view.as_ref())?)
        };
        self.state.decodes.run(work).await?.map_err(|error| self.refusal(error))
    }

    fn refusal(&self, error: RenderingError) -> HttpError {
        match error {
            RenderingError::Region | RenderingError::TooLarge => HttpError::bad_request(error),
            error => {
                let reason = crate::causes::chain(&error);
                let instance = &self.object.instance.sop_instance;
                tracing::info!(reason, %instance, "a frame could not be rendered");
                not_renderable()
            }
        }
    }
}

pub(super) fn single(picture: impl Into<Bytes>, media_type: &str) -> Answer {
    let mut response = Response::new(body::full(picture));
    set_content_type(&mut response, media_type);
    Ok(response)
}

/// The boundary is that of the tag: the same answer has the same bytes.
pub(super) fn multipart<P>(parts: P, media_type: &str, etag: &Etag) -> Answer
where
    P: stream::Stream<Item = Result<Part, BoxError>> + Send + 'static,
{
    let writer = Writer::with_boundary(etag.boundary());
    let content_type = writer.content_type(media_type);
    let mut response = Response::new(writer.body(parts));
    set_content_type(&mut response, &content_type);
    Ok(response)
}

pub(super) fn part(picture: impl Into<Bytes>, media_type: &str, location: String) -> Part {
    let picture = picture.into();
    let length = Some(picture.len() as u64);
    let content = stream::iter([Ok(picture)]).boxed();
    Part { content_type: media_type.to_owned(), location, length, content }
}

/// A picture of every image of the scope, drawn while the answer is sent; objects without an image
/// are passed over. The first is drawn before the status leaves: what cannot be drawn is 406.
pub(super) async fn of_scope(state: Arc<State>, scope: Scope, surface: Surface, asked: &Asked) -> Answer {
    let held = stored::held(&state, &scope).await?;
    if db::retrieve::with_rows(&state.db, &scope).await?.is_empty() {
        return Err(not_renderable());
    }
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    let media_type = choose_parts(&accept, &[])?.media_type;
    let rendering = surface.rendering(media_type)?;
    let etag = Etag::of(
        [held.version.as_slice()],
        &format!("{media_type}{}{rendering:?}", asked.urls.of_scope(&scope)),
    );
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let urls = asked.urls.clone();
    let parts = instances::all(Arc::clone(&state), scope).try_filter_map(move |instance| {
        let (state, urls) = (Arc::clone(&state), urls.clone());
        async move {
            let drawn = of_member(state, &urls, instance.clone(), rendering, media_type).await;
            Ok(drawn.inspect_err(|error| log_broken(&instance, error))?)
        }
    });
    let mut parts = parts.boxed();
    let first = parts.try_next().await.map_err(HttpError::of_part)?.ok_or_else(not_renderable)?;
    let mut response = multipart(stream::iter([Ok(first)]).chain(parts), media_type, &etag)?;
    etag.mark(&mut response);
    surface.warn(response.headers_mut());
    Ok(response)
}

/// The picture of one instance among others, if it has one.
async fn of_member(
    state: Arc<State>,
    urls: &Urls,
    instance: StoredInstance,
    rendering: Rendering,
    media_type: &str,
) -> Result<Option<Part>, HttpError> {
    let location = format!("{}/rendered", urls.of_instance(&instance));
    let object = stored::open(&state, instance).await?;
    if !matches!(category(&object), Category::SingleFrameImage | Category::MultiFrameImage) {
        return Ok(None);
    }
    let attributes = Arc::new(object.attributes(&state.db).await?);
    let source = Source { state, object: Arc::new(object), attributes, rendering };
    let picture = source.picture(source.representative()).await?;
    Ok(Some(part(picture, media_type, location)))
}
