//! `text/xml`: the same document for programs, each value as it is coded.

use std::io;

use quick_xml::events::{BytesDecl, BytesText, Event};
use quick_xml::{ElementWriter, Writer};

use super::content::{Code, Content, Item, Number, Reference, Region, Times};
use super::{Document, Locate};
use crate::dicom::xml::allowed;

type Out = Writer<Vec<u8>>;

pub(super) fn write(document: &Document, locate: Locate) -> io::Result<Vec<u8>> {
    let mut out = Writer::new(Vec::new());
    out.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    element(&mut out, "document", &[("title", &document.title)]).write_inner_content(|out| {
        standing(out, document)?;
        for fact in &document.facts {
            element(out, "fact", &[("label", fact.label)]).write_text_content(text(&fact.value))?;
        }
        content_item(out, &document.root, locate)
    })?;
    Ok(out.into_inner())
}

/// Attributes without a value stay out.
fn element<'a>(out: &'a mut Out, name: &'a str, attributes: &[(&str, &str)]) -> ElementWriter<'a, Vec<u8>> {
    let present = attributes.iter().filter(|(_, value)| !value.is_empty());
    present.fold(out.create_element(name), |start, (name, value)| {
        start.with_attribute((*name, &*allowed(value)))
    })
}

fn text(text: &str) -> BytesText<'static> {
    BytesText::new(&allowed(text)).into_owned()
}

fn leaf(out: &mut Out, name: &str, value: &str) -> io::Result<()> {
    element(out, name, &[]).write_text_content(text(value))?;
    Ok(())
}

fn standing(out: &mut Out, document: &Document) -> io::Result<()> {
    let standing = &document.standing;
    let flags = [
        ("completion", standing.completion.as_str()),
        ("verification", &standing.verification),
        ("preliminary", &standing.preliminary),
    ];
    element(out, "standing", &flags).write_inner_content(|out| {
        standing.warnings.iter().try_for_each(|warning| leaf(out, "warning", warning))?;
        standing.verified_by.iter().try_for_each(|verifier| leaf(out, "verified-by", verifier))
    })?;
    Ok(())
}

fn content_item(out: &mut Out, item: &Item, locate: Locate) -> io::Result<()> {
    let attributes = [
        ("position", item.position.as_str()),
        ("relationship", item.relation.term()),
        ("observed", &item.observed),
    ];
    element(out, "item", &attributes).write_inner_content(|out| {
        item.name.iter().try_for_each(|name| code(out, "name", name))?;
        value(out, &item.content, locate)?;
        item.children.iter().try_for_each(|child| content_item(out, child, locate))
    })?;
    Ok(())
}

fn value(out: &mut Out, content: &Content, locate: Locate) -> io::Result<()> {
    match content {
        Content::Container(_) | Content::Code(None) => Ok(()),
        Content::Text(text) => leaf(out, "text", text),
        Content::Uid(uid) => leaf(out, "uid", uid),
        Content::Code(Some(value)) => code(out, "code", value),
        Content::Number(value) => number(out, value),
        Content::Object(value) => reference(out, value, locate),
        Content::Region(value) => region(out, value),
        Content::Times(value) => times(out, value),
        Content::SeeAlso(position) => leaf(out, "see-item", position),
        Content::Unknown(value_type) => leaf(out, "unknown", value_type),
    }
}

fn code(out: &mut Out, name: &str, code: &Code) -> io::Result<()> {
    let attributes = [("value", code.value.as_str()), ("scheme", &code.scheme)];
    element(out, name, &attributes).write_text_content(text(&code.meaning))?;
    Ok(())
}

fn number(out: &mut Out, number: &Number) -> io::Result<()> {
    element(out, "number", &[("value", &number.value)]).write_inner_content(|out| {
        number.unit.iter().try_for_each(|unit| code(out, "unit", unit))?;
        number.qualifier.iter().try_for_each(|qualifier| code(out, "qualifier", qualifier))
    })?;
    Ok(())
}

fn reference(out: &mut Out, reference: &Reference, locate: Locate) -> io::Result<()> {
    let attributes = [
        ("sop-class", reference.sop_class.as_str()),
        ("sop-instance", &reference.instance),
        ("frames", &reference.frames.join(" ")),
        ("segments", &reference.segments.join(" ")),
        ("channels", &reference.channels.join(" ")),
        ("href", &reference.url(locate).unwrap_or_default()),
    ];
    element(out, "object", &attributes).write_empty()?;
    Ok(())
}

fn region(out: &mut Out, region: &Region) -> io::Result<()> {
    let coordinates: Vec<String> = region.coordinates.iter().map(f64::to_string).collect();
    let attributes = [
        ("type", region.graphic.as_str()),
        ("dimensions", &region.dimensions.to_string()),
        ("frame-of-reference", &region.frame_of_reference),
    ];
    element(out, "region", &attributes).write_text_content(text(&coordinates.join(" ")))?;
    Ok(())
}

fn times(out: &mut Out, times: &Times) -> io::Result<()> {
    let attributes = [("type", times.range.as_str()), ("unit", times.unit)];
    element(out, "times", &attributes).write_text_content(text(&times.points.join(" ")))?;
    Ok(())
}
