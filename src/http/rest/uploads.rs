//! Files, folders and zips from a browser (RFC 7578), each stored as it streams in.

mod form;

use std::sync::Arc;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};

use self::form::Form;
use super::page::{List, Page, PageParameters};
use super::routes::{Call, Route, routes};
use crate::auth::{Permission, may};
use crate::clock::Timestamp;
use crate::db::page::Found;
use crate::db::uploads::{self as rows, FileRow, New, Upload};
use crate::db::{Batch, DbError};
use crate::http::error::HttpError;
use crate::http::multipart::Parts;
use crate::http::negotiation::MediaType;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::http::{State, limit_hit};
use crate::ids;
use crate::uploads::{Counts, Recorder, Uploads, sight};

pub(super) const ROUTES: &[Route] = routes! {
    POST "uploads", "api-upload", may(Permission::StoreObjects), |call| receive(call).await;
    GET "uploads", "api-uploads", may(Permission::StoreObjects), |call| list(&call.state, &call.asked).await;
    GET "uploads/{upload}", "api-upload-progress", may(Permission::StoreObjects),
        |call| one(&call.state, call.path.text("upload"), &call.asked).await;
    GET "uploads/{upload}/files", "api-upload-files", may(Permission::StoreObjects),
        |call| files(&call.state, call.path.text("upload"), &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(receive, list, one, files))]
pub(super) struct Doc;

/// Files of one answer.
const FILES_MAX: u32 = 1000;

/// A part for each, under any name.
struct Files;

impl utoipa::PartialSchema for Files {
    fn schema() -> RefOr<Schema> {
        let file = ObjectBuilder::new().schema_type(Type::String);
        let file = file.format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
        let files = ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(file));
        Schema::Object(files.min_properties(Some(1)).build()).into()
    }
}

impl utoipa::ToSchema for Files {}

/// An upload and how far it has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upload)]
struct UploadJson {
    id: String,
    /// `form` or `resumable`
    kind: String,
    /// `receiving`, `queued`, `storing`, `done`, `failed` or `aborted`
    state: String,
    /// Why it failed or was given up.
    reason: Option<String>,
    /// Of the file of a resumable upload.
    name: Option<String>,
    bytes_total: Option<u64>,
    bytes_received: u64,
    counts: Counts,
    created_at: String,
    updated_at: String,
    expires_at: Option<String>,
    finished_at: Option<String>,
    links: UploadLinks,
}

#[derive(Debug, Serialize, ToSchema)]
struct UploadLinks {
    #[serde(rename = "self")]
    own: String,
    files: String,
}

/// What became of one file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UploadedFile)]
struct FileJson {
    ordinal: i64,
    /// As it came, with what could deceive a reader escaped; behind the name of its zip.
    name: String,
    /// `stored`, `same`, `conflict`, `ignored` or `refused`
    outcome: String,
    reason: Option<String>,
    study_uid: Option<String>,
    sop_instance_uid: Option<String>,
}

/// The files of an upload in their order.
#[derive(Debug, Serialize, ToSchema)]
struct UploadedFiles {
    items: Vec<FileJson>,
    /// The `cursor` of the next page; null on the last one.
    next: Option<String>,
    total: u64,
}

/// An upload with its first files.
#[derive(Debug, Serialize, ToSchema)]
struct FinishedUpload {
    #[serde(flatten)]
    upload: UploadJson,
    files: Vec<FileJson>,
    /// The `cursor` for the rest of the files; null where these are all.
    next: Option<String>,
}

const STATES: [&str; 6] = ["receiving", "queued", "storing", "done", "failed", "aborted"];

const LIST: List = List {
    name: "uploads",
    filters: &["state"],
    sorts: &[("created_at", "created_at"), ("updated_at", "updated_at")],
    default: "-created_at",
    key: "id",
};

