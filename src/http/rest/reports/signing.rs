//! Signing, and the proof that it is the signer who does it.

use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::answers::Report;
use super::life::expected;
use super::{author, changed, refused};
use crate::auth::{Denied, Means, Subject};
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::reporting::{Author, Signer};

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureWish {
    /// Of the signer; not needed for some minutes after he logged in.
    password: Option<String>,
    /// The impression of the model was read again after a finding was changed or rejected.
    #[serde(default)]
    impression_confirmed: bool,
    reason: Option<String>,
}

/// Sign a report
///
/// Closes the version: its SR and PDF follow in the study. Refused while a finding of the model is
/// neither accepted, edited nor rejected.
#[utoipa::path(
    post, path = "/reports/{report}/sign", operation_id = "signReport", tag = "reports",
    params(("report" = String, Path), ("If-Match" = String, Header)), request_body = SignatureWish,
    responses((status = 200, description = "The signed version", body = Report),
        (status = 403, description = "Without a fresh proof of who signs"),
        (status = 409, description = "Findings are undecided, or there is nothing to sign"),
        (status = 412, description = "Somebody else was first"),
        (status = 422, description = "Without an impression"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn sign(state: &State, id: &str, asked: &Asked, body: Inbound) -> Answer {
    let form = "{\"password\", \"impression_confirmed\", \"reason\"}, each optional";
    let wish: SignatureWish = super::super::wish(body, form).await?;
    let expected = expected(state, id, asked).await?;
    let signer = signer(state, asked, wish.password.as_deref()).await?;
    let reason = wish.reason.as_deref();
    let signed = state.reporting.sign(&signer, id, &expected, wish.impression_confirmed, reason).await;
    changed(StatusCode::OK, &signed.map_err(refused)?, asked)
}

/// Nothing passes for signed by nobody: it is a person who has just shown who he is or, without
/// access control, who the configuration says it is.
async fn signer(state: &State, asked: &Asked, password: Option<&str>) -> Result<Signer, HttpError> {
    let caller = &asked.caller;
    if caller.means == Means::AccessControlOff {
        return configured(state, asked);
    }
    if !matches!(caller.subject, Subject::User { .. }) {
        return Err(HttpError::Forbidden("only a person signs"));
    }
    let proof = match password {
        Some(password) => {
            state.access.confirm(caller, password).await.map_err(unproved)?;
            "password"
        }
        None if state.access.is_fresh(caller) => "recent-authentication",
        None => return Err(HttpError::Forbidden("signing needs the password of the signer again")),
    };
    Ok(Signer { author: author(asked), proof })
}

fn configured(state: &State, asked: &Asked) -> Result<Signer, HttpError> {
    let name = state.reporting.configured_signer().ok_or(HttpError::Forbidden(
        "without access control nothing is signed, unless report.signer names who signs",
    ))?;
    let author = Author { id: "configured".into(), name: name.to_owned(), ..author(asked) };
    Ok(Signer { author, proof: "configured" })
}

/// The caller is known: a wrong password is no reason to send him away to log in.
fn unproved(denied: Denied) -> HttpError {
    match denied {
        Denied::Wrong => HttpError::Forbidden("the password is wrong"),
        denied => denied.into(),
    }
}
