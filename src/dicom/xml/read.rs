//! From the Native DICOM Model to DICOM JSON.

use std::str::FromStr;

use base64::prelude::*;
use dicom_core::{Tag, VR};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::{Map, Value, json};

use super::private::{Named, placed};
use super::{Limits, NAME_COMPONENTS, NAME_GROUPS, XmlError};
use crate::dicom::attributes::tag_of_digits;
use crate::dicom::header::hex;
use crate::dicom::json;

/// The data set of a document. Namespace prefixes and keywords are not looked at, tags decide.
pub fn read(document: &str, limits: Limits) -> Result<Map<String, Value>, XmlError> {
    let mut reader = Reader::from_str(document.trim_start_matches('\u{FEFF}'));
    reader.config_mut().expand_empty_elements = true;
    let mut parser = Parser { reader, limits, elements: 0 };
    match parser.child("NativeDicomModel")? {
        Some(root) if name(&root) == "NativeDicomModel" => {}
        _ => return Err(XmlError::Root),
    }
    let set = parser.data_set(0)?;
    match parser.child("the end of the document")? {
        None => Ok(set),
        Some(_) => Err(parser.stray_element("the end of the document")),
    }
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    limits: Limits,
    elements: usize,
}

/// An attribute whose content is being read.
struct Open {
    tag: Tag,
    vr: VR,
    depth: usize,
}

/// What an attribute holds, PS3.19 Table A.1.5-2.
enum Content {
    Empty,
    Values(Vec<Value>),
    Inline(String),
    Bulk(String),
}

impl<'a> Parser<'a> {
    fn data_set(&mut self, depth: usize) -> Result<Map<String, Value>, XmlError> {
        if depth > self.limits.depth_max {
            return Err(XmlError::Limit { what: "the depth of sequences", limit: self.limits.depth_max });
        }
        let mut attributes = Vec::new();
        while let Some(start) = self.child("DicomAttribute")? {
            if name(&start) != "DicomAttribute" {
                return Err(self.stray_element("DicomAttribute"));
            }
            attributes.push(self.attribute(&start, depth)?);
        }
        placed(attributes)
    }

    fn attribute(&mut self, start: &BytesStart<'a>, depth: usize) -> Result<Named, XmlError> {
        self.count()?;
        let tag = self.tag(start)?;
        let vr = self.xml_attribute(start, "vr")?.ok_or_else(|| self.missing("DicomAttribute", "vr"))?;
        let vr = VR::from_str(&vr).map_err(|_| XmlError::BadVr { tag })?;
        let creator = self.xml_attribute(start, "privateCreator")?;
        let element = match self.content(&Open { tag, vr, depth })? {
            Content::Values(values) if values != [Value::Null] => {
                json!({ "vr": vr.to_string(), "Value": values })
            }
            Content::Empty | Content::Values(_) => json!({ "vr": vr.to_string() }),
            Content::Inline(base64) => json!({ "vr": vr.to_string(), "InlineBinary": base64 }),
            Content::Bulk(uri) => json!({ "vr": vr.to_string(), "BulkDataURI": uri }),
        };
        Ok(Named { tag, creator, element })
    }

    fn tag(&self, start: &BytesStart<'a>) -> Result<Tag, XmlError> {
        let text = self.xml_attribute(start, "tag")?;
        let text = text.ok_or_else(|| self.missing("DicomAttribute", "tag"))?;
        tag_of_digits(&text).ok_or(XmlError::BadTag { at: self.at() })
    }

    fn content(&mut self, open: &Open) -> Result<Content, XmlError> {
        let mut content = Content::Empty;
        while let Some(child) = self.child("a value")? {
            content = match (name(&child), content) {
                ("InlineBinary", Content::Empty) => Content::Inline(self.inline_binary(open)?),
                ("BulkData", Content::Empty) => Content::Bulk(self.bulk_data(&child, open)?),
                (kind, Content::Empty) => self.one_more(kind, &child, open, Vec::new())?,
                (kind, Content::Values(values)) => self.one_more(kind, &child, open, values)?,
                _ => return Err(XmlError::BadContent { tag: open.tag }),
            }
        }
        Ok(content)
    }

