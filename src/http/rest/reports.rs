//! Reports: what they say, how they stand, every version of them, and what people do to them.

mod answers;
mod life;
mod signing;
mod versions;

use dicom_dictionary_std::tags;
use http::StatusCode;

use super::page::{List, Page, PageParameters};
use super::routes::{Route, routes};
use super::study_filter::{self, OfStudyParameters};
use crate::auth::{Permission, Reach, may};
use crate::causes::chain;
use crate::db::groups;
use crate::db::results::{self, ReportFilter};
use crate::dicom::attributes::AttributeId;
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};
use crate::http::State;
use crate::http::dicomweb;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::query::Scope;
use crate::reporting::{Author, Opened, ReportingError};
use answers::{Report, ReportSummary};

pub(super) const ROUTES: &[Route] = routes! {
    GET "reports", "api-reports", may(Permission::ReadReports), |call| list(&call.state, &call.asked).await;
    GET "reports/{report}", "api-report", may(Permission::ReadReports),
        |call| one(&call.state, call.path.text("report"), &call.asked).await;
    PATCH "reports/{report}", "api-edit-report", may(Permission::EditReports),
        |call| life::edit(&call.state, call.path.text("report"), &call.asked, call.body).await;
    GET "reports/{report}/pdf", "api-report-pdf", may(Permission::ReadReports),
        |call| pdf(&call.state, call.path.text("report"), &call.asked).await;
    POST "studies/{study}/reports", "api-begin-report", may(Permission::EditReports),
        |call| life::begin(&call.state, &call.path.study()?, &call.asked, call.body).await;
    POST "reports/{report}/findings", "api-add-finding", may(Permission::EditReports),
        |call| life::add_finding(&call.state, call.path.text("report"), &call.asked, call.body).await;
    PUT "reports/{report}/findings/{stated}", "api-edit-finding", may(Permission::EditReports),
        |call| life::edit_finding(&call.state, &call.path, &call.asked, call.body).await;
    DELETE "reports/{report}/findings/{stated}", "api-remove-finding", may(Permission::EditReports),
        |call| life::remove_finding(&call.state, &call.path, &call.asked).await;
    POST "reports/{report}/findings/{stated}/accept", "api-accept-finding", may(Permission::EditReports),
        |call| life::accept_finding(&call.state, &call.path, &call.asked).await;
    POST "reports/{report}/findings/{stated}/reject", "api-reject-finding", may(Permission::EditReports),
        |call| life::reject_finding(&call.state, &call.path, &call.asked, call.body).await;
    POST "reports/{report}/sign", "api-sign-report", may(Permission::SignReports),
        |call| signing::sign(&call.state, call.path.text("report"), &call.asked, call.body).await;
    POST "reports/{report}/addendum", "api-begin-addendum", may(Permission::SignReports),
        |call| life::addendum(&call.state, call.path.text("report"), &call.asked, call.body).await;
    PUT "reports/{report}/addendum", "api-edit-addendum", may(Permission::EditReports),
        |call| life::edit_addendum(&call.state, call.path.text("report"), &call.asked, call.body).await;
    POST "reports/{report}/correction", "api-begin-correction", may(Permission::SignReports),
        |call| life::correction(&call.state, call.path.text("report"), &call.asked, call.body).await;
    POST "reports/{report}/discard", "api-discard-change", may(Permission::SignReports),
        |call| life::discard(&call.state, call.path.text("report"), &call.asked).await;
    GET "reports/{report}/versions", "api-report-versions", may(Permission::ReadReports),
        |call| versions::list(&call.state, call.path.text("report"), &call.asked).await;
    GET "reports/{report}/versions/{version}", "api-report-version", may(Permission::ReadReports),
        |call| versions::one(&call.state, &call.path, &call.asked).await;
    GET "reports/{report}/versions/{version}/diff", "api-report-diff", may(Permission::ReadReports),
        |call| versions::diff(&call.state, &call.path, &call.asked).await;
    GET "reports/{report}/versions/{version}/pdf", "api-report-version-pdf", may(Permission::ReadReports),
        |call| versions::pdf(&call.state, &call.path, &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    list,
    one,
    pdf,
    life::edit,
    life::begin,
    life::add_finding,
    life::edit_finding,
    life::remove_finding,
    life::accept_finding,
    life::reject_finding,
    life::addendum,
    life::edit_addendum,
    life::correction,
    life::discard,
    signing::sign,
    versions::list,
    versions::one,
    versions::diff,
    versions::pdf
))]
pub(super) struct Doc;

/// When a draft was last changed is for those who see drafts.
const CHANGED: &str = "updated_at";

const LIST: List = List {
    name: "reports",
    filters: &["study", "status", "modality", "date_from", "date_to", "text"],
    sorts: &[("created_at", "report.created_at"), (CHANGED, "report.updated_at")],
    default: "-created_at",
    key: "report.id",
};

