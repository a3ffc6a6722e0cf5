//! What narrows a list of studies, in the words of those who work with it.

use jiff::civil::Date;
use utoipa::IntoParams;

use super::{holds, studies};
use crate::auth::{Caller, Permission};
use crate::clock::Timestamp;
use crate::db::worklist::{Code, Filter, OfStudy};
use crate::dicom::uid::StudyUid;
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;

pub(super) const NAMES: &[&str] = &[
    "status",
    "priority",
    "assignee",
    "modality",
    "date_from",
    "date_to",
    "arrived_from",
    "arrived_to",
    "finding",
    "held",
    "text",
];

const STATUSES: [&str; 5] = ["received", "analysing", "draft", "edited", "signed"];
const PRIORITIES: [&str; 3] = ["routine", "urgent", "stat"];
const LISTED_MAX: usize = 20;
const TEXT_MAX: usize = 200;

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the description of parameters, which are read one by one")]
pub(super) struct StudyParameters {
    /// Any of `received`, `analysing`, `draft`, `edited` and `signed`, separated by commas.
    #[param(
        pattern = "^(received|analysing|draft|edited|signed)(,(received|analysing|draft|edited|signed)){0,4}$"
    )]
    status: Option<String>,
    /// Any of `routine`, `urgent` and `stat`, separated by commas.
    #[param(pattern = "^(routine|urgent|stat)(,(routine|urgent|stat)){0,2}$")]
    priority: Option<String>,
    /// The id of a user; `me` for the caller, `none` for studies that nobody has.
    #[param(min_length = 1, max_length = 64)]
    assignee: Option<String>,
    /// Any of these, separated by commas.
    #[param(pattern = "^[A-Z0-9]{1,16}(,[A-Z0-9]{1,16}){0,19}$")]
    modality: Option<String>,
    /// First Study Date.
    #[param(format = Date)]
    date_from: Option<String>,
    /// Last Study Date.
    #[param(format = Date)]
    date_to: Option<String>,
    /// Came not before.
    #[param(format = DateTime)]
    arrived_from: Option<String>,
    /// Came not after.
    #[param(format = DateTime)]
    arrived_to: Option<String>,
    /// The code of a finding, alone or as `SCHEME|VALUE`.
    #[param(pattern = "^([A-Za-z0-9.-]{1,16}\\|)?[A-Za-z0-9.-]{1,64}$")]
    finding: Option<String>,
    /// Only studies that are held, or only the others.
    held: Option<bool>,
    /// Beginnings of words of name, patient ID, accession number and description, in any case and with or
    /// without accents.
    #[param(max_length = 200)]
    text: Option<String>,
}

/// What the study of something else is.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the description of parameters, which are read one by one")]
pub(super) struct OfStudyParameters {
    /// Of studies with any of these, separated by commas.
    #[param(pattern = "^[A-Z0-9]{1,16}(,[A-Z0-9]{1,16}){0,19}$")]
    modality: Option<String>,
    /// First Study Date.
    #[param(format = Date)]
    date_from: Option<String>,
    /// Last Study Date.
    #[param(format = Date)]
    date_to: Option<String>,
    /// Of studies with words that begin so, as in the list of studies.
    #[param(max_length = 200)]
    text: Option<String>,
}

pub(super) fn of_study(query: &QueryString) -> Result<OfStudy, HttpError> {
    Ok(OfStudy {
        modalities: modalities(query)?,
        date_from: date(query, "date_from")?,
        date_to: date(query, "date_to")?,
        text: text(query)?,
    })
}

/// Narrows `filter` by what the request names.
pub(super) fn read(query: &QueryString, caller: &Caller, filter: Filter) -> Result<Filter, HttpError> {
    if query.get("finding").is_some() && !caller.reach.has_drafts() {
        return Err(HttpError::MissingPermission(Permission::ReadDrafts));
    }
    let statuses = among(query, "status", &STATUSES)?.into_iter().map(|at| STATUSES[at].to_owned()).collect();
    let priorities = among(query, "priority", &PRIORITIES)?;
    Ok(Filter {
        statuses,
        priorities: priorities.into_iter().filter_map(|at| i64::try_from(at).ok()).collect(),
        modalities: modalities(query)?,
        assignee: query.get("assignee").map(|text| assignee(text, caller)).transpose()?,
        date_from: date(query, "date_from")?,
        date_to: date(query, "date_to")?,
        arrived_from: moment(query, "arrived_from")?,
        arrived_to: moment(query, "arrived_to")?,
        finding: query.get("finding").map(code).transpose()?,
        held: holds::is_or_not(query, "held")?,
        text: text(query)?,
        ..filter
    })
}

