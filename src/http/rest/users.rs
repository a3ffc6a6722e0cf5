//! Accounts: for those who manage users.

use std::collections::BTreeSet;

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::etag::{self, Etag};
use super::page::{FieldsParameter, List, Page, PageParameters};
use super::routes::{Route, routes};
use super::time::Time;
use crate::auth::{NewUser, Permission, Role, Secret, UserError, may};
use crate::db::users::{self, Profile, User as Stored};
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};

pub(super) const ROUTES: &[Route] = routes! {
    GET "users", "api-users", may(Permission::ManageUsers), |call| list(&call.state, &call.asked).await;
    POST "users", "api-create-user", may(Permission::ManageUsers),
        |call| create(&call.state, &call.asked, call.body).await;
    GET "users/{user}", "api-user", may(Permission::ManageUsers),
        |call| one(&call.state, call.path.text("user"), &call.asked).await;
    PATCH "users/{user}", "api-change-user", may(Permission::ManageUsers),
        |call| change(&call.state, call.path.text("user"), &call.asked, call.body).await;
    DELETE "users/{user}", "api-delete-user", may(Permission::ManageUsers),
        |call| delete(&call.state, call.path.text("user"), &call.asked).await;
    POST "users/{user}/password", "api-reset-password", may(Permission::ManageUsers),
        |call| reset_password(&call.state, call.path.text("user"), &call.asked, call.body).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, create, one, change, delete, reset_password))]
pub(super) struct Doc;

const LIST: List = List {
    name: "users",
    filters: &["role", "disabled"],
    sorts: &[("name", "account.name_key"), ("created_at", "account.created_at")],
    default: "name",
    key: "account.id",
};

#[derive(Serialize, ToSchema)]
pub(super) struct User {
    id: String,
    /// What is typed at log-in.
    name: String,
    /// For people and documents.
    display_name: String,
    email: Option<String>,
    roles: Vec<Role>,
    disabled: bool,
    must_change_password: bool,
    /// The identity provider that keeps the password.
    provider: Option<String>,
    created_at: Time,
    updated_at: Time,
    last_login_at: Option<Time>,
}

/// A user, and a first secret that is shown this once.
#[derive(Serialize, ToSchema)]
struct CreatedUser {
    #[serde(flatten)]
    user: User,
    /// Null where it was given, and where the request is repeated.
    password: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserWish {
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    #[schema(min_length = 1, max_length = 200)]
    display_name: String,
    #[serde(default)]
    #[schema(max_length = 200)]
    email: Option<String>,
    #[schema(min_items = 1)]
    roles: BTreeSet<Role>,
    /// To be changed at the first log-in. Left out: one is made.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    password: Option<Secret>,
}

/// What is to be otherwise; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200)]
    display_name: Option<String>,
    /// Null takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    email: Option<Option<String>>,
    #[serde(default)]
    #[schema(min_items = 1)]
    roles: Option<BTreeSet<Role>>,
    #[serde(default)]
    disabled: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordReset {
    /// To be changed at the next log-in. Left out: one is made.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    password: Option<Secret>,
}

/// A secret that is shown this once.
#[derive(Serialize, ToSchema)]
struct NewPassword {
    /// Null where it was given.
    password: Option<String>,
}

/// Null is something else than nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Users
#[utoipa::path(
    get, path = "/users", operation_id = "listUsers", tag = "users",
    params(PageParameters, ("role" = Option<Role>, Query), ("disabled" = Option<bool>, Query)),
    responses((status = 200, description = "A page of users", body = Page<User>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<User>(&asked.query, "")?;
    let unknown = || HttpError::bad_request("role is one of those that there are");
    let role = asked.query.get("role").map(|name| Role::named(name).ok_or_else(unknown)).transpose()?;
    let disabled = match asked.query.get("disabled") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(HttpError::bad_request("disabled is true or false")),
    };
    let found = users::list(&state.db, role, disabled, &wanted.page).await?;
    wanted.answer(found.map(shown))
}

/// Create a user
///
/// The first password is changed at the first log-in.
#[utoipa::path(
    post, path = "/users", operation_id = "createUser", tag = "users", request_body = UserWish,
    responses((status = 201, description = "The user", body = CreatedUser),
        (status = 409, description = "The name is taken, or was once"),
        (status = 422, description = "A name, a role or the password cannot be"))
)]
async fn create(state: &State, asked: &Asked, body: Inbound) -> Answer {
    let form = "{\"name\": TEXT, \"display_name\": TEXT, \"roles\": [ROLE]}";
    let wish: UserWish = super::wish(body, form).await?;
    let UserWish { name, display_name, email, roles, password } = wish;
    let new = NewUser { name, display_name, email, roles, password, provider: None };
    let (user, password) = state.access.create_user(new, &asked.who()).await?;
    let (version, url) = (version(&user), asked.urls.rest(&format!("users/{}", user.id)));
    let password = password.map(|password| password.reveal().to_owned());
    let user = shown(user);
    let etag = version.saying(&user)?;
    let mut response = super::json(StatusCode::CREATED, &CreatedUser { user, password })?;
    etag.mark(&mut response);
    let url = HeaderValue::from_str(&url).map_err(HttpError::internal("naming the user"))?;
    response.headers_mut().insert(LOCATION, url);
    Ok(super::auth::unstored(response))
}

