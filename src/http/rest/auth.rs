//! Coming in and staying in: log-in, refresh, log-out, one's own account and password, and the keys
//! that verify our tokens.

mod cookie;
pub(super) mod oidc;

use http::header::{CACHE_CONTROL, HeaderValue, USER_AGENT};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::routes::{Route, routes};
use super::time::Time;
use super::users;
use crate::auth::{Caller, Client, Denied, Granted, Jwk, Means, Needs, Permission, Role, Secret, Subject};
use crate::http::State;
use crate::http::body::{Body, Inbound};
use crate::http::service::{Answer, Asked};

pub(super) const ROUTES: &[Route] = routes! {
    POST "auth/login", "api-log-in", Needs::Nothing,
        |call| log_in(&call.state, &call.asked, call.body).await;
    POST "auth/refresh", "api-refresh", Needs::Nothing,
        |call| refresh(&call.state, &call.asked, call.body).await;
    POST "auth/logout", "api-log-out", Needs::Identity, |call| log_out(&call.state, &call.asked).await;
    GET "auth/me", "api-me", Needs::Identity, |call| me(&call.state, &call.asked).await;
    POST "auth/password", "api-change-password", Needs::Identity,
        |call| change_password(&call.state, &call.asked, call.body).await;
    POST "auth/confirm", "api-confirm", Needs::Identity,
        |call| confirm(&call.state, &call.asked, call.body).await;
    GET "auth/jwks", "api-jwks", Needs::Nothing, |call| jwks(&call.state).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(log_in, refresh, log_out, me, change_password, confirm, jwks))]
pub(super) struct Doc;

/// How the refresh token travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum RefreshBy {
    /// In the answer, and in the body of the next request.
    #[default]
    Body,
    /// As a cookie that no script can read, sent to `auth/refresh` alone.
    Cookie,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogIn {
    #[schema(max_length = 64)]
    name: String,
    #[schema(value_type = String, format = Password, max_length = 1024)]
    password: Secret,
    #[serde(default)]
    refresh_by: RefreshBy,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    /// Left out where it comes as a cookie.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, max_length = 128)]
    refresh_token: Option<Secret>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    #[schema(value_type = String, format = Password, max_length = 1024)]
    old: Secret,
    #[schema(value_type = String, format = Password, max_length = 1024)]
    new: Secret,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    #[schema(value_type = String, format = Password, max_length = 1024)]
    password: Secret,
}

/// Somebody is in.
#[derive(Serialize, ToSchema)]
struct Tokens {
    /// A JWT, for `Authorization: Bearer`.
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    /// Good once. Null where it is in the cookie.
    refresh_token: Option<String>,
    refresh_expires_at: Time,
    session: String,
    /// Nothing but that is allowed before.
    must_change_password: bool,
    user: users::User,
}

#[derive(Serialize, ToSchema)]
struct Confirmed {
    /// Says that a secret was shown just now.
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
}

/// Who is asking.
#[derive(Serialize, ToSchema)]
struct Me {
    /// Null where nobody needs to say who he is.
    user: Option<users::User>,
    /// Of a device or a program.
    api_key: Option<ApiKeyName>,
    means: &'static str,
    roles: Vec<Role>,
    permissions: Vec<Permission>,
    session: Option<String>,
    /// When a secret was last shown.
    authenticated_at: Option<Time>,
    /// So short ago that it counts for a signature.
    is_fresh: bool,
}

#[derive(Serialize, ToSchema)]
struct ApiKeyName {
    id: String,
    name: String,
}

/// RFC 7517.
#[derive(Serialize, ToSchema)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// Log in
///
/// The same answer after the same time for a name that nobody has and for a wrong password; a wait
/// after too many failures.
#[utoipa::path(
    post, path = "/auth/login", operation_id = "logIn", tag = "auth", request_body = LogIn,
    responses((status = 200, description = "Somebody is in", body = Tokens),
        (status = 401, description = "The name or the password is wrong"),
        (status = 429, description = "Too many attempts failed"))
)]
async fn log_in(state: &State, asked: &Asked, body: Inbound) -> Answer {
    let wish: LogIn = super::wish(body, "{\"name\": TEXT, \"password\": TEXT}").await?;
    let granted = state.access.log_in(&wish.name, wish.password.reveal(), &client(asked)).await?;
    answer(asked, granted, wish.refresh_by)
}

/// Refresh
///
/// A refresh token for the next and an access token. One that comes a second time ends its session.
/// From a cookie it is taken only with the header `X-Requested-With`, which no form can send.
#[utoipa::path(
    post, path = "/auth/refresh", operation_id = "refreshTokens", tag = "auth", request_body = Refresh,
    responses((status = 200, description = "Somebody is still in", body = Tokens),
        (status = 401, description = "The token is not good, or not any more"),
        (status = 403, description = "A cookie without the header"))
)]
async fn refresh(state: &State, asked: &Asked, body: Inbound) -> Answer {
    let wish: Refresh = super::wish(body, "{\"refresh_token\": TEXT}, or nothing with the cookie").await?;
    let (token, by) = match wish.refresh_token {
        Some(token) => (token, RefreshBy::Body),
        None => (cookie::refresh_token(&asked.headers)?, RefreshBy::Cookie),
    };
    let granted = state.access.refresh(token.reveal(), &client(asked)).await?;
    answer(asked, granted, by)
}

