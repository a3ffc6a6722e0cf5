//! What a request is about, as its row says it: the resource, and what of it was asked. Names and ids
//! alone, never a value of a key.

use crate::audit::{Action, Deed, ObjectKind};
use crate::dicom::attributes::AttributeId;
use crate::dicom::uid::StudyUid;
use crate::http::endpoint::{Dicomweb, Endpoint};
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::http::rest::Matched;
use crate::http::service::Asked;
use crate::http::{State, limit_hit, visible};
use crate::query::Scope;

/// Names of keys that are told of one search.
const KEYS_MAX: usize = 32;

/// The same deed, with its resource.
pub(super) async fn of(
    state: &State,
    mut deed: Deed,
    endpoint: &Endpoint,
    asked: &Asked,
) -> Result<Deed, HttpError> {
    deed.detail = Some(endpoint.name().to_owned());
    match endpoint {
        Endpoint::Dicomweb(Dicomweb::Search { study, series, .. }) => {
            deed.study = study.clone().or_else(|| of_keys(&asked.query, &STUDY_KEYS));
            deed.object = series.as_ref().map(|series| (ObjectKind::Series, series.to_string()));
            deed.detail = Some(format!("{} by {}", endpoint.name(), keys(&asked.query)));
        }
        Endpoint::Dicomweb(Dicomweb::WadoUri) => of_parameters(&mut deed, &asked.query),
        Endpoint::Dicomweb(Dicomweb::Store { study }) => deed.study = study.clone(),
        Endpoint::Dicomweb(endpoint) => of_scope(&mut deed, endpoint.scope()),
        Endpoint::Rest(matched) => {
            of_route(&mut deed, matched, asked);
            of_studies(state, &mut deed, matched, asked).await?;
        }
        Endpoint::Console | Endpoint::Healthz | Endpoint::Readyz | Endpoint::Docs(_) | Endpoint::Metrics => {}
    }
    Ok(deed)
}

/// By which a search names one study.
const STUDY_KEYS: [&str; 2] = ["StudyInstanceUID", "0020000D"];

fn of_keys(query: &QueryString, keys: &[&str]) -> Option<StudyUid> {
    keys.iter().find_map(|key| query.get(key)).and_then(|uid| uid.parse().ok())
}

pub(super) fn of_scope(deed: &mut Deed, scope: Option<&Scope>) {
    let Some(scope) = scope else { return };
    deed.study = Some(scope.study().clone());
    let instance = scope.instance().map(|instance| (ObjectKind::Instance, instance.to_string()));
    deed.object = instance.or_else(|| scope.series().map(|series| (ObjectKind::Series, series.to_string())));
}

/// PS3.18 9.4: what is no UID names nothing.
fn of_parameters(deed: &mut Deed, query: &QueryString) {
    deed.study = query.get("studyUID").and_then(|uid| uid.parse().ok());
    let instance = query.get("objectUID").filter(|uid| is_id(uid));
    deed.object = instance.map(|uid| (ObjectKind::Instance, uid.to_owned()));
}

/// The narrowest thing that the path names is the object; what it stands in, the detail says.
fn of_route(deed: &mut Deed, matched: &Matched, asked: &Asked) {
    let named = OBJECTS.iter().map(|(template, kind)| (template, kind, matched.parameters.text(template)));
    let mut named = named.filter(|(_, _, id)| is_id(id));
    deed.object = named.next().map(|(_, kind, id)| (*kind, id.to_owned()));
    let within = named.map(|(template, _, id)| (*template, id));
    let parts = PARTS.iter().map(|template| (*template, matched.parameters.text(template)));
    let mut detail = matched.route.name.to_owned();
    for (template, id) in parts.filter(|(_, id)| is_id(id)).chain(within) {
        detail.push_str(&format!(", {template} {id}"));
    }
    if deed.action == Action::Query || deed.action == Action::ReadAudit {
        detail.push_str(&format!(" by {}", keys(&asked.query)));
    }
    deed.detail = Some(detail);
}

