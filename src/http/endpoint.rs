//! Which resource a request asks for: PS3.18 10.4 to 10.6, the REST API and the probes.
//!
//! Parsing is pure: method and path in, [`Endpoint`] out. Handlers never look at the path again.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::dicom::attributes::Level;
use crate::dicom::uid::{SeriesUid, StudyUid, UidError};
use crate::query::Scope;

/// One resource and what is done with it, its path parameters already valid.
#[derive(Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The status page.
    Console,
    /// Liveness.
    Healthz,
    /// Readiness.
    Readyz,
    /// What Prometheus scrapes.
    Metrics,
    Dicomweb(Dicomweb),
    Rest(Rest),
}

/// PS3.18 chapter 10.
#[derive(Debug, PartialEq, Eq)]
pub enum Dicomweb {
    /// 10.5. With a study, instances of any other study are refused.
    Store { study: Option<StudyUid> },
    /// 10.6.
    Search { level: Level, study: Option<StudyUid>, series: Option<SeriesUid> },
    /// 10.4.1.1.1: the instances of a scope.
    Retrieve(Scope),
    /// 10.4.1.1.2.
    Metadata(Scope),
    /// 10.4.1.1.3.
    Rendered(Scope, Option<FrameList>),
    /// 10.4.1.1.4.
    Thumbnail(Scope, Option<FrameList>),
    /// 10.4.1.1.6, an instance.
    Frames(Scope, FrameList),
    /// 10.4.1.1.6: every frame of a scope.
    PixelData(Scope),
    /// 10.4.1.1.5: every value of a scope that the metadata refer to.
    AllBulkdata(Scope),
    /// Chapter 9; the query names the object.
    WadoUri,
    /// 10.4.1.1.5, an instance; `path` is that of the attribute, `00420011` or `54000100/0/54001010`.
    Bulkdata { instance: Scope, path: String },
    /// No transaction of the standard.
    Delete(Scope),
}

/// `/api/v1`.
#[derive(Debug, PartialEq, Eq)]
pub enum Rest {
    Studies,
    Study(StudyUid),
    StudyAnalyses(StudyUid),
    RequestAnalysis(StudyUid),
    Analysis(String),
    Reports,
    Report(String),
    ReportPdf(String),
    ChangeFeed,
    LatestChange,
    Deleted,
    RestoreDeleted(String),
    Commitments,
    Commitment(String),
    RequestCommitment,
    Destinations,
    Destination(String),
    PauseDestination(String),
    ResumeDestination(String),
    RequeueDead(String),
    Exports,
    Export(i64),
    RequeueExport(i64),
    StudyExports(StudyUid),
    SendStudy(StudyUid),
}

/// Frame numbers as asked, from 1; repeats and any order allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameList(pub Vec<u32>);

/// Why a request names no endpoint; `http::error` chooses the status.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("there is no such resource")]
    UnknownPath,
    #[error("the resource does not have this method")]
    MethodNotAllowed { allow: &'static str },
    #[error("a UID of the path is not valid: {0}")]
    Uid(#[from] UidError),
    #[error("the frame list is not a list of numbers from 1, separated by commas")]
    FrameList,
}

const READ: &str = "GET, HEAD, OPTIONS";
const READ_AND_POST: &str = "GET, HEAD, POST, OPTIONS";
const READ_AND_DELETE: &str = "GET, HEAD, DELETE, OPTIONS";
const READ_POST_AND_DELETE: &str = "GET, HEAD, POST, DELETE, OPTIONS";
const POST: &str = "POST, OPTIONS";

impl Endpoint {
    /// Unknown paths win over wrong methods, so a probe learns nothing from a 405. HEAD is
    /// answered as GET without its body (RFC 9110 9.3.2).
    pub fn parse(method: &Method, path: &str) -> Result<Self, RouteError> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let get = method == Method::GET || method == Method::HEAD;
        match segments.as_slice() {
            [""] => when(get, READ, Self::Console),
            ["healthz"] => when(get, READ, Self::Healthz),
            ["readyz"] => when(get, READ, Self::Readyz),
            ["metrics"] => when(get, READ, Self::Metrics),
            ["wado"] | ["dicom-web"] | ["dicom-web", "wado"] => {
                when(get, READ, Self::Dicomweb(Dicomweb::WadoUri))
            }
            ["dicom-web", rest @ ..] => Dicomweb::parse(method, rest).map(Self::Dicomweb),
            ["api", "v1", rest @ ..] => Rest::parse(method, rest).map(Self::Rest),
            _ => Err(RouteError::UnknownPath),
        }
    }

    /// The methods of a resource (RFC 9110 10.2.1).
    pub fn allow(path: &str) -> Result<&'static str, RouteError> {
        match Self::parse(&Method::TRACE, path) {
            Err(RouteError::MethodNotAllowed { allow }) => Ok(allow),
            Err(error) => Err(error),
            Ok(_) => Ok(READ),
        }
    }

    /// For logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Healthz => "healthz",
            Self::Readyz => "readyz",
            Self::Metrics => "metrics",
            Self::Dicomweb(endpoint) => endpoint.name(),
            Self::Rest(endpoint) => endpoint.name(),
        }
    }
}

