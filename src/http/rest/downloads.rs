//! Studies, findings and reports in other forms: streamed at once, or made as a file by a job that
//! is fetched from here.

use std::collections::{BTreeMap, HashSet};

use dicom_dictionary_std::tags;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::etag::{self, Etag};
use super::page::{List, Page, PageParameters};
use super::routes::{Route, routes};
use super::time::Time;
use crate::auth::{Permission, may};
use crate::db::downloads::{self, Download};
use crate::db::page;
use crate::db::results::{self, ReportFilter};
use crate::dicom::attributes::Level;
use crate::dicom::uid::StudyUid;
use crate::export::content::{AskError, Encoding, Kind, WishError, Wishes, bundle, head, of_report};
use crate::http::body::{self, Inbound};
use crate::http::dicomweb;
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::http::visible;
use crate::http::{State, limit_hit};
use crate::json;
use crate::media::zip::Content;
use crate::query::request::path::AttributePath;
use crate::query::search::{self, Cell};

pub(super) const ROUTES: &[Route] = routes! {
    GET "downloads", "api-downloads", may(Permission::ExportStudies),
        |call| list(&call.state, &call.asked).await;
    POST "downloads", "api-ask-download", may(Permission::ExportStudies),
        |call| ask(&call.state, &call.asked, call.body).await;
    GET "downloads/{download}", "api-download", may(Permission::ExportStudies),
        |call| one(&call.state, call.path.text("download"), &call.asked).await;
    DELETE "downloads/{download}", "api-cancel-download", may(Permission::ExportStudies),
        |call| cancel(&call.state, call.path.text("download"), &call.asked).await;
    GET "downloads/{download}/content", "api-download-content", may(Permission::ExportStudies),
        |call| content(&call.state, call.path.text("download"), &call.asked).await;
    GET "studies/findings/csv", "api-findings-csv", may(Permission::ExportStudies),
        |call| findings_csv(&call.state, &call.asked).await;
    GET "studies/{study}/zip", "api-study-zip", may(Permission::ExportStudies),
        |call| study_zip(&call.state, call.path.study()?, &call.asked).await;
    GET "studies/{study}/deidentified", "api-study-deidentified", may(Permission::ExportStudies),
        |call| study_deidentified(&call.state, call.path.study()?, &call.asked).await;
    GET "studies/{study}/csv", "api-study-csv", may(Permission::ExportStudies),
        |call| study_csv(&call.state, call.path.study()?, &call.asked).await;
    GET "studies/{study}/fhir", "api-study-fhir", may(Permission::ExportStudies),
        |call| study_fhir(&call.state, &call.path.study()?, &call.asked).await;
    GET "reports/{report}/csv", "api-report-csv", may(Permission::ReadReports),
        |call| report_csv(&call.state, call.path.text("report"), &call.asked).await;
    GET "reports/{report}/fhir", "api-report-fhir", may(Permission::ReadReports),
        |call| report_fhir(&call.state, call.path.text("report"), &call.asked).await;
    GET "reports/{report}/sr", "api-report-sr", may(Permission::ReadReports),
        |call| report_sr(call).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(
    paths(
        list,
        ask,
        one,
        cancel,
        content,
        study_zip,
        study_deidentified,
        study_csv,
        findings_csv,
        study_fhir,
        report_csv,
        report_fhir,
        report_sr
    ),
    components(schemas(Kind, Wishes))
)]
pub(super) struct Doc;

const LIST: List = List {
    name: "downloads",
    filters: &["state"],
    sorts: &[("created_at", "created_at"), ("size_bytes", "size_bytes")],
    default: "-created_at",
    key: "id",
};

const FHIR: &str = "application/fhir+json";
const CSV: &str = "text/csv; charset=utf-8";

/// What a client wants to take out.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Wish {
    form: Kind,
    /// Study Instance UIDs.
    #[serde(default)]
    studies: Vec<StudyUid>,
    /// Instead of UIDs: a query as of QIDO-RS, as in `{"PatientID": "123", "StudyDate": "20260101-"}`.
    /// What it finds now is what the download has.
    #[serde(default)]
    query: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "json::one")]
    options: Wishes,
}

