//! Overlay planes (PS3.3 C.9.2): one-bit drawings in groups 6000 to 601E.

use dicom_core::Tag;
use dicom_object::InMemDicomObject;

use super::attributes::integer;
use super::pixels::{EncodedFrame, ImageDescription, PixelError, bit_plane};

/// One plane as it lies over one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    pub group: u16,
    /// Row and column of the frame, from 0, that the first bit lies on; it may lie outside.
    pub origin: (i32, i32),
    pub columns: usize,
    bits: Vec<bool>,
}

/// More rows or columns than an image can have are no overlay.
const SIDE_MAX: i64 = 1 << 16;

impl Overlay {
    /// Row and column of every set bit, on the frame.
    pub fn points(&self) -> impl Iterator<Item = (i32, i32)> {
        let set = self.bits.iter().enumerate().filter(|(_, set)| **set);
        set.map(|(at, _)| {
            let (row, column) = (at / self.columns, at % self.columns);
            (self.origin.0.saturating_add(row as i32), self.origin.1.saturating_add(column as i32))
        })
    }
}

/// The planes of an object over its frame `index` (from 0). `pixels` is that frame as it is stored,
/// for planes that are kept in unused bits of it; a presentation state has none.
pub fn of_frame(
    object: &InMemDicomObject,
    index: usize,
    pixels: Option<EncodedFrame<'_>>,
) -> Result<Vec<Overlay>, PixelError> {
    let planes = (0x6000..=0x601E).step_by(2).map(|group| Plane { object, group });
    planes.filter_map(|plane| plane.over(index, pixels).transpose()).collect()
}

#[derive(Clone, Copy)]
struct Plane<'a> {
    object: &'a InMemDicomObject,
    group: u16,
}

impl Plane<'_> {
    fn over(self, index: usize, pixels: Option<EncodedFrame<'_>>) -> Result<Option<Overlay>, PixelError> {
        let Some((rows, columns)) = self.size() else { return Ok(None) };
        let bits = match (self.data(), pixels) {
            (Some(data), _) => self.own(&data, rows * columns, index),
            (None, Some(pixels)) => self.in_pixels(pixels, rows * columns)?,
            (None, None) => None,
        };
        Ok(bits.map(|bits| Overlay { group: self.group, origin: self.origin(), columns, bits }))
    }

    fn number(self, element: u16) -> Option<i64> {
        integer(self.object, Tag(self.group, element))
    }

    fn size(self) -> Option<(usize, usize)> {
        let side = |element| self.number(element).filter(|side| (1..=SIDE_MAX).contains(side));
        Some((side(ROWS)? as usize, side(COLUMNS)? as usize))
    }

    /// From 0, where the attribute counts from 1.
    fn origin(self) -> (i32, i32) {
        let element = self.object.get(Tag(self.group, ORIGIN));
        let values = element.and_then(|element| element.to_multi_int::<i32>().ok()).unwrap_or_default();
        match values[..] {
            [row, column] => (row.saturating_sub(1), column.saturating_sub(1)),
            _ => (0, 0),
        }
    }

    fn data(self) -> Option<Vec<u8>> {
        let element = self.object.get(Tag(self.group, DATA))?;
        Some(element.to_bytes().ok()?.into_owned()).filter(|data| !data.is_empty())
    }

    /// A plane of several frames begins at an image frame of its own (C.9.2.1.4).
    fn own(self, data: &[u8], length: usize, index: usize) -> Option<Vec<bool>> {
        let frames = self.number(FRAMES).unwrap_or(1).max(1);
        let first = self.number(FRAME_ORIGIN).unwrap_or(1).max(1) - 1;
        let at = match frames {
            1 if self.number(FRAME_ORIGIN).is_none() => 0,
            frames => (index as i64 - first).try_into().ok().filter(|at: &usize| (*at as i64) < frames)?,
        };
        let bits = at.checked_mul(length)?..at.checked_add(1)?.checked_mul(length)?;
        (bits.end.div_ceil(8) <= data.len())
            .then(|| bits.map(|bit| data[bit / 8] >> (bit % 8) & 1 == 1).collect())
    }

    /// Only where a pixel of the image has a bit for each of the plane.
    fn in_pixels(self, pixels: EncodedFrame<'_>, length: usize) -> Result<Option<Vec<bool>>, PixelError> {
        let Some(bit) = self.number(BIT_POSITION).and_then(|bit| u16::try_from(bit).ok()) else {
            return Ok(None);
        };
        let image = ImageDescription::from_object(self.object)?;
        if self.number(BITS_ALLOCATED).is_none_or(|bits| bits == 1) || image.pixels() != length {
            return Ok(None);
        }
        let mut bits = bit_plane(&image, pixels, bit)?;
        bits.truncate(length);
        Ok(Some(bits))
    }
}