/// Upload files
///
/// Files, folders and zips as a browser sends them, each stored as it streams in.
#[utoipa::path(
    post, path = "/uploads", operation_id = "uploadFiles", tag = "uploads",
    params(("id" = Option<String>, Query, description = "a UUID for the upload, to watch it meanwhile")),
    request_body(content = Files, content_type = "multipart/form-data",
        description = "files, each with its name or relative path as filename; zips of files"),
    responses(
        (status = 200, description = "what became of every file", body = FinishedUpload),
        (status = 400, description = "the body is no form, has no file, or broke off before its first one"),
        (status = 401, description = "nobody is known"),
        (status = 403, description = "the caller may not store objects"),
        (status = 408, description = "the body came too slowly"),
        (status = 409, description = "there is an upload of that id"),
        (status = 413, description = "the body is larger than an upload may be"),
        (status = 415, description = "the body is no multipart/form-data"),
        (status = 429, description = "the caller has as many uploads as one may have at a time"),
    )
)]
async fn receive(call: Call) -> Answer {
    let Call { state, asked, body, .. } = call;
    let boundary = boundary(asked.headers.get(CONTENT_TYPE))?;
    let (uploads, owner) = (Arc::clone(&state.live.uploads), asked.caller.subject.key());
    let settings = &uploads.parts.settings;
    let seat = state.live.senders.take(&owner, settings.at_a_time).ok_or_else(|| {
        limit_hit("uploads.at_a_time");
        HttpError::TooManyAtOnce("uploads")
    })?;
    let (id, reach) = (wanted_id(&asked)?, sight::written(&asked.caller.reach));
    let new = New {
        id: &id,
        owner: &owner,
        reach: &reach,
        kind: "form",
        name: None,
        metadata: None,
        bytes_total: None,
        expires_at: None,
        server: Some(&uploads.parts.server),
    };
    match state.db.run(Batch::new().then(rows::insert(&new, state.live.clock.now()))).await {
        Err(DbError::Unique { .. }) => {
            return Err(HttpError::Conflict("there is an upload of that id".to_owned()));
        }
        other => other?,
    };
    let open = Open { uploads: Arc::clone(&uploads), id: id.clone(), is_open: true };
    let recorder = Recorder::new(&uploads, &id, &owner, asked.who(), &asked.caller.reach);
    let form = Form { uploads: &uploads, blobs: &state.blobs, id: &id, recorder };
    form.receive(Parts::of(body, &boundary)).await?;
    open.closed();
    drop(seat);
    finished(&state, &id, &asked.urls).await
}

/// A client that goes away ends the handler where it is: the upload is told to have ended.
struct Open {
    uploads: Arc<Uploads>,
    id: String,
    is_open: bool,
}

impl Open {
    fn closed(mut self) {
        self.is_open = false;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let (uploads, id) = (Arc::clone(&self.uploads), std::mem::take(&mut self.id));
        tokio::spawn(async move {
            let now = uploads.parts.clock.now();
            let reason = Some("the sender went away");
            // Ended otherwise already, or the index failed: the next start looks for it.
            let _ = uploads.parts.db.run(rows::finish(&id, "aborted", reason, now)).await;
        });
    }
}

async fn finished(state: &State, id: &str, urls: &Urls) -> Answer {
    let upload = rows::one(&state.db, id).await?.ok_or(HttpError::NotFound("upload"))?;
    let page = page(state, id, 0).await?;
    let upload = shown(state, upload, urls).await?;
    let status = match upload.reason.is_some() {
        true => StatusCode::BAD_REQUEST,
        false => StatusCode::OK,
    };
    let location =
        HeaderValue::from_str(&upload.links.own).map_err(HttpError::internal("naming the upload"))?;
    let mut response = super::json(status, &FinishedUpload { upload, files: page.items, next: page.next })?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

fn boundary(content_type: Option<&HeaderValue>) -> Result<String, HttpError> {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = MediaType::parse(text).filter(|parsed| parsed.essence == "multipart/form-data");
    let media_type =
        media_type.ok_or(HttpError::UnsupportedMediaType("files come as multipart/form-data"))?;
    let boundary = media_type.parameter("boundary").filter(|text| (1..=70).contains(&text.len()));
    boundary
        .map(str::to_owned)
        .ok_or_else(|| HttpError::bad_request("the boundary has 1 to 70 characters (RFC 2046 5.1.1)"))
}

/// A caller that wants to watch his upload names it himself.
fn wanted_id(asked: &Asked) -> Result<String, HttpError> {
    match asked.query.get("id").map(str::parse::<uuid::Uuid>) {
        None => Ok(ids::row_id()),
        Some(Ok(id)) => Ok(id.to_string()),
        Some(Err(_)) => Err(HttpError::bad_request("id is a UUID")),
    }
}

/// Uploads of one's own
///
/// Newest first.
#[utoipa::path(
    get, path = "/uploads", operation_id = "listUploads", tag = "uploads",
    params(PageParameters, ("state" = Option<String>, Query, description = "only in this state")),
    responses(
        (status = 200, description = "a page of the uploads of the caller", body = Page<UploadJson>),
        (status = 401, description = "nobody is known"),
        (status = 403, description = "the caller may not store objects"),
    )
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<UploadJson>(&asked.query, "")?;
    let in_state = asked.query.get("state");
    if in_state.is_some_and(|state| !STATES.contains(&state)) {
        return Err(HttpError::bad_request(format!("state is one of {}", STATES.join(", "))));
    }
    let owner = asked.caller.subject.key();
    let found = rows::of_owner(&state.db, &owner, in_state, &wanted.page).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for upload in found.items {
        items.push(shown(state, upload, &asked.urls).await?);
    }
    wanted.answer(Found { items, next: found.next, total: found.total })
}

