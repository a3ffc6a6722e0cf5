//! `Idempotency-Key`: a request that creates something and is sent again is answered as the first
//! time, by whichever instance of the server. The key belongs to its caller, endpoint and content.
//!
//! Only successes are kept; whoever was refused may try again under the same key. The first
//! request is worked to its end even if its client goes away. Secrets are not kept: who asks
//! again learns which user or key he made, and null in the place of its secret.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};

use super::routes::{Call, Route};
use super::tus::headers as tus;
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::idempotency::{self as rows, Bounds, Claim, Kept, Known};
use crate::http::body::{self, Body, Inbound};
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::{State, limit_hit};
use crate::ids;

pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_BYTES_MAX: usize = 255;
/// A request of which nobody speaks any more after this time was lost with its server.
const GIVEN_UP: Duration = Duration::from_secs(300);
const BODY_BYTES_MAX: usize = 1 << 20;
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What a client needs of the first answer.
const KEPT_HEADERS: [HeaderName; 7] =
    [CACHE_CONTROL, CONTENT_TYPE, LOCATION, ETAG, tus::RESUMABLE, tus::OFFSET, tus::EXPIRES];
/// What of a request says what is wanted, beside its query and body.
const MEANT_HEADERS: [HeaderName; 2] = [tus::LENGTH, tus::METADATA];

/// The endpoints that know the header: they create something.
pub(super) const ENDPOINTS: &[&str] = &[
    "api-request-analysis",
    "api-request-commitment",
    "api-send-study",
    "api-begin-report",
    "api-create-group",
    "api-create-user",
    "api-create-key",
    "api-ask-download",
    RESUMABLE_UPLOAD,
];
/// Its bytes come by requests of their own, which say where they go.
const RESUMABLE_UPLOAD: &str = "tus-create";
/// Its bytes are the objects, which are known again by their own UIDs.
pub(super) const FORM_UPLOAD: &str = "api-upload";
/// Those in whose requests and answers there are secrets, under these names.
pub(super) const WITH_SECRETS: &[&str] = &["api-create-user", "api-create-key"];
const SECRETS: [&str; 2] = ["password", "key"];

/// The key of a request to an endpoint that knows it.
///
/// # Errors
/// 400 for what is no key, and from the endpoint whose requests are not kept, however they are sent.
pub(super) fn key(route: &Route, headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    if route.name == FORM_UPLOAD && headers.contains_key(KEY) {
        let reason = "a form of files takes no Idempotency-Key: files sent again are the same objects, and \
            ?id= names the upload";
        return Err(HttpError::bad_request(reason));
    }
    let Some(value) = headers.get(KEY).filter(|_| ENDPOINTS.contains(&route.name)) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| is_key(text));
    let text = text.ok_or_else(|| {
        HttpError::bad_request(format!(
            "Idempotency-Key has 1 to {KEY_BYTES_MAX} visible characters of ASCII"
        ))
    })?;
    Ok(Some(text.to_owned()))
}

fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Answers the request, or repeats what it was answered the first time.
pub(super) async fn once(key: String, route: &'static Route, call: Call) -> Answer {
    let Call { state, path, asked, body } = call;
    let json_bytes_max = body.json_bytes_max();
    let bytes = match route.name == RESUMABLE_UPLOAD {
        true => nothing(body).await?,
        false => super::collected(body, BODY_BYTES_MAX).await?,
    };
    let claim = Claim {
        caller: asked.caller.subject.key(),
        endpoint: format!("{} {}", route.name, path.values()),
        key,
        id: ids::row_id(),
        body_sha256: meant(route, &asked, &bytes),
    };
    if let Some(kept) = known(&state, &claim).await? {
        return replayed(kept);
    }
    let body = Inbound::of(stream::iter([Ok(Bytes::from(bytes))]), json_bytes_max);
    let answer = (route.handler)(Call { state: Arc::clone(&state), path, asked, body });
    // Not given up with the connection: what is begun has an answer, for the next who asks.
    let worked = tokio::spawn(async move {
        let answer = answer.await;
        settled(&state, route, &claim, answer).await
    });
    worked.await.map_err(HttpError::internal("answering a request that may be repeated"))?
}

async fn nothing(body: Inbound) -> Result<Vec<u8>, HttpError> {
    super::collected(body, 0).await.map_err(|error| match error {
        HttpError::TooLarge { .. } => HttpError::bad_request(
            "with an Idempotency-Key an upload is made without bytes: they follow by PATCH",
        ),
        error => error,
    })
}

