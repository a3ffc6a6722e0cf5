//! Planes through a volume, on any place and in any direction, by trilinear interpolation.

use ndarray::Array2;

use super::assemble::Volume;
use super::geometry::{AnatomicalPlane, Vector, VolumeGeometry, advance, cross, dot};

/// A picture's place in the patient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane {
    /// The centre of the first pixel, in mm.
    pub origin_mm: Vector,
    /// Unit direction in which the column index grows.
    pub along_row: Vector,
    /// Unit direction in which the row index grows.
    pub along_column: Vector,
    /// Of a square pixel.
    pub spacing_mm: f64,
    pub rows: usize,
    pub columns: usize,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlaneError {
    #[error("there are {0} slices in this direction")]
    Index(usize),
    #[error("a normal has a direction")]
    Normal,
    #[error("the plane has more pixels than planes may have")]
    TooLarge,
    #[error("an oblique plane is given by a point and a normal")]
    Oblique,
}

/// Where a volume lies, without its voxels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    pub geometry: VolumeGeometry,
    /// Slices, rows, columns.
    pub shape: (usize, usize, usize),
    /// Of the last slice from the first.
    pub depth_mm: f64,
}

impl From<&Volume> for Extent {
    fn from(volume: &Volume) -> Self {
        let depth_mm = volume.depths_mm.last().copied().unwrap_or(0.0);
        Self { geometry: volume.geometry, shape: volume.values.dim(), depth_mm }
    }
}

/// The box of patient axes around a volume, from the centres of its outermost voxels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    least: Vector,
    greatest: Vector,
}

const LEFT: Vector = [1.0, 0.0, 0.0];
const BACK: Vector = [0.0, 1.0, 0.0];
const FEET: Vector = [0.0, 0.0, -1.0];

impl Bounds {
    fn of(volume: &Extent) -> Self {
        let corners = corners(volume);
        let fold = |pick: fn(f64, f64) -> f64| {
            [0, 1, 2].map(|axis| corners.iter().map(|corner| corner[axis]).reduce(pick).unwrap_or(0.0))
        };
        Self { least: fold(f64::min), greatest: fold(f64::max) }
    }

    fn extent(&self, axis: usize) -> f64 {
        self.greatest[axis] - self.least[axis]
    }
}

fn corners(volume: &Extent) -> [Vector; 8] {
    let (_, rows, columns) = volume.shape;
    let depth = volume.depth_mm;
    let geometry = &volume.geometry;
    let height = geometry.spacing_mm[1] * rows.saturating_sub(1) as f64;
    let width = geometry.spacing_mm[2] * columns.saturating_sub(1) as f64;
    std::array::from_fn(|corner| {
        let end = |bit: usize, length: f64| if corner >> bit & 1 == 1 { length } else { 0.0 };
        let point = advance(geometry.origin_mm, geometry.along_slices, end(0, depth));
        let point = advance(point, geometry.along_column, end(1, height));
        advance(point, geometry.along_row, end(2, width))
    })
}

/// How a body plane lies: the axis of its normal, and where rows and columns lead.
struct Layout {
    axis: usize,
    along_row: Vector,
    along_column: Vector,
    /// The first slice lies at the greatest coordinate.
    from_greatest: bool,
}

impl Layout {
    fn of(plane: AnatomicalPlane) -> Result<Self, PlaneError> {
        let layout = |axis, along_row, along_column, from_greatest| {
            Ok(Self { axis, along_row, along_column, from_greatest })
        };
        match plane {
            AnatomicalPlane::Axial => layout(2, LEFT, BACK, true),
            AnatomicalPlane::Coronal => layout(1, LEFT, FEET, false),
            AnatomicalPlane::Sagittal => layout(0, BACK, FEET, false),
            AnatomicalPlane::Oblique => Err(PlaneError::Oblique),
        }
    }
}

