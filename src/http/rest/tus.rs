//! Resumable uploads: tus 1.0 with creation, creation-with-upload, termination, expiration and
//! checksum.

pub(super) mod headers;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::StreamExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::{Response, StatusCode};

use self::headers::{
    ALGORITHMS, CHECKSUM, CHECKSUM_ALGORITHM, EXPIRES, EXTENSION, EXTENSIONS, LENGTH, MAX_SIZE, METADATA,
    METHOD_OVERRIDE, OFFSET, RESUMABLE, VERSION, number, one_point_zero,
};
use super::routes::{Call, Route, routes};
use super::uploads::own;
use crate::auth::{Permission, may};
use crate::clock::Timestamp;
use crate::db::uploads::{self as rows, New, Upload};
use crate::http::body::{self, Body, BodyStopped, Inbound};
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::{State, limit_hit};
use crate::ids;
use crate::uploads::resume::{Expected, ResumeError};
use crate::uploads::{label, sight};

pub(super) const ROUTES: &[Route] = routes! {
    POST "uploads/tus", "tus-create", may(Permission::StoreObjects), |call| answered(call, Step::Create).await;
    GET "uploads/tus/{upload}", "tus-offset", may(Permission::StoreObjects),
        |call| answered(call, Step::Offset).await;
    PATCH "uploads/tus/{upload}", "tus-append", may(Permission::StoreObjects),
        |call| answered(call, Step::Append).await;
    DELETE "uploads/tus/{upload}", "tus-terminate", may(Permission::StoreObjects),
        |call| answered(call, Step::Terminate).await;
    POST "uploads/tus/{upload}", "tus-override", may(Permission::StoreObjects),
        |call| answered(call, Step::Override).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(create, offset, append, terminate, overridden))]
pub(super) struct Doc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Create,
    Offset,
    Append,
    Terminate,
    /// The method stands in a header, for clients that know GET and POST alone.
    Override,
}

/// What a client asks before anything else (tus 1.0, OPTIONS); nothing for other paths.
pub(in crate::http) fn describe(path: &str, bytes_max: u64, headers: &mut HeaderMap) {
    let path = path.trim_end_matches('/');
    if path != "/api/v1/uploads/tus" && !path.starts_with("/api/v1/uploads/tus/") {
        return;
    }
    headers.insert(RESUMABLE, VERSION_1_0);
    headers.insert(VERSION, VERSION_1_0);
    headers.insert(EXTENSION, HeaderValue::from_static(EXTENSIONS));
    headers.insert(CHECKSUM_ALGORITHM, HeaderValue::from_static(ALGORITHMS));
    headers.insert(MAX_SIZE, bytes_max.into());
}

const VERSION_1_0: HeaderValue = HeaderValue::from_static("1.0.0");