/// A download as it stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Download)]
struct Standing {
    id: String,
    /// `dicom-zip`, `deidentified-zip`, `csv` or `fhir`.
    form: String,
    #[schema(value_type = Wishes)]
    options: serde_json::Value,
    /// `queued`, `running`, `done`, `failed`, `cancelled` or `expired`.
    state: &'static str,
    /// How it ended.
    reason: Option<String>,
    studies: i64,
    instances_done: i64,
    /// What was there when it was asked for.
    instances_total: i64,
    size_bytes: u64,
    /// Objects that are in no de-identified copy: they may show who the patient is, or cannot be
    /// written anew.
    left_out_count: i64,
    /// The first of them.
    #[schema(value_type = Vec<LeftOut>)]
    left_out: serde_json::Value,
    created_at: Time,
    updated_at: Time,
    /// Its file is deleted then.
    expires_at: Time,
    links: DownloadLinks,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LeftOut {
    sop_instance_uid: String,
    reason: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct DownloadLinks {
    #[serde(rename = "self")]
    own: String,
    /// Once it is done.
    content: Option<String>,
}

/// How a study is streamed at once.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the description of parameters, which are read one by one")]
struct StreamParameters {
    /// Explicit VR Little Endian where nothing is lost by it.
    native: Option<bool>,
    /// Options of PS3.15 Annex E, separated by commas.
    deidentify: Option<String>,
    /// A project whose copies can be linked.
    project: Option<String>,
    /// Take objects along that may show who the patient is.
    keep_burned_in: Option<bool>,
    /// Begin a table with a byte order mark.
    bom: Option<bool>,
}

/// Downloads belong to whoever asked for them.
fn owner(asked: &Asked) -> String {
    asked.caller.subject.key()
}

/// Own downloads
///
/// Newest first.
#[utoipa::path(
    get, path = "/downloads", operation_id = "listDownloads", tag = "downloads",
    params(PageParameters, ("state" = Option<String>, Query, description = "Only in this state")),
    responses((status = 200, description = "A page of downloads", body = Page<Standing>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<Standing>(&asked.query, "")?;
    let found = downloads::of_owner(&state.db, &owner(asked), asked.query.get("state"), &wanted.page).await?;
    wanted.answer(found.map(|one| standing(one, &asked.urls)))
}

/// Ask for a download
///
/// A job makes it as a file; its progress is in the download, which is deleted to cancel it.
#[utoipa::path(
    post, path = "/downloads", operation_id = "createDownload", tag = "downloads", request_body = Wish,
    responses((status = 202, description = "It is queued", body = Standing),
        (status = 409, description = "There is no room"),
        (status = 413, description = "It would have too many studies or instances"),
        (status = 422, description = "An option or project that there is not"),
        (status = 429, description = "The caller has as many as one may have"))
)]
async fn ask(state: &State, asked: &Asked, body: Inbound) -> Answer {
    visible::drafts(&asked.caller)?;
    let wish: Wish = super::wish(body, "{\"form\": …, \"studies\": [UID] or \"query\": {…}}").await?;
    let studies = studies(state, asked, &wish).await?;
    let asking = state.downloads.ask(&owner(asked), &asked.who(), wish.form, &wish.options, &studies).await;
    let id = asking.map_err(refused)?;
    let made = find(state, &id, asked).await?;
    let mut response = super::json(StatusCode::ACCEPTED, &standing(made, &asked.urls))?;
    let location = HeaderValue::from_str(&asked.urls.rest(&format!("downloads/{id}")));
    let location = location.map_err(HttpError::internal("naming the download"))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Those that are named, or found; each must be in reach.
async fn studies(state: &State, asked: &Asked, wish: &Wish) -> Result<Vec<StudyUid>, HttpError> {
    let mut studies = match (&wish.query, wish.studies.is_empty()) {
        (Some(query), true) => matching(state, asked, &as_query(query)?).await?,
        (None, false) => wish.studies.clone(),
        _ => return Err(HttpError::bad_request("either studies or query says what is wanted")),
    };
    if studies.len() > state.downloads.studies_max() {
        limit_hit("downloads.studies_max");
        return Err(refused(AskError::TooManyStudies(state.downloads.studies_max())));
    }
    if wish.query.is_none() {
        for study in &studies {
            visible::study(state, &asked.caller, study).await?;
        }
    }
    let mut known = HashSet::new();
    studies.retain(|study| known.insert(study.clone()));
    match studies.is_empty() {
        true => Err(HttpError::NotFound("study")),
        false => Ok(studies),
    }
}

/// What a query of a body may have beside attributes.
const QUERY_OPTIONS: [&str; 3] = ["fuzzymatching", "emptyvaluematching", "multiplevaluematching"];

/// The parameters of a query in a body as those of a URL. A search may ignore what it does not know; what
/// is taken out would be more than was meant.
fn as_query(query: &BTreeMap<String, String>) -> Result<QueryString, HttpError> {
    let is_known =
        |name: &&String| QUERY_OPTIONS.contains(&name.as_str()) || name.parse::<AttributePath>().is_ok();
    if query.keys().any(|name| !is_known(&name)) {
        return Err(HttpError::bad_request(format!(
            "a name in query is neither an attribute nor one of {}",
            QUERY_OPTIONS.join(", ")
        )));
    }
    let quoted = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let parts: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", quoted(name), quoted(value))).collect();
    Ok(QueryString::parse(&parts.join("&"))?)
}

/// Studies in reach that a search finds, one more at most than a download may have.
async fn matching(state: &State, asked: &Asked, query: &QueryString) -> Result<Vec<StudyUid>, HttpError> {
    let mut request = dicomweb::parse_search(Level::Study, (None, None), query, &state.settings)?;
    request.reach = asked.caller.reach.clone();
    let most = state.downloads.studies_max().saturating_add(1);
    let rows = search::rows(&state.db, &request, state.settings.search_scan_max, most).await?;
    if rows.len() >= most {
        limit_hit("downloads.studies_max");
        return Err(refused(AskError::TooManyStudies(state.downloads.studies_max())));
    }
    let found = search::named(&state.db, &request, &rows).await?;
    let uid = |found: &search::Found| match found.value(tags::STUDY_INSTANCE_UID)? {
        Cell::Text(text) => text.parse().ok(),
        _ => None,
    };
    Ok(found.iter().filter_map(|one| one.study.clone().or_else(|| uid(one))).collect())
}

fn refused(error: AskError) -> HttpError {
    match error {
        AskError::Index(error) => error.into(),
        AskError::NoStudy(_) => HttpError::NotFound("study"),
        AskError::Wish(error) => unwise(error),
        AskError::TooManyDownloads(_) => HttpError::TooManyAtOnce("downloads"),
        AskError::NoRoom => HttpError::Conflict(error.to_string()),
        AskError::TooManyStudies(_) | AskError::TooManyInstances(_) => HttpError::TooBroad(error.to_string()),
    }
}

fn unwise(error: WishError) -> HttpError {
    match error {
        WishError::Options(_) | WishError::Project(_) => HttpError::Unprocessable(error.to_string()),
        WishError::ProjectKey(_) | WishError::ShortKey => HttpError::internal("the key of a project")(error),
    }
}

/// One of the caller's own: of others nobody is told that they exist.
async fn find(state: &State, id: &str, asked: &Asked) -> Result<Download, HttpError> {
    let found = downloads::one(&state.db, id).await?.filter(|found| found.owner == owner(asked));
    found.ok_or(HttpError::NotFound("download"))
}

/// One download
///
/// With its progress.
#[utoipa::path(
    get, path = "/downloads/{download}", operation_id = "getDownload", tag = "downloads",
    params(("download" = String, Path)),
    responses((status = 200, description = "The download", body = Standing), (status = 304, description = "Known"),
        (status = 410, description = "It was cancelled or deleted"))
)]
async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let found = find(state, id, asked).await?;
    if found.state == downloads::State::Cancelled {
        return Err(HttpError::Gone("download"));
    }
    let version = Etag::of_content(&(&found.id, found.state.as_str()))?;
    etag::answer_of(version, asked, &standing(found, &asked.urls))
}

