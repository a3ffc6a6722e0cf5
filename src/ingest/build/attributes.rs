//! Attributes that are added or changed, and the record of it in the object: Original Attributes
//! Sequence (0400,0561), PS3.3 C.12.1.1.9.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::value::{DataSetSequence, Value};
use dicom_core::{DataElement, Length, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::InMemDicomObject;

use crate::clock::Timestamp;
use crate::ingest::Refusal;
use crate::ingest::prepare::text;

/// Modifying System (0400,0563).
const MODIFYING_SYSTEM: &str = "RADIANT";

pub(super) struct Attributes {
    elements: InMemDicomObject,
    /// What was there before; empty for what was not.
    previous: InMemDicomObject,
    changed: bool,
}

impl Attributes {
    pub(super) fn of(elements: InMemDicomObject) -> Self {
        Self { elements, previous: InMemDicomObject::new_empty(), changed: false }
    }

    /// The first value as text; '' when absent.
    pub(super) fn text(&self, tag: Tag) -> String {
        text(&self.elements, tag)
    }

    pub(super) fn number(&self, tag: Tag) -> Option<u64> {
        self.text(tag).parse().ok()
    }

    /// Adds what is absent or empty.
    pub(super) fn fill_text(&mut self, tag: Tag, value: &str) {
        if self.text(tag).is_empty() {
            self.set_text(tag, value);
        }
    }

    pub(super) fn fill_number(&mut self, tag: Tag, value: u64) {
        if self.text(tag).is_empty() {
            self.set_number(tag, value);
        }
    }

    /// Adds what is absent and holds what is there to it.
    pub(super) fn agree(&mut self, tag: Tag, name: &'static str, value: u64) -> Result<(), Refusal> {
        match self.number(tag) {
            Some(found) if found != value => Err(Refusal::PixelDataMismatch { attribute: name }),
            _ => {
                self.fill_number(tag, value);
                Ok(())
            }
        }
    }

    pub(super) fn set_text(&mut self, tag: Tag, value: &str) {
        if self.text(tag) != value {
            self.put(DataElement::new(tag, vr(tag), value));
        }
    }

    pub(super) fn set_number(&mut self, tag: Tag, value: u64) {
        if self.number(tag) == Some(value) {
            return;
        }
        let number = match vr(tag) {
            VR::UL => PrimitiveValue::from(u32::try_from(value).unwrap_or(u32::MAX)),
            VR::US => PrimitiveValue::from(u16::try_from(value).unwrap_or(u16::MAX)),
            _ => PrimitiveValue::from(value.to_string()),
        };
        self.put(DataElement::new(tag, vr(tag), number));
    }

    pub(super) fn put(&mut self, element: DataElement<InMemDicomObject>) {
        let tag = element.header().tag;
        let before = self.elements.put(element);
        self.changed = true;
        // Empty, Pixel Representation would leave open how its neighbours of VR US or SS are read.
        if before.is_some() || tag != tags::PIXEL_REPRESENTATION {
            let absent = || DataElement::new(tag, vr(tag), PrimitiveValue::Empty);
            self.previous.put(before.unwrap_or_else(absent));
        }
    }

    /// The completed data set, and whether anything was added or changed.
    pub(super) fn finish(self, now: Timestamp) -> (InMemDicomObject, bool) {
        let Self { mut elements, previous, changed } = self;
        if changed {
            let mut items = earlier_items(&elements);
            items.push(item(previous, now));
            let items = DataSetSequence::new(items, Length::UNDEFINED);
            elements.put(DataElement::new(tags::ORIGINAL_ATTRIBUTES_SEQUENCE, VR::SQ, items));
        }
        (elements, changed)
    }
}

fn earlier_items(elements: &InMemDicomObject) -> Vec<InMemDicomObject> {
    let sequence = elements.element_opt(tags::ORIGINAL_ATTRIBUTES_SEQUENCE).ok().flatten();
    match sequence.map(DataElement::value) {
        Some(Value::Sequence(items)) => items.items().to_vec(),
        _ => Vec::new(),
    }
}

fn item(previous: InMemDicomObject, now: Timestamp) -> InMemDicomObject {
    let at = format!("{}{}+0000", now.dicom_date(), now.dicom_time());
    let previous = DataSetSequence::new(vec![previous], Length::UNDEFINED);
    InMemDicomObject::from_element_iter([
        DataElement::new(tags::MODIFIED_ATTRIBUTES_SEQUENCE, VR::SQ, previous),
        DataElement::new(tags::ATTRIBUTE_MODIFICATION_DATE_TIME, VR::DT, at),
        DataElement::new(tags::MODIFYING_SYSTEM, VR::LO, MODIFYING_SYSTEM),
        DataElement::new(tags::SOURCE_OF_PREVIOUS_VALUES, VR::LO, PrimitiveValue::Empty),
        DataElement::new(tags::REASON_FOR_THE_ATTRIBUTE_MODIFICATION, VR::CS, "COERCE"),
    ])
}

fn vr(tag: Tag) -> VR {
    StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| entry.vr().relaxed())
}
