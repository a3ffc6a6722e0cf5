//! Owner groups: who is in them, and which studies belong to them.

use std::sync::Arc;

use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::etag::{self, Etag};
use super::fields::Fields;
use super::page::{self, FieldsParameter, List, Page, PageParameters};
use super::routes::{Call, PathParameters, Route, routes};
use super::time::Time;
use crate::audit::{Action, Entry, ObjectKind};
use crate::auth::{Permission, Reach, may};
use crate::config::GROUP_NAME_BYTES_MAX;
use crate::db::audit;
use crate::db::groups::MemberKind;
use crate::db::groups::administration::{self as stored, DELETE_GROUP, TOUCH_GROUP, UNCHANGED_GROUPS};
use crate::db::{Batch, DbError, api_keys, users};
use crate::dicom::uid::StudyUid;
use crate::http::State;
use crate::http::body::{self, Inbound};
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

pub(super) const ROUTES: &[Route] = routes! {
    GET "groups", "api-groups", may(Permission::ManageUsers), |call| list(&call.state, &call.asked).await;
    POST "groups", "api-create-group", may(Permission::ManageUsers), |call| create(call).await;
    GET "groups/{group}", "api-group", may(Permission::ManageUsers), |call| one(&call.into()).await;
    PATCH "groups/{group}", "api-rename-group", may(Permission::ManageUsers), |call| rename(call).await;
    DELETE "groups/{group}", "api-delete-group", may(Permission::ManageUsers), |call| delete(&call.into()).await;
    PUT "groups/{group}/users/{user}", "api-add-group-user", may(Permission::ManageUsers),
        |call| add_user(&call.into()).await;
    DELETE "groups/{group}/users/{user}", "api-remove-group-user", may(Permission::ManageUsers),
        |call| remove_user(&call.into()).await;
    PUT "groups/{group}/api-keys/{key}", "api-add-group-key", may(Permission::ManageUsers),
        |call| add_key(&call.into()).await;
    DELETE "groups/{group}/api-keys/{key}", "api-remove-group-key", may(Permission::ManageUsers),
        |call| remove_key(&call.into()).await;
    GET "studies/{study}/groups", "api-study-groups", may(Permission::ViewStudies),
        |call| of_study(&call.into()).await;
    PUT "studies/{study}/groups/{group}", "api-add-study-group", may(Permission::ManageWorklist),
        |call| add_study(&call.into()).await;
    DELETE "studies/{study}/groups/{group}", "api-remove-study-group", may(Permission::ManageWorklist),
        |call| remove_study(&call.into()).await;
};

/// A request without its body.
struct Question {
    state: Arc<State>,
    path: PathParameters,
    asked: Asked,
}

impl From<Call> for Question {
    fn from(call: Call) -> Self {
        Self { state: call.state, path: call.path, asked: call.asked }
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    list,
    create,
    one,
    rename,
    delete,
    add_user,
    remove_user,
    add_key,
    remove_key,
    of_study,
    add_study,
    remove_study
))]
pub(super) struct Doc;

const LIST: List = List {
    name: "groups",
    filters: &[],
    sorts: &[("name", "owner_group.name"), ("id", "owner_group.id")],
    default: "name",
    key: "owner_group.id",
};

/// Who sees which studies.
#[derive(Debug, Serialize, ToSchema)]
struct Group {
    id: String,
    name: String,
    /// Users and API keys.
    member_count: i64,
    study_count: i64,
    created_at: Time,
    updated_at: Time,
    links: GroupLinks,
}

