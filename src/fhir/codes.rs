//! Coded concepts of the report as those of FHIR.

use serde_json::{Value, json};

use crate::report::codes::{Code, Concept, Mapping, PRIVATE_SCHEME};

/// Of codes that are ours.
const PRIVATE_SYSTEM: &str = "urn:radiant:codes";

/// Coding systems by their designator (PS3.16 8).
fn system(scheme: &str) -> &str {
    match scheme {
        "SCT" => "http://snomed.info/sct",
        "DCM" => "http://dicom.nema.org/resources/ontology/DCM",
        "LN" => "http://loinc.org",
        "UCUM" => "http://unitsofmeasure.org",
        "UMLS" => "http://www.nlm.nih.gov/research/umls",
        PRIVATE_SCHEME => PRIVATE_SYSTEM,
        other => other,
    }
}

pub(super) fn coding(code: &Code) -> Value {
    json!({ "system": system(&code.scheme), "code": code.value, "display": code.meaning })
}

pub(super) fn concept(code: &Code) -> Value {
    json!({ "coding": [coding(code)], "text": code.meaning })
}

/// Words with their code, where there is one that others know.
pub(super) fn worded(concept: &Concept, words: &str) -> Value {
    match concept.mapping {
        Mapping::Mapped => json!({ "coding": [coding(&concept.code)], "text": words }),
        Mapping::Unmapped => json!({ "text": words }),
    }
}

/// A code of a system of HL7 or another with its own address.
pub(super) fn of_system(system: &str, code: &str, display: &str) -> Value {
    json!({ "coding": [{ "system": system, "code": code, "display": display }] })
}
