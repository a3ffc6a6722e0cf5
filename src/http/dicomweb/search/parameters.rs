//! The query of a search as a request.

use crate::auth::Reach;
use crate::dicom::attributes::Level;
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::http::{Settings, limit_hit};
use crate::query::request::keys::{self, Options};
use crate::query::request::{Include, SearchRequest};

/// Unknown parameters are ignored (PS3.18 8.3.1); known ones with a bad value or twice are not.
pub(in crate::http) fn parse(
    level: Level,
    (study, series): (Option<StudyUid>, Option<SeriesUid>),
    query: &QueryString,
    settings: &Settings,
) -> Result<SearchRequest, HttpError> {
    let options = Options {
        fuzzy: flag(query, "fuzzymatching")?,
        empty_values: flag(query, "emptyvaluematching")?,
        multiple_values: flag(query, "multiplevaluematching")?,
        separate_moments: false,
        stored_zone: settings.search_timezone,
    };
    let keys = keys::parse(level, query.iter(), options).map_err(HttpError::bad_request)?;
    let mut include = include(query);
    include.paths.extend(keys.paths);
    include.creators = keys.creators;
    let limit = number(query, "limit")?.unwrap_or(settings.search_limit_default);
    if limit > settings.search_limit_max {
        limit_hit("http.search_limit_max");
    }
    Ok(SearchRequest {
        level,
        study,
        series,
        keys: keys.keys,
        zone: keys.zone,
        include,
        limit: limit.min(settings.search_limit_max),
        offset: number(query, "offset")?.unwrap_or(0),
        // The query does not say who searches.
        reach: Reach::nothing(),
    })
}

/// A comma list of tags, keywords and paths, or `all`; unknown ones are ignored (PS3.18 8.3.4.3).
fn include(query: &QueryString) -> Include {
    let lists = query.iter().filter(|(name, _)| *name == "includefield").map(|(_, value)| value);
    let items: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
    Include {
        all: items.contains(&"all"),
        paths: items.into_iter().filter_map(|item| item.parse().ok()).collect(),
        ..Include::default()
    }
}

fn number(query: &QueryString, name: &'static str) -> Result<Option<u32>, HttpError> {
    let parse = |text: &str| {
        text.parse().map_err(|_| HttpError::bad_request(format!("{name} is a whole number from 0")))
    };
    only(query, name)?.map(parse).transpose()
}

fn flag(query: &QueryString, name: &'static str) -> Result<bool, HttpError> {
    match only(query, name)? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(HttpError::bad_request(format!("{name} is true or false"))),
    }
}

fn only<'q>(query: &'q QueryString, name: &'static str) -> Result<Option<&'q str>, HttpError> {
    let mut values = query.iter().filter(|(key, _)| *key == name).map(|(_, value)| value);
    let first = values.next();
    match values.next() {
        Some(_) => Err(HttpError::bad_request(format!("{name} is there twice"))),
        None => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    fn parsed(query: &str) -> Result<SearchRequest, HttpError> {
        let query = QueryString::parse(query).unwrap();
        parse(Level::Study, (None, None), &query, &Settings::default())
    }

    #[test]
    fn the_query_of_a_viewer_is_understood_q14_q23() {
        let request = parsed(
            "PatientName=%2AHeld%2A&00100020=X&limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060",
        )
        .unwrap();
        let names: Vec<_> = request.keys.iter().map(|key| key.tag).collect();
        assert_eq!(names, [tags::PATIENT_NAME, tags::PATIENT_ID]);
        assert_eq!((request.limit, request.offset), (101, 0));
        assert!(request.include.names(tags::STUDY_DESCRIPTION) && request.include.names(tags::PATIENT_ID));
    }

    #[test]
    fn sequences_are_included_by_path_q23_q24() {
        let request =
            parsed("includefield=ProcedureCodeSequence.CodeValue&includefield=PatientAge,all,x").unwrap();
        let path = "ProcedureCodeSequence.CodeValue".parse().unwrap();
        assert!(request.include.all);
        assert_eq!(request.include.paths, [path, tags::PATIENT_AGE.into()]);
    }

    #[test]
    fn bad_values_are_refused_and_unknown_names_ignored_g1_q18_q19_q22_q42() {
        for bad in [
            "limit=abc",
            "limit=-1",
            "offset=1&offset=2",
            "StudyDate=x",
            "StudyInstanceUID=1.x",
            "PatientID=a&00100020=a",
            "fuzzymatching=maybe",
            "TimezoneOffsetFromUTC=EST",
            "00091002=private",
        ] {
            assert!(matches!(parsed(bad), Err(HttpError::BadRequest(_))), "{bad}");
        }
        assert!(parsed("nonsense=1&patientid=x&accept=application/json").unwrap().keys.is_empty());
    }
}