/// Cancel or delete a download
///
/// What is under way stops, what is there is deleted.
#[utoipa::path(
    delete, path = "/downloads/{download}", operation_id = "deleteDownload", tag = "downloads",
    params(("download" = String, Path)),
    responses((status = 204, description = "It is gone"))
)]
async fn cancel(state: &State, id: &str, asked: &Asked) -> Answer {
    let found = find(state, id, asked).await?;
    state.downloads.cancel(&asked.who(), &found).await?;
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// The file of a download
///
/// With ranges.
#[utoipa::path(
    get, path = "/downloads/{download}/content", operation_id = "getDownloadContent", tag = "downloads",
    params(("download" = String, Path)),
    responses((status = 200, description = "The file", content((Vec<u8> = "application/zip"),
            (String = "text/csv"), (String = "application/fhir+ndjson"))),
        (status = 206, description = "A range of it", content((Vec<u8> = "application/zip"),
            (String = "text/csv"), (String = "application/fhir+ndjson"))),
        (status = 409, description = "It is not made yet"), (status = 410, description = "It is gone"),
        (status = 416, description = "The range lies outside"))
)]
async fn content(state: &State, id: &str, asked: &Asked) -> Answer {
    let found = find(state, id, asked).await?;
    match found.state {
        downloads::State::Done => {}
        downloads::State::Queued | downloads::State::Running => {
            return Err(HttpError::Conflict("the download is not made yet".to_owned()));
        }
        _ => return Err(HttpError::Gone("download")),
    }
    // What the caller can see may have changed since he asked.
    for study in downloads::studies(&state.db, id).await? {
        visible::study(state, &asked.caller, &study).await?;
    }
    let kind = Kind::named(&found.form).unwrap_or(Kind::DicomZip);
    let selected = dicomweb::Selected::of_version(&asked.headers, found.id.as_bytes(), found.size_bytes)?;
    let part = selected.part.clone();
    let bytes = state.downloads.read(&found, part.clone()).await;
    let bytes = bytes.map_err(HttpError::internal("reading a download"))?;
    if part.start == 0 {
        state.downloads.fetched(&asked.who(), &found).await?;
    }
    let mut response = selected.response(bytes, kind.media_type());
    name(&mut response, &found.id, kind);
    Ok(response)
}