fn when<T>(allowed: bool, allow: &'static str, endpoint: T) -> Result<T, RouteError> {
    if allowed { Ok(endpoint) } else { Err(RouteError::MethodNotAllowed { allow }) }
}

impl Dicomweb {
    fn parse(method: &Method, segments: &[&str]) -> Result<Self, RouteError> {
        let get = method == Method::GET || method == Method::HEAD;
        match (segments, get) {
            (["studies"], false) => when(method == Method::POST, READ_AND_POST, Self::Store { study: None }),
            (["studies", study], false) if method == Method::DELETE => {
                Ok(Self::Delete(Scope::Study(study.parse()?)))
            }
            (["studies", study], false) => when(
                method == Method::POST,
                READ_POST_AND_DELETE,
                Self::Store { study: Some(study.parse()?) },
            ),
            (["studies", study, "series", series], false) => {
                let scope = Scope::Series(study.parse()?, series.parse()?);
                when(method == Method::DELETE, READ_AND_DELETE, Self::Delete(scope))
            }
            (["studies", study, "series", series, "instances", instance], false) => {
                let scope = Scope::Instance(study.parse()?, series.parse()?, instance.parse()?);
                when(method == Method::DELETE, READ_AND_DELETE, Self::Delete(scope))
            }
            (_, get) => when(get, READ, Self::parse_read(segments)?),
        }
    }

    fn parse_read(segments: &[&str]) -> Result<Self, RouteError> {
        match segments {
            ["patients"] => Ok(search(Level::Patient)),
            ["studies"] => Ok(search(Level::Study)),
            ["series"] => Ok(search(Level::Series)),
            ["instances"] => Ok(search(Level::Instance)),
            ["studies", study, "series", series, "instances", instance, rest @ ..] => {
                Self::of_instance(Scope::Instance(study.parse()?, series.parse()?, instance.parse()?), rest)
            }
            ["studies", study, "series"] => Ok(search_in(Level::Series, study.parse()?, None)),
            ["studies", study, "instances"] => Ok(search_in(Level::Instance, study.parse()?, None)),
            ["studies", study, "series", series, "instances"] => {
                Ok(search_in(Level::Instance, study.parse()?, Some(series.parse()?)))
            }
            ["studies", study, "series", series, rest @ ..] => {
                Self::of_scope(Scope::Series(study.parse()?, series.parse()?), rest)
            }
            ["studies", study, rest @ ..] => Self::of_scope(Scope::Study(study.parse()?), rest),
            _ => Err(RouteError::UnknownPath),
        }
    }

    fn of_scope(scope: Scope, rest: &[&str]) -> Result<Self, RouteError> {
        match rest {
            [] => Ok(Self::Retrieve(scope)),
            ["metadata"] => Ok(Self::Metadata(scope)),
            ["rendered"] => Ok(Self::Rendered(scope, None)),
            ["thumbnail"] => Ok(Self::Thumbnail(scope, None)),
            ["pixeldata"] => Ok(Self::PixelData(scope)),
            ["bulkdata"] => Ok(Self::AllBulkdata(scope)),
            _ => Err(RouteError::UnknownPath),
        }
    }

