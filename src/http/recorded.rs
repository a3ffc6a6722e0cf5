//! Every request in the audit trail, by its endpoint: recorded before it is answered, and what became
//! of it when its answer has ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::State;
use super::body::{Body, BoxError};
use super::endpoint::{Dicomweb, Endpoint};
use super::error::HttpError;
use super::query_string::QueryString;
use super::rest::Matched;
use super::service::{Answer, Asked, Visit};
use crate::audit::{Action, Actor, Begun, Deed, ObjectKind, Outcome};
use crate::dicom::attributes::AttributeId;
use crate::query::Scope;

/// Names of keys that are told of one search.
const KEYS_MAX: usize = 32;

/// Nothing for what tells nobody anything. Without room in the queue the request is not answered.
pub(super) async fn begin(
    state: &State,
    endpoint: &Endpoint,
    asked: &Asked,
) -> Result<Option<Begun>, HttpError> {
    let Some(action) = action(endpoint) else { return Ok(None) };
    let mut deed = about(Deed::new(asked.who(), action), endpoint, asked);
    deed.may_share = !state.settings.audit_each_request && may_share(action);
    let begun = state.audit.begin(deed).await;
    begun
        .map(Some)
        .map_err(|_| HttpError::Unavailable { reason: "the request cannot be recorded", retry_after_s: 10 })
}

/// Who was turned away at the door, and from what. The answer does not wait for room in the queue.
pub(super) async fn turned_away(state: &State, visit: &Visit, endpoint: &Endpoint, status: StatusCode) {
    let Some(action) = action(endpoint) else { return };
    let mut deed = Deed::new(Actor::of(&visit.caller, visit.client, &visit.request_id), action);
    deed.detail = Some(endpoint.name().to_owned());
    if let Endpoint::Dicomweb(endpoint) = endpoint {
        of_scope(&mut deed, endpoint.scope());
    }
    if let Ok(begun) = state.audit.begin(deed).await {
        refused(begun, status);
    }
}

fn refused(begun: Begun, status: StatusCode) {
    let detail = format!("{}, status {}", begun.detail().unwrap_or_default(), status.as_u16());
    begun.end_as(outcome(status), Some(detail));
}

/// A viewer reads a study in hundreds of requests, and a list is asked for again and again.
fn may_share(action: Action) -> bool {
    matches!(action, Action::Retrieve | Action::Render | Action::ReadMetadata | Action::Query)
}

/// What became of the request is known when its body has been sent.
pub(super) fn end(begun: Option<Begun>, answer: Answer) -> Answer {
    let Some(begun) = begun else { return answer };
    match answer {
        Ok(response) if response.body().size_hint().exact().is_some_and(|bytes| bytes <= SHORT) => {
            begun.end(outcome(response.status()));
            Ok(response)
        }
        Ok(response) => Ok(watched(response, begun)),
        Err(error) => {
            refused(begun, error.status());
            Err(error)
        }
    }
}

/// Bytes of an answer that is as good as sent.
const SHORT: u64 = 64 << 10;

fn outcome(status: StatusCode) -> Outcome {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Denied,
        status if status.is_server_error() => Outcome::Error,
        status if status.is_client_error() => Outcome::MinorFailure,
        _ => Outcome::Success,
    }
}

/// What a request is called in the trail.
fn action(endpoint: &Endpoint) -> Option<Action> {
    Some(match endpoint {
        Endpoint::Console | Endpoint::Healthz | Endpoint::Readyz | Endpoint::Docs(_) | Endpoint::Metrics => {
            return None;
        }
        Endpoint::Dicomweb(endpoint) => of_dicomweb(endpoint),
        Endpoint::Rest(matched) => of_rest(&matched.route.method, matched.route.path, matched.route.name)?,
    })
}

fn of_dicomweb(endpoint: &Dicomweb) -> Action {
    match endpoint {
        Dicomweb::Store { .. } => Action::ReceiveObjects,
        Dicomweb::Search { .. } => Action::Query,
        Dicomweb::Metadata(_) => Action::ReadMetadata,
        Dicomweb::Rendered(..) | Dicomweb::Thumbnail(..) => Action::Render,
        Dicomweb::Delete(Scope::Study(_) | Scope::Released(_)) => Action::DeleteStudy,
        Dicomweb::Delete(Scope::Series(..)) => Action::DeleteSeries,
        Dicomweb::Delete(Scope::Instance(..)) => Action::DeleteInstance,
        Dicomweb::Retrieve(_)
        | Dicomweb::Frames(..)
        | Dicomweb::PixelData(_)
        | Dicomweb::AllBulkdata(_)
        | Dicomweb::Bulkdata { .. }
        | Dicomweb::WadoUri => Action::Retrieve,
    }
}