/// All reports
///
/// Newest first.
#[utoipa::path(
    get, path = "/reports", operation_id = "listReports", tag = "reports",
    params(PageParameters, OfStudyParameters, ("study" = Option<StudyUid>, Query, description = "Only of this study"),
        ("status" = Option<String>, Query, description = "Only in this state")),
    responses((status = 200, description = "A page of reports", body = Page<ReportSummary>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<ReportSummary>(&asked.query, "")?;
    let reach = &asked.caller.reach;
    if asked.query.get("sort").is_some_and(|sort| sort.contains(CHANGED)) && !reach.has_drafts() {
        return Err(HttpError::MissingPermission(Permission::ReadDrafts));
    }
    let filter = ReportFilter {
        study: study_filter::study(&asked.query)?,
        status: asked.query.get("status").map(str::to_owned),
        of_study: study_filter::of_study(&asked.query)?,
    };
    let found = results::reports(&state.db, reach, filter, &wanted.page).await?;
    wanted.answer(found.map(|report| ReportSummary::of_row(&released(report, reach), &asked.urls)))
}

/// One report
///
/// With what it says now. Its entity tag is what a change of it names in `If-Match`.
#[utoipa::path(
    get, path = "/reports/{report}", operation_id = "getReport", tag = "reports",
    params(("report" = String, Path)),
    responses((status = 200, description = "The report", body = Report), (status = 304, description = "Known"))
)]
async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let fields = super::fields::Fields::of::<Report>(&asked.query)?;
    let opened = seen(state, id, &asked.caller.reach).await?;
    let report = Report::of(&opened, &asked.urls);
    answers::tag(&opened)
        .unless_known(&asked.headers, || super::json(StatusCode::OK, &fields.select(&report)?))
}

/// As it stands, or for whoever sees no drafts as it was signed last.
pub(super) async fn seen(state: &State, id: &str, reach: &Reach) -> Result<Opened, HttpError> {
    let opened = state.reporting.open(id).await.map_err(refused)?;
    if reach.has_drafts() { Ok(opened) } else { state.reporting.as_signed(opened).await.map_err(refused) }
}

/// A row for whoever sees no drafts: that something is being added to what was signed is one.
fn released(report: results::Report, reach: &Reach) -> results::Report {
    let begun = matches!(report.status.as_str(), "addending" | "correcting");
    match begun && !reach.has_drafts() {
        true => results::Report { status: "signed".to_owned(), ..report },
        false => report,
    }
}

/// The PDF of a report
///
/// The document of the newest version that has one, with ranges: the draft of a model, or what was
/// signed.
#[utoipa::path(
    get, path = "/reports/{report}/pdf", operation_id = "getReportPdf", tag = "reports",
    params(("report" = String, Path)),
    responses((status = 200, description = "The document", body = Vec<u8>, content_type = "application/pdf"),
        (status = 206, description = "A range of it", body = Vec<u8>, content_type = "application/pdf"),
        (status = 304, description = "Known"), (status = 416, description = "The range lies outside"))
)]
async fn pdf(state: &State, id: &str, asked: &Asked) -> Answer {
    let report = results::report(&state.db, id).await?.ok_or(HttpError::NotFound("report"))?;
    let reach = &asked.caller.reach;
    // Between a signature and its documents the newest ones are still those of the draft.
    if !reach.has_drafts() {
        let series = uid::<SeriesUid>(&report.series_uid_pdf)?;
        let released = groups::is_series_released(&state.db, reach, &series).await?;
        released.then_some(()).ok_or(HttpError::NotFound("document"))?;
    }
    document(state, &report.study, &report.series_uid_pdf, &report.pdf_instance_uid, asked).await
}

/// The PDF of a stored Encapsulated PDF.
async fn document(state: &State, study: &StudyUid, series: &str, instance: &str, asked: &Asked) -> Answer {
    if instance.is_empty() {
        return Err(HttpError::NotFound("document: nothing of the report has been signed yet"));
    }
    let scope = Scope::Instance(study.clone(), uid::<SeriesUid>(series)?, uid::<SopInstanceUid>(instance)?);
    let path = AttributeId(tags::ENCAPSULATED_DOCUMENT).to_string();
    dicomweb::document(state, &scope, &path, &asked.headers).await
}

pub(super) fn uid<T: std::str::FromStr<Err = crate::dicom::uid::UidError>>(
    text: &str,
) -> Result<T, HttpError> {
    // Nothing is written before somebody signs, where no model has drafted.
    if text.is_empty() {
        return Err(HttpError::NotFound("document"));
    }
    text.parse().map_err(HttpError::internal("reading a report"))
}

/// The report after a change, with its new tag.
fn changed(status: StatusCode, opened: &Opened, asked: &Asked) -> Answer {
    let mut response = super::json(status, &Report::of(opened, &asked.urls))?;
    answers::tag(opened).mark(&mut response);
    Ok(response)
}

/// Who asks, as versions and documents name him.
fn author(asked: &Asked) -> Author {
    use crate::auth::Subject;
    let (id, name) = match &asked.caller.subject {
        Subject::User { id, name, display_name } if display_name.trim().is_empty() => (id, name),
        Subject::User { id, display_name, .. } => (id, display_name),
        Subject::ApiKey { id, name } => (id, name),
        Subject::Anonymous => (&"anonymous".to_owned(), &"somebody without access control".to_owned()),
    };
    Author { id: id.clone(), name: name.clone(), actor: asked.who() }
}

fn refused(error: ReportingError) -> HttpError {
    use ReportingError as Error;
    match error {
        Error::UnknownReport => HttpError::NotFound("report"),
        Error::UnknownStudy => HttpError::NotFound("study"),
        Error::UnknownVersion => HttpError::NotFound("version"),
        Error::UnknownFinding => HttpError::NotFound("finding"),
        Error::Stale => HttpError::PreconditionFailed("report"),
        Error::NotAllowed { .. } | Error::Refused(_) | Error::WithoutVersions | Error::TooManyVersions(_) => {
            HttpError::Conflict(chain(&error))
        }
        Error::Faults(faults) => {
            let told = faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.rule));
            HttpError::Unprocessable(told.collect::<Vec<_>>().join("; "))
        }
        Error::Index(error) => error.into(),
        Error::Json(_) | Error::Read(_) | Error::Measure(_) => {
            HttpError::internal("the life of a report")(error)
        }
    }
}
