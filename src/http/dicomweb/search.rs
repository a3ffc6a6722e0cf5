//! QIDO-RS, PS3.18 8.3.4 and 10.6.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use futures::stream;
use http::header::{CONTENT_TYPE, HeaderValue, WARNING};
use http::{HeaderMap, Response};
use serde_json::{Map, Value};

use super::json::{self, DataSet};
use super::xml::{self, Described};
use crate::db;
use crate::dicom::attributes::{self, Attribute, AttributeId, Level, Returned};
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::http::body;
use crate::http::error::HttpError;
use crate::http::negotiation::{Accept, Offer};
use crate::http::query_string::QueryString;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::http::{Settings, State};
use crate::query::request::{Include, Match, SearchRequest};
use crate::query::search::{Cell, Found, Page};

/// `Warning` sentences of PS3.18 8.3.4.
const NO_FUZZY: &str =
    "The fuzzymatching parameter is not supported. Only literal matching has been performed.";

pub(crate) async fn search(
    state: &State,
    level: Level,
    study: Option<StudyUid>,
    series: Option<SeriesUid>,
    asked: &Asked,
) -> Answer {
    let offers = [
        Offer::single(json::MEDIA_TYPE),
        Offer::single("application/json"),
        Offer::multipart(xml::MEDIA_TYPE),
    ];
    let offer = Accept::of(&asked.headers, asked.query.get("accept")).choose(&offers)?;
    let request = parse(level, (study, series), &asked.query, &state.settings)?;
    let page = db::search::search(&state.db, &request).await?;
    let mut response = match offer.media_type {
        xml::MEDIA_TYPE => xml_response(&page, &request.include, &asked.urls)?,
        media_type => json_response(&page, &request.include, &asked.urls, media_type)?,
    };
    add_warnings(response.headers_mut(), &page, &asked.query);
    Ok(response)
}

fn add_warnings(headers: &mut HeaderMap, page: &Page, query: &QueryString) {
    if page.remaining > 0 {
        let text = format!("There are {} additional results that can be requested", page.remaining);
        warn(headers, &text);
    }
    if query.get("fuzzymatching") == Some("true") {
        warn(headers, NO_FUZZY);
    }
}

fn warn(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("299 radiant: \"{text}\"")) {
        headers.append(WARNING, value);
    }
}

/// Unknown parameters are ignored (PS3.18 8.3.1); known ones with a bad value or twice are not.
fn parse(
    level: Level,
    (study, series): (Option<StudyUid>, Option<SeriesUid>),
    query: &QueryString,
    settings: &Settings,
) -> Result<SearchRequest, HttpError> {
    let mut request = SearchRequest {
        level,
        study,
        series,
        matches: Vec::new(),
        include: Include::default(),
        limit: number(query, "limit")?
            .unwrap_or(settings.search_limit_default)
            .min(settings.search_limit_max),
        offset: number(query, "offset")?.unwrap_or(0),
    };
    let mut seen: Vec<&Attribute> = Vec::new();
    for (name, value) in query.iter() {
        match name {
            "includefield" => include(&mut request.include, value),
            _ => add_match(&mut request, &mut seen, name, value)?,
        }
    }
    Ok(request)
}

fn number(query: &QueryString, name: &str) -> Result<Option<u32>, HttpError> {
    let parse = |text: &str| {
        text.parse().map_err(|_| HttpError::bad_request(format!("{name} is a whole number from 0")))
    };
    query.get(name).map(parse).transpose()
}

/// A comma list of tags and keywords, or `all`; unknown ones are ignored.
fn include(include: &mut Include, value: &str) {
    for item in value.split(',').map(str::trim) {
        match item.parse::<AttributeId>() {
            Ok(id) => include.tags.push(id.0),
            Err(_) => include.all |= item == "all",
        }
    }
}

fn add_match<'a>(
    request: &mut SearchRequest,
    seen: &mut Vec<&'a Attribute>,
    name: &str,
    value: &str,
) -> Result<(), HttpError> {
    let known = name.parse::<AttributeId>().ok().and_then(|id| attributes::by_tag(id.0));
    let Some(attribute) = known else { return Ok(()) };
    if seen.contains(&attribute) {
        return Err(HttpError::bad_request(format!("{} is there twice", attribute.keyword)));
    }
    seen.push(attribute);
    request.matches.extend(Match::parse(attribute, value).map_err(HttpError::bad_request)?);
    Ok(())
}

