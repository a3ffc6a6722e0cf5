//! What a caller can see: everything of a study that is not in his reach is answered as if it were
//! not there.
//!
//! Ids in the path of the REST API are looked at here, before any handler: [`TEMPLATES`] says what
//! stands behind each. What a handler reads besides by an id (of a body or a query), it asks for by
//! [`study`] or [`thing`]; lists narrow their statements by `db::groups::condition`.

use super::State;
use super::error::HttpError;
use super::rest::Matched;
use super::rest::routes::{PathParameters, Route};
use crate::auth::{Caller, Permission, Reach};
use crate::db::DbError;
use crate::db::groups::{self, Belonging};
use crate::dicom::uid::StudyUid;

/// What the value of a template is, and with it who sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Template {
    /// Of a study.
    Of(Belonging),
    /// A group of one's own.
    Group,
    /// A part of what the other templates of the path name, found with their values.
    Within,
    /// Nothing of a study; who sees it, its handler says.
    Unrelated,
    /// For those whom no group bounds.
    OfServer,
}

/// Every template of the REST API; one that is not here leads nobody anywhere who does not reach
/// everything.
pub(crate) const TEMPLATES: &[(&str, Template)] = &[
    ("study", Template::Of(Belonging::Study)),
    ("patient", Template::Of(Belonging::Patient)),
    ("series", Template::Of(Belonging::Series)),
    ("instance", Template::Of(Belonging::Instance)),
    ("analysis", Template::Of(Belonging::Analysis)),
    ("finding", Template::Of(Belonging::Finding)),
    ("report", Template::Of(Belonging::Report)),
    ("export", Template::Of(Belonging::Export)),
    ("group", Template::Group),
    ("destination", Template::Unrelated),
    ("node", Template::Unrelated),
    ("user", Template::Unrelated),
    ("key", Template::Unrelated),
    ("session", Template::Unrelated),
    ("upload", Template::Unrelated),
    ("download", Template::Unrelated),
    ("version", Template::Within),
    // Of a report: what a person added stands in no other table.
    ("stated", Template::Within),
    ("plane", Template::Within),
    ("job", Template::OfServer),
    ("commitment", Template::OfServer),
    ("deletion", Template::OfServer),
];

/// 404 unless every template of the path names something that the caller can see, and that is
/// there: a request for what is hidden and one for what does not exist end at the same place.
pub(crate) async fn path(
    state: &State,
    caller: &Caller,
    route: &Route,
    path: &PathParameters,
) -> Result<(), HttpError> {
    if caller.reach.is_everything() {
        return Ok(());
    }
    for name in route.templates() {
        template(state, caller, name, path.text(name)).await?;
    }
    Ok(())
}

async fn template(state: &State, caller: &Caller, name: &'static str, id: &str) -> Result<(), HttpError> {
    let sees = match (known(name), &caller.reach) {
        (Some(Template::Within | Template::Unrelated), _) => true,
        (Some(Template::Of(thing)), reach) => groups::reaches(&state.db, reach, thing, id).await?,
        (Some(Template::Group), Reach::Groups { ids, .. }) => {
            id.parse().is_ok_and(|id: i64| ids.contains(&id))
        }
        (Some(Template::Group), Reach::Everything | Reach::Released) => true,
        (Some(Template::OfServer) | None, reach) => reach.has_every_study(),
    };
    if sees { Ok(()) } else { Err(HttpError::NotFound(name)) }
}

fn known(name: &str) -> Option<Template> {
    TEMPLATES.iter().find(|(template, _)| *template == name).map(|(_, template)| *template)
}

/// The studies that a path leads to, by its own words or by the id of something of theirs: as far as the
/// caller sees them, and `max` of them at most.
pub(crate) async fn studies(
    state: &State,
    caller: &Caller,
    matched: &Matched,
    max: u32,
) -> Result<Vec<StudyUid>, DbError> {
    let Matched { route, parameters } = matched;
    if parameters.has("study") {
        return Ok(parameters.study().into_iter().collect());
    }
    for name in route.templates() {
        if let Some(Template::Of(thing)) = known(name) {
            let id = parameters.text(name);
            return groups::studies_of(&state.db, &caller.reach, thing, id, max).await;
        }
    }
    Ok(Vec::new())
}

/// 404 unless the caller can see the study, and it is there or was.
pub(crate) async fn study(state: &State, caller: &Caller, study: &StudyUid) -> Result<(), HttpError> {
    thing(state, caller, Belonging::Study, study.as_str(), "study").await
}

/// 404 unless the caller can see what has this id; `noun` is the word for it.
pub(crate) async fn thing(
    state: &State,
    caller: &Caller,
    thing: Belonging,
    id: &str,
    noun: &'static str,
) -> Result<(), HttpError> {
    let sees = caller.reach.is_everything() || groups::reaches(&state.db, &caller.reach, thing, id).await?;
    if sees { Ok(()) } else { Err(HttpError::NotFound(noun)) }
}

/// What goes out of a study whole has the drafts in it.
pub(crate) fn drafts(caller: &Caller) -> Result<(), HttpError> {
    let sees = caller.reach.has_drafts();
    if sees { Ok(()) } else { Err(HttpError::MissingPermission(Permission::ReadDrafts)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::rest::TABLE;

    #[test]
    fn every_template_of_the_api_says_who_sees_what_stands_behind_it() {
        let routes = TABLE.iter().flat_map(|rows| rows.iter());
        let unknown = routes.filter(|route| route.templates().any(|name| known(name).is_none()));
        let unknown: Vec<&str> = unknown.map(|route| route.path).collect();
        assert!(unknown.is_empty(), "not in http::visible::TEMPLATES: {unknown:?}");
    }

    #[test]
    fn a_part_stands_behind_what_it_is_a_part_of() {
        let routes = TABLE.iter().flat_map(|rows| rows.iter());
        let first = routes.filter_map(|route| Some((route.path, route.templates().next()?)));
        let open: Vec<_> = first.filter(|(_, name)| known(name) == Some(Template::Within)).collect();
        assert!(open.is_empty(), "nobody looks at these ids: {open:?}");
    }
}
