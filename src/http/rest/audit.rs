//! The audit trail for auditors: a list to look through, and an export. Reading it is recorded as
//! every request is.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{List, Page, PageParameters};
use super::routes::{Route, routes};
use super::time::Time;
use crate::audit::{Action, Form, Outcome};
use crate::auth::{Permission, may};
use crate::clock::Timestamp;
use crate::db::audit::{self, Filter, Record};
use crate::http::body::{self, BoxError};
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::http::service::{Answer, Asked};
use crate::http::{State, limit_hit};

pub(super) const ROUTES: &[Route] = routes! {
    GET "audit", "api-audit", may(Permission::ReadAudit), |call| list(&call.state, &call.asked).await;
    GET "audit/export", "api-audit-export", may(Permission::ReadAudit),
        |call| export(call.state, &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, export))]
pub(super) struct Doc;

const FILTERS: [&str; 8] = ["actor", "action", "study", "object", "outcome", "request_id", "from", "to"];

const LIST: List = List {
    name: "audit",
    filters: &FILTERS,
    sorts: &[("sequence", "sequence"), ("at", "at")],
    default: "-sequence",
    key: "sequence",
};

/// One entry of the audit trail.
#[derive(Serialize, ToSchema)]
struct AuditEntry {
    /// In the order of commits, without gaps.
    sequence: i64,
    at: Time,
    /// Of an entry that tells of the end of something.
    began_at: Option<Time>,
    actor: AuditActor,
    /// As in `store-instance` or `log-in`.
    action: String,
    resource: AuditResource,
    /// `begun`, `success`, `minor-failure`, `denied` or `error`.
    outcome: String,
    /// Of the request, the association or the run.
    request_id: Option<String>,
    detail: Option<String>,
    /// SHA-256 over the entry and the one before it.
    sha256: String,
}