/// Every answer says which version it speaks, those that refuse something too.
async fn answered(call: Call, step: Step) -> Answer {
    let request_id = call.asked.request_id.clone();
    let mut response = match taken(call, step).await {
        Ok(response) => response,
        Err(error @ HttpError::PreconditionFailed(_)) => {
            let mut response = error.into_response(&request_id);
            response.headers_mut().insert(VERSION, VERSION_1_0);
            response
        }
        Err(error) => error.into_response(&request_id),
    };
    let headers = response.headers_mut();
    headers.insert(RESUMABLE, VERSION_1_0);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn taken(call: Call, step: Step) -> Answer {
    let Call { state, path, asked, body } = call;
    if !one_point_zero(&asked.headers) {
        return Err(HttpError::PreconditionFailed("protocol: this is tus 1.0.0, which"));
    }
    let upload = path.text("upload");
    match (step, asked.headers.get(METHOD_OVERRIDE).map(HeaderValue::as_bytes)) {
        (Step::Create, _) => create(state, asked, body).await,
        (Step::Offset, _) => offset(&state, upload, &asked).await,
        (Step::Append, _) => append(state, upload, asked, body).await,
        (Step::Terminate, _) => terminate(&state, upload, &asked).await,
        (Step::Override, method) => {
            let method = method.map(<[u8]>::to_vec);
            overridden(state, upload, asked, body, method.as_deref()).await
        }
    }
}

/// Begin a resumable upload
///
/// tus 1.0, creation and creation-with-upload: of a DICOM file or a zip.
#[utoipa::path(
    post, path = "/uploads/tus", operation_id = "createResumableUpload", tag = "uploads",
    params(
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Length" = u64, Header, description = "bytes of the whole file, a DICOM file or a zip"),
        ("Upload-Metadata" = Option<String>, Header, description = "filename in base64, and what else"),
        ("Upload-Checksum" = Option<String>, Header, description = "of the body: algorithm and base64"),
    ),
    responses(
        (status = 201, description = "made; Location is where its bytes go"),
        (status = 400, description = "a header is missing or malformed"),
        (status = 401, description = "nobody is known"),
        (status = 403, description = "the caller may not store objects"),
        (status = 412, description = "another version of the protocol"),
        (status = 413, description = "larger than an upload may be, or than the quota of the caller"),
        (status = 429, description = "the caller has as many unfinished uploads as one may have"),
        (status = 460, description = "the checksum is not that of the body"),
        (status = 507, description = "the disk has no room for more"),
    )
)]
async fn create(state: Arc<State>, asked: Asked, body: Inbound) -> Answer {
    let uploads = &state.live.uploads;
    let settings = &uploads.parts.settings;
    let length = number(&asked.headers, &LENGTH)?
        .ok_or_else(|| HttpError::bad_request("Upload-Length says how many bytes the file has"))?;
    if length > settings.bytes_max {
        limit_hit("uploads.bytes_max");
        return Err(HttpError::TooLarge { bytes_max: settings.bytes_max });
    }
    let metadata = headers::metadata(&asked.headers)?;
    let name = metadata.name.as_deref().map(|name| label::shown(name, settings.path_bytes_max));
    let reach = sight::written(&asked.caller.reach);
    let (id, owner, now) = (ids::row_id(), asked.caller.subject.key(), state.live.clock.now());
    let new = New {
        id: &id,
        owner: &owner,
        reach: &reach,
        kind: "resumable",
        name: name.as_deref(),
        metadata: metadata.as_it_came.as_deref(),
        bytes_total: Some(length),
        expires_at: Some(now.plus(settings.expire())),
        server: None,
    };
    uploads.create(&new).await.map_err(|error| refused(error, settings.bytes_max))?;
    let with_body = asked.headers.get(CONTENT_TYPE).is_some_and(|value| value == OFFSET_OCTETS);
    let offset = match with_body || length == 0 {
        true => {
            let upload = rows::one(&state.db, &id).await?.ok_or(HttpError::NotFound("upload"))?;
            write(&state, &upload, &asked.headers, body).await?
        }
        false => 0,
    };
    let mut response = status(StatusCode::CREATED);
    let url = asked.urls.rest(&format!("uploads/tus/{id}"));
    let location = HeaderValue::from_str(&url).map_err(HttpError::internal("naming an upload"))?;
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(OFFSET, offset.into());
    let upload = rows::one(&state.db, &id).await?;
    expires(&mut response, upload.and_then(|upload| upload.expires_at));
    Ok(response)
}

const OFFSET_OCTETS: &str = "application/offset+octet-stream";

