//! STOW-RS, PS3.18 10.5 and annex I.
//!
//! Parts are stored one by one while they arrive; what one part does never touches another.

use std::io;

use bytes::Bytes;
use dicom_core::VR;
use dicom_dictionary_std::tags;
use futures::stream::{Stream, TryStreamExt};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;
use tokio_util::io::StreamReader;

use super::json::{self, DataSet};
use crate::dicom::uid::{SopClassUid, SopInstanceUid, StudyUid};
use crate::http::State;
use crate::http::body::{self, BodyStopped};
use crate::http::error::HttpError;
use crate::http::multipart::{Framing, OneAtATime};
use crate::http::negotiation::{Accept, MediaType, Offer};
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::ingest::{Body, InstanceIdentity, Origin, Received, Refusal, Source};

const PART_TYPE: &str = "application/dicom";

/// Failure Reason (0008,1197) of a part that is no DICOM object, Table I.2-2.
const CANNOT_UNDERSTAND: u16 = 0xC000;
/// Of parts beyond the limit of one request.
const OUT_OF_RESOURCES: u16 = 0xA700;
/// Of a part that the body ended in.
const PROCESSING_FAILURE: u16 = 0x0110;

/// Accept is looked at first: nothing is stored for a client that cannot read the answer.
pub(crate) async fn store(
    state: &State,
    only_study: Option<StudyUid>,
    asked: &Asked,
    content: body::Inbound,
) -> Answer {
    let offers = [Offer::single(json::MEDIA_TYPE), Offer::single("application/json")];
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    let media_type = accept.choose(&offers)?.media_type;
    let packaging = Packaging::of(asked.headers.get(CONTENT_TYPE))?;
    let request = Request { state, only_study, origin: origin() };
    let report = match packaging {
        Packaging::Single => request.store_single(content).await,
        Packaging::Multipart { boundary } => request.store_parts(content, &boundary).await?,
    };
    Ok(report.into_response(media_type, &asked.urls))
}

fn origin() -> Origin {
    Origin { source: Source::Stow, calling_aet: String::new(), delivery: None }
}

#[derive(Debug, PartialEq, Eq)]
enum Packaging {
    /// One object is the body; outside the standard, and what several clients send.
    Single,
    Multipart {
        boundary: String,
    },
}

impl Packaging {
    fn of(content_type: Option<&HeaderValue>) -> Result<Self, HttpError> {
        let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or("");
        let media_type = MediaType::parse(text);
        match media_type.as_ref().map(|parsed| (parsed.essence.as_str(), parsed)) {
            Some((PART_TYPE, _)) => Ok(Self::Single),
            Some(("multipart/related", parsed)) => Self::multipart(parsed),
            _ => Err(HttpError::UnsupportedMediaType(
                "objects are stored as multipart/related; type=\"application/dicom\"",
            )),
        }
    }

    fn multipart(media_type: &MediaType) -> Result<Self, HttpError> {
        let is_dicom = |inner: &str| inner.eq_ignore_ascii_case(PART_TYPE);
        if !media_type.parameter("type").is_none_or(is_dicom) {
            return Err(HttpError::UnsupportedMediaType("only parts of type application/dicom are stored"));
        }
        let boundary = media_type.parameter("boundary").filter(|text| (1..=70).contains(&text.len()));
        let boundary =
            boundary.ok_or_else(|| HttpError::bad_request("the boundary has 1 to 70 characters"))?;
        Ok(Self::Multipart { boundary: boundary.to_owned() })
    }
}

struct Request<'a> {
    state: &'a State,
    only_study: Option<StudyUid>,
    origin: Origin,
}

