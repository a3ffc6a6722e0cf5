//! The Store Instances Response Module, PS3.18 Table I.1-1, and the status that follows from it.

use std::io;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use http::header::{CONTENT_LOCATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};

use super::super::json::DataSet;
use crate::dicom::uid::{SopClassUid, SopInstanceUid, StudyUid};
use crate::dicom::xml;
use crate::http::body::{self, BodyStopped};
use crate::http::error::{HttpError, STORE_RETRY_AFTER_S};
use crate::http::multipart::PartsError;
use crate::http::service::Answer;
use crate::http::urls::Urls;
use crate::ingest::{InstanceIdentity, Refusal, Refused, Stored};

/// Failure Reason (0008,1197) of a part that is no DICOM object, Table I.2-2.
const CANNOT_UNDERSTAND: u16 = 0xC000;
/// Of parts beyond the limit of one request.
const OUT_OF_RESOURCES: u16 = 0xA700;
/// Of a part that the body ended in.
const PROCESSING_FAILURE: u16 = 0x0110;

/// Whose fault a failure is, which the status of the whole answer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// What was sent cannot be read.
    Syntax,
    /// It can be read, and is of a type that is not stored.
    MediaType,
    /// It can be read, and does not go with the request or with what is stored.
    Conflict,
    TooLarge,
    /// The client was too slow to be waited for any longer.
    Slow,
    /// There is no room for it.
    Full,
    Server,
}

impl Fault {
    fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::TooLarge { .. } => Self::TooLarge,
            Refusal::OutOfSpace(_) => Self::Full,
            Refusal::Interrupted(error) => Self::of_body(error),
            Refusal::NotDicom(_) | Refusal::Truncated(_) | Refusal::Unparsable(_) => Self::Syntax,
            other if other.is_ours() => Self::Server,
            _ => Self::Conflict,
        }
    }

    fn of_body(error: &(dyn std::error::Error + 'static)) -> Self {
        match BodyStopped::find(error) {
            Some(BodyStopped::TooLarge { .. }) => Self::TooLarge,
            Some(BodyStopped::Idle(_) | BodyStopped::Slow { .. }) => Self::Slow,
            None => Self::Syntax,
        }
    }
}

/// What became of one part.
pub(super) enum Item {
    Stored(Stored),
    Failed {
        class: SopClassUid,
        instance: SopInstanceUid,
        reason: u16,
        fault: Fault,
    },
    /// Not tied to an instance.
    Other {
        reason: u16,
        fault: Fault,
    },
}

impl Item {
    pub(super) fn refused(refused: Refused) -> Self {
        let (reason, fault) = (refused.refusal.stow_reason(), Fault::of(&refused.refusal));
        match (refused.sop_class, refused.sop_instance) {
            (Some(class), Some(instance)) => Self::Failed { class, instance, reason, fault },
            _ => Self::Other { reason, fault },
        }
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::Other { reason: CANNOT_UNDERSTAND, fault: Fault::MediaType }
    }

    pub(super) fn unreadable() -> Self {
        Self::Other { reason: CANNOT_UNDERSTAND, fault: Fault::Syntax }
    }

    /// A part that belongs to no object.
    pub(super) fn unrelated() -> Self {
        Self::Other { reason: CANNOT_UNDERSTAND, fault: Fault::Conflict }
    }

    pub(super) fn too_many_parts() -> Self {
        Self::Other { reason: OUT_OF_RESOURCES, fault: Fault::TooLarge }
    }
}

/// As small as can be: a hostile message has many parts.
#[derive(Default)]
pub(super) struct Report {
    stored: Vec<Stored>,
    failed: Vec<Failure>,
    /// Reasons of failures that no instance is known of.
    other: Vec<u16>,
    faults: Vec<Fault>,
}

struct Failure {
    class: SopClassUid,
    instance: SopInstanceUid,
    reason: u16,
}

/// What an item of a sequence of the module is made of when it is written.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Stored(&'a Stored),
    Failed(&'a Failure),
    Other(u16),
}

impl Entry<'_> {
    fn item(self, urls: &Urls) -> DataSet {
        match self {
            Self::Stored(stored) => reference(stored, urls),
            Self::Failed(Failure { class, instance, reason }) => {
                with_reason(sop_reference(class.as_str(), instance.as_str()), *reason)
            }
            Self::Other(reason) => with_reason(DataSet::default(), reason),
        }
    }
}

fn with_reason(set: DataSet, reason: u16) -> DataSet {
    set.with(tags::FAILURE_REASON, VR::US, vec![reason.into()])
}

