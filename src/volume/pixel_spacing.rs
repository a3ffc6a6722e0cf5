//! How large a pixel is, and what that rests on (PS3.3 10.7.1).
//!
//! Only some of the attributes speak of the patient. A projection is larger than what it shows, a
//! scanned film has been printed at some scale, and an ultrasound image has a scale for each of its
//! regions alone: whoever takes a length says which of them it is by.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::attributes::{decimal, decimal_array, integer, items, text};
use super::functional_groups::FrameAttributes;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PixelSpacing {
    /// Between the centres of neighbouring rows.
    pub row_mm: f64,
    pub column_mm: f64,
    /// What earlier versions kept is only the plane that it holds in.
    #[serde(alias = "plane")]
    pub basis: SpacingBasis,
}

/// The attribute that a spacing is from, and what it is a distance in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpacingBasis {
    /// Pixel Spacing (0028,0030) of a slice: in the patient.
    #[serde(alias = "patient")]
    PixelSpacing,
    /// Pixel Spacing of a projection, corrected for an assumed or known magnification.
    GeometryCalibration,
    /// Pixel Spacing of a projection, by an object of known size in it.
    FiducialCalibration,
    /// Pixel Spacing of an image that is no slice and does not say how it was calibrated.
    UnstatedCalibration,
    /// Imager Pixel Spacing (0018,1164): at the detector, larger than in the patient.
    #[serde(alias = "detector")]
    ImagerPixelSpacing,
    /// Nominal Scanned Pixel Spacing (0018,2010): on the film that was scanned.
    NominalScannedPixelSpacing,
    /// Of a region of an ultrasound image (0018,6011): in the patient.
    UltrasoundRegion,
}

impl SpacingBasis {
    pub const ALL: [Self; 7] = [
        Self::PixelSpacing,
        Self::GeometryCalibration,
        Self::FiducialCalibration,
        Self::UnstatedCalibration,
        Self::ImagerPixelSpacing,
        Self::NominalScannedPixelSpacing,
        Self::UltrasoundRegion,
    ];

    /// Whether lengths by it are those in the patient, so far as the object knows.
    pub fn is_in_patient(self) -> bool {
        !matches!(self, Self::ImagerPixelSpacing | Self::NominalScannedPixelSpacing)
    }
}

impl PixelSpacing {
    /// Of the whole frame; `None` where the object does not say.
    pub fn of(attributes: &FrameAttributes<'_>) -> Option<Self> {
        Self::in_patient(attributes)
            .or_else(|| Self::imager(attributes))
            .or_else(|| Self::nominal_scanned(attributes))
    }

    fn in_patient(attributes: &FrameAttributes<'_>) -> Option<Self> {
        let measures = attributes.group_or_object(tags::PIXEL_MEASURES_SEQUENCE);
        let [row_mm, column_mm] = positive(decimal_array(measures, tags::PIXEL_SPACING)?)?;
        let basis = match Self::is_slice(attributes) {
            true => SpacingBasis::PixelSpacing,
            false => calibration(attributes.object),
        };
        let spacing = Self { row_mm, column_mm, basis };
        // Without a calibration the distances of the detector are often repeated.
        let repeated = basis == SpacingBasis::UnstatedCalibration
            && Self::imager(attributes).is_some_and(|imager| spacing.equals(&imager));
        (!repeated).then_some(spacing)
    }

    fn is_slice(attributes: &FrameAttributes<'_>) -> bool {
        let plane = attributes.group_or_object(tags::PLANE_ORIENTATION_SEQUENCE);
        decimal_array::<6>(plane, tags::IMAGE_ORIENTATION_PATIENT).is_some()
    }

    fn imager(attributes: &FrameAttributes<'_>) -> Option<Self> {
        let properties = attributes.group_or_object(tags::FRAME_PIXEL_DATA_PROPERTIES_SEQUENCE);
        let [row_mm, column_mm] = positive(decimal_array(properties, tags::IMAGER_PIXEL_SPACING)?)?;
        Some(Self { row_mm, column_mm, basis: SpacingBasis::ImagerPixelSpacing })
    }

    fn nominal_scanned(attributes: &FrameAttributes<'_>) -> Option<Self> {
        let spacing = decimal_array(attributes.object, tags::NOMINAL_SCANNED_PIXEL_SPACING)?;
        let [row_mm, column_mm] = positive(spacing)?;
        Some(Self { row_mm, column_mm, basis: SpacingBasis::NominalScannedPixelSpacing })
    }

