//! Where a frame lies in the patient (PS3.3 C.7.6.2): x to the left, y to the back, z to the head.

use dicom_dictionary_std::tags;
use serde::{Deserialize, Serialize};

use super::attributes::{decimal, decimal_array, integer};
use super::functional_groups::FrameAttributes;

/// Millimetres, or a direction, in the patient coordinate system.
pub type Vector = [f64; 3];

/// The plane of one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlicePlane {
    /// The centre of the first pixel, in mm.
    pub position: Vector,
    /// Unit direction in which the column index grows.
    pub along_row: Vector,
    /// Unit direction in which the row index grows.
    pub along_column: Vector,
    /// Distance between rows, then between columns, in mm.
    pub spacing_mm: [f64; 2],
    pub thickness_mm: Option<f64>,
    pub rows: usize,
    pub columns: usize,
}

/// Why a frame has no usable plane.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum GeometryError {
    #[error("{0} is absent or has no numbers")]
    Missing(&'static str),
    #[error("Image Orientation (Patient) is not a pair of perpendicular directions")]
    Orientation,
    #[error("Pixel Spacing is not positive")]
    Spacing,
}

impl SlicePlane {
    pub fn of(attributes: &FrameAttributes<'_>) -> Result<Self, GeometryError> {
        let position = attributes.group_or_object(tags::PLANE_POSITION_SEQUENCE);
        let orientation = attributes.group_or_object(tags::PLANE_ORIENTATION_SEQUENCE);
        let measures = attributes.group_or_object(tags::PIXEL_MEASURES_SEQUENCE);
        let size = |tag| integer(attributes.object, tag).and_then(|value| usize::try_from(value).ok());
        let [along_row, along_column] = directions(
            decimal_array(orientation, tags::IMAGE_ORIENTATION_PATIENT)
                .ok_or(GeometryError::Missing("Image Orientation (Patient)"))?,
        )?;
        Ok(Self {
            position: decimal_array(position, tags::IMAGE_POSITION_PATIENT)
                .ok_or(GeometryError::Missing("Image Position (Patient)"))?,
            along_row,
            along_column,
            spacing_mm: positive(
                decimal_array(measures, tags::PIXEL_SPACING)
                    .ok_or(GeometryError::Missing("Pixel Spacing"))?,
            )?,
            thickness_mm: decimal(measures, tags::SLICE_THICKNESS).filter(|thickness| *thickness > 0.0),
            rows: size(tags::ROWS).ok_or(GeometryError::Missing("Rows"))?,
            columns: size(tags::COLUMNS).ok_or(GeometryError::Missing("Columns"))?,
        })
    }

    /// Unit normal: the direction of a row crossed with that of a column.
    pub fn normal(&self) -> Vector {
        cross(self.along_row, self.along_column)
    }

    /// The way a reader goes through such slices: along the normal, turned so that it leads from
    /// head to feet, from front to back, or from the patient's right to left, whichever is nearest.
    pub fn reading_direction(&self) -> Vector {
        let normal = self.normal();
        let [x, y, z] = normal.map(f64::abs);
        let forward = match (x, y, z) {
            _ if z >= x && z >= y => normal[2] < 0.0,
            _ if y >= x => normal[1] > 0.0,
            _ => normal[0] > 0.0,
        };
        if forward { normal } else { normal.map(|component| 0.0 - component) }
    }

    /// Signed distance of the plane from the origin along the reading direction, in mm.
    pub fn depth_mm(&self) -> f64 {
        dot(self.position, self.reading_direction())
    }

    pub fn anatomical_plane(&self) -> AnatomicalPlane {
        AnatomicalPlane::of_normal(self.normal())
    }
}

/// The body plane a slice is parallel to, within 20 degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnatomicalPlane {
    Axial,
    Coronal,
    Sagittal,
    Oblique,
}

impl AnatomicalPlane {
    fn of_normal(normal: Vector) -> Self {
        const COSINE_20_DEGREES: f64 = 0.939_7;
        let along = |axis: usize| normal[axis].abs() > COSINE_20_DEGREES;
        match (along(0), along(1), along(2)) {
            (true, _, _) => Self::Sagittal,
            (_, true, _) => Self::Coronal,
            (_, _, true) => Self::Axial,
            _ => Self::Oblique,
        }
    }
}

