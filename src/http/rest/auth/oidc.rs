//! Log-in at an identity provider: away, and back.

use http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use http::{Response, StatusCode};

use super::{client, cookie};
use crate::auth::{Needs, OidcError};
use crate::http::State;
use crate::http::body::{self, Body};
use crate::http::error::HttpError;
use crate::http::rest::routes::{Route, routes};
use crate::http::service::{Answer, Asked};

pub(in crate::http::rest) const ROUTES: &[Route] = routes! {
    GET "auth/oidc/login", "api-oidc-log-in", Needs::Nothing, |call| leave(&call.state, &call.asked).await;
    GET "auth/oidc/callback", "api-oidc-callback", Needs::Nothing, |call| back(&call.state, &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(leave, back))]
pub(in crate::http::rest) struct Doc;

const CALLBACK: &str = "auth/oidc/callback";

/// Log in at the identity provider
///
/// Sends the browser there; it comes back to `auth/oidc/callback`, and goes to `return_to` in the end,
/// with the refresh token as a cookie.
#[utoipa::path(
    get, path = "/auth/oidc/login", operation_id = "logInAtProvider", tag = "auth",
    params(("return_to" = Option<String>, Query, description = "A path of this server", max_length = 512)),
    responses((status = 303, description = "To the identity provider"),
        (status = 404, description = "There is no identity provider"),
        (status = 502, description = "The identity provider does not answer"))
)]
async fn leave(state: &State, asked: &Asked) -> Answer {
    let return_to = asked.query.get("return_to").unwrap_or("/");
    if !is_own_path(return_to) {
        return Err(HttpError::bad_request("return_to is a path of this server"));
    }
    let leaving = state.access.leave_for_provider(&callback(asked)?, return_to).await?;
    let mut response = see_other(&leaving.url)?;
    cookie::set_browser(&mut response, &asked.urls, &leaving.browser, leaving.lifetime);
    Ok(response)
}

/// Back from the identity provider
///
/// For browsers that `auth/oidc/login` has sent away.
#[utoipa::path(
    get, path = "/auth/oidc/callback", operation_id = "backFromProvider", tag = "auth",
    params(("state" = Option<String>, Query), ("code" = Option<String>, Query),
        ("iss" = Option<String>, Query)),
    responses((status = 303, description = "Somebody is in; on to where he wanted"),
        (status = 401, description = "The provider has let nobody in, or this browser did not begin"),
        (status = 403, description = "The provider knows somebody who has no place here"),
        (status = 409, description = "The name belongs to an account of this server"),
        (status = 502, description = "The provider cannot be asked what the code stands for"))
)]
async fn back(state: &State, asked: &Asked) -> Answer {
    let (Some(known), Some(code)) = (asked.query.get("state"), asked.query.get("code")) else {
        return Err(OidcError::Refused.into());
    };
    // RFC 9207: a code of another provider is none.
    if asked.query.get("iss").is_some_and(|issuer| !state.access.is_provider(issuer)) {
        return Err(OidcError::Refused.into());
    }
    let browser = cookie::browser(&asked.headers).ok_or(OidcError::State)?;
    let (callback, client) = (callback(asked)?, client(asked));
    let back = state.access.back_from_provider(known, browser.reveal(), code, &callback, &client);
    let (granted, return_to) = back.await?;
    let mut response = see_other(&return_to)?;
    cookie::set(&mut response, &asked.urls, &granted.refresh, granted.refresh_lifetime);
    cookie::clear_browser(&mut response, &asked.urls);
    Ok(response)
}

/// The provider is told where to send the browser: that has to be certain.
fn callback(asked: &Asked) -> Result<String, HttpError> {
    let url = asked.urls.rest(CALLBACK);
    match url.starts_with("http") {
        true => Ok(url),
        false => {
            Err(HttpError::Unprocessable("the server does not know its URL (http.public_base)".to_owned()))
        }
    }
}

/// Nothing that a browser takes for another origin.
fn is_own_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= 512
        && path.bytes().all(|b| (0x21..0x7F).contains(&b) && b != b'\\')
}

fn see_other(url: &str) -> Answer {
    let location = HeaderValue::from_str(url).map_err(HttpError::internal("naming the next page"))?;
    let mut response: Response<Body> = Response::new(body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl From<OidcError> for HttpError {
    fn from(error: OidcError) -> Self {
        match error {
            OidcError::None => Self::NotFound("identity provider"),
            OidcError::TooMany => {
                Self::Unavailable { reason: "too many log-ins are under way", retry_after_s: 60 }
            }
            OidcError::State | OidcError::Refused | OidcError::IdToken(_) => {
                tracing::info!(%error, "a log-in at the identity provider came to nothing");
                Self::Unauthorized(crate::auth::Denied::Wrong)
            }
            OidcError::Unreachable(_) => Self::BadGateway(error.to_string()),
            OidcError::NotLetIn => {
                Self::Forbidden("the identity provider knows somebody who has no place here")
            }
            OidcError::NameTaken => Self::Conflict(error.to_string()),
            OidcError::Denied(denied) => denied.into(),
            OidcError::Secret(_) | OidcError::Role(_) | OidcError::Tls(_) | OidcError::Http(_) => {
                Self::internal("the identity provider")(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_paths_of_this_server_alone() {
        assert!(is_own_path("/") && is_own_path("/studies?a=b#c"));
        for strange in ["", "a", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/ä"]
        {
            assert!(!is_own_path(strange), "{strange:?}");
        }
    }
}
