//! The images of a study, as reports refer to them.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{Reporting, ReportingError};
use crate::db::studies::{self, Member};
use crate::db::{self};
use crate::dicom::uid::{SopInstanceUid, StudyUid};
use crate::query::Scope;
use crate::query::stored_object::{ReadError, StoredObject};
use crate::report::content::ImagePlace;
use crate::report::document::ImageReference;
use crate::volume::attributes::{integer, text};
use crate::volume::functional_groups::FrameAttributes;
use crate::volume::pixel_spacing::{CalibratedArea, PixelSpacing};

/// A frame, from 0, of an object whose attributes are at hand.
pub(crate) fn reference(
    object: &StoredObject,
    attributes: &InMemDicomObject,
    modality: &str,
    frame: usize,
) -> ImageReference {
    let instance = &object.instance;
    let number = |tag| integer(attributes, tag).and_then(|n| i32::try_from(n).ok());
    let size = |tag| integer(attributes, tag).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    ImageReference {
        study: instance.study.clone(),
        series: instance.series.clone(),
        sop_class: instance.sop_class.clone(),
        sop_instance: instance.sop_instance.clone(),
        frame: (object.layout.frame_count() > 1).then(|| u32::try_from(frame + 1).unwrap_or(u32::MAX)),
        rows: size(tags::ROWS),
        columns: size(tags::COLUMNS),
        spacing: PixelSpacing::of(&FrameAttributes::new(attributes, frame)),
        calibrated: CalibratedArea::all(attributes),
        modality: modality.to_owned(),
        series_number: number(tags::SERIES_NUMBER),
        instance_number: number(tags::INSTANCE_NUMBER),
        frame_of_reference: text(attributes, tags::FRAME_OF_REFERENCE_UID),
    }
}

/// An object of the study and what its header says.
pub(super) struct Opened {
    pub(super) object: StoredObject,
    pub(super) attributes: InMemDicomObject,
}

impl Reporting {
    /// `None` where the study has no such image, or not that frame of it.
    pub(super) async fn find_image(
        &self,
        study: &StudyUid,
        place: &ImagePlace,
    ) -> Result<Option<ImageReference>, ReportingError> {
        let Ok(instance) = place.sop_instance_uid.parse::<SopInstanceUid>() else { return Ok(None) };
        let members = studies::members(&self.parts.db, study).await?;
        let Some(member) = members.iter().find(|member| member.sop_instance == instance) else {
            return Ok(None);
        };
        let Some(opened) = self.open_image(study, member).await? else { return Ok(None) };
        let frames = opened.object.layout.frame_count();
        let frame = match place.frame {
            None if frames == 1 => 0,
            Some(frame) if frames > 1 && frame >= 1 && u64::from(frame) <= frames => frame as usize - 1,
            _ => return Ok(None),
        };
        Ok(Some(reference(&opened.object, &opened.attributes, &member.modality, frame)))
    }

    pub(super) async fn open_image(
        &self,
        study: &StudyUid,
        member: &Member,
    ) -> Result<Option<Opened>, ReadError> {
        let scope = Scope::Instance(study.clone(), member.series.clone(), member.sop_instance.clone());
        let stored = db::retrieve::instances(&self.parts.db, &scope, 0).await?;
        let Some(stored) = stored.into_iter().next() else { return Ok(None) };
        let object = StoredObject::open(&self.parts.db, &self.parts.blobs, stored).await?;
        let attributes = object.attributes(&self.parts.db).await?;
        Ok(Some(Opened { object, attributes }))
    }
}