    /// Writers round to six digits.
    fn equals(&self, other: &Self) -> bool {
        let same = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.max(b);
        same(self.row_mm, other.row_mm) && same(self.column_mm, other.column_mm)
    }
}

/// Pixel Spacing Calibration Type (0028,0A02).
fn calibration(object: &InMemDicomObject) -> SpacingBasis {
    match text(object, tags::PIXEL_SPACING_CALIBRATION_TYPE).as_deref() {
        Some("GEOMETRY") => SpacingBasis::GeometryCalibration,
        Some("FIDUCIAL") => SpacingBasis::FiducialCalibration,
        _ => SpacingBasis::UnstatedCalibration,
    }
}

/// A part of an ultrasound image that shows tissue at a scale of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibratedArea {
    /// Edges in pixels, as those of regions.
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
    pub row_mm: f64,
    pub column_mm: f64,
}

impl CalibratedArea {
    /// Of Sequence of Ultrasound Regions (PS3.3 C.8.5.5): those of tissue in two dimensions.
    pub fn all(object: &InMemDicomObject) -> Vec<Self> {
        items(object, tags::SEQUENCE_OF_ULTRASOUND_REGIONS).iter().filter_map(Self::of).collect()
    }

    fn of(item: &InMemDicomObject) -> Option<Self> {
        const TWO_DIMENSIONS: i64 = 1;
        const CENTIMETRES: i64 = 3;
        let is = |tag, value: i64| integer(item, tag) == Some(value);
        let edge = |tag| integer(item, tag).and_then(|edge| u32::try_from(edge).ok());
        let mm = |tag| decimal(item, tag).map(|cm| cm.abs() * 10.0).filter(|mm| *mm > 0.0);
        let calibrated = is(tags::REGION_SPATIAL_FORMAT, TWO_DIMENSIONS)
            && is(tags::PHYSICAL_UNITS_X_DIRECTION, CENTIMETRES)
            && is(tags::PHYSICAL_UNITS_Y_DIRECTION, CENTIMETRES);
        if !calibrated {
            return None;
        }
        Some(Self {
            left: edge(tags::REGION_LOCATION_MIN_X0)?,
            top: edge(tags::REGION_LOCATION_MIN_Y0)?,
            right: edge(tags::REGION_LOCATION_MAX_X1)?.saturating_add(1),
            bottom: edge(tags::REGION_LOCATION_MAX_Y1)?.saturating_add(1),
            row_mm: mm(tags::PHYSICAL_DELTA_Y)?,
            column_mm: mm(tags::PHYSICAL_DELTA_X)?,
        })
    }

    pub fn spacing(&self) -> PixelSpacing {
        let Self { row_mm, column_mm, .. } = *self;
        PixelSpacing { row_mm, column_mm, basis: SpacingBasis::UltrasoundRegion }
    }
}

fn positive(spacing: [f64; 2]) -> Option<[f64; 2]> {
    spacing.iter().all(|distance| *distance > 0.0).then_some(spacing)
}

#[cfg(test)]
mod tests {
    use dicom_core::Tag;

    use super::*;
    use crate::volume::testing::{enhanced, object, slice, with_items};

    #[track_caller]
    fn check(values: &[(Tag, &str)], expected: Option<(f64, SpacingBasis)>) {
        let object = object(values);
        let spacing = PixelSpacing::of(&FrameAttributes::new(&object, 0));
        assert_eq!(spacing.map(|spacing| (spacing.row_mm, spacing.basis)), expected);
    }

    const IMAGER: (Tag, &str) = (tags::IMAGER_PIXEL_SPACING, "0.2\\0.3");
    const CALIBRATED: (Tag, &str) = (tags::PIXEL_SPACING, "0.18\\0.27");

    fn calibrated_by(kind: &str) -> (Tag, &str) {
        (tags::PIXEL_SPACING_CALIBRATION_TYPE, kind)
    }

    #[test]
    fn a_projection_says_what_its_spacing_rests_on() {
        check(&[IMAGER], Some((0.2, SpacingBasis::ImagerPixelSpacing)));
        check(&[IMAGER, CALIBRATED], Some((0.18, SpacingBasis::UnstatedCalibration)));
        let geometry = [IMAGER, CALIBRATED, calibrated_by("GEOMETRY")];
        check(&geometry, Some((0.18, SpacingBasis::GeometryCalibration)));
        let fiducial = [IMAGER, CALIBRATED, calibrated_by("FIDUCIAL")];
        check(&fiducial, Some((0.18, SpacingBasis::FiducialCalibration)));
        check(&[], None);
    }