/// How much of a resumable upload is kept
///
/// tus 1.0 asks by HEAD.
#[utoipa::path(
    get, path = "/uploads/tus/{upload}", operation_id = "getResumableUpload", tag = "uploads",
    params(("upload" = String, Path), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses(
        (status = 200, description = "Upload-Offset says how many bytes are kept"),
        (status = 401, description = "nobody is known"),
        (status = 403, description = "the caller may not store objects"),
        (status = 404, description = "the caller has no such upload"),
        (status = 410, description = "it was given up, or its rest did not come in time"),
        (status = 412, description = "another version of the protocol"),
    )
)]
async fn offset(state: &State, id: &str, asked: &Asked) -> Answer {
    let upload = resumable(state, id, asked).await?;
    let mut response = status(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(OFFSET, upload.bytes_received.into());
    if let Some(total) = upload.bytes_total {
        headers.insert(LENGTH, total.into());
    }
    if let Some(metadata) = upload.metadata.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(METADATA, metadata);
    }
    expires(&mut response, upload.expires_at);
    Ok(response)
}

/// Go on with a resumable upload
///
/// What came before a break is kept, unless a checksum was announced.
#[utoipa::path(
    patch, path = "/uploads/tus/{upload}", operation_id = "appendToResumableUpload", tag = "uploads",
    params(
        ("upload" = String, Path),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Offset" = u64, Header, description = "where the body goes: the offset of the upload"),
        ("Upload-Checksum" = Option<String>, Header, description = "of the body: algorithm and base64"),
    ),
    request_body(content = String, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "kept; Upload-Offset is the new one"),
        (status = 400, description = "a header is missing or malformed"),
        (status = 401, description = "nobody is known"),
        (status = 403, description = "the caller may not store objects"),
        (status = 404, description = "the caller has no such upload"),
        (status = 409, description = "the offset is another"),
        (status = 410, description = "it was given up, or its rest did not come in time"),
        (status = 412, description = "another version of the protocol"),
        (status = 413, description = "more came than the upload was to have"),
        (status = 415, description = "the body is no application/offset+octet-stream"),
        (status = 423, description = "somebody is writing this upload"),
        (status = 460, description = "the checksum is not that of the body"),
    )
)]
async fn append(state: Arc<State>, id: &str, asked: Asked, body: Inbound) -> Answer {
    if asked.headers.get(CONTENT_TYPE).is_none_or(|value| value != OFFSET_OCTETS) {
        return Err(HttpError::UnsupportedMediaType("the body is application/offset+octet-stream"));
    }
    let offset = number(&asked.headers, &OFFSET)?
        .ok_or_else(|| HttpError::bad_request("Upload-Offset says where the body goes"))?;
    let upload = resumable(&state, id, &asked).await?;
    if offset != upload.bytes_received {
        return Err(HttpError::Conflict(format!("the offset is {}", upload.bytes_received)));
    }
    if upload.state != "receiving" {
        return Err(HttpError::Conflict("the upload is complete".to_owned()));
    }
    let offset = write(&state, &upload, &asked.headers, body).await?;
    let mut response = status(StatusCode::NO_CONTENT);
    response.headers_mut().insert(OFFSET, offset.into());
    let upload = rows::one(&state.db, id).await?;
    expires(&mut response, upload.and_then(|upload| upload.expires_at));
    Ok(response)
}

/// Bytes are written by one request at a time. What came before a break is kept, unless a checksum was to tell of all of it.
async fn write(
    state: &State,
    upload: &Upload,
    headers: &HeaderMap,
    mut body: Inbound,
) -> Result<u64, HttpError> {
    let expected = expected(headers)?;
    let with_checksum = expected.is_some();
    let bytes_max = upload.bytes_total.unwrap_or(0);
    let appending = state.live.uploads.append(upload, expected).map_err(|e| refused(e, bytes_max))?;
    let mut broken = None;
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => {
                if !appending.push(chunk).await {
                    break;
                }
            }
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    let ended = appending.end().await;
    match (broken, ended) {
        (Some(error), _) => Err(match BodyStopped::find(&error) {
            Some(stopped) => stopped.into(),
            None if with_checksum => HttpError::bad_request("the body broke off, and nothing of it is kept"),
            None => HttpError::bad_request("the body broke off"),
        }),
        (None, ended) => ended.map_err(|error| refused(error, bytes_max)),
    }
}

