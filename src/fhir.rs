//! A report and its study as resources of FHIR R4: values in, JSON out.
//!
//! One Bundle (type collection) holds DiagnosticReport, ImagingStudy, an Observation for each finding
//! and each number, Patient, the Device that the model is, and the Practitioner who signed. The ids
//! follow from those of the archive, so that the same thing has the same id in every bundle. What
//! nobody has signed is `preliminary` and carries the label of machine-made assertions.

mod codes;
mod observation;
mod party;
mod report;
mod study;

use serde_json::{Value, json};

use crate::ids::derived_id;

/// What is known of one study.
#[derive(Debug, Clone, Default)]
pub struct Material {
    pub patient: Patient,
    pub study: Study,
    pub report: Option<Report>,
}

#[derive(Debug, Clone, Default)]
pub struct Patient {
    pub patient_id: String,
    pub issuer: String,
    /// A value of PN.
    pub name: String,
    /// DA.
    pub birth_date: String,
    /// CS: M, F, O.
    pub sex: String,
}

#[derive(Debug, Clone, Default)]
pub struct Study {
    pub uid: String,
    /// DA.
    pub date: String,
    /// TM.
    pub time: String,
    pub description: String,
    pub accession_number: String,
    pub series: Vec<Series>,
}

#[derive(Debug, Clone, Default)]
pub struct Series {
    pub uid: String,
    pub number: Option<i64>,
    pub modality: String,
    pub description: String,
    /// SOP Instance UID and SOP Class UID.
    pub instances: Vec<(String, String)>,
}

/// How far a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nobody has signed it.
    Preliminary,
    Final,
    Corrected,
    Appended,
    /// Another version has taken its place.
    Superseded,
}

#[derive(Debug, Clone)]
pub struct Report {
    pub id: String,
    pub version: i64,
    pub status: Status,
    /// RFC 3339.
    pub issued: String,
    pub conclusion: String,
    pub signer: Option<Signer>,
    pub model: Option<Model>,
    pub findings: Vec<Finding>,
    pub sr_instance: String,
    /// Where the PDF is.
    pub pdf_url: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Signer {
    pub id: String,
    pub name: String,
}

#[derive(Debug, Clone)]
pub struct Model {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone)]
pub struct Finding {
    pub id: String,
    pub words: String,
    pub location: String,
    pub laterality: String,
    pub certainty: String,
    pub severity: Option<String>,
    /// By the model, and nobody has looked at it.
    pub by_model: bool,
    pub sop_instance: Option<String>,
    pub measurements: Vec<Measurement>,
}

#[derive(Debug, Clone)]
pub struct Measurement {
    pub name: String,
    pub value: f64,
    /// UCUM.
    pub unit: String,
    /// `model-estimate`, `person`, `region-size` or `region-values`.
    pub method: String,
    /// What a length or area taken on a region rests on.
    pub spacing: Option<String>,
}

/// Everything that is known, as a collection.
pub fn bundle(material: &Material) -> Value {
    let mut resources = vec![party::patient(material), study::resource(material)];
    if let Some(report) = &material.report {
        resources.insert(0, report::resource(material, report));
        resources.extend(party::model(report));
        resources.extend(party::signer(report));
        resources.extend(observation::resources(material, report));
    }
    let entries: Vec<Value> = resources.into_iter().map(entry).collect();
    json!({ "resourceType": "Bundle", "type": "collection", "entry": entries })
}

fn entry(resource: Value) -> Value {
    let url = format!("urn:uuid:{}", resource["id"].as_str().unwrap_or_default());
    json!({ "fullUrl": url, "resource": resource })
}

fn reference(id: &str) -> Value {
    json!({ "reference": format!("urn:uuid:{id}") })
}

/// The id of a resource, the same in every bundle.
fn id(kind: &str, parts: &[&str]) -> String {
    derived_id(&[&["fhir", kind], parts].concat())
}

impl Material {
    fn patient_id(&self) -> String {
        id("Patient", &[&self.patient.issuer, &self.patient.patient_id, self.study_of_nobody()])
    }

    /// Where no patient is named, each study is one of its own.
    fn study_of_nobody(&self) -> &str {
        if self.patient.patient_id.is_empty() { &self.study.uid } else { "" }
    }

    fn study_id(&self) -> String {
        id("ImagingStudy", &[&self.study.uid])
    }
}

/// A resource without the members that say nothing.
fn trimmed(resource: Value) -> Value {
    match resource {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (name, trimmed(value)))
                .filter(|(_, value)| !says_nothing(value))
                .collect(),
        ),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(trimmed).filter(|value| !says_nothing(value)).collect())
        }
        other => other,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// `YYYY-MM-DD` of a DA.
fn date(da: &str) -> Option<String> {
    let da = crate::dicom::temporal::date(da)?;
    let day: jiff::civil::Date = format!("{}-{}-{}", &da[..4], &da[4..6], &da[6..]).parse().ok()?;
    Some(day.to_string())
}

/// Security label of what an algorithm asserts (v3-ObservationValue).
fn made_by_machine() -> Value {
    json!({
        "security": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
            "code": "AIAST",
            "display": "Artificial Intelligence asserted",
        }],
    })
}

#[cfg(test)]
mod tests;
