//! What people do to reports, short of signing them. Each needs `If-Match`.

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::answers::{self, Report};
use super::{author, changed, refused};
use crate::dicom::uid::StudyUid;
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::rest::routes::PathParameters;
use crate::http::service::{Answer, Asked};
use crate::json;
use crate::report::content::Words;
use crate::reporting::{Beginning, Edit, Expected, TextChanges};

/// Five sections of many characters, in any script.
const BODY_BYTES_MAX: usize = 1 << 20;

async fn read<T: DeserializeOwned>(body: Inbound, form: &str) -> Result<T, HttpError> {
    super::super::wish_up_to(BODY_BYTES_MAX, body, form).await
}

/// The revision that the caller has seen, which is the one that is there.
pub(super) async fn expected(state: &State, id: &str, asked: &Asked) -> Result<Expected, HttpError> {
    let opened = state.reporting.open(id).await.map_err(refused)?;
    let [unpublished, published] = answers::tags(&opened);
    unpublished
        .required(&asked.headers, "report")
        .or_else(|_| published.required(&asked.headers, "report"))?;
    Ok(Expected::Revisions(vec![opened.head.revision]))
}

async fn act(state: &State, id: &str, asked: &Asked, edit: Edit, reason: Option<&str>) -> Answer {
    let expected = expected(state, id, asked).await?;
    let edited = state.reporting.edit(&author(asked), id, &expected, &edit, reason).await;
    changed(StatusCode::OK, &edited.map_err(refused)?, asked)
}

/// Texts of a report; what is left out stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportChanges {
    title: Option<String>,
    /// RFC 5646.
    language: Option<String>,
    #[serde(default, deserialize_with = "json::one")]
    sections: SectionChanges,
    /// Why, for those who read the versions.
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SectionChanges {
    clinical_information: Option<String>,
    technique: Option<String>,
    comparison: Option<String>,
    findings: Option<String>,
    impression: Option<String>,
}

impl ReportChanges {
    fn texts(self) -> (TextChanges, Option<String>) {
        let sections = self.sections;
        let texts = TextChanges {
            title: self.title,
            language: self.language,
            clinical_information: sections.clinical_information,
            technique: sections.technique,
            comparison: sections.comparison,
            findings: sections.findings,
            impression: sections.impression,
        };
        (texts, self.reason)
    }
}

const CHANGES: &str = "{\"title\", \"language\", \"sections\": {…}, \"reason\"}, each optional";

