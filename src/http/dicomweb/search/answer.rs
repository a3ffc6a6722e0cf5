//! Matches as DICOM JSON, PS3.18 10.6.3.3.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use crate::dicom::attributes::{self, Attribute, AttributeId, Level, Returned};
use crate::dicom::json::INSTANCE_MARKER;
use crate::http::dicomweb::json::{self, DataSet};
use crate::http::dicomweb::xml::Described;
use crate::http::error::HttpError;
use crate::http::urls::Urls;
use crate::query::request::SearchRequest;
use crate::query::search::{self, Cell, Found, Page};

/// From here on an answer takes longer to write than a thread to find.
const MANY: usize = 32;

/// The matches and their text.
pub(super) struct Written {
    matches: Vec<Match>,
    pub(super) json: String,
}

struct Match {
    location: String,
    set: DataSet,
}

impl Written {
    pub(super) fn described(self) -> Vec<Described> {
        let described = |one: Match| Described { location: one.location, set: one.set.into_map() };
        self.matches.into_iter().map(described).collect()
    }
}

/// Long answers are written where blocking is allowed.
pub(super) async fn write(page: Page, request: SearchRequest, urls: Urls) -> Result<Written, HttpError> {
    if page.found.len() < MANY {
        return write_now(&page, &request, &urls);
    }
    let written = tokio::task::spawn_blocking(move || write_now(&page, &request, &urls)).await;
    written.map_err(HttpError::internal("writing the answer"))?
}

fn write_now(page: &Page, request: &SearchRequest, urls: &Urls) -> Result<Written, HttpError> {
    let one = |found: &Found| {
        let location = retrieve_url(found, urls).unwrap_or_default();
        Ok(Match { set: data_set(found, request, &location)?, location })
    };
    let matches: Vec<Match> = page.found.iter().map(one).collect::<Result<_, HttpError>>()?;
    let texts: Vec<String> = matches.iter().map(|one| one.set.to_json()).collect();
    Ok(Written { json: format!("[{}]", texts.join(",")), matches })
}

/// One match as a data set.
fn data_set(found: &Found, request: &SearchRequest, url: &str) -> Result<DataSet, HttpError> {
    let mut set = DataSet::default();
    for (attribute, cell) in
        found.values.values().filter(|(attribute, cell)| is_shown(attribute, cell, request))
    {
        match cell {
            Cell::Element(text) => set.put(attribute.tag, stored_element(text)?),
            cell => set.set(attribute.tag, attribute.vr, values(attribute, cell)),
        }
    }
    if !url.is_empty() {
        set.set(tags::RETRIEVE_URL, VR::UR, vec![url.into()]);
    }
    if !found.json.is_empty() {
        let stored =
            search::attributes(&found.json).map_err(HttpError::internal("reading stored attributes"))?;
        set.fill_from(wanted(stored, request, url));
    }
    Ok(set)
}

/// An empty Modalities in Study stops viewers, so nothing stands for none.
fn is_shown(attribute: &Attribute, cell: &Cell, request: &SearchRequest) -> bool {
    let asked = request.include.names(attribute.tag) && attribute.tag != tags::MODALITIES_IN_STUDY;
    !cell.is_empty() || attribute.returned == Returned::Always || asked
}

fn values(attribute: &Attribute, cell: &Cell) -> Vec<Value> {
    match cell {
        Cell::Empty | Cell::Element(_) => Vec::new(),
        Cell::Text(text) if text.is_empty() => Vec::new(),
        Cell::Text(text) if attribute.vr == VR::PN => vec![json::person_name(text)],
        Cell::Text(text) => vec![text.as_str().into()],
        Cell::Number(number) => vec![(*number).into()],
        Cell::List(items) => items.iter().map(|item| item.as_str().into()).collect(),
    }
}

fn stored_element(text: &str) -> Result<Value, HttpError> {
    match text {
        "" => Ok(serde_json::json!({ "vr": "SQ" })),
        text => serde_json::from_str(text).map_err(HttpError::internal("reading stored attributes")),
    }
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
    let named: Vec<Tag> = request.include.paths.iter().filter_map(|path| path.first().copied()).collect();
    for (key, tag) in keys {
        let of_level = level_fits(tag, request);
        let creates = named.iter().any(|named| creator_tag(*named) == Some(tag));
        let by_name = of_level && (named.contains(&tag) || creates);
        let by_all = request.include.all && of_level && all_has(tag, &stored[&key], request);
        if let Some(mut element) = (by_name || by_all).then(|| stored.remove(&key)).flatten() {
            if !request.include.all {
                project(&mut element, &rests(&request.include.paths, tag));
            }
            absolute(&mut element, url);
            kept.insert(key, element);
        }
    }
    kept
}

