//! TID 1600 Image Library: the images that the model was shown.

use crate::report::codes::{self, Code};
use crate::report::document::ImageReference;
use crate::report::elements::distinct_instances;
use crate::volume::pixel_spacing::PixelSpacing;

use super::item::{Item, Relation};

/// Concept name that TID 1601 leaves open.
pub(super) const SOURCE: Code = Code::sct("260753009", "Source");

/// Those of an earlier study are a group of their own.
pub(super) fn image_library(images: &[ImageReference], prior: &[ImageReference]) -> Item {
    let groups = [images, prior].into_iter().filter(|images| !images.is_empty()).map(group);
    Item::container(Relation::Contains, Code::dcm("111028", "Image Library")).of_template("1600").with(groups)
}

fn group(images: &[ImageReference]) -> Item {
    let entries = distinct_instances(images).into_iter().map(entry);
    Item::container(Relation::Contains, Code::dcm("126200", "Image Library Group")).with(entries)
}

/// TID 1601 with the descriptors of TID 1602. The entry stands for the instance, not for a frame.
fn entry(image: &ImageReference) -> Item {
    let whole = ImageReference { frame: None, ..image.clone() };
    let modality = codes::modality(&image.modality)
        .map(|code| Item::code(Relation::HasAcqContext, Code::dcm("121139", "Modality"), code));
    let frame_of_reference = image
        .frame_of_reference
        .as_ref()
        .map(|uid| Item::uid(Relation::HasAcqContext, Code::dcm("112227", "Frame of Reference UID"), uid));
    let pixels = Code::ucum("{pixels}", "Pixels");
    let size = [
        number(Code::dcm("110910", "Pixel Data Rows"), f64::from(image.rows), &pixels),
        number(Code::dcm("110911", "Pixel Data Columns"), f64::from(image.columns), &pixels),
    ];
    Item::image(Relation::Contains, SOURCE, &whole)
        .with(modality)
        .with(frame_of_reference)
        .with(size)
        .with(image.spacing.into_iter().flat_map(spacing))
}

/// Only the spacing in the patient: lengths at the detector or on a film would be taken for it.
fn spacing(spacing: PixelSpacing) -> Vec<Item> {
    if !spacing.basis.is_in_patient() {
        return Vec::new();
    }
    let mm = Code::ucum("mm", "mm");
    vec![
        number(Code::dcm("111026", "Horizontal Pixel Spacing"), spacing.column_mm, &mm),
        number(Code::dcm("111066", "Vertical Pixel Spacing"), spacing.row_mm, &mm),
    ]
}

fn number(concept: Code, value: f64, unit: &Code) -> Item {
    Item::number(Relation::HasAcqContext, concept, value, unit.clone())
}
