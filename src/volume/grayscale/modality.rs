//! Stored values to modality values: rescale or table (PS3.3 C.11.1).

use dicom_dictionary_std::tags;

use super::GrayscaleError;
use crate::volume::attributes::{decimal, items};
use crate::volume::functional_groups::FrameAttributes;
use crate::volume::lookup_table::LookupTable;

#[derive(Debug, Clone, PartialEq)]
pub enum ModalityTransform {
    Linear { slope: f64, intercept: f64 },
    Table(LookupTable),
}

impl ModalityTransform {
    /// A table wins over slope and intercept, as an object may have only one of them; without
    /// either, stored values are modality values.
    pub fn of(attributes: &FrameAttributes<'_>) -> Result<Self, GrayscaleError> {
        if let Some(item) = items(attributes.object, tags::MODALITY_LUT_SEQUENCE).first() {
            return LookupTable::from_item(item).map(Self::Table).ok_or(GrayscaleError::ModalityTable);
        }
        let group = attributes.group_or_object(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        Ok(Self::Linear {
            slope: decimal(group, tags::RESCALE_SLOPE).unwrap_or(1.0),
            intercept: decimal(group, tags::RESCALE_INTERCEPT).unwrap_or(0.0),
        })
    }

    pub fn apply(&self, stored: f64) -> f32 {
        match self {
            Self::Linear { slope, intercept } => (stored * slope + intercept) as f32,
            Self::Table(table) => table.level(stored as f32),
        }
    }
}