/// Give up a resumable upload
#[utoipa::path(
    delete, path = "/uploads/tus/{upload}", operation_id = "terminateResumableUpload", tag = "uploads",
    params(("upload" = String, Path), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses(
        (status = 204, description = "gone"),
        (status = 401, description = "nobody is known"),
        (status = 403, description = "the caller may not store objects"),
        (status = 404, description = "the caller has no such upload"),
        (status = 409, description = "the upload is complete"),
        (status = 410, description = "it was gone already"),
        (status = 412, description = "another version of the protocol"),
        (status = 423, description = "somebody is writing this upload"),
    )
)]
async fn terminate(state: &State, id: &str, asked: &Asked) -> Answer {
    let upload = resumable(state, id, asked).await?;
    if upload.state != "receiving" {
        return Err(HttpError::Conflict("the upload is complete".to_owned()));
    }
    state.live.uploads.terminate(&upload).await.map_err(|error| refused(error, 0))?;
    Ok(status(StatusCode::NO_CONTENT))
}

/// Go on with a resumable upload, or give it up
///
/// For clients that know GET and POST alone: X-HTTP-Method-Override is PATCH or DELETE.
#[utoipa::path(
    post, path = "/uploads/tus/{upload}", operation_id = "overrideResumableUpload", tag = "uploads",
    params(
        ("upload" = String, Path),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("X-HTTP-Method-Override" = String, Header, description = "PATCH or DELETE"),
    ),
    request_body(content = String, content_type = "application/offset+octet-stream"),
    responses((status = 204, description = "As the method that is named"))
)]
async fn overridden(
    state: Arc<State>,
    id: &str,
    asked: Asked,
    body: Inbound,
    method: Option<&[u8]>,
) -> Answer {
    match method {
        Some(b"PATCH") => append(state, id, asked, body).await,
        Some(b"DELETE") => terminate(&state, id, &asked).await,
        _ => Err(HttpError::bad_request("X-HTTP-Method-Override is PATCH or DELETE")),
    }
}

async fn resumable(state: &State, id: &str, asked: &Asked) -> Result<Upload, HttpError> {
    let upload = own(state, id, asked).await?;
    match (upload.kind.as_str(), upload.state.as_str()) {
        ("resumable", "aborted" | "failed") => Err(HttpError::Gone("upload")),
        ("resumable", _) => Ok(upload),
        _ => Err(HttpError::NotFound("upload")),
    }
}

fn expected(headers: &HeaderMap) -> Result<Option<Expected>, HttpError> {
    headers.get(CHECKSUM).map(headers::checksum).transpose()
}

fn refused(error: ResumeError, bytes_max: u64) -> HttpError {
    match error {
        ResumeError::Locked => HttpError::Locked("somebody is writing this upload"),
        ResumeError::Moved => HttpError::Conflict("somebody went on with this upload elsewhere".to_owned()),
        ResumeError::TooManyParts => {
            limit_hit("uploads.parts_max");
            HttpError::TooBroad("the upload came in as many pieces as one may have".to_owned())
        }
        ResumeError::TooMuch => HttpError::TooLarge { bytes_max },
        ResumeError::Checksum => HttpError::ChecksumMismatch,
        ResumeError::NoRoom => HttpError::NoRoom,
        ResumeError::TooMany => {
            limit_hit("uploads.unfinished_max");
            HttpError::TooManyAtOnce("unfinished uploads")
        }
        ResumeError::Quota(bytes_max) => {
            limit_hit("uploads.quota_bytes");
            HttpError::TooLarge { bytes_max }
        }
        error => HttpError::internal("a resumable upload")(error),
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::full(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// RFC 9110 5.6.7, as Upload-Expires has it.
fn expires(response: &mut Response<Body>, at: Option<Timestamp>) {
    let Some(value) = at.and_then(|at| HeaderValue::from_str(&at.http_date()).ok()) else { return };
    response.headers_mut().insert(EXPIRES, value);
}