/// What tells one content from another. No secret is in it: a quick hash does not hide one.
fn meant(route: &Route, asked: &Asked, body: &[u8]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    asked.query.iter().for_each(|(name, value)| hasher.update(format!("{name}={value}\0")));
    for name in MEANT_HEADERS.iter().filter(|_| route.name == RESUMABLE_UPLOAD) {
        hasher.update(asked.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes));
        hasher.update([0]);
    }
    hasher.update(without_secrets(route, body));
    hasher.finalize().to_vec()
}

/// JSON with null in the place of secrets, where there may be some.
fn without_secrets(route: &Route, json: &[u8]) -> Vec<u8> {
    if !WITH_SECRETS.contains(&route.name) {
        return json.to_vec();
    }
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(json) else { return Vec::new() };
    for name in SECRETS {
        if let Some(secret) = value.get_mut(name) {
            *secret = serde_json::Value::Null;
        }
    }
    value.to_string().into_bytes()
}

/// Takes the key, or says what is kept under it.
async fn known(state: &State, claim: &Claim) -> Result<Option<Kept>, HttpError> {
    let now = state.clock.now();
    let bounds = Bounds {
        since: now.minus(state.settings.idempotency_retention),
        keys_max: state.settings.idempotency_keys_max,
    };
    match rows::claim(&state.db, claim, bounds, now).await {
        Ok(()) => return Ok(None),
        Err(DbError::Unique { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let known = rows::known(&state.db, claim).await?.ok_or_else(under_way)?;
    match checked(known, claim)? {
        Ok(kept) => Ok(Some(kept)),
        Err(at) if at < now.minus(GIVEN_UP) => {
            let taken = rows::take_over(&state.db, claim, now.minus(GIVEN_UP), now).await?;
            if taken { Ok(None) } else { Err(under_way()) }
        }
        Err(_) => Err(under_way()),
    }
}

/// What is kept, or since when it is under way.
fn checked(known: Known, claim: &Claim) -> Result<Result<Kept, Timestamp>, HttpError> {
    if known.body_sha256 != claim.body_sha256 {
        let reason = "this Idempotency-Key was used for a request with another content";
        return Err(HttpError::Unprocessable(reason.to_owned()));
    }
    Ok(known.kept.ok_or(known.at))
}

fn under_way() -> HttpError {
    HttpError::Conflict("the first request with this Idempotency-Key is under way".to_owned())
}

/// Keeps what can be repeated, and lets go of the key of everything else.
async fn settled(state: &State, route: &Route, claim: &Claim, answer: Answer) -> Answer {
    let response = match answer {
        Ok(response) if response.status().is_success() => response,
        other => {
            rows::release(&state.db, claim).await?;
            return other;
        }
    };
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.map_err(HttpError::internal("reading an answer"))?.to_bytes();
    if bytes.len() > ANSWER_BYTES_MAX {
        limit_hit("fixed.idempotency_answer_bytes");
        rows::release(&state.db, claim).await?;
    } else {
        let kept = Kept {
            status: head.status.as_u16().into(),
            headers: written(&head.headers)?,
            answer: without_secrets(route, &bytes),
        };
        rows::keep(&state.db, claim, kept).await?;
    }
    Ok(Response::from_parts(head, body::full(bytes)))
}

fn written(headers: &HeaderMap) -> Result<Vec<u8>, HttpError> {
    let pair =
        |name: &HeaderName| Some((name.as_str().to_owned(), headers.get(name)?.to_str().ok()?.to_owned()));
    let pairs: Vec<(String, String)> = KEPT_HEADERS.iter().filter_map(pair).collect();
    serde_json::to_vec(&pairs).map_err(HttpError::internal("keeping an answer"))
}

fn replayed(kept: Kept) -> Answer {
    let step = "repeating an answer";
    let mut response: Response<Body> = Response::new(body::full(kept.answer));
    let status = u16::try_from(kept.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    let pairs: Vec<(String, String)> =
        serde_json::from_slice(&kept.headers).map_err(HttpError::internal(step))?;
    for (name, value) in pairs {
        let name = HeaderName::try_from(name).map_err(HttpError::internal(step))?;
        response.headers_mut().insert(name, HeaderValue::try_from(value).map_err(HttpError::internal(step))?);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoints_are_those_that_create() {
        for name in ENDPOINTS {
            let mut rows = super::super::TABLE.iter().flat_map(|rows| rows.iter());
            assert!(rows.any(|row| row.name == *name && row.method == http::Method::POST), "{name}");
        }
    }
}