#[derive(Debug, Serialize, ToSchema)]
struct GroupLinks {
    #[serde(rename = "self")]
    own: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct GroupWithMembers {
    #[serde(flatten)]
    group: Group,
    members: Vec<Member>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Member {
    /// `user` or `api-key`.
    kind: String,
    id: String,
    added_at: Time,
}

/// What a group is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GroupWish {
    #[schema(min_length = 1, max_length = 64)]
    name: String,
}

/// The groups of one study.
#[derive(Debug, Serialize, ToSchema)]
struct StudyGroups {
    study_uid: StudyUid,
    /// Of those who do not reach everything, their own alone.
    groups: Vec<StudyGroup>,
}

#[derive(Debug, Serialize, ToSchema)]
struct StudyGroup {
    id: String,
    name: String,
}

/// Groups
///
/// With the numbers of their members and studies.
#[utoipa::path(
    get, path = "/groups", operation_id = "listGroups", tag = "groups", params(PageParameters),
    responses((status = 200, description = "A page of groups", body = Page<Group>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<Group>(&asked.query, "")?;
    let found = stored::list(&state.db, &wanted.page).await?;
    wanted.answer(found.map(|group| summary(&group, &asked.urls)))
}

/// Make a group
#[utoipa::path(
    post, path = "/groups", operation_id = "createGroup", tag = "groups", request_body = GroupWish,
    responses(
        (status = 201, description = "The new group", body = GroupWithMembers),
        (status = 409, description = "There is a group of that name"),
        (status = 422, description = "No name for a group")
    )
)]
async fn create(call: Call) -> Answer {
    let Call { state, asked, body, .. } = call;
    let name = wish(body).await?;
    let batch = stored::create(&name, state.clock.now());
    change(&state, &asked, batch, &Told::of(&name, "created".to_owned())).await?;
    let group = stored::named(&state.db, &name).await?.ok_or(HttpError::NotFound("group"))?;
    let mut response = answer(&state, &asked, &group, StatusCode::CREATED).await?;
    let location = HeaderValue::from_str(&url(group.id, &asked.urls));
    response.headers_mut().insert(LOCATION, location.map_err(HttpError::internal("naming the group"))?);
    Ok(response)
}

/// One group
///
/// With its members.
#[utoipa::path(
    get, path = "/groups/{group}", operation_id = "getGroup", tag = "groups",
    params(("group" = String, Path), FieldsParameter),
    responses(
        (status = 200, description = "The group", body = GroupWithMembers),
        (status = 304, description = "Known"),
        (status = 404, description = "There is none of that id")
    )
)]
async fn one(call: &Question) -> Answer {
    let group = find(call).await?;
    let whole = whole(&call.state, &group, &call.asked.urls).await?;
    etag::answer_of(version(&group), &call.asked, &whole)
}

/// Give a group another name
#[utoipa::path(
    patch, path = "/groups/{group}", operation_id = "renameGroup", tag = "groups",
    params(("group" = String, Path), ("If-Match" = String, Header)), request_body = GroupWish,
    responses(
        (status = 200, description = "The group", body = GroupWithMembers),
        (status = 404, description = "There is none of that id"),
        (status = 409, description = "There is a group of that name"),
        (status = 412, description = "It has changed since it was read"),
        (status = 422, description = "No name for a group"),
        (status = 428, description = "If-Match is missing")
    )
)]
async fn rename(call: Call) -> Answer {
    let Call { state, path, asked, body } = call;
    let question = Question { state, path, asked };
    let group = to_change(&question).await?;
    let Question { state, asked, .. } = question;
    let name = wish(body).await?;
    let batch = stored::rename(&group, &name, state.clock.now());
    let id = group.id.to_string();
    change(&state, &asked, batch, &Told::of(&id, format!("renamed {name}"))).await?;
    let group = stored::one(&state.db, group.id).await?.ok_or(HttpError::NotFound("group"))?;
    answer(&state, &asked, &group, StatusCode::OK).await
}

/// Delete a group
///
/// One without studies.
#[utoipa::path(
    delete, path = "/groups/{group}", operation_id = "deleteGroup", tag = "groups",
    params(("group" = String, Path), ("If-Match" = String, Header)),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is none of that id"),
        (status = 409, description = "It has studies"),
        (status = 412, description = "It has changed since it was read"),
        (status = 428, description = "If-Match is missing")
    )
)]
async fn delete(call: &Question) -> Answer {
    let group = to_change(call).await?;
    let batch = stored::delete(&group, call.state.clock.now());
    let told = Told::of(call.path.text("group"), format!("deleted {}", group.name));
    change(&call.state, &call.asked, batch, &told).await?;
    done()
}