/// How far apart the voxels are along a patient axis: those of the axis of the volume that is
/// nearest to it.
fn step_along(volume: &Extent, axis: usize) -> f64 {
    let geometry = &volume.geometry;
    let along = |direction: Vector| direction[axis].abs();
    let axes = [geometry.along_slices, geometry.along_column, geometry.along_row];
    let nearest = (0..3).max_by(|a, b| along(axes[*a]).total_cmp(&along(axes[*b]))).unwrap_or(0);
    geometry.spacing_mm[nearest]
}

/// Slices that fit; one that rounding alone puts beyond the end counts.
fn count(extent_mm: f64, step_mm: f64) -> usize {
    ((extent_mm / step_mm + 1e-6) as usize).saturating_add(1)
}

/// How many slices a volume has in the direction of a body plane.
pub fn slices(volume: &Extent, plane: AnatomicalPlane) -> Result<usize, PlaneError> {
    let layout = Layout::of(plane)?;
    Ok(count(Bounds::of(volume).extent(layout.axis), step_along(volume, layout.axis)))
}

/// A slice parallel to a body plane, counted from head to feet, from front to back, from the
/// patient's right to the left.
pub fn parallel(
    volume: &Extent,
    plane: AnatomicalPlane,
    index: usize,
    pixels_max: usize,
) -> Result<Plane, PlaneError> {
    let layout = Layout::of(plane)?;
    let bounds = Bounds::of(volume);
    let step = step_along(volume, layout.axis);
    let slices = count(bounds.extent(layout.axis), step);
    if index >= slices {
        return Err(PlaneError::Index(slices));
    }
    let within = (0..3).filter(|axis| *axis != layout.axis);
    let spacing_mm = within.map(|axis| step_along(volume, axis)).fold(f64::MAX, f64::min);
    let mut origin_mm = bounds.least;
    let way = index as f64 * step;
    origin_mm[layout.axis] = match layout.from_greatest {
        true => bounds.greatest[layout.axis] - way,
        false => bounds.least[layout.axis] + way,
    };
    if layout.along_column == FEET {
        origin_mm[2] = bounds.greatest[2];
    }
    let length = |direction: Vector| {
        let axis = (0..3).find(|axis| direction[*axis] != 0.0).unwrap_or(0);
        count(bounds.extent(axis), spacing_mm)
    };
    let (rows, columns) = (length(layout.along_column), length(layout.along_row));
    let plane = Plane {
        origin_mm,
        along_row: layout.along_row,
        along_column: layout.along_column,
        spacing_mm,
        rows,
        columns,
    };
    plane.within(pixels_max)
}

/// The plane through a point with a normal, as wide as the volume is there. The picture's left is
/// the patient's right, or his front; its top his head, or his front.
pub fn oblique(
    volume: &Extent,
    point: Vector,
    normal: Vector,
    pixels_max: usize,
) -> Result<Plane, PlaneError> {
    let length = dot(normal, normal).sqrt();
    if !(length.is_finite() && length > 1e-9) || point.iter().any(|component| !component.is_finite()) {
        return Err(PlaneError::Normal);
    }
    let normal = normal.map(|component| component / length);
    let downwards = if normal[2].abs() > 0.9 { BACK } else { FEET };
    let along_column = unit(advance(downwards, normal, -dot(downwards, normal)));
    let along_row = cross(along_column, normal);
    let towards = if along_row[0].abs() >= along_row[1].abs() { along_row[0] } else { along_row[1] };
    let along_row = if towards < 0.0 { along_row.map(|component| -component) } else { along_row };
    let spacing_mm = volume.geometry.spacing_mm.iter().copied().fold(f64::MAX, f64::min);
    let corners = corners(volume).map(|corner| advance(corner, point, -1.0));
    let span = |direction: Vector| {
        let places = corners.iter().map(|corner| dot(*corner, direction));
        let (least, greatest) =
            places.fold((f64::MAX, f64::MIN), |(l, g), place| (l.min(place), g.max(place)));
        (least, count(greatest - least, spacing_mm))
    };
    let ((left, columns), (top, rows)) = (span(along_row), span(along_column));
    let origin_mm = advance(advance(point, along_row, left), along_column, top);
    Plane { origin_mm, along_row, along_column, spacing_mm, rows, columns }.within(pixels_max)
}

