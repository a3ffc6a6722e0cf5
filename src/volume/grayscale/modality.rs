//! Stored values to modality values: rescale or table (PS3.3 C.11.1).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::GrayscaleError;
use crate::volume::attributes::{decimal, integer, items, text, texts};
use crate::volume::functional_groups::FrameAttributes;
use crate::volume::lookup_table::{Input, LookupTable};

#[derive(Debug, Clone, PartialEq)]
pub enum ModalityTransform {
    Linear { slope: f64, intercept: f64 },
    Table(LookupTable),
}

impl ModalityTransform {
    /// A table wins over slope and intercept, as an object may have only one of them; without
    /// either, stored values are modality values.
    pub fn of(attributes: &FrameAttributes<'_>) -> Result<Self, GrayscaleError> {
        let input = match is_signed(attributes.object) {
            true => Input::Signed,
            false => Input::Unsigned,
        };
        if let Some(table) = Self::table(attributes.object, input)? {
            return Ok(table);
        }
        let group = attributes.group_or_object(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        Ok(Self::rescale(group).unwrap_or(Self::Linear { slope: 1.0, intercept: 0.0 }))
    }

    /// The transform that a presentation state brings; `None` leaves the image its own.
    pub fn of_presentation_state(state: &InMemDicomObject) -> Result<Option<Self>, GrayscaleError> {
        Ok(Self::table(state, Input::Signed)?.or_else(|| Self::rescale(state)))
    }

    fn table(object: &InMemDicomObject, input: Input) -> Result<Option<Self>, GrayscaleError> {
        let item = items(object, tags::MODALITY_LUT_SEQUENCE).first();
        let table = item.map(|item| LookupTable::from_item(item, input).ok_or(GrayscaleError::ModalityTable));
        Ok(table.transpose()?.map(Self::Table))
    }

    fn rescale(group: &InMemDicomObject) -> Option<Self> {
        let (slope, intercept) =
            (decimal(group, tags::RESCALE_SLOPE), decimal(group, tags::RESCALE_INTERCEPT));
        (slope.is_some() || intercept.is_some())
            .then_some(Self::Linear { slope: slope.unwrap_or(1.0), intercept: intercept.unwrap_or(0.0) })
    }

    /// What the values may be that come out, for the tables behind.
    pub fn output(&self, object: &InMemDicomObject) -> Input {
        match self {
            Self::Linear { intercept, .. } if *intercept < 0.0 || is_signed(object) => Input::Signed,
            Self::Linear { .. } | Self::Table(_) => Input::Unsigned,
        }
    }

    pub fn apply(&self, stored: f64) -> f32 {
        match self {
            Self::Linear { slope, intercept } => (stored * slope + intercept) as f32,
            Self::Table(table) => table.level(stored as f32),
        }
    }
}

/// Whether the modality values of a frame are Hounsfield units: those of a CT are, unless it says
/// otherwise (PS3.3 C.11.1.1.2) or is a localizer (PS3.3 C.8.2.1.1.3).
pub fn is_hounsfield(attributes: &FrameAttributes<'_>) -> bool {
    let object = attributes.object;
    let transformation = attributes.group_or_object(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
    let table = items(object, tags::MODALITY_LUT_SEQUENCE).first();
    let unit = match table {
        Some(table) => text(table, tags::MODALITY_LUT_TYPE),
        None => text(transformation, tags::RESCALE_TYPE),
    };
    text(object, tags::MODALITY).is_some_and(|modality| modality == "CT")
        && unit.is_none_or(|unit| unit == "HU")
        && texts(object, tags::IMAGE_TYPE).get(2).is_none_or(|kind| kind != "LOCALIZER")
}

fn is_signed(object: &InMemDicomObject) -> bool {
    integer(object, tags::PIXEL_REPRESENTATION) == Some(1)
}