/// Names of files tell nothing about a patient.
fn name(response: &mut Response<body::Body>, stem: &str, kind: Kind) {
    let value = format!("attachment; filename=\"{stem}.{}\"", kind.extension());
    if let Ok(value) = HeaderValue::from_str(&value) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
}

/// A study as files
///
/// One ZIP with a DICOMDIR, written while it is sent.
#[utoipa::path(
    get, path = "/studies/{study}/zip", operation_id = "getStudyZip", tag = "downloads",
    params(("study" = StudyUid, Path), StreamParameters),
    responses((status = 200, description = "The content", body = Vec<u8>, content_type = "application/zip"),
        (status = 503, description = "Too many studies are streamed"))
)]
async fn study_zip(state: &State, study: StudyUid, asked: &Asked) -> Answer {
    stream(state, Kind::DicomZip, study, asked).await
}

/// A study, de-identified
///
/// By the Basic Profile of PS3.15 Annex E with options; one ZIP with a DICOMDIR.
#[utoipa::path(
    get, path = "/studies/{study}/deidentified", operation_id = "getStudyDeidentified", tag = "downloads",
    params(("study" = StudyUid, Path), StreamParameters),
    responses((status = 200, description = "The content", body = Vec<u8>, content_type = "application/zip"),
        (status = 503, description = "Too many studies are streamed"))
)]
async fn study_deidentified(state: &State, study: StudyUid, asked: &Asked) -> Answer {
    stream(state, Kind::DeidentifiedZip, study, asked).await
}

