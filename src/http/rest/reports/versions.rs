//! Every version of a report, and what became of one in another.

use http::StatusCode;
use utoipa::ToSchema;

use super::answers::{ReportContent, ReportVersion, VersionSummary};
use super::{document, refused};
use crate::db::reports;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::rest::etag;
use crate::http::rest::page::{List, Page, PageParameters};
use crate::http::rest::routes::PathParameters;
use crate::http::service::{Answer, Asked};
use crate::report::content::{self, By, Content, Difference};

const LIST: List = List {
    name: "report-versions",
    filters: &[],
    sorts: &[("version", "version")],
    default: "version",
    key: "version",
};

fn number(text: &str) -> Result<i64, HttpError> {
    text.parse().map_err(|_| HttpError::NotFound("version"))
}

async fn head(state: &State, id: &str) -> Result<reports::Head, HttpError> {
    reports::head(&state.db, id).await?.ok_or(HttpError::NotFound("report"))
}

/// A version that the caller may read.
async fn content(
    state: &State,
    id: &str,
    number: i64,
    asked: &Asked,
) -> Result<(reports::Version, Content), HttpError> {
    let (version, content) = state.reporting.content(id, number).await.map_err(refused)?;
    match version.signature.is_some() || asked.caller.reach.has_drafts() {
        true => Ok((version, content)),
        false => Err(HttpError::NotFound("version")),
    }
}

/// Every version of a report
///
/// Oldest first, without what they say.
#[utoipa::path(
    get, path = "/reports/{report}/versions", operation_id = "listReportVersions", tag = "reports",
    params(("report" = String, Path), PageParameters),
    responses((status = 200, description = "A page of versions", body = Page<VersionSummary>))
)]
pub(super) async fn list(state: &State, id: &str, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<VersionSummary>(&asked.query, id)?;
    let head = head(state, id).await?;
    let found = reports::list(&state.db, &asked.caller.reach, id, &wanted.page).await?;
    wanted.answer(found.map(|version| VersionSummary::of(id, &head.study, &version, &asked.urls)))
}

/// One version with all that it says
#[utoipa::path(
    get, path = "/reports/{report}/versions/{version}", operation_id = "getReportVersion", tag = "reports",
    params(("report" = String, Path), ("version" = i64, Path)),
    responses((status = 200, description = "The version", body = ReportVersion),
        (status = 304, description = "Known"), (status = 404, description = "There is no such version"))
)]
pub(super) async fn one(state: &State, path: &PathParameters, asked: &Asked) -> Answer {
    let (id, number) = (path.text("report"), number(path.text("version"))?);
    let head = head(state, id).await?;
    let (version, content) = content(state, id, number, asked).await?;
    let summary = VersionSummary::of(id, &head.study, &version, &asked.urls);
    let content = ReportContent::of(&content);
    etag::answer(&asked.headers, &asked.query, &ReportVersion { summary, content })
}

#[derive(serde::Serialize, ToSchema)]
pub(super) struct ReportDifference {
    from: i64,
    to: i64,
    #[serde(flatten)]
    difference: Difference,
}

/// What became of another version in this one
#[utoipa::path(
    get, path = "/reports/{report}/versions/{version}/diff", operation_id = "diffReportVersions", tag = "reports",
    params(("report" = String, Path), ("version" = i64, Path),
        ("against" = Option<i64>, Query, description = "The other version; the one before where it is left out"),
        ("by" = Option<String>, Query, description = "word or line: the grain of text")),
    responses((status = 200, description = "The difference", body = ReportDifference),
        (status = 404, description = "There is no such version"))
)]
pub(super) async fn diff(state: &State, path: &PathParameters, asked: &Asked) -> Answer {
    let (id, to) = (path.text("report"), number(path.text("version"))?);
    let against = asked
        .query
        .get("against")
        .map(|text| text.parse().map_err(|_| HttpError::bad_request("against is the number of a version")));
    let from = against.transpose()?.unwrap_or(to.saturating_sub(1).max(1));
    let by = match asked.query.get("by") {
        None | Some("word") => By::Word,
        Some("line") => By::Line,
        Some(_) => return Err(HttpError::bad_request("by is word or line")),
    };
    head(state, id).await?;
    let (_, old) = content(state, id, from, asked).await?;
    let (_, new) = content(state, id, to, asked).await?;
    let work = tokio::task::spawn_blocking(move || content::between(&old, &new, by));
    let difference = work.await.map_err(HttpError::internal("comparing versions"))?;
    super::super::json(StatusCode::OK, &ReportDifference { from, to, difference })
}

/// The PDF of a version
#[utoipa::path(
    get, path = "/reports/{report}/versions/{version}/pdf", operation_id = "getReportVersionPdf", tag = "reports",
    params(("report" = String, Path), ("version" = i64, Path)),
    responses((status = 200, description = "The document", body = Vec<u8>, content_type = "application/pdf"),
        (status = 206, description = "A range of it", body = Vec<u8>, content_type = "application/pdf"),
        (status = 304, description = "Known"), (status = 404, description = "The version has no documents"))
)]
pub(super) async fn pdf(state: &State, path: &PathParameters, asked: &Asked) -> Answer {
    let (id, number) = (path.text("report"), number(path.text("version"))?);
    let head = head(state, id).await?;
    let (version, _) = content(state, id, number, asked).await?;
    let objects = version.objects.filter(|_| version.published_at.is_some());
    let objects = objects.ok_or(HttpError::NotFound("document of this version"))?;
    document(state, &head.study, &objects.series_uid_pdf, &objects.pdf_instance_uid, asked).await
}