fn json_response(page: &Page, include: &Include, urls: &Urls, media_type: &'static str) -> Answer {
    let sets = page.found.iter().map(|found| Ok(data_set(found, include, urls)?.to_json()));
    let sets: Vec<String> = sets.collect::<Result<_, HttpError>>()?;
    let mut response = Response::new(body::full(format!("[{}]", sets.join(","))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

/// One part for each match; none is a message without parts.
fn xml_response(page: &Page, include: &Include, urls: &Urls) -> Answer {
    let described = |found: &Found| {
        let set = data_set(found, include, urls)?.into_map();
        Ok(Described { location: retrieve_url(found, urls), set })
    };
    let described: Vec<Described> = page.found.iter().map(described).collect::<Result<_, HttpError>>()?;
    Ok(xml::multipart(stream::iter([Ok(|| Ok(described))])))
}

fn data_set(found: &Found, include: &Include, urls: &Urls) -> Result<DataSet, HttpError> {
    let mut set = DataSet::default();
    for (attribute, cell) in
        found.values.values().filter(|(attribute, cell)| is_shown(attribute, cell, include))
    {
        set.set(attribute.tag, attribute.vr, values(attribute, cell));
    }
    set.set(tags::RETRIEVE_URL, VR::UR, vec![retrieve_url(found, urls).into()]);
    for stored in &found.json {
        set.fill_from(inflate(stored)?, |key| is_wanted(key, include));
    }
    Ok(set)
}

/// An empty Modalities in Study stops viewers, so nothing stands for none.
fn is_shown(attribute: &Attribute, cell: &Cell, include: &Include) -> bool {
    let asked = include.tags.contains(&attribute.tag) && attribute.tag != tags::MODALITIES_IN_STUDY;
    !cell.is_empty() || attribute.returned == Returned::Always || asked
}

fn values(attribute: &Attribute, cell: &Cell) -> Vec<Value> {
    match cell {
        Cell::Empty => Vec::new(),
        Cell::Text(text) if text.is_empty() => Vec::new(),
        Cell::Text(text) if attribute.vr == VR::PN => vec![json::person_name(text)],
        Cell::Text(text) => vec![text.as_str().into()],
        Cell::Number(number) => vec![(*number).into()],
        Cell::List(items) => items.iter().map(|item| item.as_str().into()).collect(),
    }
}

fn retrieve_url(found: &Found, urls: &Urls) -> String {
    match (&found.series, &found.instance) {
        (Some(series), Some(instance)) => urls.instance(&found.study, series, instance),
        (Some(series), None) => urls.series(&found.study, series),
        (None, _) => urls.study(&found.study),
    }
}

/// With `all`, bulk data stays behind: it is retrieved, not searched.
fn is_wanted(key: &str, include: &Include) -> bool {
    const PIXEL_DATA: &str = "7FE00010";
    let named = || key.parse::<AttributeId>().is_ok_and(|id| include.tags.contains(&id.0));
    (include.all && key != PIXEL_DATA) || named()
}

fn inflate(stored: &[u8]) -> Result<Map<String, Value>, HttpError> {
    let json = zstd::decode_all(stored).map_err(HttpError::internal("inflating stored attributes"))?;
    serde_json::from_slice(&json).map_err(HttpError::internal("reading stored attributes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::request::Matcher;

    fn parsed(query: &str) -> Result<SearchRequest, HttpError> {
        let query = QueryString::parse(query).unwrap();
        parse(Level::Study, (None, None), &query, &Settings::default())
    }

    #[test]
    fn the_query_of_a_viewer_is_understood() {
        let request = parsed(
            "PatientName=%2AHeld%2A&00100020=X&limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060",
        )
        .unwrap();
        let matchers: Vec<_> = request.matches.iter().map(|one| &one.matcher).collect();
        assert_eq!(matchers, [&Matcher::Wildcard("*HELD*".into()), &Matcher::Single("X".into())]);
        assert_eq!((request.limit, request.offset), (101, 0));
        assert_eq!(request.include.tags, [tags::STUDY_DESCRIPTION, tags::MODALITY]);
    }

    #[test]
    fn bad_values_are_refused_and_unknown_names_ignored_q18_q19_q22_q42() {
        for bad in ["limit=abc", "limit=-1", "StudyDate=x", "StudyInstanceUID=1.x", "PatientID=a&00100020=a"]
        {
            assert!(matches!(parsed(bad), Err(HttpError::BadRequest(_))), "{bad}");
        }
        assert!(parsed("nonsense=1&Rows=x").unwrap().matches.is_empty());
    }

    #[test]
    fn no_modalities_leave_the_attribute_out() {
        let attribute = attributes::by_tag(tags::MODALITIES_IN_STUDY).unwrap();
        assert!(!is_shown(attribute, &Cell::List(vec![]), &Include::default()));
    }

    #[test]
    fn more_results_are_announced_q16() {
        let mut headers = HeaderMap::new();
        add_warnings(&mut headers, &Page { found: vec![], remaining: 3 }, &QueryString::default());
        assert_eq!(headers[WARNING], "299 radiant: \"There are 3 additional results that can be requested\"");
    }
}