const ROWS: u16 = 0x0010;
const COLUMNS: u16 = 0x0011;
const FRAMES: u16 = 0x0015;
const ORIGIN: u16 = 0x0050;
const FRAME_ORIGIN: u16 = 0x0051;
const BITS_ALLOCATED: u16 = 0x0100;
const BIT_POSITION: u16 = 0x0102;
const DATA: u16 = 0x3000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::object;
    use dicom_core::{DataElement, PrimitiveValue, VR};
    use dicom_dictionary_std::{tags, uids};

    fn plane(values: &[(u16, u16)], data: &[u8]) -> InMemDicomObject {
        let mut object = object(&[]);
        for (element, value) in values {
            object.put(DataElement::new(Tag(0x6000, *element), VR::US, PrimitiveValue::from(*value)));
        }
        if !data.is_empty() {
            object.put(DataElement::new(Tag(0x6000, DATA), VR::OW, PrimitiveValue::from(data.to_vec())));
        }
        object
    }

    fn points(object: &InMemDicomObject, index: usize, pixels: Option<EncodedFrame<'_>>) -> Vec<(i32, i32)> {
        let overlays = of_frame(object, index, pixels).unwrap();
        overlays.iter().flat_map(|overlay| overlay.points().collect::<Vec<_>>()).collect()
    }

    #[test]
    fn bits_are_read_from_the_least_significant_one_w34c() {
        let object = plane(&[(ROWS, 2), (COLUMNS, 3), (BITS_ALLOCATED, 1)], &[0b0010_0010, 0]);
        assert_eq!(points(&object, 0, None), [(0, 1), (1, 2)]);
    }

    #[test]
    fn frames_of_a_plane_begin_at_their_image_frame_w34c() {
        let values = [(ROWS, 2), (COLUMNS, 4), (BITS_ALLOCATED, 1), (FRAMES, 2), (FRAME_ORIGIN, 2)];
        let object = plane(&values, &[1, 2]);
        let over = |index| points(&object, index, None);
        assert_eq!((over(0), over(1), over(2), over(3)), (vec![], vec![(0, 0)], vec![(0, 1)], vec![]));
    }

    #[test]
    fn a_plane_in_unused_bits_is_taken_from_the_pixels_w34c() {
        let mut object = plane(&[(ROWS, 1), (COLUMNS, 2), (BITS_ALLOCATED, 16), (BIT_POSITION, 12)], &[]);
        for (tag, value) in [
            (tags::ROWS, 1_u16),
            (tags::COLUMNS, 2),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 12),
            (tags::HIGH_BIT, 11),
        ] {
            object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        }
        let pixels = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[0xFF, 0x0F, 0x00, 0x10]);
        assert_eq!(points(&object, 0, Some(pixels)), [(0, 1)]);
    }

    #[test]
    fn a_plane_without_enough_bits_is_left_out() {
        let object = plane(&[(ROWS, 9), (COLUMNS, 9), (BITS_ALLOCATED, 1)], &[0xFF]);
        assert_eq!(points(&object, 0, None), []);
    }
}
