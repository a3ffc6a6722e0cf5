//! NIfTI-1 (nifti1.h): a header of 348 bytes and the voxels of a volume.
//!
//! Columns vary fastest, then rows, then slices. DICOM has x to the left and y to the back, NIfTI x
//! to the right and y to the front: the first two rows of the affine change their sign.

use ndarray::ArrayView2;

use super::assemble::Volume;
use super::geometry::{Vector, VolumeGeometry, advance, cross, dot};

/// Header, and the four bytes that say that no extension follows.
pub const DATA_OFFSET: usize = 352;
/// Directions this far from a right angle have no rotation, and so no qform.
const RIGHT_ANGLE: f64 = 1e-3;

/// How a voxel is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voxels {
    /// Where every value is a whole number that fits.
    Int16,
    Float32,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NiftiError {
    #[error("an axis has more than 32767 voxels")]
    TooLong,
}

/// Voxel indices (column, row, slice) to millimetres: three columns and a translation, x to the
/// right, y to the front, z to the head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine(pub [[f64; 4]; 3]);

impl Affine {
    /// `step` leads from one slice to the next, which is not along their normal where a gantry was
    /// tilted.
    pub fn of(volume: &Volume, step: Vector) -> Self {
        let geometry = &volume.geometry;
        let scaled = |direction: Vector, factor: f64| direction.map(|component| component * factor);
        let column = scaled(geometry.along_row, geometry.spacing_mm[2]);
        let row = scaled(geometry.along_column, geometry.spacing_mm[1]);
        let signs = [-1.0, -1.0, 1.0];
        let line = |axis: usize| {
            [column[axis], row[axis], step[axis], geometry.origin_mm[axis]].map(|value| value * signs[axis])
        };
        Self([line(0), line(1), line(2)])
    }

    fn axis(&self, axis: usize) -> Vector {
        self.0.map(|line| line[axis])
    }

    fn spacing(&self) -> Vector {
        [0, 1, 2].map(|axis| dot(self.axis(axis), self.axis(axis)).sqrt())
    }

    /// b, c, d of the rotation, and -1 where it needs a reflection of the slices (qfac).
    fn quaternion(&self) -> Option<(Vector, f64)> {
        let spacing = self.spacing();
        let unit = |axis: usize| self.axis(axis).map(|component| component / spacing[axis]);
        let (i, j, k) = (unit(0), unit(1), unit(2));
        let right = |a, b| f64::abs(dot(a, b)) < RIGHT_ANGLE;
        if !(right(i, j) && right(j, k) && right(i, k)) {
            return None;
        }
        let qfac = if dot(cross(i, j), k) < 0.0 { -1.0 } else { 1.0 };
        Some((rotation(i, j, k.map(|component| component * qfac)), qfac))
    }
}

/// b, c, d of the unit quaternion (a positive) of a rotation with these columns.
fn rotation(i: Vector, j: Vector, k: Vector) -> Vector {
    let (xx, yy, zz) = (i[0], j[1], k[2]);
    let trace = xx + yy + zz;
    let half = |square: f64| 0.5 * square.max(0.0).sqrt();
    if trace > 0.0 {
        let a = half(1.0 + trace);
        return [(j[2] - k[1]) / (4.0 * a), (k[0] - i[2]) / (4.0 * a), (i[1] - j[0]) / (4.0 * a)];
    }
    let (a, bcd) = if xx >= yy && xx >= zz {
        let b = half(1.0 + xx - yy - zz);
        ((j[2] - k[1]) / (4.0 * b), [b, (j[0] + i[1]) / (4.0 * b), (k[0] + i[2]) / (4.0 * b)])
    } else if yy >= zz {
        let c = half(1.0 + yy - xx - zz);
        ((k[0] - i[2]) / (4.0 * c), [(j[0] + i[1]) / (4.0 * c), c, (k[1] + j[2]) / (4.0 * c)])
    } else {
        let d = half(1.0 + zz - xx - yy);
        ((i[1] - j[0]) / (4.0 * d), [(k[0] + i[2]) / (4.0 * d), (k[1] + j[2]) / (4.0 * d), d])
    };
    // A negative a is the same rotation as its opposite.
    if a < 0.0 { bcd.map(|component| -component) } else { bcd }
}

