//! Matches as DICOM JSON, PS3.18 10.6.3.3.

use std::io::{self, Write};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use crate::dicom::attributes::{self, Attribute, AttributeId, Level, Returned};
use crate::dicom::json::INSTANCE_MARKER;
use crate::http::body::BoxError;
use crate::http::dicomweb::json;
use crate::http::dicomweb::xml::Described;
use crate::http::error::HttpError;
use crate::http::urls::Urls;
use crate::query::matching;
use crate::query::request::SearchRequest;
use crate::query::request::path::creator_of;
use crate::query::search::{self, Cell, Found, Page};

/// From here on an answer takes longer to write than a thread to find.
const MANY: usize = 32;

/// One match as the text of a data set.
pub(super) struct Match {
    location: String,
    json: Vec<u8>,
}

impl Match {
    fn described(self) -> Result<Described, BoxError> {
        Ok(Described { location: self.location, set: serde_json::from_slice(&self.json)? })
    }
}

/// An array of the matches.
pub(super) fn array(matches: &[Match]) -> Vec<u8> {
    let mut array = Vec::with_capacity(2 + matches.iter().map(|one| one.json.len() + 1).sum::<usize>());
    array.push(b'[');
    for (at, one) in matches.iter().enumerate() {
        array.extend_from_slice(if at == 0 { b"" } else { b"," });
        array.extend_from_slice(&one.json);
    }
    array.push(b']');
    array
}

pub(super) fn described(matches: Vec<Match>) -> Result<Vec<Described>, BoxError> {
    matches.into_iter().map(Match::described).collect()
}

/// Long answers are written where blocking is allowed.
pub(super) async fn write(page: Page, request: SearchRequest, urls: Urls) -> Result<Vec<Match>, HttpError> {
    if page.found.len() < MANY && !request.include.needs_json() {
        return write_now(&page, &request, &urls);
    }
    let written = tokio::task::spawn_blocking(move || write_now(&page, &request, &urls)).await;
    written.map_err(HttpError::internal("writing the answer"))?
}

fn write_now(page: &Page, request: &SearchRequest, urls: &Urls) -> Result<Vec<Match>, HttpError> {
    let one = |found: &Found| {
        let location = retrieve_url(found, urls).unwrap_or_default();
        let json = data_set(found, request, &location);
        Ok(Match { json: json.map_err(HttpError::internal("writing the answer"))?, location })
    };
    page.found.iter().map(one).collect()
}

