//! Who asks: from the headers of a request to a [`Caller`].
//!
//! `Authorization: Bearer` has an access token or an API key, `X-Api-Key` an API key,
//! `Authorization: Basic` a name and a password, where the configuration takes them and nobody
//! reads along. A request shows one proof.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Response;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};

use super::error::HttpError;
use super::service::Visit;
use super::{State, urls};
use crate::auth::{API_KEY, Caller, Means, Needs};
use crate::config::AuthMode;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What a browser loads something for; `empty` is a script that asks.
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// What a request shows.
enum Proof {
    Token(String),
    ApiKey(String),
    Password { name: String, password: String },
}

/// Nobody in particular may use what is open; everything else wants to know.
pub(super) async fn caller(
    state: &State,
    visit: &mut Visit,
    needs: Needs,
    headers: &HeaderMap,
) -> Result<Caller, HttpError> {
    if state.settings.auth_mode == AuthMode::Off {
        return Ok(Caller::unrestricted());
    }
    if needs == Needs::Nothing {
        return Ok(Caller::anonymous());
    }
    let takes_basic = state.settings.basic && urls::is_private(&state.settings.naming, visit.ends, headers);
    // A script that gets the challenge would have its browser ask for a password, over its page.
    visit.offers_basic = takes_basic && headers.get(SEC_FETCH_DEST).is_none_or(|dest| dest != "empty");
    let access = &state.access;
    let known = match proof(headers)? {
        None => return Err(HttpError::LogInNeeded),
        Some(Proof::Token(token)) => access.by_access_token(&token).await,
        Some(Proof::ApiKey(key)) => access.by_api_key(&key).await,
        Some(Proof::Password { .. }) if !state.settings.basic => return Err(HttpError::LogInNeeded),
        // Sent again and again where somebody may read along.
        Some(Proof::Password { .. }) if !takes_basic => {
            return Err(HttpError::Forbidden("basic authentication is taken over HTTPS alone"));
        }
        Some(Proof::Password { name, password }) => access.by_password(&name, &password, visit.client).await,
    };
    known.map_err(HttpError::from)
}

/// The second challenge of a 401, beside that for tokens (RFC 7617 2).
pub(super) fn offer_basic<B>(response: &mut Response<B>) {
    let challenge = HeaderValue::from_static("Basic realm=\"radiant\", charset=\"UTF-8\"");
    response.headers_mut().append(WWW_AUTHENTICATE, challenge);
}

fn proof(headers: &HeaderMap) -> Result<Option<Proof>, HttpError> {
    let shown: Vec<&HeaderValue> =
        headers.get_all(AUTHORIZATION).iter().chain(headers.get_all(X_API_KEY)).collect();
    let value = match shown.as_slice() {
        [] => return Ok(None),
        [value] => value.to_str().map_err(|_| malformed())?.trim(),
        _ => return Err(HttpError::bad_request("a request shows one proof of who asks")),
    };
    if headers.contains_key(X_API_KEY) {
        return Ok(Some(Proof::ApiKey(value.to_owned())));
    }
    let (scheme, credentials) = value.split_once(' ').ok_or_else(malformed)?;
    let credentials = credentials.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" if credentials.starts_with(API_KEY) => Ok(Some(Proof::ApiKey(credentials.to_owned()))),
        "bearer" => Ok(Some(Proof::Token(credentials.to_owned()))),
        "basic" => password(credentials).map(Some).ok_or_else(malformed),
        _ => Err(malformed()),
    }
}

fn malformed() -> HttpError {
    HttpError::bad_request("Authorization is Bearer with a token, or Basic with a name and a password")
}

/// RFC 7617 2.
fn password(credentials: &str) -> Option<Proof> {
    let text = String::from_utf8(BASE64_STANDARD.decode(credentials).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Proof::Password { name: name.to_owned(), password: password.to_owned() })
}

/// Whether the caller may use an endpoint that needs this.
pub(super) fn check(caller: &Caller, needs: Needs) -> Result<(), HttpError> {
    match needs {
        _ if caller.has(needs) => Ok(()),
        Needs::Permission(permission) => Err(HttpError::MissingPermission(permission)),
        Needs::Nothing | Needs::Identity => Err(HttpError::LogInNeeded),
    }
}

/// Whether the proof is in a header that no page can make a browser send by itself.
pub(super) fn is_explicit(means: Means) -> bool {
    matches!(means, Means::AccessToken | Means::ApiKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_proof(lines: &[(HeaderName, &'static str)], expected: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        let found = match proof(&headers) {
            Err(_) => "refused".to_owned(),
            Ok(None) => "none".to_owned(),
            Ok(Some(Proof::Token(token))) => format!("token {token}"),
            Ok(Some(Proof::ApiKey(key))) => format!("key {key}"),
            Ok(Some(Proof::Password { name, password })) => format!("password {name} {password}"),
        };
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn a_request_shows_one_proof() {
        check_proof(&[], "none");
        check_proof(&[(AUTHORIZATION, "bearer a.b.c")], "token a.b.c");
        check_proof(&[(AUTHORIZATION, "Bearer rk_1_2")], "key rk_1_2");
        check_proof(&[(X_API_KEY, "rk_1_2")], "key rk_1_2");
        check_proof(&[(AUTHORIZATION, "Basic YWRhOmE6Yg==")], "password ada a:b");
        check_proof(&[(AUTHORIZATION, "Bearer a"), (X_API_KEY, "rk_1_2")], "refused");
        check_proof(&[(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer b")], "refused");
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        for line in ["Bearer", "Digest username=\"a\"", "Basic !", "Basic YWRh", "a.b.c"] {
            check_proof(&[(AUTHORIZATION, line)], "refused");
        }
    }
}