    #[test]
    fn distances_of_the_detector_that_are_repeated_are_no_calibration() {
        let repeated = (tags::PIXEL_SPACING, "0.200000\\0.3");
        check(&[IMAGER, repeated], Some((0.2, SpacingBasis::ImagerPixelSpacing)));
        let calibrated = [IMAGER, repeated, calibrated_by("GEOMETRY")];
        check(&calibrated, Some((0.2, SpacingBasis::GeometryCalibration)));
    }

    #[test]
    fn a_scanned_film_has_the_distances_of_the_film() {
        let scanned = (tags::NOMINAL_SCANNED_PIXEL_SPACING, "0.1\\0.1");
        check(&[scanned], Some((0.1, SpacingBasis::NominalScannedPixelSpacing)));
        check(&[scanned, CALIBRATED], Some((0.18, SpacingBasis::UnstatedCalibration)));
        check(&[(tags::PIXEL_SPACING, "0\\0")], None);
    }

    #[test]
    fn slices_have_the_distances_in_the_patient() {
        for object in [slice(0.0), enhanced(&[1.0])] {
            let spacing = PixelSpacing::of(&FrameAttributes::new(&object, 0)).unwrap();
            let basis = SpacingBasis::PixelSpacing;
            assert_eq!(spacing, PixelSpacing { row_mm: 0.5, column_mm: 0.75, basis });
        }
    }

    #[test]
    fn an_enhanced_projection_has_its_spacing_in_a_functional_group() {
        let properties = vec![object(&[IMAGER])];
        let shared =
            with_items(InMemDicomObject::new_empty(), tags::FRAME_PIXEL_DATA_PROPERTIES_SEQUENCE, properties);
        let root = InMemDicomObject::new_empty();
        let object = with_items(root, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
        let spacing = PixelSpacing::of(&FrameAttributes::new(&object, 0)).unwrap();
        assert_eq!((spacing.column_mm, spacing.basis), (0.3, SpacingBasis::ImagerPixelSpacing));
    }

    #[test]
    fn ultrasound_is_calibrated_region_by_region() {
        let region = |format, units| {
            object(&[
                (tags::REGION_SPATIAL_FORMAT, format),
                (tags::REGION_LOCATION_MIN_X0, "100"),
                (tags::REGION_LOCATION_MIN_Y0, "50"),
                (tags::REGION_LOCATION_MAX_X1, "499"),
                (tags::REGION_LOCATION_MAX_Y1, "449"),
                (tags::PHYSICAL_UNITS_X_DIRECTION, units),
                (tags::PHYSICAL_UNITS_Y_DIRECTION, units),
                (tags::PHYSICAL_DELTA_X, "0.02"),
                (tags::PHYSICAL_DELTA_Y, "-0.03"),
            ])
        };
        // Tissue, then a spectrum over seconds, then one of two dimensions in seconds.
        let regions = vec![region("1", "3"), region("3", "3"), region("1", "4")];
        let object = with_items(InMemDicomObject::new_empty(), tags::SEQUENCE_OF_ULTRASOUND_REGIONS, regions);
        let areas = CalibratedArea::all(&object);
        assert_eq!(areas.len(), 1);
        assert_eq!((areas[0].left, areas[0].top, areas[0].right, areas[0].bottom), (100, 50, 500, 450));
        let spacing = areas[0].spacing();
        assert!((spacing.row_mm - 0.3).abs() < 1e-9 && (spacing.column_mm - 0.2).abs() < 1e-9);
    }

    #[test]
    fn what_earlier_versions_kept_reads_back() {
        for (plane, basis) in
            [("patient", SpacingBasis::PixelSpacing), ("detector", SpacingBasis::ImagerPixelSpacing)]
        {
            let kept = serde_json::json!({ "row_mm": 0.5, "column_mm": 0.75, "plane": plane });
            let spacing: PixelSpacing = serde_json::from_value(kept).unwrap();
            assert_eq!(spacing, PixelSpacing { row_mm: 0.5, column_mm: 0.75, basis });
        }
    }
}