impl Request<'_> {
    async fn store_single(&self, content: body::Inbound) -> Report {
        let mut report = Report::default();
        report.add(self.store_object(content).await);
        report
    }

    /// # Errors
    /// The body is no multipart message at all. Later faults of the message are items of the
    /// report, so that the client learns what was stored before them.
    async fn store_parts(&self, content: body::Inbound, boundary: &str) -> Result<Report, HttpError> {
        let framing = Framing::new();
        let mut parts = multer::Multipart::new(OneAtATime::new(content, framing.clone()), boundary);
        let mut report = Report::default();
        loop {
            framing.sought();
            let next = parts.next_field().await;
            framing.found();
            match next {
                Ok(Some(_)) if report.len() == self.state.settings.parts_max => {
                    report.add_other(OUT_OF_RESOURCES, Fault::TooLarge);
                    break;
                }
                Ok(Some(mut part)) => {
                    report.add(self.store_part(&mut part).await);
                    pass(part).await;
                }
                Ok(None) => break,
                Err(error) if report.is_empty() => return Err(unreadable(&error)),
                Err(error) => {
                    report.stop(&error);
                    break;
                }
            }
        }
        if report.is_empty() {
            return Err(HttpError::bad_request("the message has no parts"));
        }
        Ok(report)
    }

    async fn store_part(&self, part: &mut multer::Field<'_>) -> Item {
        match part.content_type() {
            Some(media_type) if media_type.essence_str() != PART_TYPE => Item::Other(CANNOT_UNDERSTAND),
            _ => self.store_object(part).await,
        }
    }

    async fn store_object<S, E>(&self, content: S) -> Item
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        let reader = StreamReader::new(content.map_err(io::Error::other));
        let received = Received {
            body: Body::Part10(reader),
            origin: &self.origin,
            only_study: self.only_study.as_ref(),
        };
        match self.state.ingest.store(received).await {
            Ok(stored) => Item::Stored(stored.instance),
            Err(refused) => {
                let reason = refused.refusal.stow_reason();
                tracing::info!(reason, refusal = %refused.refusal, "an object was refused");
                let fault = Fault::of(&refused.refusal);
                match (refused.sop_class, refused.sop_instance) {
                    (Some(class), Some(instance)) => Item::Failed { class, instance, reason, fault },
                    _ => Item::OtherFault(reason, fault),
                }
            }
        }
    }
}

/// What is left of a part belongs to no framing; a fault in it is found again by the next look.
async fn pass(mut part: multer::Field<'_>) {
    while let Ok(Some(_)) = part.chunk().await {}
}

fn unreadable(error: &multer::Error) -> HttpError {
    match BodyStopped::find(error) {
        Some(BodyStopped::TooLarge { bytes_max }) => HttpError::TooLarge { bytes_max },
        _ => HttpError::bad_request("the body is not a multipart message with this boundary"),
    }
}

/// Whose fault a failure is, which the status of the whole answer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Sender,
    Server,
    TooLarge,
}

impl Fault {
    fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::TooLarge { .. } => Self::TooLarge,
            Refusal::Interrupted(error) => Self::of_body(error),
            other if other.is_ours() => Self::Server,
            _ => Self::Sender,
        }
    }

    fn of_body(error: &(dyn std::error::Error + 'static)) -> Self {
        match BodyStopped::find(error) {
            Some(BodyStopped::TooLarge { .. }) => Self::TooLarge,
            _ => Self::Sender,
        }
    }
}

/// What became of one part.
enum Item {
    Stored(InstanceIdentity),
    Failed {
        class: SopClassUid,
        instance: SopInstanceUid,
        reason: u16,
        fault: Fault,
    },
    /// Not tied to an instance.
    Other(u16),
    OtherFault(u16, Fault),
}

/// The Store Instances Response Module, Table I.1-1.
#[derive(Default)]
struct Report {
    stored: Vec<InstanceIdentity>,
    failed: Vec<DataSet>,
    other: Vec<DataSet>,
    faults: Vec<Fault>,
}

impl Report {
    fn len(&self) -> usize {
        self.stored.len() + self.faults.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&mut self, item: Item) {
        match item {
            Item::Stored(instance) => self.stored.push(instance),
            Item::Failed { class, instance, reason, fault } => {
                self.failed.push(sop_reference(class.as_str(), instance.as_str()).with(
                    tags::FAILURE_REASON,
                    VR::US,
                    vec![reason.into()],
                ));
                self.faults.push(fault);
            }
            Item::Other(reason) => self.add_other(reason, Fault::Sender),
            Item::OtherFault(reason, fault) => self.add_other(reason, fault),
        }
    }

    fn add_other(&mut self, reason: u16, fault: Fault) {
        self.other.push(DataSet::default().with(tags::FAILURE_REASON, VR::US, vec![reason.into()]));
        self.faults.push(fault);
    }

    /// The message broke off behind parts that were handled.
    fn stop(&mut self, error: &multer::Error) {
        let already_reported = self.faults.last() == Some(&Fault::TooLarge);
        if !already_reported {
            self.add_other(PROCESSING_FAILURE, Fault::of_body(error));
        }
    }