impl Report {
    pub(super) fn add(&mut self, item: Item) {
        match item {
            Item::Stored(stored) => self.stored.push(stored),
            Item::Failed { class, instance, reason, fault } => {
                self.failed.push(Failure { class, instance, reason });
                self.faults.push(fault);
            }
            Item::Other { reason, fault } => {
                self.other.push(reason);
                self.faults.push(fault);
            }
        }
    }

    /// The message broke off behind parts that were handled.
    pub(super) fn broken_off(mut self, error: &PartsError) -> Self {
        self.add(Item::Other { reason: PROCESSING_FAILURE, fault: Fault::of_body(error) });
        self
    }

    /// PS3.18 10.5.3.1.
    fn status(&self) -> StatusCode {
        let all = |fault| self.faults.iter().all(|each| *each == fault);
        match (self.stored.is_empty(), self.faults.is_empty()) {
            _ if self.faults.contains(&Fault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            (_, true) if self.stored.iter().all(|stored| stored.warning().is_none()) => StatusCode::OK,
            (false, _) => StatusCode::ACCEPTED,
            _ if self.faults.contains(&Fault::Slow) => StatusCode::REQUEST_TIMEOUT,
            _ if all(Fault::Full) => StatusCode::INSUFFICIENT_STORAGE,
            _ if self.faults.iter().all(|fault| matches!(fault, Fault::Full | Fault::Server)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ if all(Fault::Syntax) => StatusCode::BAD_REQUEST,
            _ if all(Fault::MediaType) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::CONFLICT,
        }
    }

    /// The attributes outside of the sequences.
    fn data_set(&self, urls: &Urls) -> DataSet {
        let study_url = self.common_study().map(|study| urls.study(study).into());
        DataSet::default().with(tags::RETRIEVE_URL, VR::UR, study_url.into_iter().collect())
    }

    /// In ascending order; those without items stay out (Table I.1-1, type 1C).
    fn sequences(&self) -> Vec<(Tag, Vec<Entry<'_>>)> {
        let sequences = [
            (tags::FAILED_SOP_SEQUENCE, self.failed.iter().map(Entry::Failed).collect()),
            (tags::REFERENCED_SOP_SEQUENCE, self.stored.iter().map(Entry::Stored).collect()),
            (tags::OTHER_FAILURES_SEQUENCE, self.other.iter().copied().map(Entry::Other).collect()),
        ];
        sequences.into_iter().filter(|(_, entries): &(_, Vec<_>)| !entries.is_empty()).collect()
    }

    fn to_json(&self, urls: &Urls) -> serde_json::Result<Vec<u8>> {
        let sequences = self.sequences();
        let item = |entry: Entry<'_>| entry.item(urls);
        self.data_set(urls)
            .to_json_with(sequences.iter().map(|(tag, entries)| (*tag, entries.iter().copied().map(item))))
    }

    fn to_xml(&self, urls: &Urls) -> io::Result<Vec<u8>> {
        let sequences = self.sequences();
        let item = |entry: Entry<'_>| entry.item(urls).into_map();
        xml::write_with(
            &self.data_set(urls).into_map(),
            sequences.iter().map(|(tag, entries)| (*tag, entries.iter().copied().map(item))),
        )
    }

    fn common_study(&self) -> Option<&StudyUid> {
        let first = &self.stored.first()?.instance.study;
        self.stored.iter().all(|stored| stored.instance.study == *first).then_some(first)
    }

    pub(super) fn into_response(self, media_type: &'static str, urls: &Urls) -> Answer {
        let content = match media_type {
            xml::MEDIA_TYPE => self.to_xml(urls).map_err(HttpError::internal("the report"))?,
            _ => self.to_json(urls).map_err(HttpError::internal("the report"))?,
        };
        let mut response = Response::new(body::full(content));
        let status = self.status();
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(STORE_RETRY_AFTER_S));
        }
        if let Some(location) = self.location(urls) {
            headers.insert(LOCATION, location.clone());
            headers.insert(CONTENT_LOCATION, location);
        }
        Ok(response)
    }

    /// The study that something new came into (PS3.18 10.5.3.2).
    fn location(&self, urls: &Urls) -> Option<HeaderValue> {
        let created = self.stored.iter().any(Stored::is_new);
        let study = self.common_study().filter(|_| created)?;
        HeaderValue::from_str(&urls.study(study)).ok()
    }
}

fn sop_reference(class: &str, instance: &str) -> DataSet {
    DataSet::default().with_text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class).with_text(
        tags::REFERENCED_SOP_INSTANCE_UID,
        VR::UI,
        instance,
    )
}