    fn of_instance(instance: Scope, rest: &[&str]) -> Result<Self, RouteError> {
        match rest {
            ["frames", frames] => Ok(Self::Frames(instance, frames.parse()?)),
            ["frames", frames, "rendered"] => Ok(Self::Rendered(instance, Some(frames.parse()?))),
            ["frames", frames, "thumbnail"] => Ok(Self::Thumbnail(instance, Some(frames.parse()?))),
            ["bulkdata", path @ ..] if is_attribute_path(path) => {
                Ok(Self::Bulkdata { instance, path: path.join("/") })
            }
            _ => Self::of_scope(instance, rest),
        }
    }

    /// What of the archive is asked for; a search looks for it instead.
    pub fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Store { .. } | Self::Search { .. } | Self::WadoUri => None,
            Self::Retrieve(scope)
            | Self::Metadata(scope)
            | Self::Rendered(scope, _)
            | Self::Thumbnail(scope, _)
            | Self::Frames(scope, _)
            | Self::PixelData(scope)
            | Self::AllBulkdata(scope)
            | Self::Bulkdata { instance: scope, .. }
            | Self::Delete(scope) => Some(scope),
        }
    }

    /// What gives out representations of stored objects.
    pub fn is_retrieval(&self) -> bool {
        !matches!(self, Self::Store { .. } | Self::Search { .. } | Self::WadoUri | Self::Delete(_))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Store { .. } => "store",
            Self::Search { level: Level::Patient, .. } => "search-patients",
            Self::Search { level: Level::Series, .. } => "search-series",
            Self::Search { level: Level::Instance, .. } => "search-instances",
            Self::Search { .. } => "search-studies",
            Self::Retrieve(Scope::Study(_)) => "retrieve-study",
            Self::Retrieve(Scope::Series(..)) => "retrieve-series",
            Self::Retrieve(Scope::Instance(..)) => "retrieve-instance",
            Self::Metadata(_) => "retrieve-metadata",
            Self::Rendered(..) => "retrieve-rendered",
            Self::Thumbnail(..) => "retrieve-thumbnail",
            Self::Frames(..) => "retrieve-frames",
            Self::Delete(Scope::Study(_)) => "delete-study",
            Self::Delete(Scope::Series(..)) => "delete-series",
            Self::Delete(Scope::Instance(..)) => "delete-instance",
            Self::PixelData(_) => "retrieve-pixeldata",
            Self::AllBulkdata(_) | Self::Bulkdata { .. } => "retrieve-bulkdata",
            Self::WadoUri => "wado-uri",
        }
    }
}

fn search(level: Level) -> Dicomweb {
    Dicomweb::Search { level, study: None, series: None }
}

fn search_in(level: Level, study: StudyUid, series: Option<SeriesUid>) -> Dicomweb {
    Dicomweb::Search { level, study: Some(study), series }
}

/// Tags and item numbers by turns, a tag at both ends.
fn is_attribute_path(path: &[&str]) -> bool {
    let is_tag = |part: &str| part.len() == 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let is_item = |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let fits = |(at, part): (usize, &&str)| if at % 2 == 0 { is_tag(part) } else { is_item(part) };
    path.len() % 2 == 1 && path.iter().enumerate().all(fits)
}

impl std::str::FromStr for FrameList {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let number = |part: &str| part.parse().ok().filter(|&frame: &u32| frame > 0);
        let text = text.replace("%2C", ",").replace("%2c", ",");
        text.split(',').map(number).collect::<Option<_>>().map(Self).ok_or(RouteError::FrameList)
    }
}