/// Log out
///
/// Ends the session of the caller, on all servers.
#[utoipa::path(
    post, path = "/auth/logout", operation_id = "logOut", tag = "auth",
    responses((status = 204, description = "The session has ended"))
)]
async fn log_out(state: &State, asked: &Asked) -> Answer {
    if let Some(session) = &asked.caller.session {
        state.access.end_session(session, &asked.who()).await?;
    }
    let mut response = super::no_content();
    cookie::clear(&mut response, &asked.urls);
    Ok(response)
}

/// Who am I
///
/// The caller, and what he may do.
#[utoipa::path(
    get, path = "/auth/me", operation_id = "getMe", tag = "auth",
    responses((status = 200, description = "The caller", body = Me))
)]
async fn me(state: &State, asked: &Asked) -> Answer {
    let Caller { subject, means, roles, session, authenticated_at, .. } = &asked.caller;
    let (user, api_key) = match subject {
        Subject::Anonymous => (None, None),
        Subject::User { id, .. } => (Some(users::shown(state.access.user(id).await?)), None),
        Subject::ApiKey { id, name } => (None, Some(ApiKeyName { id: id.clone(), name: name.clone() })),
    };
    let me = Me {
        user,
        api_key,
        means: means.as_str(),
        roles: roles.iter().copied().collect(),
        permissions: Permission::ALL.into_iter().filter(|one| asked.caller.may(*one)).collect(),
        session: session.clone(),
        authenticated_at: authenticated_at.map(Time::from),
        is_fresh: state.access.is_fresh(&asked.caller),
    };
    super::json(StatusCode::OK, &me).map(unstored)
}

/// Change one's password
///
/// With the old one. All other sessions of the caller end.
#[utoipa::path(
    post, path = "/auth/password", operation_id = "changePassword", tag = "auth", request_body = PasswordChange,
    responses((status = 204, description = "The new password is good from now on"),
        (status = 401, description = "The old password is wrong"),
        (status = 422, description = "The new one is too short, too long or the old one"),
        (status = 429, description = "Too many attempts failed"))
)]
async fn change_password(state: &State, asked: &Asked, body: Inbound) -> Answer {
    let wish: PasswordChange = super::wish(body, "{\"old\": TEXT, \"new\": TEXT}").await?;
    let who = asked.who();
    state.access.change_password(&asked.caller, wish.old.reveal(), &wish.new, &who).await?;
    Ok(super::no_content())
}

/// Show a secret again
///
/// What a signature asks for: the session counts as fresh, and the new access token says so.
#[utoipa::path(
    post, path = "/auth/confirm", operation_id = "confirmIdentity", tag = "auth", request_body = Confirmation,
    responses((status = 200, description = "An access token that is fresh", body = Confirmed),
        (status = 401, description = "The password is wrong"),
        (status = 429, description = "Too many attempts failed"))
)]
async fn confirm(state: &State, asked: &Asked, body: Inbound) -> Answer {
    let wish: Confirmation = super::wish(body, "{\"password\": TEXT}").await?;
    if asked.caller.means != Means::AccessToken {
        return Err(Denied::NotAPerson.into());
    }
    state.access.confirm(&asked.caller, wish.password.reveal()).await?;
    let (token, lifetime) = state.access.renewed(&asked.caller).await?;
    let confirmed = Confirmed {
        access_token: token.reveal().to_owned(),
        token_type: "Bearer",
        expires_in: lifetime.as_secs(),
    };
    super::json(StatusCode::OK, &confirmed).map(unstored)
}

/// The keys that verify our tokens
///
/// A JWK Set (RFC 7517): those that have signed, that sign and that will.
#[utoipa::path(
    get, path = "/auth/jwks", operation_id = "getJwks", tag = "auth",
    responses((status = 200, description = "The public keys", body = JwkSet))
)]
async fn jwks(state: &State) -> Answer {
    super::json(StatusCode::OK, &JwkSet { keys: state.access.public_keys().await? })
}

fn client(asked: &Asked) -> Client {
    let agent = asked.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Client {
        address: Some(asked.client),
        agent: agent.map(str::to_owned),
        request_id: Some(asked.request_id.clone()),
    }
}

fn answer(asked: &Asked, granted: Granted, by: RefreshBy) -> Answer {
    let refresh = granted.refresh;
    let tokens = Tokens {
        access_token: granted.access.reveal().to_owned(),
        token_type: "Bearer",
        expires_in: granted.access_lifetime.as_secs(),
        refresh_token: (by == RefreshBy::Body).then(|| refresh.reveal().to_owned()),
        refresh_expires_at: granted.refresh_expires_at.into(),
        session: granted.session.id,
        must_change_password: granted.user.must_change,
        user: users::shown(granted.user),
    };
    let mut response = super::json(StatusCode::OK, &tokens).map(unstored)?;
    if by == RefreshBy::Cookie {
        cookie::set(&mut response, &asked.urls, &refresh, granted.refresh_lifetime);
    }
    Ok(response)
}

/// Secrets are kept by nobody on the way.
pub(super) fn unstored(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