/// Put a user into a group
#[utoipa::path(
    put, path = "/groups/{group}/users/{user}", operation_id = "addGroupUser", tag = "groups",
    params(("group" = String, Path), ("user" = String, Path), ("If-Match" = String, Header)),
    responses(
        (status = 200, description = "The group", body = GroupWithMembers),
        (status = 404, description = "There is no such group or user"),
        (status = 412, description = "It has changed since it was read"),
        (status = 428, description = "If-Match is missing")
    )
)]
async fn add_user(call: &Question) -> Answer {
    put_in(call, MemberKind::User, "user").await
}

/// Take a user out of a group
#[utoipa::path(
    delete, path = "/groups/{group}/users/{user}", operation_id = "removeGroupUser", tag = "groups",
    params(("group" = String, Path), ("user" = String, Path), ("If-Match" = String, Header)),
    responses(
        (status = 200, description = "The group", body = GroupWithMembers),
        (status = 404, description = "There is no such group"),
        (status = 412, description = "It has changed since it was read"),
        (status = 428, description = "If-Match is missing")
    )
)]
async fn remove_user(call: &Question) -> Answer {
    take_out(call, MemberKind::User, "user").await
}

/// Put an API key into a group
#[utoipa::path(
    put, path = "/groups/{group}/api-keys/{key}", operation_id = "addGroupKey", tag = "groups",
    params(("group" = String, Path), ("key" = String, Path), ("If-Match" = String, Header)),
    responses(
        (status = 200, description = "The group", body = GroupWithMembers),
        (status = 404, description = "There is no such group or key"),
        (status = 412, description = "It has changed since it was read"),
        (status = 428, description = "If-Match is missing")
    )
)]
async fn add_key(call: &Question) -> Answer {
    put_in(call, MemberKind::ApiKey, "key").await
}

/// Take an API key out of a group
#[utoipa::path(
    delete, path = "/groups/{group}/api-keys/{key}", operation_id = "removeGroupKey", tag = "groups",
    params(("group" = String, Path), ("key" = String, Path), ("If-Match" = String, Header)),
    responses(
        (status = 200, description = "The group", body = GroupWithMembers),
        (status = 404, description = "There is no such group"),
        (status = 412, description = "It has changed since it was read"),
        (status = 428, description = "If-Match is missing")
    )
)]
async fn remove_key(call: &Question) -> Answer {
    take_out(call, MemberKind::ApiKey, "key").await
}

async fn put_in(call: &Question, kind: MemberKind, template: &'static str) -> Answer {
    let group = to_change(call).await?;
    let member = call.path.text(template);
    if !is_there(&call.state, kind, member).await? {
        return Err(HttpError::NotFound(template));
    }
    let batch = stored::add_member(&group, kind, member, call.state.clock.now());
    members_changed(call, batch, format!("put in {} {member}", kind.as_str())).await
}

async fn is_there(state: &State, kind: MemberKind, member: &str) -> Result<bool, HttpError> {
    Ok(match kind {
        MemberKind::User => users::one(&state.db, member).await?.is_some(),
        MemberKind::ApiKey => api_keys::one(&state.db, member).await?.is_some(),
    })
}

async fn take_out(call: &Question, kind: MemberKind, template: &'static str) -> Answer {
    let group = to_change(call).await?;
    let member = call.path.text(template);
    let batch = stored::remove_member(&group, kind, member, call.state.clock.now());
    members_changed(call, batch, format!("took out {} {member}", kind.as_str())).await
}

async fn members_changed(call: &Question, batch: Batch, detail: String) -> Answer {
    let told = Told::of(call.path.text("group"), detail);
    change(&call.state, &call.asked, batch, &told).await?;
    answer(&call.state, &call.asked, &find(call).await?, StatusCode::OK).await
}

