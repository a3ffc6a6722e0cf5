//! Modality and VOI lookup tables (PS3.3 C.11.1.1, C.11.2.1.1).

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

impl LookupTable {
    /// Reads a LUT sequence item. `None` when it has no usable descriptor and data.
    pub fn from_item(item: &InMemDicomObject) -> Option<Self> {
        let (length, first, bits) = descriptor(&words(item, tags::LUT_DESCRIPTOR)?)?;
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
}

/// Number of entries (0 means 65,536), first mapped value, bits per entry.
pub(super) fn descriptor(words: &[u16]) -> Option<(usize, i32, u16)> {
    let &[length, first, bits] = words else {
        return None;
    };
    let length = if length == 0 { 1 << 16 } else { usize::from(length) };
    (8..=16).contains(&bits).then_some((length, i32::from(first.cast_signed()), bits))
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