/// In ascending tag order (PS3.18 F.2.2). What the index holds is written as it is read: pages have
/// thousands of values.
fn data_set(found: &Found, request: &SearchRequest, url: &str) -> io::Result<Vec<u8>> {
    let mut stored = match found.json.is_empty() {
        true => Map::new(),
        false => wanted(search::attributes(&found.json)?, request, url),
    };
    let link = Cell::Text(url.to_owned());
    let shown = found.values.iter().filter(|(attribute, cell)| is_shown(attribute, cell, request));
    let mut elements: Vec<(Tag, Element<'_>)> =
        shown.map(|(attribute, cell)| (attribute.tag, Element::Indexed(attribute.vr, cell))).collect();
    if !url.is_empty() {
        elements.push((tags::RETRIEVE_URL, Element::Indexed(VR::UR, &link)));
    }
    if !stored.is_empty() {
        elements.iter().for_each(|(tag, _)| drop(stored.remove(&AttributeId(*tag).to_string())));
    }
    let rest = stored.iter().filter_map(|(key, element)| Some((key.parse::<AttributeId>().ok()?.0, element)));
    elements.extend(rest.map(|(tag, element)| (tag, Element::Stored(element))));
    elements.sort_by_key(|(tag, _)| *tag);
    written(&elements)
}

enum Element<'a> {
    Indexed(VR, &'a Cell),
    Stored(&'a Value),
}

fn written(elements: &[(Tag, Element<'_>)]) -> io::Result<Vec<u8>> {
    let mut out = vec![b'{'];
    for (at, (tag, element)) in elements.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(&digits(*tag));
        out.extend_from_slice(b"\":");
        match element {
            Element::Stored(element) => serde_json::to_writer(&mut out, element)?,
            Element::Indexed(_, Cell::Element(text)) if !text.is_empty() => out.write_all(text.as_bytes())?,
            Element::Indexed(vr, cell) => indexed(&mut out, *vr, cell)?,
        }
    }
    out.push(b'}');
    Ok(out)
}

/// Upper-case hexadecimal (PS3.18 F.2.2).
fn digits(Tag(group, element): Tag) -> [u8; 8] {
    let number = u32::from(group) << 16 | u32::from(element);
    std::array::from_fn(|at| b"0123456789ABCDEF"[(number >> (28 - 4 * at)) as usize & 0xF])
}

/// No values make an element of its VR alone (F.2.5).
fn indexed(out: &mut Vec<u8>, vr: VR, cell: &Cell) -> io::Result<()> {
    out.extend_from_slice(b"{\"vr\":\"");
    out.extend_from_slice(vr.to_string().as_bytes());
    out.push(b'"');
    if !cell.is_empty() {
        out.write_all(b",\"Value\":")?;
        match cell {
            Cell::Text(text) if vr == VR::PN => serde_json::to_writer(&mut *out, &[json::person_name(text)])?,
            Cell::Text(text) => serde_json::to_writer(&mut *out, &[text])?,
            Cell::Number(number) => write!(out, "[{number}]")?,
            Cell::List(items) => serde_json::to_writer(&mut *out, items)?,
            Cell::Empty | Cell::Element(_) => {}
        }
    }
    out.write_all(b"}")
}

/// An empty Modalities in Study stops viewers, so nothing stands for none.
fn is_shown(attribute: &Attribute, cell: &Cell, request: &SearchRequest) -> bool {
    let asked = request.include.names(attribute.tag) && attribute.tag != tags::MODALITIES_IN_STUDY;
    !cell.is_empty() || attribute.returned == Returned::Always || asked
}

/// There is no resource of a patient to retrieve.
fn retrieve_url(found: &Found, urls: &Urls) -> Option<String> {
    let study = found.study.as_ref()?;
    Some(match (&found.series, &found.instance) {
        (Some(series), Some(instance)) => urls.instance(study, series, instance),
        (Some(series), None) => urls.series(study, series),
        (None, _) => urls.study(study),
    })
}

/// Of stored attributes those that the request includes.
fn wanted(mut stored: Map<String, Value>, request: &SearchRequest, url: &str) -> Map<String, Value> {
    let mut kept = Map::new();
    let keys: Vec<(String, Tag)> =
        stored.keys().filter_map(|key| Some((key.clone(), key.parse::<AttributeId>().ok()?.0))).collect();
    let named: Vec<Tag> =
        request.include.paths.iter().map(|path| held_at(&stored, path.first, request)).collect();
    for (key, tag) in keys {
        let of_level = level_fits(tag, request);
        // A private attribute means nothing without its creator (PS3.18 10.6.3.3).
        let creates = named.iter().any(|named| creator_of(*named) == Some(tag));
        let by_name = of_level && (named.contains(&tag) || creates);
        let by_all = request.include.all && of_level && all_has(tag, &stored[&key], request);
        if let Some(mut element) = (by_name || by_all).then(|| stored.remove(&key)).flatten() {
            if !request.include.all {
                let paths = request.include.paths.iter().filter(|path| path.first == tag);
                let rests: Vec<&[Tag]> = paths.map(|path| path.rest.as_slice()).collect();
                project(&mut element, &rests);
            }
            absolute(&mut element, url);
            kept.insert(key, element);
        }
    }
    kept
}

/// Attributes of lower levels are never returned (PS3.18 10.6.3.3.1).
fn level_fits(tag: Tag, request: &SearchRequest) -> bool {
    attributes::level_of(tag) <= request.level || attributes::belongs_to(tag, request.level)
}

/// Where the object has a private attribute whose creator the request names.
fn held_at(stored: &Map<String, Value>, tag: Tag, request: &SearchRequest) -> Tag {
    let creator = creator_of(tag).and_then(|creator| request.include.creators.get(&creator));
    creator.and_then(|creator| matching::private(stored, tag, creator)).unwrap_or(tag)
}

/// With `all`, bulk data stays behind: it is retrieved, not searched. So does what describes a parent
/// that the resource names.
fn all_has(tag: Tag, element: &Value, request: &SearchRequest) -> bool {
    let level = attributes::level_of(tag);
    let own = level == request.level || (level == Level::Patient && request.level == Level::Study);
    element.get("BulkDataURI").is_none() && (own || request.is_open_above(level))
}

/// Leaves of the items of a sequence what the paths name; all of it where a path ends here.
fn project(element: &mut Value, paths: &[&[Tag]]) {
    if paths.is_empty() || paths.iter().any(|path| path.is_empty()) {
        return;
    }
    let items = element.get_mut("Value").and_then(Value::as_array_mut).into_iter().flatten();
    for item in items.filter_map(Value::as_object_mut) {
        item.retain(|key, element| {
            let begun = paths.iter().filter_map(|path| path.split_first());
            let rests: Vec<&[Tag]> = begun
                .filter(|(tag, _)| AttributeId(**tag).to_string() == *key)
                .map(|(_, rest)| rest)
                .collect();
            project(element, &rests);
            !rests.is_empty()
        });
    }
}

/// Stored links begin with a mark that stands for the URL of the instance.
fn absolute(element: &mut Value, url: &str) {
    if let Some(Value::String(link)) = element.get_mut("BulkDataURI")
        && let Some(rest) = link.strip_prefix(INSTANCE_MARKER)
    {
        *link = format!("{url}{rest}");
    }
    let items = element.get_mut("Value").and_then(Value::as_array_mut).into_iter().flatten();
    for item in items.filter_map(Value::as_object_mut) {
        item.values_mut().for_each(|element| absolute(element, url));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Reach;
    use crate::query::request::{Include, Zone};
    use serde_json::json;

    fn request(level: Level, include: Include) -> SearchRequest {
        let (keys, zone) = (Vec::new(), Zone::default());
        SearchRequest {
            level,
            study: None,
            series: None,
            keys,
            zone,
            include,
            limit: 1,
            offset: 0,
            reach: Reach::Everything,
        }
    }

    fn stored() -> Map<String, Value> {
        let Value::Object(stored) = json!({
            "00081032": {"vr": "SQ", "Value": [
                {"00080100": {"vr": "SH", "Value": ["C"]}, "00080104": {"vr": "LO", "Value": ["M"]}}]},
            "00090010": {"vr": "LO", "Value": ["ACME"]},
            "00091001": {"vr": "LO", "Value": ["x"]},
            "00101010": {"vr": "AS", "Value": ["040Y"]},
            "00280010": {"vr": "US", "Value": [2]},
            "00420011": {"vr": "OB", "BulkDataURI": "@instance/bulkdata/00420011"},
        }) else {
            unreachable!()
        };
        stored
    }

    #[track_caller]
    fn check(level: Level, all: bool, paths: &[&str], expected: &[&str]) {
        let paths = paths.iter().map(|path| path.parse().unwrap()).collect();
        let include = Include { all, paths, ..Include::default() };
        let kept = wanted(stored(), &request(level, include), "http://h/i");
        let keys: Vec<&str> = kept.keys().map(String::as_str).collect();
        assert_eq!(keys, expected);
    }

    #[test]
    fn no_modalities_leave_the_attribute_out_q15() {
        let attribute = attributes::by_tag(tags::MODALITIES_IN_STUDY).unwrap();
        let include =
            Include { all: true, paths: vec![tags::MODALITIES_IN_STUDY.into()], ..Include::default() };
        assert!(!is_shown(attribute, &Cell::List(vec![]), &request(Level::Study, include)));
    }

    #[test]
    fn only_what_belongs_to_the_level_or_above_is_returned_q24_q25() {
        check(Level::Study, true, &[], &["00081032", "00101010"]);
        check(Level::Study, false, &["Rows", "PatientAge"], &["00101010"]);
        check(Level::Instance, true, &[], &["00081032", "00090010", "00091001", "00101010", "00280010"]);
    }

    #[test]
    fn a_private_attribute_comes_with_its_creator_q41() {
        check(Level::Instance, false, &["00091001"], &["00090010", "00091001"]);
        let creators = [(Tag(9, 0x20), "ACME".to_owned())].into();
        let include = Include { paths: vec![Tag(9, 0x2001).into()], creators, ..Include::default() };
        let kept = wanted(stored(), &request(Level::Instance, include), "");
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["00090010", "00091001"]);
    }

    #[test]
    fn paths_leave_of_a_sequence_what_they_name_q23() {
        let paths = vec!["ProcedureCodeSequence.CodeValue".parse().unwrap()];
        let kept = wanted(stored(), &request(Level::Study, Include { paths, ..Include::default() }), "");
        assert_eq!(kept["00081032"]["Value"], json!([{"00080100": {"vr": "SH", "Value": ["C"]}}]));
    }

    #[test]
    fn links_lead_to_the_instance() {
        let include = Include { paths: vec![tags::ENCAPSULATED_DOCUMENT.into()], ..Include::default() };
        let kept = wanted(stored(), &request(Level::Instance, include), "http://h/i");
        assert_eq!(kept["00420011"]["BulkDataURI"], "http://h/i/bulkdata/00420011");
    }
}