/// The studies that the path leads to, or the one that a list is asked for. The trail itself is read of
/// no study.
async fn of_studies(
    state: &State,
    deed: &mut Deed,
    matched: &Matched,
    asked: &Asked,
) -> Result<(), HttpError> {
    let max = state.settings.audit_studies_max;
    let mut studies = visible::studies(state, &asked.caller, matched, max.saturating_add(1)).await?;
    if studies.len() > max as usize {
        limit_hit("audit.studies_max");
        studies.truncate(max as usize);
        deed.detail.get_or_insert_default().push_str(", and further studies");
    }
    let mut studies = studies.into_iter();
    let is_of_trail = matches!(deed.action, Action::ReadAudit | Action::ExportAudit);
    let asked_for = (!is_of_trail).then(|| of_keys(&asked.query, &["study"])).flatten();
    deed.study = studies.next().or(asked_for);
    deed.also = studies.collect();
    Ok(())
}

/// Which template names what; the narrower one first.
const OBJECTS: &[(&str, ObjectKind)] = &[
    ("stated", ObjectKind::Finding),
    ("report", ObjectKind::Report),
    ("analysis", ObjectKind::Analysis),
    ("export", ObjectKind::Export),
    ("destination", ObjectKind::Destination),
    ("node", ObjectKind::Node),
    ("commitment", ObjectKind::Transaction),
    ("user", ObjectKind::User),
    ("key", ObjectKind::ApiKey),
    ("session", ObjectKind::Session),
    ("group", ObjectKind::Group),
    ("job", ObjectKind::Job),
    ("deletion", ObjectKind::Deletion),
    ("upload", ObjectKind::Upload),
    ("download", ObjectKind::Download),
    ("instance", ObjectKind::Instance),
    ("series", ObjectKind::Series),
    ("patient", ObjectKind::Patient),
];

/// Templates that number a part of the object.
const PARTS: &[&str] = &["version"];

/// What stands in a path may be anything; what looks like an id is told.
fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// The names of the keys of a search, of those that there are: a name could hold anything as well.
fn keys(query: &QueryString) -> String {
    let mut known = Vec::new();
    let mut unknown = 0;
    for (name, _) in query.iter().take(KEYS_MAX) {
        let is_known =
            OWN_KEYS.contains(&name) || name.split('.').all(|part| part.parse::<AttributeId>().is_ok());
        match is_known {
            true if !known.contains(&name) => known.push(name),
            true => {}
            false => unknown += 1,
        }
    }
    match (known.is_empty(), unknown) {
        (true, 0) => "no key".to_owned(),
        (true, _) => format!("{unknown} unknown"),
        (false, 0) => known.join(" "),
        (false, _) => format!("{} and {unknown} unknown", known.join(" ")),
    }
}

/// Parameters that are no attributes.
const OWN_KEYS: &[&str] = &[
    "limit",
    "offset",
    "fuzzymatching",
    "includefield",
    "accept",
    "cursor",
    "sort",
    "fields",
    "total",
    "modality",
    "from",
    "to",
    "date",
    "status",
    "state",
    "priority",
    "assignee",
    "finding",
    "text",
    "q",
    "group",
    "study",
    "actor",
    "action",
    "outcome",
    "request_id",
    "object",
    "patient",
    "study_uid",
    "date_from",
    "date_to",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::rest::TABLE;

    /// Has a column of its own.
    const COLUMN: &str = "study";

    #[test]
    fn every_template_of_the_api_is_told_in_the_trail() {
        let templates = TABLE.iter().flat_map(|rows| rows.iter()).flat_map(|route| route.templates());
        let is_told = |name: &&str| {
            *name == COLUMN || PARTS.contains(name) || OBJECTS.iter().any(|(template, _)| template == name)
        };
        let untold: Vec<&str> = templates.filter(|name| !is_told(name)).collect();
        assert!(untold.is_empty(), "not in http::recorded::about::OBJECTS: {untold:?}");
    }

    #[test]
    fn nothing_is_told_that_no_path_names() {
        let routes = || TABLE.iter().flat_map(|rows| rows.iter());
        let has = |name: &str| routes().any(|route| route.templates().any(|template| template == name));
        let told = OBJECTS.iter().map(|(template, _)| *template).chain(PARTS.iter().copied());
        let idle: Vec<&str> = told.filter(|name| !has(name)).collect();
        assert!(idle.is_empty(), "{idle:?}");
    }
}