/// Attributes of lower levels are never returned (PS3.18 10.6.3.3.1).
fn level_fits(tag: Tag, request: &SearchRequest) -> bool {
    attributes::level_of(tag) <= request.level
}

/// With `all`, bulk data stays behind: it is retrieved, not searched. So does what describes a parent
/// that the resource names.
fn all_has(tag: Tag, element: &Value, request: &SearchRequest) -> bool {
    let level = attributes::level_of(tag);
    let own = level == request.level || (level == Level::Patient && request.level == Level::Study);
    element.get("BulkDataURI").is_none() && (own || request.is_open_above(level))
}

/// A private attribute means nothing without its creator (PS3.18 10.6.3.3).
fn creator_tag(tag: Tag) -> Option<Tag> {
    let private = tag.group() % 2 == 1 && tag.element() >= 0x1000;
    private.then(|| Tag(tag.group(), tag.element() >> 8))
}

/// What paths go on with behind an attribute.
fn rests(paths: &[Vec<Tag>], tag: Tag) -> Vec<Vec<Tag>> {
    let behind = paths.iter().filter(|path| path.first() == Some(&tag));
    behind.map(|path| path[1..].to_vec()).collect()
}

/// Leaves of the items of a sequence what the paths name; all of it where a path ends here.
fn project(element: &mut Value, paths: &[Vec<Tag>]) {
    if paths.is_empty() || paths.iter().any(Vec::is_empty) {
        return;
    }
    let items = element.get_mut("Value").and_then(Value::as_array_mut).into_iter().flatten();
    for item in items.filter_map(Value::as_object_mut) {
        item.retain(|key, element| {
            let rests = key.parse::<AttributeId>().map(|id| rests(paths, id.0)).unwrap_or_default();
            project(element, &rests);
            !rests.is_empty()
        });
    }
}

/// Stored links begin with a mark that stands for the URL of the instance.
fn absolute(element: &mut Value, url: &str) {
    if let Some(Value::String(link)) = element.get_mut("BulkDataURI") {
        if let Some(rest) = link.strip_prefix(INSTANCE_MARKER) {
            *link = format!("{url}{rest}");
        }
    }
    let items = element.get_mut("Value").and_then(Value::as_array_mut).into_iter().flatten();
    for item in items.filter_map(Value::as_object_mut) {
        item.values_mut().for_each(|element| absolute(element, url));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::request::{Include, Zone};
    use serde_json::json;

    fn request(level: Level, include: Include) -> SearchRequest {
        let (keys, zone) = (Vec::new(), Zone::default());
        SearchRequest { level, study: None, series: None, keys, zone, include, limit: 1, offset: 0 }
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
    fn check(level: Level, all: bool, paths: &[&[Tag]], expected: &[&str]) {
        let include = Include { all, paths: paths.iter().map(|path| path.to_vec()).collect() };
        let kept = wanted(stored(), &request(level, include), "http://h/i");
        let keys: Vec<&str> = kept.keys().map(String::as_str).collect();
        assert_eq!(keys, expected);
    }

    #[test]
    fn no_modalities_leave_the_attribute_out_q15() {
        let attribute = attributes::by_tag(tags::MODALITIES_IN_STUDY).unwrap();
        let include = Include { all: true, paths: vec![vec![tags::MODALITIES_IN_STUDY]] };
        assert!(!is_shown(attribute, &Cell::List(vec![]), &request(Level::Study, include)));
    }

    #[test]
    fn only_what_belongs_to_the_level_or_above_is_returned_q24_q25() {
        check(Level::Study, true, &[], &["00081032", "00101010"]);
        check(Level::Study, false, &[&[tags::ROWS], &[tags::PATIENT_AGE]], &["00101010"]);
        check(Level::Instance, true, &[], &["00081032", "00090010", "00091001", "00101010", "00280010"]);
    }

    #[test]
    fn a_private_attribute_comes_with_its_creator_q41() {
        check(Level::Instance, false, &[&[Tag(9, 0x1001)]], &["00090010", "00091001"]);
    }

    #[test]
    fn paths_leave_of_a_sequence_what_they_name_q23() {
        let paths = vec![vec![tags::PROCEDURE_CODE_SEQUENCE, tags::CODE_VALUE]];
        let kept = wanted(stored(), &request(Level::Study, Include { all: false, paths }), "");
        assert_eq!(kept["00081032"]["Value"], json!([{"00080100": {"vr": "SH", "Value": ["C"]}}]));
    }

    #[test]
    fn links_lead_to_the_instance() {
        let include = Include { all: false, paths: vec![vec![tags::ENCAPSULATED_DOCUMENT]] };
        let kept = wanted(stored(), &request(Level::Instance, include), "http://h/i");
        assert_eq!(kept["00420011"]["BulkDataURI"], "http://h/i/bulkdata/00420011");
    }
}