fn reference(stored: &Stored, urls: &Urls) -> DataSet {
    let InstanceIdentity { study, series, sop_instance, sop_class } = &stored.instance;
    let url = urls.instance(study, series, sop_instance);
    let mut item = sop_reference(sop_class.as_str(), sop_instance.as_str());
    item.set(tags::RETRIEVE_URL, VR::UR, vec![url.into()]);
    if let Some(warning) = stored.warning() {
        item.set(tags::WARNING_REASON, VR::US, vec![warning.code().into()]);
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::Outcome;

    fn stored(study: &str, outcome: Outcome) -> Item {
        let instance = InstanceIdentity {
            study: study.parse().unwrap(),
            series: "1.3".parse().unwrap(),
            sop_instance: "1.4".parse().unwrap(),
            sop_class: "1.5".parse().unwrap(),
        };
        Item::Stored(Stored { instance, outcome, coerced: false })
    }

    fn new(study: &str) -> Item {
        stored(study, Outcome::New)
    }

    fn other(fault: Fault) -> Item {
        Item::Other { reason: CANNOT_UNDERSTAND, fault }
    }

    fn report(items: Vec<Item>) -> Report {
        let mut report = Report::default();
        items.into_iter().for_each(|item| report.add(item));
        report
    }

    fn urls() -> Urls {
        Urls::at("http://h")
    }

    fn written(report: &Report) -> serde_json::Value {
        serde_json::from_slice(&report.to_json(&urls()).unwrap()).unwrap()
    }

    #[track_caller]
    fn check(items: Vec<Item>, status: u16) {
        assert_eq!(report(items).status().as_u16(), status);
    }

    #[test]
    fn the_status_follows_from_the_items_s1_s5_s7_s11_s19() {
        check(vec![new("1.2")], 200);
        check(vec![new("1.2"), other(Fault::Syntax)], 202);
        check(vec![other(Fault::Syntax)], 400);
        check(vec![other(Fault::MediaType)], 415);
        check(vec![other(Fault::Syntax), other(Fault::Conflict)], 409);
        check(vec![other(Fault::Server)], 503);
        check(vec![other(Fault::Full)], 507);
        check(vec![other(Fault::Full), other(Fault::Server)], 503);
        check(vec![new("1.2"), Item::too_many_parts()], 413);
    }

    #[test]
    fn the_report_holds_only_what_happened_s3_s4_s9() {
        let set = written(&report(vec![new("1.2"), other(Fault::Syntax)]));
        assert_eq!(set["00081190"]["Value"][0], "http://h/dicom-web/studies/1.2");
        assert_eq!(set["00081199"]["Value"][0]["00081190"]["vr"], "UR");
        assert_eq!(set["0008119A"]["Value"][0]["00081197"]["Value"][0], 0xC000);
        assert!(set.get("00081198").is_none());
    }

    #[test]
    fn json_and_xml_tell_the_same_s3_g1() {
        let failed = Item::Failed {
            class: "1.5".parse().unwrap(),
            instance: "1.4".parse().unwrap(),
            reason: 0x0111,
            fault: Fault::Conflict,
        };
        let report = report(vec![new("1.2"), other(Fault::Syntax), failed, new("1.2")]);
        let xml = String::from_utf8(report.to_xml(&urls()).unwrap()).unwrap();
        let limits = xml::Limits { depth_max: 4, elements_max: 100 };
        let mut read = xml::read(&xml, limits).unwrap();
        read.sort_keys();
        assert_eq!(serde_json::Value::Object(read), written(&report));
        let keys: Vec<_> = written(&report).as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["00081190", "00081198", "00081199", "0008119A"]);
    }

    #[test]
    fn objects_of_several_studies_have_no_common_url_s4b() {
        let set = written(&report(vec![new("1.2"), new("1.3")]));
        assert_eq!(set["00081190"], serde_json::json!({ "vr": "UR" }));
    }

    #[test]
    fn an_object_that_is_not_as_it_was_sent_has_a_warning_s9d() {
        let report = report(vec![stored("1.2", Outcome::KeptFirst)]);
        assert_eq!(report.status(), StatusCode::ACCEPTED);
        let set = written(&report);
        assert_eq!(set["00081199"]["Value"][0]["00081196"]["Value"][0], 0xB006);
    }

    #[test]
    fn what_may_be_sent_again_says_when() {
        let response = |fault| report(vec![other(fault)]).into_response(xml::MEDIA_TYPE, &urls()).unwrap();
        assert_eq!(response(Fault::Server).headers()[RETRY_AFTER], "5");
        assert!(response(Fault::Conflict).headers().get(RETRY_AFTER).is_none());
    }

    #[test]
    fn what_is_new_has_a_location_s18() {
        let response = |items| report(items).into_response(xml::MEDIA_TYPE, &urls()).unwrap();
        let location = |items| response(items).headers().get(LOCATION).cloned();
        assert_eq!(location(vec![new("1.2")]).unwrap(), "http://h/dicom-web/studies/1.2");
        assert_eq!(location(vec![stored("1.2", Outcome::SameAgain)]), None);
    }
}