impl Rest {
    fn parse(method: &Method, segments: &[&str]) -> Result<Self, RouteError> {
        let get = method == Method::GET || method == Method::HEAD;
        match segments {
            ["studies"] => when(get, READ, Self::Studies),
            ["studies", study] => when(get, READ, Self::Study(study.parse()?)),
            ["studies", study, "analyses"] if get => Ok(Self::StudyAnalyses(study.parse()?)),
            ["studies", study, "analyses"] => {
                when(method == Method::POST, READ_AND_POST, Self::RequestAnalysis(study.parse()?))
            }
            ["analyses", id] => when(get, READ, Self::Analysis((*id).to_owned())),
            ["reports"] => when(get, READ, Self::Reports),
            ["reports", id] => when(get, READ, Self::Report((*id).to_owned())),
            ["reports", id, "pdf"] => when(get, READ, Self::ReportPdf((*id).to_owned())),
            ["changefeed"] => when(get, READ, Self::ChangeFeed),
            ["changefeed", "latest"] => when(get, READ, Self::LatestChange),
            ["deleted"] => when(get, READ, Self::Deleted),
            ["deleted", id, "restore"] => {
                when(method == Method::POST, POST, Self::RestoreDeleted((*id).to_owned()))
            }
            ["commitments"] if get => Ok(Self::Commitments),
            ["commitments"] => when(method == Method::POST, READ_AND_POST, Self::RequestCommitment),
            ["commitments", id] => when(get, READ, Self::Commitment((*id).to_owned())),
            ["studies", study, "exports"] if get => Ok(Self::StudyExports(study.parse()?)),
            ["studies", study, "exports"] => {
                when(method == Method::POST, READ_AND_POST, Self::SendStudy(study.parse()?))
            }
            ["destinations", rest @ ..] => Self::parse_destinations(method, rest),
            ["exports", rest @ ..] => Self::parse_exports(method, rest),
            _ => Err(RouteError::UnknownPath),
        }
    }

    fn parse_destinations(method: &Method, segments: &[&str]) -> Result<Self, RouteError> {
        let (get, post) = (method == Method::GET || method == Method::HEAD, method == Method::POST);
        let name = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        match segments {
            [] => when(get, READ, Self::Destinations),
            [destination] => when(get, READ, Self::Destination(name(destination))),
            [destination, "pause"] => when(post, POST, Self::PauseDestination(name(destination))),
            [destination, "resume"] => when(post, POST, Self::ResumeDestination(name(destination))),
            [destination, "requeue"] => when(post, POST, Self::RequeueDead(name(destination))),
            _ => Err(RouteError::UnknownPath),
        }
    }