/// The groups of a study
///
/// Those of the caller, unless he reaches everything. The entity tag is that of all.
#[utoipa::path(
    get, path = "/studies/{study}/groups", operation_id = "listStudyGroups", tag = "groups",
    params(("study" = StudyUid, Path), FieldsParameter),
    responses(
        (status = 304, description = "Known"),
        (status = 200, description = "The groups", body = StudyGroups),
        (status = 404, description = "There is no such study")
    )
)]
async fn of_study(call: &Question) -> Answer {
    page::check_names(&call.asked.query, &["fields"])?;
    let fields = Fields::of::<StudyGroups>(&call.asked.query)?;
    let study = call.path.study()?;
    let all = groups_of(&call.state, &study).await?;
    let shown = all.iter().filter(|(id, _)| in_reach(&call.asked.caller.reach, *id));
    let groups = shown.map(|(id, name)| StudyGroup { id: id.to_string(), name: name.clone() }).collect();
    let etag = tag_of(&study, &all)?;
    let answer = StudyGroups { study_uid: study, groups };
    etag.unless_known(&call.asked.headers, || super::json(StatusCode::OK, &fields.select(&answer)?))
}

/// Give a study to a group
///
/// Its members see the study from now on.
#[utoipa::path(
    put, path = "/studies/{study}/groups/{group}", operation_id = "addStudyGroup", tag = "groups",
    params(("study" = StudyUid, Path), ("group" = String, Path), ("If-Match" = String, Header)),
    responses(
        (status = 200, description = "The groups", body = StudyGroups),
        (status = 404, description = "There is no such study or group"),
        (status = 412, description = "They have changed since they were read"),
        (status = 428, description = "If-Match is missing")
    )
)]
async fn add_study(call: &Question) -> Answer {
    let (study, read) = groups_to_change(call).await?;
    let group = find(call).await?;
    let batch = stored::add_study(&study, &read, group.id, call.state.clock.now());
    let told = Told { study: Some(&study), ..Told::of(call.path.text("group"), "study put in".to_owned()) };
    change(&call.state, &call.asked, batch, &told).await?;
    of_study(call).await
}

/// Take a study from a group
///
/// Who does not reach everything leaves a study one group at least.
#[utoipa::path(
    delete, path = "/studies/{study}/groups/{group}", operation_id = "removeStudyGroup", tag = "groups",
    params(("study" = StudyUid, Path), ("group" = String, Path), ("If-Match" = String, Header)),
    responses(
        (status = 204, description = "It no longer belongs to the group"),
        (status = 404, description = "There is no such study or group"),
        (status = 409, description = "It is the last group of the study"),
        (status = 412, description = "They have changed since they were read"),
        (status = 428, description = "If-Match is missing")
    )
)]
async fn remove_study(call: &Question) -> Answer {
    let (study, read) = groups_to_change(call).await?;
    let group = find(call).await?;
    // A study of no group may be seen by everybody.
    if read == [group.id] && !call.asked.caller.reach.has_every_study() {
        let reason = "the last group of a study is taken from it by those who reach everything";
        return Err(HttpError::Conflict(reason.to_owned()));
    }
    let batch = stored::remove_study(&study, &read, group.id);
    let told =
        Told { study: Some(&study), ..Told::of(call.path.text("group"), "study taken out".to_owned()) };
    change(&call.state, &call.asked, batch, &told).await?;
    done()
}

async fn groups_of(state: &State, study: &StudyUid) -> Result<Vec<(i64, String)>, HttpError> {
    Ok(stored::of_study(&state.db, study).await?)
}

fn tag_of(study: &StudyUid, groups: &[(i64, String)]) -> Result<Etag, HttpError> {
    Etag::of_content(&(study, groups))
}

/// The study, and its groups as the request knows them.
async fn groups_to_change(call: &Question) -> Result<(StudyUid, Vec<i64>), HttpError> {
    let study = call.path.study()?;
    let all = groups_of(&call.state, &study).await?;
    tag_of(&study, &all)?.required(&call.asked.headers, "list of groups")?;
    Ok((study, all.into_iter().map(|(id, _)| id).collect()))
}

fn in_reach(reach: &Reach, group: i64) -> bool {
    match reach {
        Reach::Everything | Reach::Released => true,
        Reach::Groups { ids, .. } => ids.contains(&group),
    }
}

