//! Rendered resources and thumbnails, PS3.18 10.4.1.1.3 and 10.4.1.1.4: each category of object
//! has its own forms (Table 8.7.4-1).

mod animation;
mod document;
mod images;
mod presentation_state;
mod text;
mod video;

use std::sync::Arc;

use super::rendering_parameters::Surface;
use super::stored;
use crate::db;
use crate::http::State;
use crate::http::endpoint::FrameList;
use crate::http::error::HttpError;
use crate::http::negotiation::NotAcceptable;
use crate::http::service::{Answer, Asked};
use crate::query::Scope;
use crate::query::rendering::category::Category;
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::StoredObject;
use images::Frames;

pub(super) async fn rendered(
    state: Arc<State>,
    scope: Scope,
    frames: Option<FrameList>,
    asked: &Asked,
) -> Answer {
    let surface = Surface::rendered(&asked.query)?;
    let mut page = stored::first_page(&state, &scope).await?;
    match page.len() {
        1 => {
            let object = stored::open(&state, page.remove(0)).await?;
            one(state, object, frames, &surface, asked).await
        }
        _ => images::of_scope(state, scope, surface, asked).await,
    }
}

async fn one(
    state: Arc<State>,
    object: StoredObject,
    frames: Option<FrameList>,
    surface: &Surface,
    asked: &Asked,
) -> Answer {
    match (category(&object), frames) {
        (Category::SingleFrameImage | Category::MultiFrameImage, frames) => {
            let frames = frames.map_or(Frames::All, |list| Frames::These(list.0));
            images::of_instance(state, object, frames, surface, asked).await
        }
        (_, Some(_)) => Err(HttpError::NotFound("frame")),
        (Category::Video, None) => video::rendered(object, asked).await,
        (Category::Document(media_type), None) => document::rendered(&state, object, media_type, asked).await,
        (Category::PresentationState, None) => {
            presentation_state::rendered(state, object, surface, asked).await
        }
        (Category::Text, None) => text::rendered(&state, &object.instance, asked).await,
        (Category::Other, None) => Err(not_renderable()),
    }
}

fn category(object: &StoredObject) -> Category {
    let instance = &object.instance;
    Category::of(instance.sop_class.as_str(), instance.transfer_syntax.as_str(), object.layout.frame_count())
}

/// The instance is there, but not as something to look at.
fn not_renderable() -> HttpError {
    HttpError::NotAcceptable(NotAcceptable { available: stored::AS_STORED.to_owned() })
}

pub(super) async fn thumbnail(
    state: Arc<State>,
    scope: Scope,
    frames: Option<FrameList>,
    asked: &Asked,
) -> Answer {
    let surface = Surface::thumbnail(&asked.query)?;
    let representative = representative(&state, &scope).await?;
    let object = stored::open(&state, representative).await?;
    match category(&object) {
        Category::SingleFrameImage | Category::MultiFrameImage => {
            let frames = frames.map_or(Frames::Representative, |list| Frames::These(list.0));
            images::of_instance(state, object, frames, &surface, asked).await
        }
        _ => Err(not_renderable()),
    }
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