    /// PS3.18 10.5.3.1.
    fn status(&self) -> StatusCode {
        let all_ours = self.faults.iter().all(|fault| *fault == Fault::Server);
        match (self.stored.is_empty(), self.faults.is_empty()) {
            _ if self.faults.contains(&Fault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            (_, true) => StatusCode::OK,
            (false, false) => StatusCode::ACCEPTED,
            (true, false) if all_ours => StatusCode::SERVICE_UNAVAILABLE,
            (true, false) => StatusCode::CONFLICT,
        }
    }

    /// Sequences without items stay out (Table I.1-1, type 1C).
    fn data_set(&self, urls: &Urls) -> DataSet {
        let study_url = self.common_study().map(|study| urls.study(study).into());
        let mut set = DataSet::default().with(tags::RETRIEVE_URL, VR::UR, study_url.into_iter().collect());
        let stored = self.stored.iter().map(|instance| reference(instance, urls)).collect();
        set_sequence(&mut set, tags::REFERENCED_SOP_SEQUENCE, stored);
        set_sequence(&mut set, tags::FAILED_SOP_SEQUENCE, self.failed.clone());
        set_sequence(&mut set, tags::OTHER_FAILURES_SEQUENCE, self.other.clone());
        set
    }

    fn common_study(&self) -> Option<&StudyUid> {
        let first = &self.stored.first()?.study;
        self.stored.iter().all(|instance| instance.study == *first).then_some(first)
    }

    fn into_response(self, media_type: &'static str, urls: &Urls) -> Response<body::Body> {
        let mut response = Response::new(body::full(self.data_set(urls).to_json()));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    }
}

fn set_sequence(set: &mut DataSet, tag: dicom_core::Tag, items: Vec<DataSet>) {
    if !items.is_empty() {
        let items: Vec<Value> = items.into_iter().map(DataSet::into_value).collect();
        set.set(tag, VR::SQ, items);
    }
}

fn sop_reference(class: &str, instance: &str) -> DataSet {
    DataSet::default().with_text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class).with_text(
        tags::REFERENCED_SOP_INSTANCE_UID,
        VR::UI,
        instance,
    )
}

fn reference(instance: &InstanceIdentity, urls: &Urls) -> DataSet {
    let url = urls.instance(&instance.study, &instance.series, &instance.sop_instance);
    sop_reference(instance.sop_class.as_str(), instance.sop_instance.as_str()).with_text(
        tags::RETRIEVE_URL,
        VR::UR,
        &url,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: &str, expected: Result<Packaging, StatusCode>) {
        let value = HeaderValue::from_str(content_type).unwrap();
        assert_eq!(Packaging::of(Some(&value)).map_err(|error| error.status()), expected);
    }

    fn stored(study: &str) -> Item {
        Item::Stored(InstanceIdentity {
            study: study.parse().unwrap(),
            series: "1.3".parse().unwrap(),
            sop_instance: "1.4".parse().unwrap(),
            sop_class: "1.5".parse().unwrap(),
        })
    }

    fn report(items: Vec<Item>) -> Report {
        let mut report = Report::default();
        items.into_iter().for_each(|item| report.add(item));
        report
    }

    fn urls() -> Urls {
        let listener = "127.0.0.1:80".parse().unwrap();
        Urls::of(Some("http://h"), &http::HeaderMap::new(), &http::Uri::from_static("/"), listener)
    }

    #[test]
    fn quoted_and_unquoted_types_are_taken_s10_s11_s14() {
        let multipart = || Ok(Packaging::Multipart { boundary: "b".into() });
        check(r#"multipart/related; type="application/dicom"; boundary="b""#, multipart());
        check("multipart/related;type=application/dicom;boundary=b", multipart());
        check("application/dicom", Ok(Packaging::Single));
        check("application/json", Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        check("multipart/related; type=\"application/dicom\"", Err(StatusCode::BAD_REQUEST));
        check("multipart/related; type=image/png; boundary=b", Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }

    #[test]
    fn the_status_follows_from_the_items_s1_s5_s7_s19() {
        let bad = || Item::Other(CANNOT_UNDERSTAND);
        assert_eq!(report(vec![stored("1.2")]).status(), StatusCode::OK);
        assert_eq!(report(vec![stored("1.2"), bad()]).status(), StatusCode::ACCEPTED);
        assert_eq!(report(vec![bad()]).status(), StatusCode::CONFLICT);
        assert_eq!(
            report(vec![Item::OtherFault(0xA700, Fault::Server)]).status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        let too_large = Item::OtherFault(0xA700, Fault::TooLarge);
        assert_eq!(report(vec![stored("1.2"), too_large]).status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn the_report_holds_only_what_happened_s3_s4_s9() {
        let set = report(vec![stored("1.2"), Item::Other(CANNOT_UNDERSTAND)]).data_set(&urls()).into_value();
        assert_eq!(set["00081190"]["Value"][0], "http://h/dicom-web/studies/1.2");
        assert_eq!(set["00081199"]["Value"][0]["00081190"]["vr"], "UR");
        assert_eq!(set["0008119A"]["Value"][0]["00081197"]["Value"][0], 0xC000);
        assert!(set.get("00081198").is_none());
    }

    #[test]
    fn objects_of_several_studies_have_no_common_url_s4b() {
        let set = report(vec![stored("1.2"), stored("1.3")]).data_set(&urls()).into_value();
        assert_eq!(set["00081190"], serde_json::json!({ "vr": "UR" }));
    }
}