fn unit(vector: Vector) -> Vector {
    let length = dot(vector, vector).sqrt();
    vector.map(|component| component / length)
}

impl Plane {
    fn within(self, pixels_max: usize) -> Result<Self, PlaneError> {
        match self.rows.saturating_mul(self.columns) {
            pixels if pixels > pixels_max => Err(PlaneError::TooLarge),
            _ => Ok(self),
        }
    }

    /// The values of the plane; `outside` where the volume is not.
    pub fn sample(&self, volume: &Volume, outside: f32) -> Array2<f32> {
        let sampler = Sampler::of(volume);
        Array2::from_shape_fn((self.rows, self.columns), |(row, column)| {
            let point = advance(self.origin_mm, self.along_column, row as f64 * self.spacing_mm);
            let point = advance(point, self.along_row, column as f64 * self.spacing_mm);
            sampler.at(point).unwrap_or(outside)
        })
    }
}

struct Sampler<'a> {
    volume: &'a Volume,
    last: [usize; 3],
}

/// Rounding of positions, in voxels.
const EDGE: f64 = 1e-3;

impl<'a> Sampler<'a> {
    fn of(volume: &'a Volume) -> Self {
        let (slices, rows, columns) = volume.values.dim();
        Self { volume, last: [slices, rows, columns].map(|count| count.saturating_sub(1)) }
    }

    fn at(&self, point: Vector) -> Option<f32> {
        let geometry = &self.volume.geometry;
        let way = advance(point, geometry.origin_mm, -1.0);
        let slice = self.slice(dot(way, geometry.along_slices))?;
        let row = self.even(dot(way, geometry.along_column) / geometry.spacing_mm[1], 1)?;
        let column = self.even(dot(way, geometry.along_row) / geometry.spacing_mm[2], 2)?;
        Some(self.mixed(slice, row, column))
    }

    /// Slices lie where they are, evenly or not; a single one is as thick as it says.
    fn slice(&self, depth_mm: f64) -> Option<(usize, f32)> {
        let (depths, spacing) = (&self.volume.depths_mm, self.volume.geometry.spacing_mm[0]);
        let Some(before_last) = self.last[0].checked_sub(1) else {
            return (depth_mm.abs() <= spacing / 2.0).then_some((0, 0.0));
        };
        let edge = EDGE * spacing;
        if !(-edge..=depths[self.last[0]] + edge).contains(&depth_mm) {
            return None;
        }
        let before = depths.partition_point(|known| *known <= depth_mm).saturating_sub(1).min(before_last);
        let step = depths[before + 1] - depths[before];
        let fraction = if step > 0.0 { (depth_mm - depths[before]) / step } else { 0.0 };
        Some((before, fraction.clamp(0.0, 1.0) as f32))
    }

    fn even(&self, place: f64, axis: usize) -> Option<(usize, f32)> {
        let last = self.last[axis] as f64;
        if !(-EDGE..=last + EDGE).contains(&place) {
            return None;
        }
        let place = place.clamp(0.0, last);
        let before = place.floor();
        Some((before as usize, (place - before) as f32))
    }

    fn mixed(&self, (s, ws): (usize, f32), (r, wr): (usize, f32), (c, wc): (usize, f32)) -> f32 {
        let values = &self.volume.values;
        let (s1, r1, c1) = ((s + 1).min(self.last[0]), (r + 1).min(self.last[1]), (c + 1).min(self.last[2]));
        let mix = |a: f32, b: f32, weight: f32| a + (b - a) * weight;
        let line = |s, r| mix(values[[s, r, c]], values[[s, r, c1]], wc);
        let plane = |s| mix(line(s, r), line(s, r1), wr);
        mix(plane(s), plane(s1), ws)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, Axis};

    use super::*;
    use crate::volume::geometry::VolumeGeometry;

