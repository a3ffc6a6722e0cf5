//! Patient, Practitioner and Device.

use serde_json::{Value, json};

use super::{Material, Report, date, id, trimmed};
use crate::dicom::uid::IMPLEMENTATION_VERSION_NAME;

pub(super) fn patient(material: &Material) -> Value {
    let patient = &material.patient;
    let issuer = (!patient.issuer.is_empty()).then(|| json!({ "display": patient.issuer }));
    let identifier = json!({
        "type": { "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR",
            "display": "Medical record number" }] },
        "value": patient.patient_id,
        "assigner": issuer,
    });
    let identifiers = if patient.patient_id.is_empty() { vec![] } else { vec![identifier] };
    trimmed(json!({
        "resourceType": "Patient",
        "id": material.patient_id(),
        "identifier": identifiers,
        "name": [name(&patient.name)],
        "gender": gender(&patient.sex),
        "birthDate": date(&patient.birth_date),
    }))
}

/// The components of the alphabetic group (PS3.5 6.2.1).
fn name(pn: &str) -> Value {
    let group = pn.split('=').next().unwrap_or_default();
    let parts: Vec<&str> = group.split('^').collect();
    let part = |at: usize| parts.get(at).map(|part| part.trim()).unwrap_or_default();
    let words = |at: usize| part(at).split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>();
    let given = [words(1), words(2)].concat();
    json!({ "family": part(0), "given": given, "prefix": words(3), "suffix": words(4) })
}

fn gender(sex: &str) -> Option<&'static str> {
    match sex {
        "M" => Some("male"),
        "F" => Some("female"),
        "O" => Some("other"),
        _ => None,
    }
}

impl Report {
    pub(super) fn model_id(&self) -> Option<String> {
        self.model.as_ref().map(|model| id("Device", &[&model.name, &model.version]))
    }

    pub(super) fn signer_id(&self) -> Option<String> {
        self.signer.as_ref().map(|signer| id("Practitioner", &[&signer.id]))
    }
}

/// The model with the server that asks it.
pub(super) fn model(report: &Report) -> Option<Value> {
    let model = report.model.as_ref()?;
    let version = |of: &str, value: &str| json!({ "type": { "text": of }, "value": value });
    let server = version("server", IMPLEMENTATION_VERSION_NAME);
    let versions = match model.version.is_empty() {
        true => vec![server],
        false => vec![version("model", &model.version), server],
    };
    Some(trimmed(json!({
        "resourceType": "Device",
        "id": report.model_id(),
        "manufacturer": "radiant",
        "deviceName": [{ "name": model.name, "type": "model-name" }],
        "type": { "text": "Vision-language model that drafts reports of images" },
        "version": versions,
    })))
}

pub(super) fn signer(report: &Report) -> Option<Value> {
    let signer = report.signer.as_ref()?;
    Some(trimmed(json!({
        "resourceType": "Practitioner",
        "id": report.signer_id(),
        "name": [{ "text": signer.name }],
    })))
}