/// Those that have a name of their own, then by what stands in the path.
fn of_rest(method: &Method, path: &str, name: &str) -> Option<Action> {
    let words: Vec<&str> = path.split('/').filter(|word| !word.starts_with('{')).collect();
    let has = |word: &str| words.contains(&word);
    Some(match (method.as_str(), words.as_slice()) {
        // The document that describes the API, and its pages.
        _ if name.contains("openapi") || has("docs") => return None,
        ("GET", ["audit", ..]) if has("export") => Action::ExportAudit,
        ("GET", ["audit", ..]) => Action::ReadAudit,
        ("GET", ["users" | "api-keys" | "groups" | "sessions", ..]) => Action::ReadUsers,
        ("GET", ["auth" | "me", ..]) => Action::ReadOwnAccount,
        // `auth` tells how each of these ends, with whom it was about.
        (_, ["auth", ..]) => return None,
        ("GET", ["events", ..]) => Action::FollowEvents,
        ("GET", ["changefeed", ..]) => Action::ReadChanges,
        ("GET", ["destinations" | "exports" | "webhooks", ..]) => Action::ReadExports,
        ("GET", _) if has("deidentified") => Action::DeIdentifyStudy,
        ("GET", _) if ["content", "zip", "csv", "fhir", "sr"].iter().any(|form| has(form)) => {
            Action::Download
        }
        ("GET", ["downloads", ..]) => Action::ReadExports,
        ("POST", ["downloads"]) => Action::ExportStudy,
        ("GET", _) if has("download") || has("export") => Action::Download,
        ("POST", _) if has("export") || has("exports") || has("de-identify") => Action::ExportStudy,
        ("POST", _) if has("send") => Action::SendStudy,
        ("POST", ["commitments", ..]) => Action::AskCommitment,
        ("GET", ["patients", "studies"] | ["studies" | "patients" | "worklist"]) if !path.contains('{') => {
            Action::Query
        }
        ("GET", ["jobs" | "nodes" | "commitments" | "deleted" | "holds" | "server", ..]) => {
            Action::ReadServer
        }
        ("GET", _) if has("reports") || has("findings") => Action::ReadReport,
        ("GET", _) if has("analyses") => Action::ReadAnalysis,
        ("GET", _) if has("thumbnail") || has("slice") => Action::Render,
        ("GET", _) if has("volumes") || has("volume") || has("volume.nii.gz") => Action::ReadVolume,
        ("GET", ["patients", ..]) => Action::ReadPatient,
        ("GET", ["studies" | "series" | "instances", ..]) => Action::ReadStudy,
        ("GET", _) => Action::ReadResource,
        ("POST", ["jobs" | "nodes", ..]) => Action::OperateServer,
        ("POST" | "PATCH" | "HEAD", ["uploads", ..]) => Action::ReceiveObjects,
        ("POST", _) if has("cancel") => Action::CancelAnalysis,
        ("POST", _) if has("retry") => Action::RetryAnalysis,
        ("POST", _) if has("analyses") => Action::RequestAnalysis,
        ("POST", _) if has("sign") => Action::SignReport,
        ("PUT", ["studies", "hold"]) => Action::HoldStudy,
        ("DELETE", ["studies", "hold"]) => Action::ReleaseStudy,
        (_, ["studies"]) => Action::ChangeStudy,
        ("POST", _) => Action::CreateResource,
        ("DELETE", _) => Action::DeleteResource,
        _ => Action::ChangeResource,
    })
}

/// The resource, and what of it was asked: names alone, never a value of a key.
fn about(mut deed: Deed, endpoint: &Endpoint, asked: &Asked) -> Deed {
    deed.detail = Some(endpoint.name().to_owned());
    match endpoint {
        Endpoint::Dicomweb(Dicomweb::Search { study, series, .. }) => {
            deed.study = study.clone();
            deed.object = series.as_ref().map(|series| (ObjectKind::Series, series.to_string()));
            deed.detail = Some(format!("{} by {}", endpoint.name(), keys(&asked.query)));
        }
        Endpoint::Dicomweb(Dicomweb::WadoUri) => of_parameters(&mut deed, &asked.query),
        Endpoint::Dicomweb(Dicomweb::Store { study }) => deed.study = study.clone(),
        Endpoint::Dicomweb(endpoint) => of_scope(&mut deed, endpoint.scope()),
        Endpoint::Rest(matched) => of_route(&mut deed, matched, asked),
        Endpoint::Console | Endpoint::Healthz | Endpoint::Readyz | Endpoint::Docs(_) | Endpoint::Metrics => {}
    }
    deed
}

