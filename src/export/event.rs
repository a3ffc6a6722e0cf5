//! What webhooks are told: UIDs and ids, nothing about a patient.

use serde_json::json;

use crate::clock::Timestamp;
use crate::config::exports::EventKind;
use crate::dicom::uid::StudyUid;
use crate::ids;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// No object of the study has come for the quiet time. A study is complete again when more has
    /// come later; `version` tells the times apart.
    StudyComplete {
        study: &'a StudyUid,
        version: &'a str,
        instances: usize,
    },
    AnalysisDone {
        study: &'a StudyUid,
        analysis: &'a str,
        report: &'a str,
    },
    /// A version was signed, and its documents are in the study.
    ReportSigned {
        study: &'a StudyUid,
        report: &'a str,
        version: i64,
    },
}

impl Event<'_> {
    pub fn kind(&self) -> EventKind {
        match self {
            Self::StudyComplete { .. } => EventKind::StudyComplete,
            Self::AnalysisDone { .. } => EventKind::AnalysisDone,
            Self::ReportSigned { .. } => EventKind::ReportSigned,
        }
    }

    pub fn study(&self) -> &StudyUid {
        match self {
            Self::StudyComplete { study, .. }
            | Self::AnalysisDone { study, .. }
            | Self::ReportSigned { study, .. } => study,
        }
    }

    /// The same for the same event, however often it is come to.
    pub fn id(&self) -> String {
        let signed;
        let subject = match self {
            Self::StudyComplete { version, .. } => version,
            Self::AnalysisDone { analysis, .. } => *analysis,
            Self::ReportSigned { report, version, .. } => {
                signed = format!("{report}/{version}");
                &signed
            }
        };
        ids::derived_id(&["event", self.kind().as_str(), self.study().as_str(), subject])
    }

    /// The body as every webhook gets it.
    pub fn json(&self, at: Timestamp) -> Vec<u8> {
        let mut body = json!({
            "id": self.id(),
            "event": self.kind().as_str(),
            "at": at.rfc3339(),
            "study_uid": self.study(),
        });
        match self {
            Self::StudyComplete { instances, .. } => body["instances"] = json!(instances),
            Self::AnalysisDone { analysis, report, .. } => {
                body["analysis"] = json!(analysis);
                body["report"] = json!(report);
            }
            Self::ReportSigned { report, version, .. } => {
                body["report"] = json!(report);
                body["version"] = json!(version);
            }
        }
        body.to_string().into_bytes()
    }
}
