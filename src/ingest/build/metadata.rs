//! DICOM JSON to a data set and the references to bulk data in it (PS3.18 annex F).

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, Length, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use serde_json::{Map, Value};

use crate::dicom::attributes::tag_of_digits;
use crate::dicom::header::{Limits, hex};
use crate::ingest::Refusal;

/// VR DS takes no more, PS3.5 Table 6.2-1.
const DECIMAL_STRING_MAX: usize = 16;

pub(super) struct Metadata {
    pub(super) elements: InMemDicomObject,
    pub(super) references: Vec<Reference>,
}

/// A value that is elsewhere in the message.
pub(super) struct Reference {
    /// Tags and item indices from the root, as in `54000100/0/54001010`.
    pub(super) path: String,
    pub(super) uri: String,
}

pub(super) fn read(document: &Map<String, Value>, limits: Limits) -> Result<Metadata, Refusal> {
    let mut reader = Reader { limits, elements: 0, references: Vec::new() };
    let mut elements = reader.object(document, "", 0)?;
    if document.values().any(has_other_than_ascii) {
        elements.put(DataElement::new(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"));
    }
    Ok(Metadata { elements, references: reader.references })
}

struct Reader {
    limits: Limits,
    elements: usize,
    references: Vec<Reference>,
}

impl Reader {
    fn object(
        &mut self,
        document: &Map<String, Value>,
        prefix: &str,
        depth: usize,
    ) -> Result<InMemDicomObject, Refusal> {
        if depth > self.limits.depth_max {
            let limit = self.limits.depth_max as u64;
            return Err(Refusal::LimitExceeded { what: "the depth of sequences", limit });
        }
        let mut object = InMemDicomObject::new_empty();
        for (key, element) in document {
            let tag = tag(key)?;
            // File Meta Information and group lengths are no part of a data set.
            if tag.group() == 2 || tag.element() == 0 {
                continue;
            }
            self.count()?;
            let element = self.element(tag, element, &format!("{prefix}{}", hex(tag)), depth)?;
            // Twice, in upper and in lower case.
            if object.put(element).is_some() {
                return Err(bad(tag));
            }
        }
        Ok(object)
    }

    fn element(
        &mut self,
        tag: Tag,
        element: &Value,
        path: &str,
        depth: usize,
    ) -> Result<DataElement<InMemDicomObject>, Refusal> {
        let vr = element["vr"].as_str().and_then(|name| name.parse().ok()).ok_or_else(|| bad(tag))?;
        if let Some(uri) = element["BulkDataURI"].as_str() {
            if vr == VR::SQ {
                return Err(bad(tag));
            }
            self.references.push(Reference { path: path.to_owned(), uri: uri.trim().to_owned() });
            return Ok(DataElement::new(tag, vr, PrimitiveValue::Empty));
        }
        match (vr, &element["Value"]) {
            (VR::SQ, Value::Null) => self.sequence(tag, &[], path, depth),
            (VR::SQ, Value::Array(items)) => self.sequence(tag, items, path, depth),
            (VR::SQ, _) => Err(bad(tag)),
            _ => primitive(tag, vr, element),
        }
    }

    fn sequence(
        &mut self,
        tag: Tag,
        items: &[Value],
        path: &str,
        depth: usize,
    ) -> Result<DataElement<InMemDicomObject>, Refusal> {
        let mut objects = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.count()?;
            let item = item.as_object().ok_or_else(|| bad(tag))?;
            objects.push(self.object(item, &format!("{path}/{index}/"), depth + 1)?);
        }
        Ok(DataElement::new(tag, VR::SQ, DataSetSequence::new(objects, Length::UNDEFINED)))
    }

    fn count(&mut self) -> Result<(), Refusal> {
        self.elements += 1;
        if self.elements > self.limits.elements_max {
            let limit = self.limits.elements_max as u64;
            return Err(Refusal::LimitExceeded { what: "the number of elements", limit });
        }
        Ok(())
    }
}

fn tag(key: &str) -> Result<Tag, Refusal> {
    tag_of_digits(key).ok_or_else(|| Refusal::Unparsable("a key of the metadata is no tag".to_owned()))
}

/// The words of the JSON reader quote values: they stay out.
fn bad(tag: Tag) -> Refusal {
    Refusal::Unparsable(format!("attribute {tag} of the metadata"))
}

fn primitive(tag: Tag, vr: VR, element: &Value) -> Result<DataElement<InMemDicomObject>, Refusal> {
    let alone = Map::from_iter([(hex(tag), element.clone())]);
    let object: InMemDicomObject = dicom_json::from_value(Value::Object(alone)).map_err(|_| bad(tag))?;
    let read = object.into_iter().next().ok_or_else(|| bad(tag))?;
    match read.value().primitive() {
        Some(PrimitiveValue::Strs(values)) if vr == VR::DS => {
            let short = values.iter().map(|value| decimal_string(value)).collect();
            Ok(DataElement::new(tag, vr, PrimitiveValue::Strs(short)))
        }
        _ => Ok(read),
    }
}

/// A number with as many digits as VR DS holds.
fn decimal_string(text: &str) -> String {
    let number = match text.parse::<f64>() {
        Ok(number) if text.len() > DECIMAL_STRING_MAX => number,
        _ => return text.to_owned(),
    };
    let written = (0..DECIMAL_STRING_MAX)
        .flat_map(|digits| [format!("{number:.digits$}"), format!("{number:.digits$e}")])
        .filter(|written| written.len() <= DECIMAL_STRING_MAX);
    let error = |written: &String| (written.parse().unwrap_or(f64::MAX) - number).abs();
    written.min_by(|a, b| error(a).total_cmp(&error(b))).unwrap_or_else(|| text.to_owned())
}

/// Text of metadata is UTF-8, and so is that of the object (F.2.2).
fn has_other_than_ascii(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_ascii(),
        Value::Array(values) => values.iter().any(has_other_than_ascii),
        Value::Object(members) => members.values().any(has_other_than_ascii),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_string_fits_its_vr() {
        assert_eq!(decimal_string("0.1234567890123456789"), "0.12345678901235");
        assert_eq!(decimal_string("1.234567890123456789e-300"), "1.23456789e-300");
        assert_eq!(decimal_string("0.5"), "0.5");
    }
}