fn of_scope(deed: &mut Deed, scope: Option<&Scope>) {
    let Some(scope) = scope else { return };
    deed.study = Some(scope.study().clone());
    let instance = scope.instance().map(|instance| (ObjectKind::Instance, instance.to_string()));
    deed.object = instance.or_else(|| scope.series().map(|series| (ObjectKind::Series, series.to_string())));
}

/// PS3.18 9.4: what is no UID names nothing.
fn of_parameters(deed: &mut Deed, query: &QueryString) {
    deed.study = query.get("studyUID").and_then(|uid| uid.parse().ok());
    let instance = query.get("objectUID").filter(|uid| is_id(uid));
    deed.object = instance.map(|uid| (ObjectKind::Instance, uid.to_owned()));
}

fn of_route(deed: &mut Deed, matched: &Matched, asked: &Asked) {
    deed.study = matched.parameters.study().ok();
    deed.object = OBJECTS.iter().find_map(|(template, kind)| {
        let id = matched.parameters.text(template);
        is_id(id).then(|| (*kind, id.to_owned()))
    });
    if deed.action == Action::Query || deed.action == Action::ReadAudit {
        deed.detail = Some(format!("{} by {}", matched.route.name, keys(&asked.query)));
    }
}

/// Which template names what; the narrower one first.
const OBJECTS: &[(&str, ObjectKind)] = &[
    ("finding", ObjectKind::Finding),
    ("report", ObjectKind::Report),
    ("analysis", ObjectKind::Analysis),
    ("export", ObjectKind::Export),
    ("destination", ObjectKind::Destination),
    ("user", ObjectKind::User),
    ("key", ObjectKind::ApiKey),
    ("session", ObjectKind::Session),
    ("group", ObjectKind::Group),
    ("job", ObjectKind::Job),
    ("deletion", ObjectKind::Deletion),
    ("upload", ObjectKind::Upload),
    ("download", ObjectKind::Download),
    ("instance", ObjectKind::Instance),
    ("series", ObjectKind::Series),
    ("patient", ObjectKind::Patient),
    ("id", ObjectKind::Endpoint),
];

/// What stands in a path may be anything; what looks like an id is told.
fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// The names of the keys of a search, of those that there are: a name could hold anything as well.
fn keys(query: &QueryString) -> String {
    let mut known = Vec::new();
    let mut unknown = 0;
    for (name, _) in query.iter().take(KEYS_MAX) {
        let is_known =
            OWN_KEYS.contains(&name) || name.split('.').all(|part| part.parse::<AttributeId>().is_ok());
        match is_known {
            true if !known.contains(&name) => known.push(name),
            true => {}
            false => unknown += 1,
        }
    }
    match (known.is_empty(), unknown) {
        (true, 0) => "no key".to_owned(),
        (true, _) => format!("{unknown} unknown"),
        (false, 0) => known.join(" "),
        (false, _) => format!("{} and {unknown} unknown", known.join(" ")),
    }
}

/// Parameters that are no attributes.
const OWN_KEYS: &[&str] = &[
    "limit",
    "offset",
    "fuzzymatching",
    "includefield",
    "accept",
    "cursor",
    "sort",
    "fields",
    "total",
    "modality",
    "from",
    "to",
    "date",
    "status",
    "state",
    "priority",
    "assignee",
    "finding",
    "text",
    "q",
    "group",
    "study",
    "actor",
    "action",
    "outcome",
    "request_id",
    "object",
    "patient",
    "study_uid",
    "date_from",
    "date_to",
];

/// The same response, which ends its entry.
fn watched(response: Response<Body>, begun: Begun) -> Response<Body> {
    let outcome = outcome(response.status());
    let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    response.map(|body| {
        Watched { body, begun: Some(begun), outcome, left: length, is_begun: false }.boxed_unsync()
    })
}

/// A body that is being sent.
struct Watched {
    body: Body,
    begun: Option<Begun>,
    outcome: Outcome,
    /// Bytes of the announced length that are still to come: behind the last one nobody asks for more.
    left: Option<u64>,
    /// Somebody has asked for its bytes: to HEAD nobody sends any.
    is_begun: bool,
}

impl Watched {
    fn end(&mut self, outcome: Outcome) {
        if let Some(begun) = self.begun.take() {
            begun.end(outcome);
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.is_begun = true;
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let outcome = self.outcome;
        match &frame {
            Some(Err(_)) => self.end(Outcome::Error),
            None => self.end(outcome),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                if self.left == Some(0) || self.body.is_end_stream() {
                    self.end(outcome);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Live news have no other end than that nobody listens any more.
        let is_endless = self.begun.as_ref().is_some_and(|begun| begun.action() == Action::FollowEvents);
        if !self.is_begun || is_endless {
            self.end(self.outcome);
        }
    }
}
