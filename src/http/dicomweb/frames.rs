//! Frames, PS3.18 10.4.1.1.6: as they are stored, one ranged read each, or made in another form.

mod form;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Response;
use http::header::CONTENT_LENGTH;
use tokio::sync::OnceCell;

use super::Content;
use super::etag::Etag;
use super::frame_numbers::FrameNumbers;
use super::instances::{self, log_broken, set_content_type};
use super::ranged::Selected;
use super::stored;
use crate::http::State;
use crate::http::body::BoxError;
use crate::http::endpoint::FrameList;
use crate::http::error::HttpError;
use crate::http::multipart::{Part, Writer};
use crate::http::negotiation::{Accept, NotAcceptable, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::ingest::layout::PixelDataLayout;
use crate::query::Scope;
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::{FrameBytes, StoredObject};
use crate::volume::pixels::{ImageDescription, PixelError};

use form::Form;
pub(super) use form::{OCTETS, media_type};

pub(super) async fn retrieve(state: Arc<State>, scope: Scope, frames: FrameList, asked: &Asked) -> Answer {
    let object = stored::open_one(&state, &scope).await?;
    let count = object.layout.frame_count();
    if frames.0.iter().any(|&frame| u64::from(frame) > count) {
        return Err(HttpError::NotFound("frame"));
    }
    answer(state, object, FrameNumbers::These(frames.0), asked).await
}

async fn answer(state: Arc<State>, object: StoredObject, frames: FrameNumbers, asked: &Asked) -> Answer {
    let offers = offers(&object, frames.only().is_some());
    let offer = Accept::of(&asked.headers, asked.query.get("accept")).choose(&offers)?.clone();
    let location = asked.urls.of_instance(&object.instance);
    let form = format!("{:?}{}{location}{frames:?}", offer.packaging, offer.content_type());
    let etag = Etag::of([object.instance.sha256.as_slice()], &form);
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let source = Source::new(object, offer, location);
    let mut response = source.answer(state, frames, &etag, asked).await?;
    etag.mark(&mut response);
    Ok(response)
}

/// Every frame of every instance of a scope, PS3.18 10.4.1.1.6.
pub(super) async fn pixel_data(state: Arc<State>, scope: Scope, asked: &Asked) -> Answer {
    if let Scope::Instance(..) = scope {
        let object = stored::open_one(&state, &scope).await?;
        return match FrameNumbers::all_of(&object) {
            FrameNumbers::To(0) => Err(HttpError::NotFound("pixel data")),
            frames => answer(state, object, frames, asked).await,
        };
    }
    let held = stored::held(&state, &scope).await?;
    let form = format!(
        "pixel data {:?}{}",
        Accept::of(&asked.headers, asked.query.get("accept")),
        asked.urls.of_scope(&scope)
    );
    let etag = Etag::of([held.version.as_slice()], &form);
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let accept = Arc::new(Accept::of(&asked.headers, asked.query.get("accept")));
    let (urls, opener) = (asked.urls.clone(), Arc::clone(&state));
    let sources = instances::all(Arc::clone(&state), scope).try_filter_map(move |instance| {
        let (state, urls, accept) = (Arc::clone(&opener), urls.clone(), Arc::clone(&accept));
        async move {
            let opened = source(&state, &accept, urls.of_instance(&instance), instance.clone()).await;
            opened.inspect_err(|error| log_broken(&instance, error)).map_err(BoxError::from)
        }
    });
    let mut parts = sources.map_ok(move |source| all_parts(Arc::clone(&state), source)).try_flatten().boxed();
    // What cannot be given is told before the status leaves, as far as the first part goes.
    let first = parts.try_next().await.map_err(HttpError::of_part)?;
    let first = first.ok_or(HttpError::NotFound("pixel data"))?;
    let writer = Writer::with_boundary(etag.boundary());
    let content_type = writer.content_type(first.content_type.split(';').next().unwrap_or(OCTETS));
    let mut response = Response::new(writer.body(stream::iter([Ok(first)]).chain(parts)));
    set_content_type(&mut response, &content_type);
    etag.mark(&mut response);
    Ok(response)
}

/// An instance with frames in the form that the client likes best.
async fn source(
    state: &State,
    accept: &Accept,
    location: String,
    instance: StoredInstance,
) -> Result<Option<Source>, HttpError> {
    let object = stored::open(state, instance).await?;
    if object.layout.frame_count() == 0 {
        return Ok(None);
    }
    let offer = accept.choose(&offers(&object, false))?.clone();
    Ok(Some(Source::new(object, offer, location)))
}

fn all_parts(
    state: Arc<State>,
    source: Source,
) -> impl stream::Stream<Item = Result<Part, BoxError>> + Send + 'static {
    let frames = FrameNumbers::all_of(&source.object);
    let source = Arc::new(source);
    stream::iter(frames).then(move |frame| {
        let (source, state) = (Arc::clone(&source), Arc::clone(&state));
        async move { source.later_part(&state, frame).await }
    })
}