#[derive(Serialize, ToSchema)]
struct AuditActor {
    /// `user`, `api-key`, `node`, `system` or `anonymous`.
    kind: String,
    id: Option<String>,
    name: String,
    roles: Vec<String>,
    means: String,
    address: Option<String>,
    ae_title: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct AuditResource {
    study_uid: Option<String>,
    kind: Option<String>,
    id: Option<String>,
}

/// The audit trail
///
/// Who did what, the latest first.
#[utoipa::path(
    get, path = "/audit", operation_id = "listAuditEntries", tag = "audit",
    params(PageParameters,
        ("actor" = Option<String>, Query, description = "Id, name, address or AE title"),
        ("action" = Option<String>, Query, description = "Names separated by commas"),
        ("study" = Option<String>, Query, description = "A Study Instance UID"),
        ("object" = Option<String>, Query, description = "Id of what it was done to"),
        ("outcome" = Option<String>, Query, description = "begun, success, minor-failure, denied or error"),
        ("request_id" = Option<String>, Query, description = "A request, an association or a run"),
        ("from" = Option<String>, Query, format = DateTime, description = "From this time on"),
        ("to" = Option<String>, Query, format = DateTime, description = "Before this time")),
    responses((status = 200, description = "A page of entries", body = Page<AuditEntry>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<AuditEntry>(&asked.query, "")?;
    let filter = filter(&asked.query)?;
    state.audit.flush().await;
    let found = audit::list(&state.db, &filter, &wanted.page).await?;
    wanted.answer(found.map(entry))
}

/// Rows that are read at once.
const PORTION: u32 = 1000;

/// Export the audit trail
///
/// In the order of commits: a line of JSON for each entry, or of CSV. `until` is the sequence of the last
/// entry; what comes while it is written stays out.
#[utoipa::path(
    get, path = "/audit/export", operation_id = "exportAudit", tag = "audit",
    params(
        ("format" = Option<String>, Query, description = "`jsonl`, which is the default, or `csv`"),
        ("actor" = Option<String>, Query, description = "Id, name, address or AE title"),
        ("action" = Option<String>, Query, description = "Names separated by commas"),
        ("study" = Option<String>, Query, description = "A Study Instance UID"),
        ("object" = Option<String>, Query, description = "Id of what it was done to"),
        ("outcome" = Option<String>, Query, description = "begun, success, minor-failure, denied or error"),
        ("request_id" = Option<String>, Query, description = "A request, an association or a run"),
        ("from" = Option<String>, Query, format = DateTime, description = "From this time on"),
        ("to" = Option<String>, Query, format = DateTime, description = "Before this time")),
    responses(
        (status = 200, description = "The entries", content((String = "application/jsonl"), (String = "text/csv"))),
        (status = 422, description = "More entries than one export may have"))
)]
async fn export(state: Arc<State>, asked: &Asked) -> Answer {
    let form = form(&asked.query)?;
    let filter = filter(&asked.query)?;
    state.audit.flush().await;
    let count = audit::count(&state.db, &filter).await?;
    if u64::try_from(count).is_ok_and(|count| count > state.settings.audit_rows_max) {
        limit_hit("audit.export_rows_max");
        return Err(HttpError::Unprocessable(format!(
            "{count} entries are more than one export may have: ask for a narrower time"
        )));
    }
    let end = audit::end(&state.db).await?.sequence;
    let mut response = Response::new(body::streamed(rows(state, filter, form, end)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static(match form {
            Form::JsonLines => "attachment; filename=\"audit.jsonl\"",
            Form::Csv => "attachment; filename=\"audit.csv\"",
        }),
    );
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

/// A portion after the other, up to where the trail ended.
fn rows(
    state: Arc<State>,
    filter: Filter,
    form: Form,
    end: i64,
) -> impl stream::Stream<Item = Result<Bytes, BoxError>> {
    stream::try_unfold(Some(0), move |at| {
        let (state, filter) = (Arc::clone(&state), filter.clone());
        async move {
            let Some(at) = at else { return Ok(None) };
            let mut found = audit::after(&state.db, &filter, at, PORTION).await?;
            let is_whole = found.len() == PORTION as usize;
            found.retain(|record| record.sequence <= end);
            let next = found.last().map(|record| record.sequence).filter(|_| is_whole);
            Ok(Some((Bytes::from(form.write(&found, at == 0)?), next)))
        }
    })
}

fn form(query: &QueryString) -> Result<Form, HttpError> {
    let known = |name: &str| FILTERS.contains(&name) || ["format", "accept"].contains(&name);
    if query.iter().any(|(name, _)| !known(name)) {
        return Err(HttpError::bad_request(format!("parameters are format, {}", FILTERS.join(", "))));
    }
    match query.get("format") {
        None | Some("jsonl") => Ok(Form::JsonLines),
        Some("csv") => Ok(Form::Csv),
        Some(_) => Err(HttpError::bad_request("format is jsonl or csv")),
    }
}

fn filter(query: &QueryString) -> Result<Filter, HttpError> {
    let text = |name| query.get(name).map(str::to_owned);
    let actions: Vec<String> =
        query.get("action").map(|names| names.split(',').map(str::to_owned).collect()).unwrap_or_default();
    if let Some(unknown) = actions.iter().find(|name| Action::named(name).is_none()) {
        return Err(HttpError::bad_request(format!("there is no action {unknown:?}")));
    }
    if query.get("outcome").is_some_and(|name| Outcome::named(name).is_none()) {
        let all = Outcome::ALL.map(Outcome::as_str).join(", ");
        return Err(HttpError::bad_request(format!("outcome is one of {all}")));
    }
    Ok(Filter {
        actor: text("actor"),
        actions,
        study: text("study"),
        object: text("object"),
        outcome: text("outcome"),
        request: text("request_id"),
        from: time(query, "from")?,
        until: time(query, "to")?,
    })
}

fn time(query: &QueryString, name: &str) -> Result<Option<Timestamp>, HttpError> {
    let parse = |text: &str| {
        let parsed = Timestamp::from_rfc3339(text);
        parsed.ok_or_else(|| HttpError::bad_request(format!("{name} is a time with its offset, RFC 3339")))
    };
    query.get(name).map(parse).transpose()
}

fn entry(record: Record) -> AuditEntry {
    let roles = record.actor_roles.split(',').filter(|role| !role.is_empty());
    AuditEntry {
        sequence: record.sequence,
        at: record.at.into(),
        began_at: record.began_at.map(Time::from),
        actor: AuditActor {
            kind: record.actor_kind,
            id: record.actor_id,
            roles: roles.map(str::to_owned).collect(),
            name: record.actor_name,
            means: record.actor_means,
            address: record.address,
            ae_title: record.ae_title,
        },
        action: record.action,
        resource: AuditResource {
            study_uid: record.study_uid,
            kind: record.object_kind,
            id: record.object_id,
        },
        outcome: record.outcome,
        request_id: record.request_id,
        detail: record.detail,
        sha256: record.hash,
    }
}