/// The findings of a study as a table
#[utoipa::path(
    get, path = "/studies/{study}/csv", operation_id = "getStudyFindings", tag = "downloads",
    params(("study" = StudyUid, Path), StreamParameters),
    responses((status = 200, description = "The content", body = Vec<u8>, content_type = "text/csv"),
        (status = 503, description = "Too many studies are streamed"))
)]
async fn study_csv(state: &State, study: StudyUid, asked: &Asked) -> Answer {
    stream(state, Kind::Csv, study, asked).await
}

async fn stream(state: &State, kind: Kind, study: StudyUid, asked: &Asked) -> Answer {
    visible::drafts(&asked.caller)?;
    let wishes = wishes(&asked.query)?;
    // The UIDs of a copy are not those of the study.
    let stem = if kind == Kind::DeidentifiedZip { "deidentified" } else { study.as_str() };
    let streamed = state.downloads.stream(&asked.who(), kind, &wishes, vec![study.clone()]).await;
    attached(streamed, kind, stem)
}

/// The findings of a search as a table
///
/// The parameters are those of a search for studies by QIDO-RS.
#[utoipa::path(
    get, path = "/studies/findings/csv", operation_id = "getFindings", tag = "downloads",
    params(("bom" = Option<bool>, Query, description = "Begin with a byte order mark"),
        ("StudyDate" = Option<String>, Query), ("PatientID" = Option<String>, Query),
        ("AccessionNumber" = Option<String>, Query), ("ModalitiesInStudy" = Option<String>, Query)),
    responses((status = 200, description = "The table", body = Vec<u8>, content_type = "text/csv"),
        (status = 413, description = "It would have too many studies"))
)]
async fn findings_csv(state: &State, asked: &Asked) -> Answer {
    visible::drafts(&asked.caller)?;
    let studies = matching(state, asked, &asked.query).await?;
    let wishes = Wishes { bom: flag(&asked.query, "bom")?, ..Wishes::default() };
    let streamed = state.downloads.stream(&asked.who(), Kind::Csv, &wishes, studies).await;
    attached(streamed, Kind::Csv, "findings")
}

fn attached(streamed: Result<Option<Content>, AskError>, kind: Kind, stem: &str) -> Answer {
    let content = streamed
        .map_err(refused)?
        .ok_or_else(|| HttpError::Conflict("too many studies are streamed: ask for a download".to_owned()))?;
    let mut response = Response::new(body::streamed(content));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
    name(&mut response, stem, kind);
    Ok(response)
}

fn wishes(query: &QueryString) -> Result<Wishes, HttpError> {
    let options = query.get("deidentify").unwrap_or_default().split(',').map(str::trim);
    Ok(Wishes {
        native: flag(query, "native")?,
        deidentify: options.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        project: query.get("project").map(str::to_owned),
        keep_burned_in: flag(query, "keep_burned_in")?,
        bom: flag(query, "bom")?,
    })
}

fn flag(query: &QueryString, name: &str) -> Result<bool, HttpError> {
    match query.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(HttpError::bad_request(format!("{name} is true or false"))),
    }
}

fn standing(download: Download, urls: &Urls) -> Standing {
    let own = urls.rest(&format!("downloads/{}", download.id));
    let is_done = download.state == downloads::State::Done;
    Standing {
        links: DownloadLinks { content: is_done.then(|| format!("{own}/content")), own },
        form: download.form,
        options: super::stored_json(&download.options),
        state: download.state.as_str(),
        reason: download.reason,
        studies: download.studies,
        instances_done: download.instances_done,
        instances_total: download.instances_total,
        size_bytes: download.size_bytes,
        left_out_count: download.left_out_count,
        left_out: super::stored_json(download.left_out.as_deref().unwrap_or(b"[]")),
        created_at: download.created_at.into(),
        updated_at: download.updated_at.into(),
        expires_at: download.expires_at.into(),
        id: download.id,
    }
}

