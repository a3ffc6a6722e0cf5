//! DiagnosticReport.

use serde_json::{Value, json};

use super::codes::of_system;
use super::observation;
use super::{Material, Report, Status, date, id, made_by_machine, reference, trimmed};

impl Status {
    /// Of a DiagnosticReport; what another version has replaced is not to be used any more.
    fn of_report(self) -> &'static str {
        match self {
            Self::Preliminary => "preliminary",
            Self::Final => "final",
            Self::Corrected => "corrected",
            Self::Appended => "appended",
            Self::Superseded => "cancelled",
        }
    }

    /// Of an Observation.
    pub(super) fn of_observation(self) -> &'static str {
        match self {
            Self::Preliminary => "preliminary",
            Self::Final | Self::Appended => "final",
            Self::Corrected => "corrected",
            Self::Superseded => "cancelled",
        }
    }

    pub(super) fn is_signed(self) -> bool {
        matches!(self, Self::Final | Self::Corrected | Self::Appended)
    }
}

pub(super) fn resource(material: &Material, report: &Report) -> Value {
    let observations: Vec<Value> = observation::ids(report).iter().map(|id| reference(id)).collect();
    let signer = report.signer_id().filter(|_| report.status.is_signed());
    let signer: Vec<Value> = signer.iter().map(|id| reference(id)).collect();
    let pdf = report
        .pdf_url
        .as_ref()
        .map(|url| json!({ "contentType": "application/pdf", "url": url, "title": "Report" }));
    let sr = json!({ "system": "urn:dicom:uid", "value": format!("urn:oid:{}", report.sr_instance) });
    let identifiers = if report.sr_instance.is_empty() { vec![] } else { vec![sr] };
    let meta = if report.status.is_signed() { Value::Null } else { made_by_machine() };
    trimmed(json!({
        "resourceType": "DiagnosticReport",
        "id": id("DiagnosticReport", &[&report.id]),
        "meta": meta,
        "identifier": identifiers,
        "status": report.status.of_report(),
        "category": [of_system("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology")],
        "code": of_system("http://loinc.org", "18748-4", "Diagnostic imaging study"),
        "subject": reference(&material.patient_id()),
        "effectiveDateTime": date(&material.study.date),
        "issued": report.issued,
        "performer": signer,
        "resultsInterpreter": signer,
        "result": observations,
        "imagingStudy": [reference(&material.study_id())],
        "conclusion": report.conclusion,
        "presentedForm": pdf.into_iter().collect::<Vec<_>>(),
    }))
}