/// Where the voxels of a volume lie. Its axes are slice, row, column, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VolumeGeometry {
    /// The centre of voxel (0, 0, 0), in mm.
    pub origin_mm: Vector,
    /// Unit direction in which the slice index grows.
    pub along_slices: Vector,
    /// Unit direction in which the row index grows.
    pub along_column: Vector,
    /// Unit direction in which the column index grows.
    pub along_row: Vector,
    /// Distance between slices, rows, columns, in mm.
    pub spacing_mm: [f64; 3],
}

impl VolumeGeometry {
    /// The patient coordinates of a voxel, in mm.
    pub fn point_mm(&self, [slice, row, column]: [f64; 3]) -> Vector {
        let point = advance(self.origin_mm, self.along_slices, slice * self.spacing_mm[0]);
        let point = advance(point, self.along_column, row * self.spacing_mm[1]);
        advance(point, self.along_row, column * self.spacing_mm[2])
    }
}

/// Writers round direction cosines; they are brought back to unit length and a right angle.
fn directions(cosines: [f64; 6]) -> Result<[Vector; 2], GeometryError> {
    const RIGHT_ANGLE_TOLERANCE: f64 = 0.02;
    let [r0, r1, r2, c0, c1, c2] = cosines;
    let row = unit([r0, r1, r2]).ok_or(GeometryError::Orientation)?;
    let column = unit([c0, c1, c2]).ok_or(GeometryError::Orientation)?;
    if dot(row, column).abs() > RIGHT_ANGLE_TOLERANCE {
        return Err(GeometryError::Orientation);
    }
    let normal = unit(cross(row, column)).ok_or(GeometryError::Orientation)?;
    Ok([row, cross(normal, row)])
}

fn positive(spacing: [f64; 2]) -> Result<[f64; 2], GeometryError> {
    if spacing.iter().all(|distance| *distance > 0.0) { Ok(spacing) } else { Err(GeometryError::Spacing) }
}

fn unit(vector: Vector) -> Option<Vector> {
    let length = dot(vector, vector).sqrt();
    (0.9..1.1).contains(&length).then(|| vector.map(|component| component / length))
}

pub fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// `a + factor * b`.
pub fn advance(a: Vector, b: Vector, factor: f64) -> Vector {
    [a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::{enhanced, slice, with};

    #[test]
    fn a_classic_axial_slice() {
        let slice = slice(12.5);
        let plane = SlicePlane::of(&FrameAttributes::new(&slice, 0)).unwrap();
        assert_eq!((plane.normal(), plane.depth_mm()), ([0.0, 0.0, 1.0], -12.5));
        assert_eq!(plane.anatomical_plane(), AnatomicalPlane::Axial);
    }

    #[test]
    fn readers_go_to_the_feet_to_the_back_and_to_the_left() {
        let direction = |cosines: &str| {
            let object = with(slice(0.0), tags::IMAGE_ORIENTATION_PATIENT, cosines);
            SlicePlane::of(&FrameAttributes::new(&object, 0)).unwrap().reading_direction()
        };
        assert_eq!(direction("1\\0\\0\\0\\1\\0"), [0.0, 0.0, -1.0]);
        assert_eq!(direction("-1\\0\\0\\0\\1\\0"), [0.0, 0.0, -1.0]);
        assert_eq!(direction("1\\0\\0\\0\\0\\-1"), [0.0, 1.0, 0.0]);
        assert_eq!(direction("0\\1\\0\\0\\0\\-1"), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn enhanced_frames_have_their_own_position_and_share_the_rest() {
        let object = enhanced(&[3.0, 1.0]);
        let depth =
            |frame| SlicePlane::of(&FrameAttributes::new(&object, frame)).map(|plane| plane.depth_mm());
        assert_eq!((depth(0), depth(1)), (Ok(-3.0), Ok(-1.0)));
        assert_eq!(depth(2), Err(GeometryError::Missing("Image Position (Patient)")));
    }

    #[test]
    fn rounded_cosines_are_made_perpendicular() {
        let [row, column] = directions([0.9999, 0.01, 0.0, -0.012, 0.9999, 0.0]).unwrap();
        assert!(dot(row, column).abs() < 1e-12 && (dot(column, column) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn impossible_orientations_are_refused() {
        assert_eq!(directions([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]), Err(GeometryError::Orientation));
        assert_eq!(directions([0.0; 6]), Err(GeometryError::Orientation));
    }
}
