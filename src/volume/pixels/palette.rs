//! Palette Color Lookup Tables (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, segmented: C.7.9.2).

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{Photometric, PixelError};
use crate::volume::attributes::{integer, words};
use crate::volume::lookup_table::{self, Input};

/// Red, green and blue of 8 bits for each stored value from `first` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Palette {
    first: i32,
    colors: Vec<[u8; 3]>,
}

impl Palette {
    pub(super) fn for_image(
        object: &InMemDicomObject,
        photometric: Photometric,
    ) -> Result<Option<Self>, PixelError> {
        if photometric != Photometric::PaletteColor {
            return Ok(None);
        }
        Self::of(object).map(Some)
    }

    /// The table of an object that has one, whatever its pixels are.
    pub fn of(object: &InMemDicomObject) -> Result<Self, PixelError> {
        let [red, green, blue] = [&RED, &GREEN, &BLUE].map(|channel| Channel::read(object, channel));
        let (red, green, blue) = (red?, green?, blue?);
        let length = red.levels.len().min(green.levels.len()).min(blue.levels.len());
        let colors = (0..length).map(|at| [red.levels[at], green.levels[at], blue.levels[at]]).collect();
        Ok(Self { first: red.first, colors })
    }

    /// Stored values beyond either end take the colour of that end.
    pub fn color(&self, stored: i32) -> [u8; 3] {
        let at = (i64::from(stored) - i64::from(self.first)).clamp(0, self.colors.len() as i64 - 1);
        self.colors[at as usize]
    }
}

impl Palette {
    /// The colour of a display level, the whole table spread over 0 to 255.
    pub fn color_of_level(&self, level: u8) -> [u8; 3] {
        let last = self.colors.len() - 1;
        self.colors[(usize::from(level) * last + 127) / 255]
    }
}

struct Tags {
    descriptor: Tag,
    data: Tag,
    segmented: Tag,
}

const RED: Tags = Tags {
    descriptor: tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    data: tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    segmented: tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
};
const GREEN: Tags = Tags {
    descriptor: tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    data: tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    segmented: tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
};
const BLUE: Tags = Tags {
    descriptor: tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    data: tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    segmented: tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
};

struct Channel {
    first: i32,
    levels: Vec<u8>,
}

impl Channel {
    fn read(object: &InMemDicomObject, tags: &Tags) -> Result<Self, PixelError> {
        let words_of_descriptor = words(object, tags.descriptor).ok_or(PixelError::Missing(DESCRIPTOR))?;
        let signed = integer(object, tags::PIXEL_REPRESENTATION) == Some(1);
        let input = if signed { Input::Signed } else { Input::Unsigned };
        let (length, first, bits) = lookup_table::descriptor(&words_of_descriptor, input)
            .ok_or_else(|| PixelError::unsupported(DESCRIPTOR, format!("{words_of_descriptor:?}")))?;
        let entries = Self::entries(object, tags, length, bits)?;
        Ok(Self { first, levels: to_8_bits(&entries, bits) })
    }

    fn entries(
        object: &InMemDicomObject,
        tags: &Tags,
        length: usize,
        bits: u16,
    ) -> Result<Vec<u16>, PixelError> {
        let data = match (words(object, tags.data), words(object, tags.segmented)) {
            (Some(data), _) => data,
            (None, Some(segments)) => expand(&segments, length),
            (None, None) => return Err(PixelError::Missing(DATA)),
        };
        let found = data.len();
        lookup_table::entries(data, length, bits).ok_or(PixelError::Truncated { found, needed: length })
    }
}

const DESCRIPTOR: &str = "Palette Color Lookup Table Descriptor";
const DATA: &str = "Palette Color Lookup Table Data";

/// Many writers declare 16 bits and fill 8; a table that never exceeds 255 is one of theirs.
fn to_8_bits(entries: &[u16], bits: u16) -> Vec<u8> {
    let deep = bits > 8 && entries.iter().any(|&entry| entry > 255);
    entries.iter().map(|&entry| if deep { (entry >> 8) as u8 } else { entry as u8 }).collect()
}

/// Discrete (0), linear (1) and indirect (2) segments; anything after a malformed one is left out.
fn expand(data: &[u16], length: usize) -> Vec<u16> {
    let mut entries = Vec::with_capacity(length);
    let mut rest = data;
    while let [opcode, count, tail @ ..] = rest {
        rest = match (opcode, tail) {
            (0, _) => discrete(&mut entries, usize::from(*count), tail),
            (1, [end, tail @ ..]) => linear(&mut entries, *count, *end, tail),
            (2, [low, high, tail @ ..]) => {
                indirect(&mut entries, length, segments_at(data, [*low, *high]), *count);
                tail
            }
            _ => &[],
        };
        if entries.len() >= length {
            break;
        }
    }
    entries
}

fn discrete<'a>(entries: &mut Vec<u16>, count: usize, tail: &'a [u16]) -> &'a [u16] {
    let (values, rest) = tail.split_at(count.min(tail.len()));
    entries.extend_from_slice(values);
    rest
}

fn linear<'a>(entries: &mut Vec<u16>, count: u16, end: u16, tail: &'a [u16]) -> &'a [u16] {
    let (start, end) = (f64::from(entries.last().copied().unwrap_or(end)), f64::from(end));
    let step = (end - start) / f64::from(count.max(1));
    entries.extend((1..=count).map(|at| (start + step * f64::from(at)).round() as u16));
    tail
}

/// What lies at a byte offset, its low word first.
fn segments_at(data: &[u16], [low, high]: [u16; 2]) -> &[u16] {
    let byte_offset = usize::from(low) | usize::from(high) << 16;
    data.get(byte_offset / 2..).unwrap_or(&[])
}

/// Copies `count` earlier segments, no further than the table is long; they must be direct ones, so
/// a table cannot refer to itself.
fn indirect(entries: &mut Vec<u16>, length: usize, mut segments: &[u16], count: u16) {
    for _ in 0..count {
        segments = match segments {
            _ if entries.len() >= length => return,
            [0, count, tail @ ..] => discrete(entries, usize::from(*count), tail),
            [1, count, end, tail @ ..] => linear(entries, *count, *end, tail),
            _ => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_indirect_segment_ends_with_the_table() {
        let ramps = [1, u16::MAX, 7].repeat(1000);
        let data = [&[2, u16::MAX, 8, 0][..], &ramps].concat();
        assert_eq!(expand(&data, 256).len(), usize::from(u16::MAX));
    }
}
