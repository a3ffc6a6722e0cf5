//! Attributes at the root that are other than in the stored object.

use std::collections::BTreeMap;
use std::collections::btree_map::Iter;
use std::iter::Peekable;

use dicom_core::header::Length;
use dicom_core::{Tag, VR};

use super::{Form, ITEM, write_item_header};

/// Elements to be written instead of the stored ones, or left out.
#[derive(Debug, Default, Clone)]
pub struct Edits(BTreeMap<Tag, Option<Element>>);

#[derive(Debug, Clone)]
enum Element {
    Value(VR, Vec<u8>),
    /// A sequence.
    Items(Vec<Edits>),
}

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
    pub fn item(&mut self, tag: Tag, elements: Self) {
        self.items(tag, vec![elements]);
    }

    pub fn items(&mut self, tag: Tag, items: Vec<Self>) {
        self.0.insert(tag, Some(Element::Items(items)));
    }

    /// The elements themselves, in explicit VR little endian.
    pub fn bytes(&self) -> Vec<u8> {
        self.encoded(Form::Explicit)
    }

    fn element(&mut self, tag: Tag, vr: VR, value: &[u8]) {
        self.0.insert(tag, Some(Element::Value(vr, value.to_vec())));
    }

    fn encoded(&self, form: Form) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.written(form).copy_rest(&mut bytes);
        bytes
    }

    pub(super) fn touches(&self, tag: Tag) -> bool {
        self.0.contains_key(&tag)
    }

    pub(super) fn written(&self, form: Form) -> Written<'_> {
        Written { elements: self.0.iter().peekable(), form }
    }
}

impl Element {
    fn write(&self, tag: Tag, form: Form, bytes: &mut Vec<u8>) {
        match self {
            Self::Value(vr, value) => {
                form.write_header(bytes, tag, *vr, Length(value.len() as u32));
                bytes.extend_from_slice(value);
            }
            Self::Items(items) => {
                let contents: Vec<Vec<u8>> = items.iter().map(|item| item.encoded(form)).collect();
                // An item header is tag and length.
                let length: usize = contents.iter().map(|content| content.len() + 8).sum();
                form.write_header(bytes, tag, VR::SQ, Length(length as u32));
                for content in contents {
                    write_item_header(bytes, ITEM, content.len() as u32);
                    bytes.extend_from_slice(&content);
                }
            }
        }
    }
}

/// Hands the new elements out in the order of their tags.
pub(super) struct Written<'a> {
    elements: Peekable<Iter<'a, Tag, Option<Element>>>,
    form: Form,
}

impl Written<'_> {
    /// Those up to and including the place of a stored element.
    pub(super) fn copy_up_to(&mut self, tag: Tag, bytes: &mut Vec<u8>) {
        while let Some((tag, element)) = self.elements.next_if(|(next, _)| **next <= tag) {
            element.iter().for_each(|element| element.write(*tag, self.form, bytes));
        }
    }

    pub(super) fn copy_rest(&mut self, bytes: &mut Vec<u8>) {
        for (tag, element) in self.elements.by_ref() {
            element.iter().for_each(|element| element.write(*tag, self.form, bytes));
        }
    }
}