    /// Axial slices from head to feet; values are linear in patient coordinates.
    fn volume() -> Volume {
        let geometry = VolumeGeometry {
            origin_mm: [-4.0, -6.0, 30.0],
            along_slices: [0.0, 0.0, -1.0],
            along_column: [0.0, 1.0, 0.0],
            along_row: [1.0, 0.0, 0.0],
            spacing_mm: [3.0, 2.0, 2.0],
        };
        let value = |(slice, row, column): (usize, usize, usize)| {
            let point = geometry.point_mm([slice as f64, row as f64, column as f64]);
            linear(point)
        };
        Volume {
            values: Array3::from_shape_fn((6, 7, 5), value),
            geometry,
            depths_mm: (0..6).map(|slice| 3.0 * f64::from(slice)).collect(),
        }
    }

    fn linear(point: Vector) -> f32 {
        (100.0 * point[2] + 10.0 * point[1] + point[0]) as f32
    }

    #[test]
    fn an_axial_slice_of_axial_slices_is_that_slice() {
        let volume = volume();
        assert_eq!(slices(&Extent::from(&volume), AnatomicalPlane::Axial), Ok(6));
        let plane = parallel(&Extent::from(&volume), AnatomicalPlane::Axial, 2, 1 << 20).unwrap();
        assert_eq!(plane.sample(&volume, 0.0), volume.values.index_axis(Axis(0), 2));
    }

    #[track_caller]
    fn assert_linear(volume: &Volume, plane: &Plane) {
        let values = plane.sample(volume, f32::NAN);
        for ((row, column), value) in values.indexed_iter() {
            let point = advance(plane.origin_mm, plane.along_column, row as f64 * plane.spacing_mm);
            let point = advance(point, plane.along_row, column as f64 * plane.spacing_mm);
            assert!(value.is_nan() || (value - linear(point)).abs() < 0.05, "{row} {column}: {value}");
        }
        assert!(values.iter().any(|value| !value.is_nan()));
    }

    #[test]
    fn other_planes_are_interpolated_at_their_true_place() {
        let volume = volume();
        for plane in [AnatomicalPlane::Coronal, AnatomicalPlane::Sagittal] {
            let count = slices(&Extent::from(&volume), plane).unwrap();
            for index in [0, count - 1] {
                let plane = parallel(&Extent::from(&volume), plane, index, 1 << 20).unwrap();
                assert_linear(&volume, &plane);
                assert!(plane.sample(&volume, f32::NAN).iter().all(|value| !value.is_nan()));
            }
            assert_eq!(
                parallel(&Extent::from(&volume), plane, count, 1 << 20),
                Err(PlaneError::Index(count))
            );
        }
        let oblique = oblique(&Extent::from(&volume), [0.0, 0.0, 22.0], [1.0, 1.0, 1.0], 1 << 20).unwrap();
        assert_linear(&volume, &oblique);
        assert!(dot(oblique.along_row, oblique.along_column).abs() < 1e-9);
        assert!(oblique.along_column[2] < 0.0, "the head is on top");
    }

    #[test]
    fn coronal_pictures_have_the_head_on_top_and_the_right_on_the_left() {
        let volume = volume();
        let plane = parallel(&Extent::from(&volume), AnatomicalPlane::Coronal, 0, 1 << 20).unwrap();
        let values = plane.sample(&volume, 0.0);
        assert_eq!(values[[0, 0]], linear([-4.0, -6.0, 30.0]));
        assert!((values[[plane.rows - 1, plane.columns - 1]] - linear([4.0, -6.0, 16.0])).abs() < 0.01);
    }

    #[test]
    fn what_makes_no_plane_is_refused() {
        let volume = volume();
        assert_eq!(oblique(&Extent::from(&volume), [0.0; 3], [0.0; 3], 1 << 20), Err(PlaneError::Normal));
        assert_eq!(
            oblique(&Extent::from(&volume), [f64::NAN; 3], [0.0, 0.0, 1.0], 1 << 20),
            Err(PlaneError::Normal)
        );
        assert_eq!(
            parallel(&Extent::from(&volume), AnatomicalPlane::Axial, 0, 10),
            Err(PlaneError::TooLarge)
        );
        assert_eq!(slices(&Extent::from(&volume), AnatomicalPlane::Oblique), Err(PlaneError::Oblique));
    }
}
