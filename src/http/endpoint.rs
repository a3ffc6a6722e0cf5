//! Which resource a request asks for: PS3.18 10.4 to 10.6, the REST API and the probes.
//!
//! Parsing is pure: method and path in, [`Endpoint`] out. Handlers never look at the path again.

mod dicomweb;

use std::borrow::Cow;

use http::Method;

use super::rest::{self, Matched};
use crate::auth::{Needs, Permission, may};
use crate::dicom::uid::UidError;

pub use dicomweb::{Dicomweb, FrameList};

/// One resource and what is done with it.
#[derive(Debug)]
pub enum Endpoint {
    /// The status page.
    Console,
    /// Liveness.
    Healthz,
    /// Readiness.
    Readyz,
    /// What Prometheus scrapes.
    Metrics,
    /// Pages that show the REST API; none stands for the first.
    Docs(Option<String>),
    Dicomweb(Dicomweb),
    /// `/api/v1`.
    Rest(Matched),
}

/// Why a request names no endpoint; `http::error` chooses the status.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("there is no such resource")]
    UnknownPath,
    #[error("the resource does not have this method")]
    MethodNotAllowed { allow: Cow<'static, str> },
    #[error("a UID of the path is not valid: {0}")]
    Uid(#[from] UidError),
    #[error("the frame list is not a list of numbers from 1, separated by commas")]
    FrameList,
}

const READ: &str = "GET, HEAD, OPTIONS";

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
            ["api", "docs"] => when(get, READ, Self::Docs(None)),
            ["api", "docs", file] => when(get, READ, Self::Docs(Some((*file).to_owned()))),
            ["api", "v1", rest @ ..] => rest::find(method, rest).map(Self::Rest),
            _ => Err(RouteError::UnknownPath),
        }
    }

    /// The methods of a resource (RFC 9110 10.2.1).
    pub fn allow(path: &str) -> Result<Cow<'static, str>, RouteError> {
        match Self::parse(&Method::TRACE, path) {
            Err(RouteError::MethodNotAllowed { allow }) => Ok(allow),
            Err(error) => Err(error),
            Ok(_) => Ok(READ.into()),
        }
    }

    /// For logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Healthz => "healthz",
            Self::Readyz => "readyz",
            Self::Metrics => "metrics",
            Self::Docs(_) => "api-docs",
            Self::Dicomweb(endpoint) => endpoint.name(),
            Self::Rest(matched) => matched.route.name,
        }
    }

    /// What supervisors ask all the time.
    pub fn is_probe(&self) -> bool {
        matches!(self, Self::Healthz | Self::Readyz | Self::Metrics)
    }

    /// Where secrets are tried by who is nobody yet.
    pub fn is_log_in(&self) -> bool {
        matches!(self, Self::Rest(matched)
            if matched.route.needs == Needs::Nothing && matched.route.method == Method::POST)
    }

    /// What a caller must be allowed to do.
    pub fn needs(&self) -> Needs {
        match self {
            Self::Console | Self::Healthz | Self::Readyz | Self::Docs(_) => Needs::Nothing,
            Self::Metrics => may(Permission::OperateServer),
            Self::Dicomweb(endpoint) => endpoint.needs(),
            Self::Rest(matched) => matched.route.needs,
        }
    }
}

fn when<T>(allowed: bool, allow: &'static str, endpoint: T) -> Result<T, RouteError> {
    if allowed { Ok(endpoint) } else { Err(RouteError::MethodNotAllowed { allow: allow.into() }) }
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
        check(
            Method::PUT,
            "/api/v1/reports/x/pdf",
            r#"Err(MethodNotAllowed { allow: "GET, HEAD, OPTIONS" })"#,
        );
        // `uploads/{upload}` fits this path too, and is another resource.
        check(Method::GET, "/api/v1/uploads/tus", r#"Err(MethodNotAllowed { allow: "POST, OPTIONS" })"#);
        check(Method::PUT, "/etc/passwd", "Err(UnknownPath)");
    }

    #[test]
    fn rest_and_probes() {
        check(
            Method::POST,
            "/api/v1/studies/1.2/analyses",
            r#"Ok(Rest(api-request-analysis {"study": "1.2"}))"#,
        );
        named("/api/v1/reports/r1/pdf", "api-report-pdf");
        named("/healthz", "healthz");
        named("/", "console");
    }
}
