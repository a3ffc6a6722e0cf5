//! Keys of devices and programs: for those who manage users.

use std::collections::BTreeSet;

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::etag::{self, Etag};
use super::page::{List, Page, PageParameters};
use super::routes::{Route, routes};
use super::time::Time;
use crate::auth::{KeyError, NewKey, Permission, Role, may};
use crate::clock::Timestamp;
use crate::db::api_keys::{self, ApiKey as Stored};
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};

pub(super) const ROUTES: &[Route] = routes! {
    GET "api-keys", "api-keys", may(Permission::ManageUsers), |call| list(&call.state, &call.asked).await;
    POST "api-keys", "api-create-key", may(Permission::ManageUsers),
        |call| create(&call.state, &call.asked, call.body).await;
    GET "api-keys/{key}", "api-key", may(Permission::ManageUsers),
        |call| one(&call.state, call.path.text("key"), &call.asked).await;
    DELETE "api-keys/{key}", "api-revoke-key", may(Permission::ManageUsers),
        |call| revoke(&call.state, call.path.text("key"), &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, create, one, revoke))]
pub(super) struct Doc;

const LIST: List = List {
    name: "api-keys",
    filters: &[],
    sorts: &[("created_at", "api_key.created_at"), ("name", "api_key.name")],
    default: "-created_at",
    key: "api_key.id",
};

#[derive(Serialize, ToSchema)]
struct ApiKey {
    id: String,
    name: String,
    role: Role,
    /// The only ones of the role; null: all.
    permissions: Option<Vec<Permission>>,
    created_by: String,
    created_at: Time,
    expires_at: Option<Time>,
    /// To the minute.
    last_used_at: Option<Time>,
    revoked_at: Option<Time>,
}

/// A key, and its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
struct CreatedApiKey {
    #[serde(flatten)]
    about: ApiKey,
    /// For `X-Api-Key`, or `Authorization: Bearer`. Null where the request is repeated.
    key: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeyWish {
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    role: Role,
    /// The only permissions of the role that it has. Left out: all of them.
    #[serde(default)]
    permissions: Option<BTreeSet<Permission>>,
    /// RFC 3339. Left out: never.
    #[serde(default)]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// API keys
///
/// Those that are revoked or expired among them.
#[utoipa::path(
    get, path = "/api-keys", operation_id = "listApiKeys", tag = "api-keys", params(PageParameters),
    responses((status = 200, description = "A page of keys", body = Page<ApiKey>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<ApiKey>(&asked.query, "")?;
    let found = api_keys::list(&state.db, &wanted.page).await?;
    wanted.answer(found.map(shown))
}

/// Create an API key
///
/// The answer shows it, and nothing does so again.
#[utoipa::path(
    post, path = "/api-keys", operation_id = "createApiKey", tag = "api-keys", request_body = ApiKeyWish,
    responses((status = 201, description = "The key", body = CreatedApiKey),
        (status = 422, description = "A permission that the role does not have, or a time in the past"))
)]
async fn create(state: &State, asked: &Asked, body: Inbound) -> Answer {
    let wish: ApiKeyWish = super::wish(body, "{\"name\": TEXT, \"role\": ROLE}").await?;
    let expires_at = match wish.expires_at.as_deref().map(Timestamp::from_rfc3339) {
        Some(None) => return Err(HttpError::bad_request("expires_at is a time as in RFC 3339")),
        known => known.flatten(),
    };
    let new = NewKey { name: wish.name, role: wish.role, only: wish.permissions, expires_at };
    let (key, secret) = state.access.create_key(new, &asked.who()).await?;
    let url = asked.urls.rest(&format!("api-keys/{}", key.id));
    let created = CreatedApiKey { about: shown(key), key: Some(secret.reveal().to_owned()) };
    let mut response = super::json(StatusCode::CREATED, &created)?;
    let url = HeaderValue::from_str(&url).map_err(HttpError::internal("naming the key"))?;
    response.headers_mut().insert(LOCATION, url);
    Ok(super::auth::unstored(response))
}

/// One API key
#[utoipa::path(
    get, path = "/api-keys/{key}", operation_id = "getApiKey", tag = "api-keys", params(("key" = String, Path)),
    responses((status = 200, description = "The key, without its secret", body = ApiKey),
        (status = 304, description = "Known"))
)]
async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let key = api_keys::one(&state.db, id).await?.ok_or(HttpError::NotFound("key"))?;
    // Nothing of a key changes but its use and its end.
    let version = Etag::of_version(&key.id, key.revoked_at.is_some().into());
    etag::answer_of(version, asked, &shown(key))
}

/// Revoke an API key
///
/// It is good for nothing within seconds; the row stays.
#[utoipa::path(
    delete, path = "/api-keys/{key}", operation_id = "revokeApiKey", tag = "api-keys",
    params(("key" = String, Path)),
    responses((status = 204, description = "The key is revoked"))
)]
async fn revoke(state: &State, id: &str, asked: &Asked) -> Answer {
    state.access.revoke_key(id, &asked.who()).await?;
    Ok(super::no_content())
}

fn shown(key: Stored) -> ApiKey {
    ApiKey {
        id: key.id,
        name: key.name,
        role: key.role,
        permissions: key.only.map(|only| only.into_iter().collect()),
        created_by: key.created_by,
        created_at: key.created_at.into(),
        expires_at: key.expires_at.map(Time::from),
        last_used_at: key.last_used_at.map(Time::from),
        revoked_at: key.revoked_at.map(Time::from),
    }
}

impl From<KeyError> for HttpError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unknown => Self::NotFound("key"),
            KeyError::Denied(denied) => denied.into(),
            KeyError::Name | KeyError::NotOfTheRole(_) | KeyError::Past => {
                Self::Unprocessable(error.to_string())
            }
        }
    }
}