impl Voxels {
    pub fn of(volume: &Volume) -> Self {
        let fits = |value: &f32| f32::from(*value as i16) == *value;
        if volume.values.iter().all(fits) { Self::Int16 } else { Self::Float32 }
    }

    fn code(self) -> (i16, i16) {
        match self {
            Self::Int16 => (4, 16),
            Self::Float32 => (16, 32),
        }
    }

    /// One slice, row by row, in little endian.
    pub fn write(self, slice: ArrayView2<'_, f32>) -> Vec<u8> {
        match self {
            Self::Int16 => slice.iter().flat_map(|value| (*value as i16).to_le_bytes()).collect(),
            Self::Float32 => slice.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

/// The first [`DATA_OFFSET`] bytes of the file, in little endian.
pub fn header(volume: &Volume, affine: &Affine, voxels: Voxels) -> Result<Vec<u8>, NiftiError> {
    let (slices, rows, columns) = volume.values.dim();
    let length = |count: usize| i16::try_from(count).map_err(|_| NiftiError::TooLong);
    let dim = [3, length(columns)?, length(rows)?, length(slices)?, 1, 1, 1, 1];
    let quaternion = affine.quaternion();
    let (bcd, qfac) = quaternion.unwrap_or(([0.0; 3], 1.0));
    let [dx, dy, dz] = affine.spacing();
    let (datatype, bits) = voxels.code();
    let mut header = Header(vec![0; DATA_OFFSET]);
    header.put(0, &348_i32.to_le_bytes());
    header.put(38, b"r");
    dim.iter().enumerate().for_each(|(at, value)| header.put(40 + 2 * at, &value.to_le_bytes()));
    header.put(70, &datatype.to_le_bytes());
    header.put(72, &bits.to_le_bytes());
    header.floats(76, &[qfac, dx, dy, dz]);
    header.floats(108, &[DATA_OFFSET as f64, 1.0]);
    // Millimetres.
    header.put(123, &[2]);
    let scanner = 1_i16.to_le_bytes();
    if quaternion.is_some() {
        header.put(252, &scanner);
    }
    header.put(254, &scanner);
    header.floats(256, &bcd);
    header.floats(268, &affine.axis(3));
    affine.0.iter().enumerate().for_each(|(line, values)| header.floats(280 + 16 * line, values));
    header.put(344, b"n+1\0");
    Ok(header.0)
}

struct Header(Vec<u8>);

impl Header {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn floats(&mut self, at: usize, values: &[f64]) {
        for (index, value) in values.iter().enumerate() {
            self.put(at + 4 * index, &(*value as f32).to_le_bytes());
        }
    }
}

/// From the first slice to the last, in equal steps; along the normal where there is one slice.
pub fn step(geometry: &VolumeGeometry, slices: usize, first: Vector, last: Vector) -> Vector {
    match slices {
        0 | 1 => geometry.along_slices.map(|component| component * geometry.spacing_mm[0]),
        slices => advance(last, first, -1.0).map(|component| component / (slices - 1) as f64),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use nifti::{NiftiHeader, NiftiType};

    use super::*;

    fn volume(along_row: Vector, along_column: Vector, along_slices: Vector) -> Volume {
        Volume {
            values: Array3::from_shape_fn((2, 3, 4), |(s, r, c)| (100 * s + 10 * r + c) as f32 - 50.0),
            geometry: VolumeGeometry {
                origin_mm: [-10.0, 20.0, 30.0],
                along_slices,
                along_column,
                along_row,
                spacing_mm: [5.0, 0.5, 0.75],
            },
            depths_mm: vec![0.0, 5.0],
        }
    }

    fn read(volume: &Volume, step: Vector) -> NiftiHeader {
        let affine = Affine::of(volume, step);
        let bytes = header(volume, &affine, Voxels::of(volume)).unwrap();
        NiftiHeader::from_reader(bytes.as_slice()).unwrap()
    }

    #[test]
    fn another_reader_finds_shape_type_and_place() {
        let volume = volume([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]);
        let header = read(&volume, [0.0, 0.0, -5.0]);
        assert_eq!(header.dim[..4], [3, 4, 3, 2]);
        assert_eq!(header.data_type().unwrap(), NiftiType::Int16);
        assert_eq!(header.pixdim[1..4], [0.75, 0.5, 5.0]);
        assert_eq!(header.srow_x, [-0.75, 0.0, 0.0, 10.0]);
        assert_eq!(header.srow_y, [0.0, -0.5, 0.0, -20.0]);
        assert_eq!(header.srow_z, [0.0, 0.0, -5.0, 30.0]);
        assert_eq!((header.qform_code, header.sform_code), (1, 1));
    }

    /// The formula of nifti1.h, method 2.
    fn by_quaternion(header: &NiftiHeader) -> [[f64; 3]; 3] {
        let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
        let a = (1.0 - (b * b + c * c + d * d)).max(0.0).sqrt();
        let rotation = [
            [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ];
        let scale = [1, 2, 3].map(|at| f64::from(header.pixdim[at]));
        let qfac = f64::from(header.pixdim[0]);
        rotation.map(|line| [line[0] * scale[0], line[1] * scale[1], line[2] * scale[2] * qfac])
    }

    #[test]
    fn rotation_and_affine_say_the_same_in_every_orientation() {
        let s = 0.5_f64.sqrt();
        for (row, column) in [
            ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
            ([-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
            ([1.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
            ([0.0, 1.0, 0.0], [0.0, 0.0, -1.0]),
            ([s, s, 0.0], [0.0, 0.0, -1.0]),
            ([s, s, 0.0], [-0.5, 0.5, s]),
            ([0.0, -1.0, 0.0], [1.0, 0.0, 0.0]),
        ] {
            for sign in [5.0, -5.0] {
                let normal = cross(row, column);
                let step = normal.map(|component| component * sign);
                let header = read(&volume(row, column, normal), step);
                let lines = [header.srow_x, header.srow_y, header.srow_z];
                for (line, expected) in by_quaternion(&header).iter().zip(lines) {
                    // What a 32-bit quaternion can say of half a turn.
                    let close = (0..3).all(|at| (line[at] - f64::from(expected[at])).abs() < 5e-3);
                    assert!(close, "{row:?} {column:?} {sign}: {line:?} {expected:?}");
                }
            }
        }
    }

    #[test]
    fn a_tilted_gantry_has_no_rotation() {
        let volume = volume([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        let header = read(&volume, [0.0, 2.0, 5.0]);
        assert_eq!((header.qform_code, header.sform_code), (0, 1));
        assert_eq!(header.srow_y[2], -2.0);
    }

    #[test]
    fn values_that_are_no_short_whole_numbers_are_floats() {
        let mut volume = volume([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        assert_eq!(Voxels::of(&volume), Voxels::Int16);
        let slice = volume.values.index_axis(ndarray::Axis(0), 0);
        assert_eq!(
            Voxels::Int16.write(slice)[..4],
            [(-50_i16).to_le_bytes(), (-49_i16).to_le_bytes()].concat()
        );
        volume.values[[0, 0, 0]] = 0.5;
        assert_eq!(Voxels::of(&volume), Voxels::Float32);
        volume.values[[0, 0, 0]] = 40_000.0;
        assert_eq!(Voxels::of(&volume), Voxels::Float32);
    }
}
