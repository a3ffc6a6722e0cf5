//! Attributes at the root that are other than in the stored object.

use std::collections::BTreeMap;
use std::collections::btree_map::Iter;
use std::iter::Peekable;

use dicom_core::header::Length;
use dicom_core::{Tag, VR};

use super::{ITEM, write_header, write_item_header};

/// Elements to be written instead of the stored ones, or left out.
#[derive(Debug, Default, Clone)]
pub struct Edits(BTreeMap<Tag, Option<Vec<u8>>>);

impl Edits {
    pub fn remove(&mut self, tag: Tag) {
        self.0.insert(tag, None);
    }

    /// Values of a text VR, which must stay below 64 KiB.
    pub fn text(&mut self, tag: Tag, vr: VR, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == VR::UI { 0 } else { b' ' });
        }
        self.element(tag, vr, &bytes);
    }

    pub fn unsigned_short(&mut self, tag: Tag, value: u16) {
        self.element(tag, VR::US, &value.to_le_bytes());
    }

    /// A sequence of one item with these elements.
    pub fn item(&mut self, tag: Tag, elements: &Self) {
        let content: Vec<u8> = elements.0.values().flatten().flatten().copied().collect();
        let mut value = Vec::new();
        write_item_header(&mut value, ITEM, content.len() as u32);
        value.extend_from_slice(&content);
        self.element(tag, VR::SQ, &value);
    }

    fn element(&mut self, tag: Tag, vr: VR, value: &[u8]) {
        let mut bytes = Vec::with_capacity(12 + value.len());
        write_header(&mut bytes, tag, vr, Length(value.len() as u32));
        bytes.extend_from_slice(value);
        self.0.insert(tag, Some(bytes));
    }

    pub(super) fn touches(&self, tag: Tag) -> bool {
        self.0.contains_key(&tag)
    }

    pub(super) fn written(&self) -> Written<'_> {
        Written(self.0.iter().peekable())
    }
}

/// Hands the new elements out in the order of their tags.
pub(super) struct Written<'a>(Peekable<Iter<'a, Tag, Option<Vec<u8>>>>);

impl Written<'_> {
    /// Those up to and including the place of a stored element.
    pub(super) fn copy_up_to(&mut self, tag: Tag, bytes: &mut Vec<u8>) {
        while let Some((_, element)) = self.0.next_if(|(next, _)| **next <= tag) {
            bytes.extend_from_slice(element.as_deref().unwrap_or_default());
        }
    }

    pub(super) fn copy_rest(&mut self, bytes: &mut Vec<u8>) {
        self.0
            .by_ref()
            .for_each(|(_, element)| bytes.extend_from_slice(element.as_deref().unwrap_or_default()));
    }
}
