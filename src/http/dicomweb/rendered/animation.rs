//! Frames as one GIF that moves, written while it is sent.

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Response;

use super::super::frame_numbers::FrameNumbers;
use super::super::instances::set_content_type;
use super::images::{GIF, Source};
use crate::http::body::{self, BoxError};
use crate::http::error::HttpError;
use crate::http::service::Answer;
use crate::query::rendering::encoding::{Animation, Drawn};
use crate::query::rendering::{RenderingError, frame_time};

/// A frame is drawn when the one before has been sent. The first is drawn before the status leaves.
pub(super) async fn answer(source: Source, frames: FrameNumbers) -> Answer {
    let mut frames = frames.into_iter();
    let first = frames.next().ok_or(HttpError::NotFound("frame"))?;
    let animation = Animation::new().map_err(HttpError::internal("beginning an animation"))?;
    let (animation, begun) = next(&source, animation, first).await?;
    let rest = stream::try_unfold(Some((source, animation, frames)), |film| async move {
        let Some((source, animation, mut frames)) = film else { return Ok::<_, BoxError>(None) };
        let Some(frame) = frames.next() else { return Ok(Some((animation.finish(), None))) };
        let (animation, written) = next(&source, animation, frame).await?;
        Ok(Some((written, Some((source, animation, frames)))))
    });
    let chunks = stream::iter([Ok(begun)]).chain(rest).map_ok(Bytes::from);
    let mut response = Response::new(body::streamed(chunks));
    set_content_type(&mut response, GIF);
    Ok(response)
}

async fn next(
    source: &Source,
    mut animation: Animation,
    frame: u32,
) -> Result<(Animation, Vec<u8>), HttpError> {
    let shown_for = frame_time(&source.attributes, frame as usize - 1);
    let add = move |drawn: Drawn| {
        let written = animation.frame(&drawn, shown_for)?;
        Ok::<_, RenderingError>((animation, written))
    };
    source.work(frame, None, add).await
}
