//! Modality, VOI and Presentation lookup tables (PS3.3 C.11.1.1, C.11.2.1.1, C.11.6.1.1).

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attributes::words;

/// A table from input values to levels; inputs beyond either end take the level of that end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupTable {
    first: i32,
    entries: Vec<u16>,
    bits: u16,
}

/// Whether the values that a table is asked for may be negative. It decides how the first mapped
/// value is read where the VR does not (implicit VR leaves US or SS open).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Unsigned,
    Signed,
}

impl LookupTable {
    /// Reads a LUT sequence item. `None` when it has no usable descriptor and data.
    pub fn from_item(item: &InMemDicomObject, input: Input) -> Option<Self> {
        let signed = item.get(tags::LUT_DESCRIPTOR).is_some_and(|element| element.vr() == VR::SS);
        let input = if signed { Input::Signed } else { input };
        let (length, first, bits) = descriptor(&words(item, tags::LUT_DESCRIPTOR)?, input)?;
        let entries = entries(words(item, tags::LUT_DATA)?, length, bits)?;
        Some(Self { first, entries, bits })
    }

    /// The level for an input value, which is rounded to the nearest entry.
    pub fn level(&self, input: f32) -> f32 {
        let at = (f64::from(input) - f64::from(self.first)).round();
        let at = at.clamp(0.0, (self.entries.len() - 1) as f64) as usize;
        f32::from(self.entries[at])
    }

    /// The level for an input value as a fraction of the table's full scale.
    pub fn fraction(&self, input: f32) -> f32 {
        let full_scale = ((1_u32 << self.bits.clamp(1, 16)) - 1) as f32;
        (self.level(input) / full_scale).min(1.0)
    }

    /// The level for an input from 0 to 1 that is spread over the whole table, as the input of a
    /// Presentation LUT is.
    pub fn fraction_of_scale(&self, input: f32) -> f32 {
        self.fraction(input * (self.entries.len() - 1) as f32 + self.first as f32)
    }
}

/// Number of entries (0 means 65,536), first mapped value, bits per entry.
pub(super) fn descriptor(words: &[u16], input: Input) -> Option<(usize, i32, u16)> {
    let &[length, first, bits] = words else {
        return None;
    };
    let length = if length == 0 { 1 << 16 } else { usize::from(length) };
    let first = match input {
        Input::Signed => i32::from(first.cast_signed()),
        Input::Unsigned => i32::from(first),
    };
    (8..=16).contains(&bits).then_some((length, first, bits))
}

/// Exactly `length` entries. 8-bit entries may be packed in pairs, the first in the low byte.
pub(super) fn entries(data: Vec<u16>, length: usize, bits: u16) -> Option<Vec<u16>> {
    let packed = bits == 8 && data.len() < length;
    let mut entries: Vec<u16> = match packed {
        true => data.iter().flat_map(|word| word.to_le_bytes().map(u16::from)).collect(),
        false => data,
    };
    entries.truncate(length);
    (entries.len() == length).then_some(entries)
}