/// One user
#[utoipa::path(
    get, path = "/users/{user}", operation_id = "getUser", tag = "users",
    params(("user" = String, Path), FieldsParameter),
    responses((status = 200, description = "The user", body = User), (status = 304, description = "Known"))
)]
async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let user = state.access.user(id).await?;
    etag::answer_of(version(&user), asked, &shown(user))
}

/// Change a user
///
/// The last administrator stays one.
#[utoipa::path(
    patch, path = "/users/{user}", operation_id = "changeUser", tag = "users", params(("user" = String, Path)),
    request_body = UserChange,
    responses((status = 200, description = "The user as it is now", body = User),
        (status = 409, description = "Nobody would be left who can let others in"),
        (status = 412, description = "The user has changed since it was read"),
        (status = 422, description = "A name or a role cannot be"),
        (status = 428, description = "Without If-Match"))
)]
async fn change(state: &State, id: &str, asked: &Asked, body: Inbound) -> Answer {
    let wish: UserChange = super::wish(body, "what of a user is to be otherwise").await?;
    let before = state.access.user(id).await?;
    version(&before).required(&asked.headers, "user")?;
    let to = Profile {
        display_name: wish.display_name.unwrap_or_else(|| before.display_name.clone()),
        email: wish.email.unwrap_or_else(|| before.email.clone()),
        roles: wish.roles.unwrap_or_else(|| before.roles.clone()),
        disabled: wish.disabled.unwrap_or(before.disabled),
    };
    let user = state.access.change_user(&before, &to, &asked.who()).await?;
    let version = version(&user);
    let user = shown(user);
    let mut response = super::json(StatusCode::OK, &user)?;
    version.saying(&user)?.mark(&mut response);
    Ok(response)
}

/// Delete a user
///
/// The name is not given again: the audit speaks of it.
#[utoipa::path(
    delete, path = "/users/{user}", operation_id = "deleteUser", tag = "users", params(("user" = String, Path)),
    responses((status = 204, description = "The user is gone, with all sessions"),
        (status = 409, description = "Nobody would be left who can let others in"),
        (status = 412, description = "The user has changed since it was read"),
        (status = 428, description = "Without If-Match"))
)]
async fn delete(state: &State, id: &str, asked: &Asked) -> Answer {
    let before = state.access.user(id).await?;
    version(&before).required(&asked.headers, "user")?;
    state.access.delete_user(&before, &asked.who()).await?;
    Ok(super::no_content())
}

/// Reset a password
///
/// All sessions of the user end; at the next log-in the password is changed.
#[utoipa::path(
    post, path = "/users/{user}/password", operation_id = "resetPassword", tag = "users",
    params(("user" = String, Path)), request_body = PasswordReset,
    responses((status = 200, description = "The new password", body = NewPassword),
        (status = 422, description = "The password cannot be, or an identity provider keeps it"))
)]
async fn reset_password(state: &State, id: &str, asked: &Asked, body: Inbound) -> Answer {
    let wish: PasswordReset = super::wish(body, "{\"password\": TEXT}, or nothing").await?;
    let user = state.access.user(id).await?;
    let made = state.access.reset_password(&user, wish.password, &asked.who()).await?;
    let password = made.map(|password| password.reveal().to_owned());
    super::json(StatusCode::OK, &NewPassword { password }).map(super::auth::unstored)
}

/// A log-in changes the answer and nothing that a person could overwrite.
fn version(user: &Stored) -> Etag {
    Etag::of_version(&user.id, user.version)
}

pub(super) fn shown(user: Stored) -> User {
    User {
        id: user.id,
        name: user.name,
        display_name: user.display_name,
        email: user.email,
        roles: user.roles.into_iter().collect(),
        disabled: user.disabled,
        must_change_password: user.must_change,
        provider: user.provider.map(|(issuer, _)| issuer),
        created_at: user.created_at.into(),
        updated_at: user.updated_at.into(),
        last_login_at: user.last_login_at.map(Time::from),
    }
}

impl From<UserError> for HttpError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Unknown => Self::NotFound("user"),
            UserError::Taken | UserError::LastAdministrator => Self::Conflict(error.to_string()),
            UserError::Changed => Self::PreconditionFailed("user"),
            UserError::Denied(denied) => denied.into(),
            UserError::Name
            | UserError::Text(_)
            | UserError::NoRole
            | UserError::NoPassword
            | UserError::Policy(_) => Self::Unprocessable(error.to_string()),
        }
    }
}
