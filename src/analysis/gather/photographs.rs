//! Photographs: visible light in colour, as it is displayed.

use dicom_dictionary_std::tags;

use super::{GatherError, Gathered, Gatherer, Shown};
use crate::analysis::trigger::Content;
use crate::dicom::uid::StudyUid;
use crate::report::parse::View;
use crate::volume::attributes::integer;
use crate::volume::model_view;

impl Gatherer<'_> {
    pub(super) async fn photographs(
        &self,
        study: &StudyUid,
        content: &Content,
    ) -> Result<Gathered, GatherError> {
        let template = self.template(content.pipeline)?;
        let images_max = self.images_max(content.pipeline, template);
        let mut opened = self.open(study, content).await?;
        opened.retain(|opened| opened.frames() > 0);
        opened.sort_by_key(|opened| {
            let number = |tag| integer(&opened.attributes, tag).unwrap_or(i64::MAX);
            let uid = opened.object.instance.sop_instance.to_string();
            (number(tags::SERIES_NUMBER), number(tags::INSTANCE_NUMBER), uid)
        });
        if opened.is_empty() {
            return Err(GatherError::NothingToShow("no object has pixel data".to_owned()));
        }
        let (found, frames) = (opened.len(), opened.iter().map(super::Opened::frames).sum::<usize>());
        let shown = images_max.min(found);
        let as_displayed = Shown { rendered: model_view::color, view: |_| View::Other };
        let gathered = self.first_frames(template, study, &opened[..shown], None, as_displayed).await?;
        let limitations = match (found > shown, frames > found) {
            (false, false) => Vec::new(),
            (_, false) => vec![format!("{shown} of {found} images were shown to the model.")],
            (_, true) => {
                vec![format!(
                    "The first frames of {shown} images, of {frames} frames in all, were shown to the model."
                )]
            }
        };
        Ok(Gathered { limitations, ..gathered })
    }
}
