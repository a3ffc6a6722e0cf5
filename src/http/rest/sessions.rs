//! Sessions: one's own, and those of others for who manages users.

use serde::Serialize;
use utoipa::ToSchema;

use super::etag::{self, Etag};
use super::page::{FieldsParameter, List, Page, PageParameters};
use super::routes::{Route, routes};
use super::time::Time;
use crate::auth::{Needs, Permission, Subject};
use crate::db::sessions::{self, Session as Stored};
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};

pub(super) const ROUTES: &[Route] = routes! {
    GET "sessions", "api-sessions", Needs::Identity, |call| list(&call.state, &call.asked).await;
    GET "sessions/{session}", "api-session", Needs::Identity,
        |call| one(&call.state, call.path.text("session"), &call.asked).await;
    DELETE "sessions/{session}", "api-end-session", Needs::Identity,
        |call| end(&call.state, call.path.text("session"), &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, end))]
pub(super) struct Doc;

const LIST: List = List {
    name: "sessions",
    filters: &["user"],
    sorts: &[("created_at", "session.created_at"), ("last_used_at", "session.last_used_at")],
    default: "-created_at",
    key: "session.id",
};

/// A session that has not ended.
#[derive(Serialize, ToSchema)]
struct Session {
    id: String,
    /// Id of the user.
    user: String,
    /// `password`, `provider`.
    means: String,
    /// Address that it was begun from.
    client: String,
    /// User-Agent that it was begun with.
    agent: Option<String>,
    created_at: Time,
    last_used_at: Time,
    /// When a secret was last shown.
    authenticated_at: Time,
    expires_at: Time,
    /// That of this request.
    current: bool,
}

/// Sessions
///
/// One's own; with `user=ID`, or `user=all`, those of others for who manages users.
#[utoipa::path(
    get, path = "/sessions", operation_id = "listSessions", tag = "sessions",
    params(PageParameters, ("user" = Option<String>, Query)),
    responses((status = 200, description = "A page of sessions", body = Page<Session>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<Session>(&asked.query, own(asked).unwrap_or(""))?;
    let of = match (asked.query.get("user"), own(asked)) {
        (Some(user), Some(own)) if user == own => Some(own),
        (Some(_), _) if !manages(asked) => return Err(HttpError::MissingPermission(Permission::ManageUsers)),
        (Some("all"), _) => None,
        (Some(user), _) => Some(user),
        (None, own) => Some(own.unwrap_or("")),
    };
    let found = sessions::open(&state.db, of, state.access.now(), &wanted.page).await?;
    wanted.answer(found.map(|session| shown(session, asked)))
}

/// One session
///
/// One's own, or that of somebody else for who manages users; one that has ended is not there.
#[utoipa::path(
    get, path = "/sessions/{session}", operation_id = "getSession", tag = "sessions",
    params(("session" = String, Path), FieldsParameter),
    responses((status = 200, description = "The session", body = Session), (status = 304, description = "Known"))
)]
async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let session = find(state, id, asked).await?;
    // Nothing of a session changes but its use and its end.
    etag::answer_of(Etag::of_version(id, 0), asked, &shown(session, asked))
}

/// One that the caller may see, and that has not ended.
async fn find(state: &State, id: &str, asked: &Asked) -> Result<Stored, HttpError> {
    let session = sessions::one(&state.db, id).await?.ok_or(HttpError::NotFound("session"))?;
    let is_own = own(asked).is_some_and(|own| own == session.account);
    let is_open = session.ended_at.is_none() && session.expires_at > state.access.now();
    if is_open && (is_own || manages(asked)) { Ok(session) } else { Err(HttpError::NotFound("session")) }
}

/// End a session
///
/// One's own, or that of somebody else for who manages users. Its tokens are good for nothing within
/// seconds.
#[utoipa::path(
    delete, path = "/sessions/{session}", operation_id = "endSession", tag = "sessions",
    params(("session" = String, Path)),
    responses((status = 204, description = "The session has ended"))
)]
async fn end(state: &State, id: &str, asked: &Asked) -> Answer {
    find(state, id, asked).await?;
    if !state.access.end_session(id, &asked.who()).await? {
        return Err(HttpError::NotFound("session"));
    }
    Ok(super::no_content())
}

fn own(asked: &Asked) -> Option<&str> {
    match &asked.caller.subject {
        Subject::User { id, .. } => Some(id),
        Subject::Anonymous | Subject::ApiKey { .. } => None,
    }
}

fn manages(asked: &Asked) -> bool {
    asked.caller.may(Permission::ManageUsers)
}

fn shown(session: Stored, asked: &Asked) -> Session {
    Session {
        current: asked.caller.session.as_ref() == Some(&session.id),
        id: session.id,
        user: session.account,
        means: session.means,
        client: session.client,
        agent: session.agent,
        created_at: session.created_at.into(),
        last_used_at: session.last_used_at.into(),
        authenticated_at: session.auth_time.into(),
        expires_at: session.expires_at.into(),
    }
}