fn offers(object: &StoredObject, is_one: bool) -> Vec<Offer> {
    let forms = form::forms(object.instance.transfer_syntax.as_str(), object.is_encapsulated());
    let packagings: &[fn(&'static str) -> Offer] =
        if is_one { &[Offer::multipart, Offer::single] } else { &[Offer::multipart] };
    let offer = |form: &Form| {
        let form = form.clone();
        packagings.iter().map(move |packaging| {
            let offer = packaging(form.media_type).in_syntax(&form.transfer_syntax);
            if form.is_stored { offer.in_stored_syntax() } else { offer }
        })
    };
    forms.iter().flat_map(offer).collect()
}

/// Frames of one object in one form.
struct Source {
    object: StoredObject,
    offer: Offer,
    /// URL of the instance.
    location: String,
    image: OnceCell<Result<Arc<ImageDescription>, PixelError>>,
}

impl Source {
    fn new(object: StoredObject, offer: Offer, location: String) -> Self {
        Self { object, offer, location, image: OnceCell::new() }
    }

    /// The first frame is made before the status leaves: what cannot be made is 406.
    async fn answer(self, state: Arc<State>, frames: FrameNumbers, etag: &Etag, asked: &Asked) -> Answer {
        let is_one = frames.only().is_some();
        let mut frames = frames.into_iter();
        let first = self.part(&state, frames.next().ok_or(HttpError::NotFound("frame"))?).await?;
        if self.offer.packaging == Packaging::Single {
            let selected = Selected::of(&asked.headers, etag, first.length.unwrap_or(0))?;
            let content = selected.cut(first.content);
            return Ok(selected.response(content, &self.offer.content_type()));
        }
        let writer = Writer::with_boundary(etag.boundary());
        let content_type = writer.content_type(self.offer.media_type);
        let length = writer.length(&first).filter(|_| is_one);
        let source = Arc::new(self);
        let rest = stream::iter(frames).then(move |frame| {
            let (source, state) = (Arc::clone(&source), Arc::clone(&state));
            async move { source.later_part(&state, frame).await }
        });
        let mut response = Response::new(writer.body(stream::iter([Ok(first)]).chain(rest)));
        set_content_type(&mut response, &content_type);
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        Ok(response)
    }

    async fn later_part(&self, state: &State, frame: u32) -> Result<Part, BoxError> {
        let made = self.part(state, frame).await;
        Ok(made.inspect_err(|error| log_broken(&self.object.instance, error))?)
    }

    async fn part(&self, state: &State, frame: u32) -> Result<Part, HttpError> {
        let (length, content) = if self.lies_ready(frame) {
            self.stored(frame).await?
        } else {
            let bytes = self.made(state, frame).await?;
            (bytes.len() as u64, stream::iter([Ok(bytes)]).boxed())
        };
        let location = format!("{}/frames/{frame}", self.location);
        Ok(Part { content_type: self.offer.content_type(), location, length: Some(length), content })
    }

    /// Whether the stored bytes are the answer: in the syntax asked for, or native in little endian
    /// and starting at a byte.
    fn lies_ready(&self, frame: u32) -> bool {
        let wanted = self.offer.transfer_syntax.as_deref();
        match &self.object.layout.pixel_data {
            Some(PixelDataLayout::Native { frame_bits, .. }) => {
                let at_byte = (u64::from(frame) - 1) * frame_bits % 8 == 0;
                wanted == Some(form::NATIVE) && at_byte && !self.object.is_big_endian()
            }
            _ => wanted == Some(self.object.instance.transfer_syntax.as_str()),
        }
    }

    async fn stored(&self, frame: u32) -> Result<(u64, Content), HttpError> {
        let span = self.object.frame_span(frame.into()).await?.ok_or(HttpError::NotFound("frame"))?;
        let content = self.object.frame_content(&span).await?;
        Ok((span.content_length(), content.map_err(BoxError::from).boxed()))
    }

    /// # Errors
    /// 406 for a frame that has no such form.
    async fn made(&self, state: &State, frame: u32) -> Result<Bytes, HttpError> {
        let stored = self.object.frame(frame.into()).await?.ok_or(HttpError::NotFound("frame"))?;
        if let Some(unit) = stored.float_unit() {
            return self
                .floats(&stored, unit)
                .ok_or_else(|| self.refused(&"it holds floating point numbers"));
        }
        let image = self.image.get_or_init(|| self.description(state)).await;
        let image = Arc::clone(image.as_ref().map_err(|reason| self.refused(reason))?);
        let (syntax, wanted) =
            (self.object.instance.transfer_syntax.clone(), self.offer.transfer_syntax.clone());
        let work = move || form::made(&image, stored.encoded(syntax.as_str()), wanted.as_deref());
        let made = state.decodes.run(work).await?;
        made.map(Bytes::from).map_err(|reason| self.refused(&reason))
    }

    /// Floating point has a native form alone.
    fn floats(&self, stored: &FrameBytes, unit: usize) -> Option<Bytes> {
        if self.offer.transfer_syntax.as_deref() != Some(form::NATIVE) {
            return None;
        }
        let mut bytes = stored.bytes.to_vec();
        crate::dicom::reencode::reverse_units(&mut bytes, if self.object.is_big_endian() { unit } else { 1 });
        Some(bytes.into())
    }

    async fn description(&self, state: &State) -> Result<Arc<ImageDescription>, PixelError> {
        let attributes = self.object.attributes(&state.db).await;
        let attributes = attributes.map_err(|_| PixelError::Missing("the metadata of the instance"))?;
        ImageDescription::from_object(&attributes).map(Arc::new)
    }

    fn refused(&self, reason: &impl std::fmt::Display) -> HttpError {
        tracing::info!(%reason, instance = %self.object.instance.sop_instance, "a frame could not be made");
        let stored = self.object.instance.transfer_syntax.as_str();
        let available = format!("{}; transfer-syntax={stored}", media_type(stored));
        HttpError::NotAcceptable(NotAcceptable { available })
    }
}
