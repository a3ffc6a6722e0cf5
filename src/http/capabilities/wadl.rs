//! The description as a Web Application Description Language document.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, Event};

use super::resources::{Operation, Resource};
use crate::http::error::HttpError;

const NAMESPACE: &str = "http://wadl.dev.java.net/2009/02";

type Xml = Writer<Vec<u8>>;

pub(super) fn write(resources: &[&Resource], base: &str) -> Result<Vec<u8>, HttpError> {
    document(resources, base).map_err(HttpError::internal("describing the service"))
}

fn document(resources: &[&Resource], base: &str) -> io::Result<Vec<u8>> {
    let mut xml = Writer::new(Vec::new());
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.create_element("application").with_attribute(("xmlns", NAMESPACE)).write_inner_content(|xml| {
        let all = xml.create_element("resources").with_attribute(("base", base));
        all.write_inner_content(|xml| resources.iter().try_for_each(|one| resource(xml, one)))?;
        Ok(())
    })?;
    Ok(xml.into_inner())
}

fn resource(xml: &mut Xml, resource: &Resource) -> io::Result<()> {
    let element = xml.create_element("resource").with_attribute(("path", resource.path));
    element.write_inner_content(|xml| {
        let templates = resource.path.split('/').filter_map(|one| one.strip_prefix('{')?.strip_suffix('}'));
        templates.into_iter().try_for_each(|name| parameter(xml, name, "template"))?;
        resource.operations.iter().try_for_each(|one| operation(xml, one))
    })?;
    Ok(())
}

fn operation(xml: &mut Xml, operation: &Operation) -> io::Result<()> {
    let element = xml.create_element("method");
    let element = element.with_attributes([("name", operation.method), ("id", operation.id)]);
    element.write_inner_content(|xml| {
        xml.create_element("request").write_inner_content(|xml| {
            operation.query.iter().try_for_each(|name| parameter(xml, name, "query"))?;
            operation.takes.iter().try_for_each(|media_type| representation(xml, media_type))
        })?;
        let statuses: Vec<String> = operation.statuses.iter().map(u16::to_string).collect();
        let response = xml.create_element("response").with_attribute(("status", statuses.join(" ").as_str()));
        response.write_inner_content(|xml| {
            operation.gives.iter().try_for_each(|media_type| representation(xml, media_type))
        })?;
        Ok(())
    })?;
    Ok(())
}

fn parameter(xml: &mut Xml, name: &str, style: &str) -> io::Result<()> {
    xml.create_element("param").with_attributes([("name", name), ("style", style)]).write_empty()?;
    Ok(())
}

fn representation(xml: &mut Xml, media_type: &str) -> io::Result<()> {
    xml.create_element("representation").with_attribute(("mediaType", media_type)).write_empty()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::resources::RESOURCES;
    use super::*;

    #[test]
    fn the_description_is_xml_with_its_templates_g18() {
        let all: Vec<&Resource> = RESOURCES.iter().collect();
        let text = String::from_utf8(document(&all, "https://h/dicom-web").unwrap()).unwrap();
        assert!(text.contains("<resources base=\"https://h/dicom-web\">"), "{text}");
        assert!(text.contains("<param name=\"series\" style=\"template\"/>"), "{text}");
        assert!(text.contains("type=&quot;application/dicom&quot;"), "{text}");
        let mut reader = quick_xml::Reader::from_str(&text);
        while reader.read_event().unwrap() != Event::Eof {}
    }
}
