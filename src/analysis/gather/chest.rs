//! Radiographs: one image per object, frontal views first.

use std::sync::Arc;

use dicom_dictionary_std::tags;

use super::{GatherError, Gathered, GatheredImage, Gatherer, Opened, subject};
use crate::analysis::trigger::Content;
use crate::dicom::uid::StudyUid;
use crate::report::parse::View;
use crate::volume::attributes::{integer, text};
use crate::volume::model_view;

impl Gatherer<'_> {
    pub(super) async fn radiographs(
        &self,
        study: &StudyUid,
        content: &Content,
        images_max: usize,
    ) -> Result<Gathered, GatherError> {
        let mut opened = self.open(study, content).await?;
        opened.retain(|opened| opened.frames() > 0);
        opened.sort_by_key(reading_order);
        let first = opened
            .first()
            .ok_or_else(|| GatherError::NothingToShow("no object has pixel data".to_owned()))?;
        let subject = subject::of(study, &first.attributes);
        let limitations = left_out(opened.len(), images_max);
        let mut images = Vec::with_capacity(images_max);
        for opened in opened.iter().take(images_max) {
            let view = opened.with_frame(0, model_view::radiograph).await?;
            images.push(GatheredImage {
                reference: opened.reference(0),
                view: view_of(opened),
                picture: Arc::new(view.image),
            });
        }
        Ok(Gathered { subject, images, volume: None, limitations })
    }
}

/// Frontal before lateral, then as numbered.
fn reading_order(opened: &Opened) -> (bool, i64, i64, String) {
    let number = |tag| integer(&opened.attributes, tag).unwrap_or(i64::MAX);
    let uid = opened.object.instance.sop_instance.to_string();
    (
        view_of(opened) != View::FrontalRadiograph,
        number(tags::SERIES_NUMBER),
        number(tags::INSTANCE_NUMBER),
        uid,
    )
}

/// View Position (0018,5101); a radiograph that does not say is taken for frontal.
fn view_of(opened: &Opened) -> View {
    match text(&opened.attributes, tags::VIEW_POSITION).as_deref() {
        None | Some("" | "PA" | "AP") => View::FrontalRadiograph,
        Some(_) => View::Other,
    }
}

fn left_out(found: usize, images_max: usize) -> Vec<String> {
    match found > images_max {
        true => vec![format!("{} of {found} images were shown to the model.", images_max)],
        false => Vec::new(),
    }
}