/// How far an upload has come
#[utoipa::path(
    get, path = "/uploads/{upload}", operation_id = "getUpload", tag = "uploads",
    params(("upload" = String, Path, description = "id of the upload")),
    responses(
        (status = 200, description = "how far it has come", body = UploadJson),
        (status = 304, description = "known"),
        (status = 401, description = "nobody is known"),
        (status = 403, description = "the caller may not store objects"),
        (status = 404, description = "the caller has no such upload"),
    )
)]
async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let upload = own(state, id, asked).await?;
    super::etag::answer(&asked.headers, &asked.query, &shown(state, upload, &asked.urls).await?)
}

/// What became of the files of an upload
#[utoipa::path(
    get, path = "/uploads/{upload}/files", operation_id = "listUploadedFiles", tag = "uploads",
    params(
        ("upload" = String, Path, description = "id of the upload"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "what became of the files", body = UploadedFiles),
        (status = 400, description = "the cursor is malformed"),
        (status = 401, description = "nobody is known"),
        (status = 403, description = "the caller may not store objects"),
        (status = 404, description = "the caller has no such upload"),
    )
)]
async fn files(state: &State, id: &str, asked: &Asked) -> Answer {
    let upload = own(state, id, asked).await?;
    let after = match asked.query.get("cursor").map(str::parse::<i64>) {
        None => 0,
        Some(Ok(after)) if after >= 0 => after,
        Some(_) => return Err(HttpError::bad_request("cursor is `next` of the page before")),
    };
    super::json(StatusCode::OK, &page(state, &upload.id, after).await?)
}

/// Names of files are for their sender alone: to everybody else the upload does not exist.
pub(super) async fn own(state: &State, id: &str, asked: &Asked) -> Result<Upload, HttpError> {
    let upload = rows::one(&state.db, id).await?;
    let upload = upload.filter(|upload| upload.owner == asked.caller.subject.key());
    upload.ok_or(HttpError::NotFound("upload"))
}

async fn page(state: &State, id: &str, after: i64) -> Result<UploadedFiles, HttpError> {
    let mut found = rows::files(&state.db, id, after, FILES_MAX + 1).await?;
    let more = found.len() > FILES_MAX as usize;
    found.truncate(FILES_MAX as usize);
    let next = found.last().filter(|_| more).map(|file| file.ordinal.to_string());
    let total = rows::counts(&state.db, id).await?.iter().map(|(_, files)| files).sum();
    Ok(UploadedFiles { items: found.into_iter().map(file).collect(), next, total })
}

fn file(row: FileRow) -> FileJson {
    FileJson {
        ordinal: row.ordinal,
        name: row.name,
        outcome: row.outcome,
        reason: row.reason,
        study_uid: row.study,
        sop_instance_uid: row.sop_instance,
    }
}

async fn shown(state: &State, upload: Upload, urls: &Urls) -> Result<UploadJson, HttpError> {
    let mut counts = Counts::default();
    for (outcome, files) in rows::counts(&state.db, &upload.id).await? {
        counts.add(&outcome, files);
    }
    let own = urls.rest(&format!("uploads/{}", upload.id));
    Ok(UploadJson {
        links: UploadLinks { files: format!("{own}/files"), own },
        id: upload.id,
        kind: upload.kind,
        state: upload.state,
        reason: upload.reason,
        name: upload.name,
        bytes_total: upload.bytes_total,
        bytes_received: upload.bytes_received,
        counts,
        created_at: upload.created_at.rfc3339(),
        updated_at: upload.updated_at.rfc3339(),
        expires_at: upload.expires_at.map(Timestamp::rfc3339),
        finished_at: upload.finished_at.map(Timestamp::rfc3339),
    })
}