    fn one_more(
        &mut self,
        kind: &str,
        child: &BytesStart<'a>,
        open: &Open,
        mut values: Vec<Value>,
    ) -> Result<Content, XmlError> {
        self.fill_up_to(child, open, &mut values)?;
        values.push(match (kind, open.vr) {
            ("Item", VR::SQ) => Value::Object(self.data_set(open.depth + 1)?),
            ("PersonName", VR::PN) => self.person_name(open)?,
            ("Value", vr) if takes_text(vr) => {
                let text = self.text()?;
                value(vr, text).ok_or(XmlError::BadContent { tag: open.tag })?
            }
            _ => return Err(XmlError::BadContent { tag: open.tag }),
        });
        Ok(Content::Values(values))
    }

    /// Numbers that were left out stand for absent values. Items have no gaps.
    fn fill_up_to(
        &mut self,
        child: &BytesStart<'a>,
        open: &Open,
        values: &mut Vec<Value>,
    ) -> Result<(), XmlError> {
        let bad = || XmlError::BadNumber { tag: open.tag };
        let number: usize =
            self.xml_attribute(child, "number")?.and_then(|n| n.parse().ok()).ok_or_else(bad)?;
        let has_gap = number > values.len() + 1;
        if number <= values.len() || (has_gap && open.vr == VR::SQ) {
            return Err(bad());
        }
        while values.len() + 1 < number {
            self.count()?;
            values.push(Value::Null);
        }
        self.count()
    }

    fn person_name(&mut self, open: &Open) -> Result<Value, XmlError> {
        let mut groups = Map::new();
        while let Some(child) = self.child("a group of a name")? {
            let group = NAME_GROUPS.into_iter().find(|group| *group == name(&child));
            let group = group.ok_or(XmlError::BadContent { tag: open.tag })?;
            let text = self.components(open)?;
            if !text.is_empty() && groups.insert(group.to_owned(), text.into()).is_some() {
                return Err(XmlError::BadContent { tag: open.tag });
            }
        }
        Ok(if groups.is_empty() { Value::Null } else { Value::Object(groups) })
    }

    fn components(&mut self, open: &Open) -> Result<String, XmlError> {
        let mut parts: Vec<String> = Vec::new();
        while let Some(child) = self.child("a component of a name")? {
            let at = NAME_COMPONENTS.iter().position(|component| *component == name(&child));
            let at = at.filter(|at| *at >= parts.len()).ok_or(XmlError::BadContent { tag: open.tag })?;
            parts.resize(at, String::new());
            parts.push(self.text()?);
        }
        Ok(parts.join("^"))
    }

    fn inline_binary(&mut self, open: &Open) -> Result<String, XmlError> {
        let bad = XmlError::BadContent { tag: open.tag };
        let base64: String = self.text()?.split_ascii_whitespace().collect();
        match is_binary(open.vr) && BASE64_STANDARD.decode(&base64).is_ok() {
            true => Ok(base64),
            false => Err(bad),
        }
    }

    /// Only an URI can be followed; a UUID is of the interface between applications, PS3.19 7.
    fn bulk_data(&mut self, child: &BytesStart<'a>, open: &Open) -> Result<String, XmlError> {
        let uri = self.xml_attribute(child, "uri")?.ok_or_else(|| self.missing("BulkData", "uri"))?;
        match self.child("the end of BulkData")? {
            None if open.vr != VR::SQ => Ok(uri),
            _ => Err(XmlError::BadContent { tag: open.tag }),
        }
    }

    fn count(&mut self) -> Result<(), XmlError> {
        self.elements += 1;
        match self.elements > self.limits.elements_max {
            true => Err(XmlError::Limit { what: "the number of elements", limit: self.limits.elements_max }),
            false => Ok(()),
        }
    }

