//! From DICOM JSON to the Native DICOM Model.

use std::borrow::Cow;
use std::io;

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use quick_xml::Writer;
use quick_xml::escape::partial_escape;
use quick_xml::events::{BytesDecl, BytesText, Event};
use serde_json::{Map, Value};

use super::private::Creators;
use super::{NAME_COMPONENTS, NAME_GROUPS, NAMESPACE};
use crate::dicom::attributes::AttributeId;
use crate::dicom::header::hex;

type Document = Writer<Vec<u8>>;

/// A data set as one document.
///
/// XML 1.0 has no way to write some control characters; U+FFFD stands for them.
pub fn write(set: &Map<String, Value>) -> io::Result<Vec<u8>> {
    document(|out| data_set(out, set))
}

/// [`write()`] with sequences behind the attributes of `set`, each item of which is asked for when
/// the one before it has been written.
pub fn write_with<I>(
    set: &Map<String, Value>,
    sequences: impl IntoIterator<Item = (Tag, I)>,
) -> io::Result<Vec<u8>>
where
    I: Iterator<Item = Map<String, Value>>,
{
    document(|out| {
        data_set(out, set)?;
        sequences.into_iter().try_for_each(|(tag, items)| sequence(out, tag, items))
    })
}

fn document(content: impl FnOnce(&mut Document) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let mut out = Writer::new(Vec::new());
    out.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    out.create_element("NativeDicomModel")
        .with_attributes([("xmlns", NAMESPACE), ("xml:space", "preserve")])
        .write_inner_content(content)?;
    Ok(out.into_inner())
}

fn sequence(out: &mut Document, tag: Tag, items: impl Iterator<Item = Map<String, Value>>) -> io::Result<()> {
    let mut start = out.create_element("DicomAttribute").with_attributes([("tag", &*hex(tag)), ("vr", "SQ")]);
    if let Some(keyword) = keyword(tag) {
        start = start.with_attribute(("keyword", keyword));
    }
    start.write_inner_content(|out| {
        (1..).zip(items).try_for_each(|(number, item)| one(out, "SQ", number, &Value::Object(item)))
    })?;
    Ok(())
}

fn data_set(out: &mut Document, set: &Map<String, Value>) -> io::Result<()> {
    let creators = Creators::of(set);
    set.iter().try_for_each(|(key, element)| attribute(out, key, element, &creators))
}

fn attribute(out: &mut Document, key: &str, element: &Value, creators: &Creators) -> io::Result<()> {
    let Ok(AttributeId(tag)) = key.parse() else { return Err(not_dicom_json()) };
    let vr = element["vr"].as_str().ok_or_else(not_dicom_json)?;
    let written = hex(creators.without_block(tag).unwrap_or(tag));
    let mut start = out.create_element("DicomAttribute").with_attributes([("tag", &*written), ("vr", vr)]);
    if let Some(keyword) = keyword(tag) {
        start = start.with_attribute(("keyword", keyword));
    }
    if let Some(creator) = creators.owner(tag) {
        start = start.with_attribute(("privateCreator", &*allowed(creator)));
    }
    match (&element["Value"], &element["InlineBinary"], &element["BulkDataURI"]) {
        (Value::Array(values), ..) => start.write_inner_content(|out| numbered(out, vr, values))?,
        (_, Value::String(base64), _) => {
            start.write_inner_content(|out| leaf(out, "InlineBinary", base64))?
        }
        (.., Value::String(uri)) => start.write_inner_content(|out| bulk_data(out, uri))?,
        _ => start.write_empty()?,
    };
    Ok(())
}

fn not_dicom_json() -> io::Error {
    io::Error::other("the data set is not DICOM JSON")
}

/// Private attributes and group lengths have no keyword.
fn keyword(tag: Tag) -> Option<&'static str> {
    let is_standard = tag.0.is_multiple_of(2) && tag.1 != 0;
    let entry = || StandardDataDictionary.by_tag(tag).map(|entry| entry.alias());
    if is_standard { entry() } else { None }
}

fn bulk_data(out: &mut Document, uri: &str) -> io::Result<()> {
    out.create_element("BulkData").with_attribute(("uri", &*allowed(uri))).write_empty()?;
    Ok(())
}

fn numbered(out: &mut Document, vr: &str, values: &[Value]) -> io::Result<()> {
    (1..).zip(values).try_for_each(|(number, value)| one(out, vr, number, value))
}

/// A value that is absent among others is an empty element, so that it keeps its place.
fn one(out: &mut Document, vr: &str, number: usize, value: &Value) -> io::Result<()> {
    let name = match vr {
        "SQ" => "Item",
        "PN" => "PersonName",
        _ => "Value",
    };
    let start = out.create_element(name).with_attribute(("number", &*number.to_string()));
    match value {
        Value::Null => start.write_empty()?,
        Value::Object(item) if vr == "SQ" => start.write_inner_content(|out| data_set(out, item))?,
        Value::Object(groups) if vr == "PN" => start.write_inner_content(|out| person_name(out, groups))?,
        Value::String(text) => start.write_text_content(escaped(text))?,
        other => start.write_text_content(escaped(&other.to_string()))?,
    };
    Ok(())
}

fn person_name(out: &mut Document, groups: &Map<String, Value>) -> io::Result<()> {
    for name in NAME_GROUPS {
        if let Some(group) = groups.get(name).and_then(Value::as_str) {
            out.create_element(name).write_inner_content(|out| components(out, group))?;
        }
    }
    Ok(())
}

/// Of the empty components only a last one is written: it says how many delimiters there were.
fn components(out: &mut Document, group: &str) -> io::Result<()> {
    let parts: Vec<&str> = group.splitn(NAME_COMPONENTS.len(), '^').collect();
    let last = parts.len() - 1;
    let named = NAME_COMPONENTS.iter().zip(&parts).enumerate();
    let mut written = named.filter(|(at, (_, part))| !part.is_empty() || (*at == last && last > 0));
    written.try_for_each(|(_, (name, part))| leaf(out, name, part))
}

fn leaf(out: &mut Document, name: &str, text: &str) -> io::Result<()> {
    out.create_element(name).write_text_content(escaped(text))?;
    Ok(())
}

/// A bare carriage return would be read as a line feed (XML 1.0, 2.11).
fn escaped(text: &str) -> BytesText<'_> {
    let text = match allowed(text) {
        Cow::Borrowed(text) => partial_escape(text),
        Cow::Owned(text) => Cow::Owned(partial_escape(&*text).into_owned()),
    };
    match text.contains('\r') {
        true => BytesText::from_escaped(text.replace('\r', "&#13;")),
        false => BytesText::from_escaped(text),
    }
}

/// Only the characters of XML 1.0, 2.2; U+FFFD stands for the others.
pub fn allowed(text: &str) -> Cow<'_, str> {
    let is_strange = |c: char| matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}');
    match text.contains(is_strange) {
        true => Cow::Owned(text.replace(is_strange, "\u{FFFD}")),
        false => Cow::Borrowed(text),
    }
}