async fn find(call: &Question) -> Result<stored::Group, HttpError> {
    let id = call.path.text("group").parse().ok();
    let found = match id {
        Some(id) => stored::one(&call.state.db, id).await?,
        None => None,
    };
    found.ok_or(HttpError::NotFound("group"))
}

/// The group of the path, as the request knows it.
async fn to_change(call: &Question) -> Result<stored::Group, HttpError> {
    let group = find(call).await?;
    version(&group).required(&call.asked.headers, "group")?;
    Ok(group)
}

/// Studies come and go without a change of the group.
fn version(group: &stored::Group) -> Etag {
    Etag::of_version(&group.id.to_string(), group.version)
}

async fn wish(body: Inbound) -> Result<String, HttpError> {
    let GroupWish { name } = super::wish(body, "{\"name\": NAME}").await?;
    let is_name = !name.trim().is_empty() && name.len() <= GROUP_NAME_BYTES_MAX;
    let is_name = is_name && name.trim() == name && !name.chars().any(char::is_control);
    let reason = || format!("a name has 1 to {GROUP_NAME_BYTES_MAX} bytes, and no space around it");
    if is_name { Ok(name) } else { Err(HttpError::Unprocessable(reason())) }
}

/// What the audit trail says of a change.
struct Told<'a> {
    study: Option<&'a StudyUid>,
    /// The id of the group, or the name of a new one.
    group: &'a str,
    detail: String,
}

impl<'a> Told<'a> {
    fn of(group: &'a str, detail: String) -> Self {
        Self { study: None, group, detail }
    }
}

async fn change(state: &State, asked: &Asked, batch: Batch, told: &Told<'_>) -> Result<(), HttpError> {
    let actor = asked.who();
    let (action, study) = match told.study {
        Some(study) => (Action::ChangeReach, Some(study)),
        None => (Action::ChangeGroup, None),
    };
    let entry = Entry::new(&actor, action).object(ObjectKind::Group, told.group);
    let entry = Entry { study, detail: Some(&told.detail), ..entry };
    let batch = batch.then(audit::append(&entry, state.clock.now()));
    state.db.run(batch).await.map(drop).map_err(refused)
}

/// No content, and nothing else.
fn done() -> Answer {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn refused(error: DbError) -> HttpError {
    match error {
        DbError::Affected { statement: TOUCH_GROUP, .. } => HttpError::PreconditionFailed("group"),
        DbError::Affected { statement: UNCHANGED_GROUPS, .. } => {
            HttpError::PreconditionFailed("list of groups")
        }
        DbError::Affected { statement: DELETE_GROUP, .. } => {
            HttpError::Conflict("the group has studies: they would be of no group".to_owned())
        }
        DbError::Unique { .. } => HttpError::Conflict("there is a group of that name".to_owned()),
        error => error.into(),
    }
}

async fn answer(state: &State, asked: &Asked, group: &stored::Group, status: StatusCode) -> Answer {
    let whole = whole(state, group, &asked.urls).await?;
    let mut response = super::json(status, &whole)?;
    version(group).saying(&whole)?.mark(&mut response);
    Ok(response)
}

async fn whole(state: &State, group: &stored::Group, urls: &Urls) -> Result<GroupWithMembers, HttpError> {
    let members = stored::members(&state.db, group.id).await?;
    let members = members.into_iter().map(|member| Member {
        kind: member.kind,
        id: member.id,
        added_at: member.added_at.into(),
    });
    Ok(GroupWithMembers { group: summary(group, urls), members: members.collect() })
}

fn summary(group: &stored::Group, urls: &Urls) -> Group {
    Group {
        id: group.id.to_string(),
        name: group.name.clone(),
        member_count: group.members,
        study_count: group.studies,
        created_at: group.created_at.into(),
        updated_at: group.updated_at.into(),
        links: GroupLinks { own: url(group.id, urls) },
    }
}

fn url(id: i64, urls: &Urls) -> String {
    urls.rest(&format!("groups/{id}"))
}