/// A study in FHIR R4
///
/// A Bundle with its newest report.
#[utoipa::path(
    get, path = "/studies/{study}/fhir", operation_id = "getStudyFhir", tag = "downloads", params(("study" = StudyUid, Path)),
    responses((status = 200, description = "The content", body = Object, content_type = "application/fhir+json"))
)]
async fn study_fhir(state: &State, study: &StudyUid, asked: &Asked) -> Answer {
    let filter = ReportFilter { study: Some(study.clone()), ..ReportFilter::default() };
    let newest = page::Page::first("report.created_at", true, 1);
    let newest = results::reports(&state.db, &asked.caller.reach, filter, &newest).await?.items.pop();
    fhir(state, study, newest.as_ref(), asked).await
}

/// A report in FHIR R4
///
/// A Bundle of DiagnosticReport, Observations and what they are about.
#[utoipa::path(
    get, path = "/reports/{report}/fhir", operation_id = "getReportFhir", tag = "downloads", params(("report" = String, Path)),
    responses((status = 200, description = "The content", body = Object, content_type = "application/fhir+json"))
)]
async fn report_fhir(state: &State, id: &str, asked: &Asked) -> Answer {
    let report = report(state, id, asked).await?;
    fhir(state, &report.study, Some(&report), asked).await
}

async fn fhir(state: &State, study: &StudyUid, report: Option<&results::Report>, asked: &Asked) -> Answer {
    if downloads::size(&state.db, study).await?.is_none() {
        return Err(HttpError::NotFound("study"));
    }
    let pdf = report.map(|report| asked.urls.rest(&format!("reports/{}/pdf", report.id)));
    let made = bundle(&state.db, &asked.caller.reach, study, report, pdf).await;
    let made = made.map_err(HttpError::internal("making a bundle"))?;
    state.downloads.disclosed(&asked.who(), Kind::Fhir, study).await?;
    let mut response = super::json(StatusCode::OK, &made)?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FHIR));
    Ok(response)
}

/// The findings of a report as a table
#[utoipa::path(
    get, path = "/reports/{report}/csv", operation_id = "getReportFindings", tag = "downloads", params(("report" = String, Path), ("bom" = Option<bool>, Query)),
    responses((status = 200, description = "The content", body = Vec<u8>, content_type = "text/csv"))
)]
async fn report_csv(state: &State, id: &str, asked: &Asked) -> Answer {
    let report = report(state, id, asked).await?;
    let head = head(Encoding { bom: flag(&asked.query, "bom")? });
    let head = head.map_err(HttpError::internal("writing a table"))?;
    let rows = of_report(&state.db, &report).await.map_err(HttpError::internal("writing a table"))?;
    state.downloads.disclosed(&asked.who(), Kind::Csv, &report.study).await?;
    let mut response = Response::new(body::full([head, rows].concat()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CSV));
    name(&mut response, &report.id, Kind::Csv);
    Ok(response)
}

/// The Structured Report of a report
///
/// As it lies in the study.
#[utoipa::path(
    get, path = "/reports/{report}/sr", operation_id = "getReportSr", tag = "downloads", params(("report" = String, Path)),
    responses((status = 200, description = "The content", body = Vec<u8>, content_type = "application/dicom"))
)]
async fn report_sr(call: super::routes::Call) -> Answer {
    let report = report(&call.state, call.path.text("report"), &call.asked).await?;
    let scope = crate::query::Scope::Instance(
        report.study,
        super::reports::uid(&report.series_uid_sr)?,
        super::reports::uid(&report.sr_instance_uid)?,
    );
    dicomweb::object(call.state, scope, &call.asked).await
}

/// As it stands, or for whoever sees no drafts as it was signed last.
async fn report(state: &State, id: &str, asked: &Asked) -> Result<results::Report, HttpError> {
    let report = results::report(&state.db, id).await?.ok_or(HttpError::NotFound("report"))?;
    if asked.caller.reach.has_drafts() {
        return Ok(report);
    }
    let seen = super::reports::seen(state, id, &asked.caller.reach).await?;
    let objects = seen.head.objects.ok_or(HttpError::NotFound("document"))?;
    Ok(results::Report {
        version: seen.head.version,
        status: seen.head.status,
        sr_instance_uid: objects.sr_instance_uid,
        series_uid_sr: objects.series_uid_sr,
        ..report
    })
}