    /// The next element inside the current one; none at its end.
    fn child(&mut self, expected: &'static str) -> Result<Option<BytesStart<'a>>, XmlError> {
        loop {
            match self.event()? {
                Event::Start(start) => return Ok(Some(start)),
                Event::End(_) => return Ok(None),
                Event::Eof if expected == "the end of the document" => return Ok(None),
                Event::Text(text) if text.trim_ascii().is_empty() => {}
                Event::Eof => return Err(self.malformed()),
                _ => return Err(XmlError::StrayText { at: self.at() }),
            }
        }
    }

    /// The text of the current element, to its end.
    fn text(&mut self) -> Result<String, XmlError> {
        let mut text = String::new();
        loop {
            match self.event()? {
                Event::Text(more) => text.push_str(&more.xml10_content()),
                Event::CData(more) => text.push_str(&more.xml10_content()),
                Event::GeneralRef(reference) => text.push(self.character(&reference)?),
                Event::End(_) => return Ok(text),
                Event::Start(_) => return Err(self.stray_element("text")),
                _ => return Err(self.malformed()),
            }
        }
    }

    fn character(&self, reference: &BytesRef) -> Result<char, XmlError> {
        let character = reference.resolve_char_ref().map_err(|_| self.malformed())?;
        let predefined = || quick_xml::escape::resolve_predefined_entity(reference)?.chars().next();
        character.or_else(predefined).ok_or(XmlError::Entity)
    }

    fn event(&mut self) -> Result<Event<'a>, XmlError> {
        loop {
            match self.reader.read_event() {
                Ok(Event::DocType(_)) => return Err(XmlError::DocumentType),
                Ok(Event::Comment(_) | Event::PI(_) | Event::Decl(_)) => {}
                Ok(event) => return Ok(event),
                Err(_) => return Err(XmlError::Malformed { at: self.reader.error_position() }),
            }
        }
    }

    fn xml_attribute(&self, start: &BytesStart<'a>, wanted: &str) -> Result<Option<String>, XmlError> {
        // Looking for names that are there twice takes the square of their number.
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| self.malformed())?;
            if attribute.key.as_ref() == wanted {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                return value.map(|value| Some(value.into_owned())).map_err(|_| XmlError::Entity);
            }
        }
        Ok(None)
    }

    fn at(&self) -> u64 {
        self.reader.buffer_position()
    }

    fn malformed(&self) -> XmlError {
        XmlError::Malformed { at: self.at() }
    }

    fn stray_element(&self, expected: &'static str) -> XmlError {
        XmlError::StrayElement { expected, at: self.at() }
    }

    fn missing(&self, element: &'static str, attribute: &'static str) -> XmlError {
        XmlError::MissingAttribute { element, attribute, at: self.at() }
    }
}

fn name<'s>(start: &'s BytesStart) -> &'s str {
    start.local_name().into_inner()
}

fn is_binary(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV | VR::UN)
}

fn takes_text(vr: VR) -> bool {
    !is_binary(vr) && vr != VR::SQ && vr != VR::PN
}

/// A value as JSON has it; none when the text is no value of `vr`.
fn value(vr: VR, text: String) -> Option<Value> {
    if text.is_empty() {
        return Some(Value::Null);
    }
    match vr {
        VR::IS | VR::DS => Some(json::number_text(&text)),
        VR::FL | VR::FD => text.trim().parse().ok().map(json::float),
        VR::US => integer(&text, 0, u16::MAX.into()),
        VR::SS => integer(&text, i16::MIN.into(), i16::MAX.into()),
        VR::UL => integer(&text, 0, u32::MAX.into()),
        VR::SL => integer(&text, i32::MIN.into(), i32::MAX.into()),
        VR::UV => integer(&text, 0, u64::MAX.into()),
        VR::SV => integer(&text, i64::MIN.into(), i64::MAX.into()),
        VR::AT => tag_of_digits(text.trim()).map(|tag| hex(tag).into()),
        _ => Some(text.into()),
    }
}

fn integer(text: &str, least: i128, most: i128) -> Option<Value> {
    let number: i128 = text.trim().parse().ok()?;
    let number = Some(number).filter(|number| (least..=most).contains(number))?;
    i64::try_from(number).map(Value::from).or_else(|_| u64::try_from(number).map(Value::from)).ok()
}
