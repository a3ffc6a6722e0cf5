//! A say in what becomes of every element, in items too, while a data set is re-encoded.

use dicom_core::{Tag, VR};

/// An element before it is written.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub tag: Tag,
    /// As stored, or of the dictionary where the data set does not tell.
    pub vr: VR,
    /// Nothing for sequences, and for values that stay in the file.
    pub value: Option<&'a [u8]>,
    /// Nothing for what has an undefined length.
    pub length: Option<u32>,
}

/// What becomes of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Copied; of a sequence, each element of its items is asked about.
    Keep,
    Remove,
    /// Instead of the stored value, padded where it is odd. Of a sequence only an empty value is one.
    Value(VR, Vec<u8>),
    /// A whole element that is encoded already, in explicit VR little endian.
    Encoded(Vec<u8>),
}

/// Decides about elements, and is told which data set they stand in.
pub trait Rewrite {
    fn fate(&mut self, seen: &Seen<'_>) -> Fate;
    /// The items of this sequence come next.
    fn enter(&mut self, sequence: Tag);
    fn begin_item(&mut self);
    fn leave(&mut self);
}