    fn parse_exports(method: &Method, segments: &[&str]) -> Result<Self, RouteError> {
        let (get, post) = (method == Method::GET || method == Method::HEAD, method == Method::POST);
        let id = |text: &str| text.parse().map_err(|_| RouteError::UnknownPath);
        match segments {
            [] => when(get, READ, Self::Exports),
            [export] => when(get, READ, Self::Export(id(export)?)),
            [export, "requeue"] => when(post, POST, Self::RequeueExport(id(export)?)),
            _ => Err(RouteError::UnknownPath),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Studies => "api-studies",
            Self::Study(_) => "api-study",
            Self::StudyAnalyses(_) => "api-study-analyses",
            Self::RequestAnalysis(_) => "api-request-analysis",
            Self::Analysis(_) => "api-analysis",
            Self::Reports => "api-reports",
            Self::Report(_) => "api-report",
            Self::ReportPdf(_) => "api-report-pdf",
            Self::ChangeFeed => "api-changefeed",
            Self::LatestChange => "api-changefeed-latest",
            Self::Deleted => "api-deleted",
            Self::RestoreDeleted(_) => "api-restore-deleted",
            Self::Commitments => "api-commitments",
            Self::Commitment(_) => "api-commitment",
            Self::RequestCommitment => "api-request-commitment",
            Self::Destinations => "api-destinations",
            Self::Destination(_) => "api-destination",
            Self::PauseDestination(_) => "api-pause-destination",
            Self::ResumeDestination(_) => "api-resume-destination",
            Self::RequeueDead(_) => "api-requeue-dead",
            Self::Exports => "api-exports",
            Self::Export(_) => "api-export",
            Self::RequeueExport(_) => "api-requeue-export",
            Self::StudyExports(_) => "api-study-exports",
            Self::SendStudy(_) => "api-send-study",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, path: &str, expected: &str) {
        let parsed = Endpoint::parse(&method, path);
        assert_eq!(format!("{parsed:?}"), expected);
    }

    #[track_caller]
    fn named(path: &str, expected: &str) {
        assert_eq!(Endpoint::parse(&Method::GET, path).unwrap().name(), expected);
    }

    #[test]
    fn store_with_and_without_a_study() {
        check(Method::POST, "/dicom-web/studies/", "Ok(Dicomweb(Store { study: None }))");
        check(
            Method::POST,
            "/dicom-web/studies/1.2",
            r#"Ok(Dicomweb(Store { study: Some(StudyUid("1.2")) }))"#,
        );
        check(Method::POST, "/dicom-web/studies/1.02", "Err(Uid(LeadingZero))");
    }

    #[test]
    fn the_search_resources() {
        named("/dicom-web/patients", "search-patients");
        named("/dicom-web/studies", "search-studies");
        named("/dicom-web/series", "search-series");
        named("/dicom-web/instances", "search-instances");
        named("/dicom-web/studies/1.2/series", "search-series");
        named("/dicom-web/studies/1.2/instances", "search-instances");
        named("/dicom-web/studies/1.2/series/1.3/instances", "search-instances");
    }

    #[test]
    fn retrieve_resources() {
        named("/dicom-web/studies/1.2", "retrieve-study");
        named("/dicom-web/studies/1.2/series/1.3", "retrieve-series");
        named("/dicom-web/studies/1.2/series/1.3/instances/1.4", "retrieve-instance");
        named("/dicom-web/studies/1.2/metadata", "retrieve-metadata");
        named("/dicom-web/studies/1.2/series/1.3/instances/1.4/rendered", "retrieve-rendered");
        named("/dicom-web/studies/1.2/thumbnail", "retrieve-thumbnail");
        named("/dicom-web/studies/1.2/series/1.3/instances/1.4/frames/1,3/rendered", "retrieve-rendered");
    }

    #[test]
    fn frame_lists_count_from_one_w13() {
        check(
            Method::GET,
            "/dicom-web/studies/1/series/2/instances/3/frames/2%2C1,2",
            r#"Ok(Dicomweb(Frames(Instance(StudyUid("1"), SeriesUid("2"), SopInstanceUid("3")), FrameList([2, 1, 2]))))"#,
        );
        for bad in ["0", "a", "1,", "-1", ""] {
            assert_eq!(bad.parse::<FrameList>(), Err(RouteError::FrameList), "{bad}");
        }
    }

    #[test]
    fn bulkdata_at_any_depth() {
        named("/dicom-web/studies/1/series/2/instances/3/bulkdata/00420011", "retrieve-bulkdata");
        named("/dicom-web/studies/1/series/2/instances/3/bulkdata/54000100/0/54001010", "retrieve-bulkdata");
        check(
            Method::GET,
            "/dicom-web/studies/1/series/2/instances/3/bulkdata/54000100/0",
            "Err(UnknownPath)",
        );
    }

    #[test]
    fn wrong_methods_name_the_right_ones_w42() {
        check(
            Method::DELETE,
            "/dicom-web/studies",
            r#"Err(MethodNotAllowed { allow: "GET, HEAD, POST, OPTIONS" })"#,
        );
        check(
            Method::PUT,
            "/dicom-web/studies/1.2/series/1.3",
            r#"Err(MethodNotAllowed { allow: "GET, HEAD, DELETE, OPTIONS" })"#,
        );
        check(Method::PUT, "/api/v1/reports/x", r#"Err(MethodNotAllowed { allow: "GET, HEAD, OPTIONS" })"#);
        check(Method::PUT, "/etc/passwd", "Err(UnknownPath)");
    }

    #[test]
    fn rest_and_probes() {
        check(Method::POST, "/api/v1/studies/1.2/analyses", r#"Ok(Rest(RequestAnalysis(StudyUid("1.2"))))"#);
        named("/api/v1/reports/r1/pdf", "api-report-pdf");
        named("/healthz", "healthz");
        named("/", "console");
    }
}