/// Which of the known words are listed.
fn among(query: &QueryString, name: &str, known: &[&str]) -> Result<Vec<usize>, HttpError> {
    let Some(text) = query.get(name) else { return Ok(Vec::new()) };
    let position = |word: &str| known.iter().position(|one| *one == word);
    let found: Option<Vec<usize>> = text.split(',').take(LISTED_MAX + 1).map(position).collect();
    let found = found.filter(|found| found.len() <= LISTED_MAX);
    found.ok_or_else(|| HttpError::bad_request(format!("{name} is a list of {}", known.join(", "))))
}

pub(super) fn modalities(query: &QueryString) -> Result<Vec<String>, HttpError> {
    let Some(text) = query.get("modality") else { return Ok(Vec::new()) };
    let is_code = |one: &str| {
        (1..=16).contains(&one.len()) && one.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    let listed: Vec<&str> = text.split(',').take(LISTED_MAX + 1).collect();
    if listed.len() > LISTED_MAX || !listed.iter().all(|one| is_code(one)) {
        return Err(HttpError::bad_request("modality is a list of codes as in CT,MR"));
    }
    Ok(listed.into_iter().map(str::to_owned).collect())
}

fn assignee(text: &str, caller: &Caller) -> Result<String, HttpError> {
    match text {
        "none" => Ok(String::new()),
        "me" => Ok(studies::assignee_of(&caller.subject).unwrap_or("anonymous").to_owned()),
        id if (1..=64).contains(&id.chars().count()) => Ok(id.to_owned()),
        _ => Err(HttpError::bad_request("assignee is an id, me or none")),
    }
}

/// `2026-11-23` as DICOM writes it.
pub(super) fn date(query: &QueryString, name: &str) -> Result<Option<String>, HttpError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let date = Some(text).filter(|text| text.len() == 10).and_then(|text| text.parse::<Date>().ok());
    let date = date.ok_or_else(|| HttpError::bad_request(format!("{name} is a date as in 2026-11-23")))?;
    Ok(Some(date.strftime("%Y%m%d").to_string()))
}

fn moment(query: &QueryString, name: &str) -> Result<Option<Timestamp>, HttpError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let time = Timestamp::from_rfc3339(text);
    time.map(Some)
        .ok_or_else(|| HttpError::bad_request(format!("{name} is a time as in 2026-11-23T06:00:00Z")))
}

/// `SCHEME|VALUE`, or a value of any scheme.
pub(super) fn code(text: &str) -> Result<Code, HttpError> {
    let (scheme, value) = text.split_once('|').map_or((None, text), |(scheme, value)| (Some(scheme), value));
    let fits = |part: &str, max: usize| {
        (1..=max).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
    };
    if !fits(value, 64) || scheme.is_some_and(|scheme| !fits(scheme, 16)) {
        return Err(HttpError::bad_request("a code is VALUE or SCHEME|VALUE"));
    }
    Ok(Code { scheme: scheme.map(str::to_owned), value: value.to_owned() })
}

pub(super) fn text(query: &QueryString) -> Result<Option<String>, HttpError> {
    short(query, "text", TEXT_MAX)
}

/// A value of so many characters at most.
pub(super) fn short(query: &QueryString, name: &str, max: usize) -> Result<Option<String>, HttpError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    match text.chars().count() <= max {
        true => Ok(Some(text.to_owned())),
        false => Err(HttpError::bad_request(format!("{name} has at most {max} characters"))),
    }
}

pub(super) fn study(query: &QueryString) -> Result<Option<StudyUid>, HttpError> {
    query.get("study").map(str::parse).transpose().map_err(HttpError::bad_request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &str) -> Result<Filter, HttpError> {
        read(&QueryString::parse(query).unwrap(), &Caller::unrestricted(), Filter::default())
    }

    #[test]
    fn filters_read_like_the_domain() {
        let read = filter("status=draft,edited&priority=stat&modality=CT,MR&date_from=2026-11-01").unwrap();
        assert_eq!((read.statuses, read.priorities), (vec!["draft".into(), "edited".into()], vec![2]));
        assert_eq!((read.modalities.len(), read.date_from.as_deref()), (2, Some("20261101")));
        assert_eq!(filter("assignee=none").unwrap().assignee.as_deref(), Some(""));
        let code = Code { scheme: Some("SCT".into()), value: "60046008".into() };
        assert_eq!(filter("finding=SCT%7C60046008").unwrap().finding, Some(code));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for query in [
            "status=lost",
            "status=",
            "priority=3",
            "modality=ct",
            "modality=C%25",
            "date_from=20261101",
            "date_to=2026-02-30",
            "arrived_from=yesterday",
            "finding=a|b|c",
            "finding=%25",
            "assignee=",
            "held=perhaps",
        ] {
            assert!(matches!(filter(query), Err(HttpError::BadRequest(_))), "{query}");
        }
    }
}
