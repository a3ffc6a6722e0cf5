//! Photographs: visible light in colour, as it is displayed.

use std::sync::Arc;

use dicom_dictionary_std::tags;

use super::{GatherError, Gathered, GatheredImage, Gatherer};
use crate::analysis::trigger::Content;
use crate::dicom::uid::StudyUid;
use crate::report::parse::View;
use crate::reporting::subject;
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
        let first = opened
            .first()
            .ok_or_else(|| GatherError::NothingToShow("no object has pixel data".to_owned()))?;
        let (subject, institution) =
            (subject::of(study, &first.attributes), subject::institution(&first.attributes));
        let context = self.context(template, &subject, &first.attributes, None).await?;
        let (found, frames) = (opened.len(), opened.iter().map(super::Opened::frames).sum::<usize>());
        let mut images = Vec::with_capacity(images_max);
        for opened in opened.iter().take(images_max) {
            let view = opened.with_frame(0, model_view::color).await?;
            images.push(GatheredImage {
                reference: opened.reference(0),
                view: View::Other,
                picture: Arc::new(view.image),
            });
        }
        let shown = images.len();
        let limitations = match (found > shown, frames > found) {
            (false, false) => Vec::new(),
            (_, false) => vec![format!("{shown} of {found} images were shown to the model.")],
            (_, true) => {
                vec![format!(
                    "The first frames of {shown} images, of {frames} frames in all, were shown to the model."
                )]
            }
        };
        Ok(Gathered {
            template,
            focus: None,
            context,
            subject,
            institution,
            images,
            prior: None,
            volume: None,
            limitations,
        })
    }
}
