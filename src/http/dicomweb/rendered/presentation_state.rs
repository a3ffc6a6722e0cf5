//! Presentation states: the images that they refer to, as they are to be seen.

use std::sync::Arc;

use futures::stream::{self, StreamExt};

use super::super::etag::Etag;
use super::super::frame_numbers::FrameNumbers;
use super::super::rendering_parameters::Surface;
use super::super::stored;
use super::images::{self, Source};
use super::not_renderable;
use crate::db;
use crate::http::State;
use crate::http::body::BoxError;
use crate::http::error::HttpError;
use crate::http::negotiation::{Accept, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::query::Scope;
use crate::query::rendering::Rendering;
use crate::query::rendering::presentation_state::{PresentationState, Reference, StateError};
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::StoredObject;
use crate::volume::grayscale::Window;

const MEDIA_TYPES: [&str; 3] = ["image/jpeg", "image/png", "image/gif"];

/// A state refers to a study; one that names more images is none.
const REFERENCES_MAX: usize = 10_000;

pub(super) async fn rendered(
    state: Arc<State>,
    object: StoredObject,
    surface: &Surface,
    asked: &Asked,
) -> Answer {
    surface.view.of_whole_image()?;
    if surface.window != Window::First {
        return Err(HttpError::bad_request("a presentation state has its own window"));
    }
    let stored_state = object.instance.clone();
    let attributes = object.attributes(&state.db).await?;
    let refused = |reason: StateError| refusal(&stored_state, &reason);
    let presentation =
        PresentationState::new(stored_state.sop_class.as_str(), attributes).map_err(refused)?;
    let shown = shown(&state, &stored_state, &presentation).await?;
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    let offer = accept.choose(&offers(shown.len() == 1))?.clone();
    let rendering = surface.rendering(offer.media_type)?;
    let digests = shown.iter().map(|shown| shown.instance.sha256.as_slice());
    let location = format!("{}/rendered", asked.urls.of_instance(&stored_state));
    let form = format!("{}{:?}{location}{rendering:?}", offer.content_type(), offer.packaging);
    let etag = Etag::of([stored_state.sha256.as_slice()].into_iter().chain(digests), &form);
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let album = Album { state, stored_state, presentation, rendering };
    let mut response = album.answer(shown, &offer, location, &etag).await?;
    etag.mark(&mut response);
    surface.warn(response.headers_mut());
    Ok(response)
}

/// Several images are several parts; a client that takes one picture alone gets the first.
fn offers(is_one: bool) -> Vec<Offer> {
    let (singles, multiparts) = (MEDIA_TYPES.map(Offer::single), MEDIA_TYPES.map(Offer::multipart));
    if is_one { [singles, multiparts].concat() } else { [multiparts, singles].concat() }
}

fn refusal(state: &StoredInstance, reason: &StateError) -> HttpError {
    let reason = crate::causes::chain(reason);
    tracing::info!(reason, instance = %state.sop_instance, "a presentation state could not be rendered");
    not_renderable()
}

/// One image that the state refers to and the archive has.
struct Shown {
    instance: StoredInstance,
    frames: Vec<u32>,
}

/// # Errors
/// None of the images is here.
async fn shown(
    state: &State,
    of: &StoredInstance,
    presentation: &PresentationState,
) -> Result<Vec<Shown>, HttpError> {
    let mut shown = Vec::new();
    for Reference { series, sop_instance, frames } in
        presentation.references().into_iter().take(REFERENCES_MAX)
    {
        let scope = Scope::Instance(of.study.clone(), series, sop_instance);
        let found = db::retrieve::instances(&state.db, &scope, 0).await?;
        shown.extend(found.into_iter().map(|instance| Shown { instance, frames: frames.clone() }));
    }
    if shown.is_empty() {
        Err(HttpError::NotFound("image that the presentation state is for"))
    } else {
        Ok(shown)
    }
}

/// Images under one state.
struct Album {
    state: Arc<State>,
    stored_state: StoredInstance,
    presentation: PresentationState,
    rendering: Rendering,
}

impl Album {
    /// The first picture is drawn before the status leaves; the others follow one by one.
    async fn answer(self, shown: Vec<Shown>, offer: &Offer, location: String, etag: &Etag) -> Answer {
        let mut shown = shown.into_iter();
        let first = shown.next().ok_or(HttpError::NotFound("image that the presentation state is for"))?;
        let (source, frames) = self.open(first).await?;
        let mut frames = frames.into_iter();
        let frame = frames.next().ok_or_else(not_renderable)?;
        let picture = self.picture(&source, frame).await?;
        if offer.packaging == Packaging::Single {
            return images::single(picture, offer.media_type);
        }
        let media_type = offer.media_type;
        let begun = stream::iter([Ok(images::part(picture, media_type, location.clone()))]);
        let album = Arc::new(self);
        let rest = album.pictures(source, frames);
        let others = stream::iter(shown).then(move |next| {
            let album = Arc::clone(&album);
            async move {
                let (source, frames) = album.open(next).await?;
                Ok::<_, BoxError>(album.pictures(source, frames.into_iter()))
            }
        });
        let pictures = rest.chain(others.flat_map(|pictures| match pictures {
            Ok(pictures) => pictures,
            Err(error) => stream::iter([Err(error)]).boxed(),
        }));
        let parts = pictures.map(move |picture| Ok(images::part(picture?, media_type, location.clone())));
        images::multipart(begun.chain(parts), media_type, etag)
    }

    fn pictures(
        self: &Arc<Self>,
        source: Source,
        frames: <FrameNumbers as IntoIterator>::IntoIter,
    ) -> stream::BoxStream<'static, Result<Vec<u8>, BoxError>> {
        let (album, source) = (Arc::clone(self), Arc::new(source));
        let drawn = stream::iter(frames).then(move |frame| {
            let (album, source) = (Arc::clone(&album), Arc::clone(&source));
            async move { album.picture(&source, frame).await.map_err(BoxError::from) }
        });
        drawn.boxed()
    }

    async fn picture(&self, source: &Source, frame: u32) -> Result<Vec<u8>, HttpError> {
        let view = self.presentation.view(&source.object.instance.sop_instance, frame);
        source.drawn(frame, Some(view.map_err(|reason| refusal(&self.stored_state, &reason))?)).await
    }

    /// Frames that the image does not have are left out.
    async fn open(&self, shown: Shown) -> Result<(Source, FrameNumbers), HttpError> {
        let object = stored::open(&self.state, shown.instance).await?;
        let count = u32::try_from(object.layout.frame_count()).unwrap_or(u32::MAX);
        let is_there = |frame: &u32| (1..=count).contains(frame);
        let frames = match shown.frames.is_empty() {
            true => FrameNumbers::To(count),
            false => FrameNumbers::These(shown.frames.into_iter().filter(is_there).collect()),
        };
        let attributes = Arc::new(object.attributes(&self.state.db).await?);
        let source = Source {
            state: Arc::clone(&self.state),
            object: Arc::new(object),
            attributes,
            rendering: self.rendering,
        };
        Ok((source, frames))
    }
}