/// Change the text of a report
///
/// Makes its next version. Of two who change the same version one gets 412.
#[utoipa::path(
    patch, path = "/reports/{report}", operation_id = "editReport", tag = "reports",
    params(("report" = String, Path), ("If-Match" = String, Header, description = "The entity tag that was read")),
    request_body = ReportChanges,
    responses((status = 200, description = "The next version", body = Report),
        (status = 409, description = "The state of the report does not allow it"),
        (status = 412, description = "Somebody else was first"),
        (status = 422, description = "A text breaks a rule"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn edit(state: &State, id: &str, asked: &Asked, body: Inbound) -> Answer {
    let (texts, reason) = read::<ReportChanges>(body, CHANGES).await?.texts();
    act(state, id, asked, Edit::Text(texts), reason.as_deref()).await
}

/// Begin a report without a model
#[utoipa::path(
    post, path = "/studies/{study}/reports", operation_id = "beginReport", tag = "reports",
    params(("study" = StudyUid, Path)), request_body = ReportChanges,
    responses((status = 201, description = "The report", body = Report),
        (status = 404, description = "There is no such study"),
        (status = 409, description = "The study has no images"),
        (status = 422, description = "A text breaks a rule"))
)]
pub(super) async fn begin(state: &State, study: &StudyUid, asked: &Asked, body: Inbound) -> Answer {
    let (texts, reason) = read::<ReportChanges>(body, CHANGES).await?.texts();
    let beginning = Beginning { texts, reason };
    let begun = state.reporting.begin(&author(asked), study, &beginning).await.map_err(refused)?;
    let mut response = changed(StatusCode::CREATED, &begun, asked)?;
    let url = asked.urls.rest(&format!("reports/{}", begun.head.id));
    let location = HeaderValue::from_str(&url).map_err(HttpError::internal("naming the report"))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

const WORDS: &str = "a finding: finding, location, laterality, certainty and what else is known of it";

/// Add a finding
///
/// Held to the rules that answers of a model are held to.
#[utoipa::path(
    post, path = "/reports/{report}/findings", operation_id = "addFinding", tag = "reports",
    params(("report" = String, Path), ("If-Match" = String, Header)), request_body = Words,
    responses((status = 200, description = "The next version", body = Report),
        (status = 409, description = "The state of the report does not allow it"),
        (status = 412, description = "Somebody else was first"),
        (status = 422, description = "What is wrong, with its place"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn add_finding(state: &State, id: &str, asked: &Asked, body: Inbound) -> Answer {
    let words = read(body, WORDS).await?;
    act(state, id, asked, Edit::AddFinding(words), None).await
}

/// Change a finding
///
/// The words of the model stay beside those of the person.
#[utoipa::path(
    put, path = "/reports/{report}/findings/{stated}", operation_id = "editFinding", tag = "reports",
    params(("report" = String, Path), ("stated" = String, Path), ("If-Match" = String, Header)),
    request_body = Words,
    responses((status = 200, description = "The next version", body = Report),
        (status = 409, description = "The state of the report does not allow it"),
        (status = 412, description = "Somebody else was first"),
        (status = 422, description = "What is wrong, with its place"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn edit_finding(
    state: &State,
    path: &PathParameters,
    asked: &Asked,
    body: Inbound,
) -> Answer {
    let (words, finding) = (read(body, WORDS).await?, path.text("stated").to_owned());
    act(state, path.text("report"), asked, Edit::ChangeFinding { finding, words }, None).await
}

/// Remove a finding that a person added
///
/// Earlier versions keep it. What a model said is rejected instead.
#[utoipa::path(
    delete, path = "/reports/{report}/findings/{stated}", operation_id = "removeFinding", tag = "reports",
    params(("report" = String, Path), ("stated" = String, Path), ("If-Match" = String, Header)),
    responses((status = 200, description = "The next version", body = Report),
        (status = 409, description = "It is the model's, or the state of the report does not allow it"),
        (status = 412, description = "Somebody else was first"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn remove_finding(state: &State, path: &PathParameters, asked: &Asked) -> Answer {
    let finding = path.text("stated").to_owned();
    act(state, path.text("report"), asked, Edit::RemoveFinding { finding }, None).await
}

/// Accept a finding of the model
#[utoipa::path(
    post, path = "/reports/{report}/findings/{stated}/accept", operation_id = "acceptFinding", tag = "reports",
    params(("report" = String, Path), ("stated" = String, Path), ("If-Match" = String, Header)),
    responses((status = 200, description = "The next version", body = Report),
        (status = 409, description = "It is a person's, or the state of the report does not allow it"),
        (status = 412, description = "Somebody else was first"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn accept_finding(state: &State, path: &PathParameters, asked: &Asked) -> Answer {
    let finding = path.text("stated").to_owned();
    act(state, path.text("report"), asked, Edit::AcceptFinding { finding }, None).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rejection {
    reason: String,
}

/// Reject a finding of the model
///
/// It stays on record, and is no finding of what is signed.
#[utoipa::path(
    post, path = "/reports/{report}/findings/{stated}/reject", operation_id = "rejectFinding", tag = "reports",
    params(("report" = String, Path), ("stated" = String, Path), ("If-Match" = String, Header)),
    request_body = Rejection,
    responses((status = 200, description = "The next version", body = Report),
        (status = 409, description = "It is a person's, or the state of the report does not allow it"),
        (status = 412, description = "Somebody else was first"),
        (status = 422, description = "Without a reason"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn reject_finding(
    state: &State,
    path: &PathParameters,
    asked: &Asked,
    body: Inbound,
) -> Answer {
    let Rejection { reason } = read(body, "{\"reason\": TEXT}").await?;
    let edit = Edit::RejectFinding { finding: path.text("stated").to_owned(), reason: reason.clone() };
    act(state, path.text("report"), asked, edit, Some(&reason)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddendumText {
    text: String,
    reason: Option<String>,
}

const ADDENDUM: &str = "{\"text\": TEXT, \"reason\": TEXT or nothing}";

/// Begin an addendum to a signed report
///
/// It must be signed too; until then the version that was signed stays in force.
#[utoipa::path(
    post, path = "/reports/{report}/addendum", operation_id = "beginAddendum", tag = "reports",
    params(("report" = String, Path), ("If-Match" = String, Header)), request_body = AddendumText,
    responses((status = 200, description = "The next version", body = Report),
        (status = 409, description = "The report is not signed"),
        (status = 412, description = "Somebody else was first"),
        (status = 422, description = "The text breaks a rule"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn addendum(state: &State, id: &str, asked: &Asked, body: Inbound) -> Answer {
    let AddendumText { text, reason } = read(body, ADDENDUM).await?;
    act(state, id, asked, Edit::Addendum { text }, reason.as_deref()).await
}

/// Change an addendum that is not signed yet
#[utoipa::path(
    put, path = "/reports/{report}/addendum", operation_id = "editAddendum", tag = "reports",
    params(("report" = String, Path), ("If-Match" = String, Header)), request_body = AddendumText,
    responses((status = 200, description = "The next version", body = Report),
        (status = 409, description = "No addendum is being written"),
        (status = 412, description = "Somebody else was first"),
        (status = 422, description = "The text breaks a rule"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn edit_addendum(state: &State, id: &str, asked: &Asked, body: Inbound) -> Answer {
    let AddendumText { text, reason } = read(body, ADDENDUM).await?;
    act(state, id, asked, Edit::ChangeAddendum { text }, reason.as_deref()).await
}

/// Begin to correct a signed report
///
/// Text and findings can be changed again, and must be signed again.
#[utoipa::path(
    post, path = "/reports/{report}/correction", operation_id = "beginCorrection", tag = "reports",
    params(("report" = String, Path), ("If-Match" = String, Header)), request_body = Rejection,
    responses((status = 200, description = "The next version", body = Report),
        (status = 409, description = "The report is not signed"),
        (status = 412, description = "Somebody else was first"),
        (status = 422, description = "Without a reason"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn correction(state: &State, id: &str, asked: &Asked, body: Inbound) -> Answer {
    let Rejection { reason } = read(body, "{\"reason\": TEXT}").await?;
    act(state, id, asked, Edit::Correct, Some(&reason)).await
}

/// Give up an addendum or a correction
///
/// The signed version is what the report says again. What was given up stays among the versions.
#[utoipa::path(
    post, path = "/reports/{report}/discard", operation_id = "discardChange", tag = "reports",
    params(("report" = String, Path), ("If-Match" = String, Header)),
    responses((status = 200, description = "The signed version", body = Report),
        (status = 409, description = "Nothing was begun"), (status = 412, description = "Somebody else was first"),
        (status = 428, description = "Without If-Match"))
)]
pub(super) async fn discard(state: &State, id: &str, asked: &Asked) -> Answer {
    let expected = expected(state, id, asked).await?;
    let back = state.reporting.discard(&author(asked), id, &expected).await;
    changed(StatusCode::OK, &back.map_err(refused)?, asked)
}
