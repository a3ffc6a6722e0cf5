//! ImagingStudy, with every series and instance.

use serde_json::{Value, json};

use super::codes::coding;
use super::{Material, Series, Study, date, reference, trimmed};
use crate::report::codes;

/// More instances are counted, not named.
const INSTANCES_MAX: usize = 10_000;

pub(super) fn resource(material: &Material) -> Value {
    let study = &material.study;
    let instances: usize = study.series.iter().map(|series| series.instances.len()).sum();
    let named = instances <= INSTANCES_MAX;
    let accession = json!({
        "type": { "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN", "display": "Accession ID" }] },
        "value": study.accession_number,
    });
    let uid = json!({ "system": "urn:dicom:uid", "value": format!("urn:oid:{}", study.uid) });
    let identifiers = if study.accession_number.is_empty() { vec![uid] } else { vec![uid, accession] };
    trimmed(json!({
        "resourceType": "ImagingStudy",
        "id": material.study_id(),
        "identifier": identifiers,
        "status": "available",
        "subject": reference(&material.patient_id()),
        "started": started(study),
        "modality": modalities(study),
        "numberOfSeries": study.series.len(),
        "numberOfInstances": instances,
        "description": study.description,
        "series": study.series.iter().map(|one| series(one, named)).collect::<Vec<_>>(),
    }))
}

/// A date, or a time in UTC: DICOM does not say the zone of most.
fn started(study: &Study) -> Option<String> {
    date(&study.date)
}

fn modality(modality: &str) -> Value {
    match codes::modality(modality) {
        Some(code) => coding(&code),
        None => json!({ "system": "http://dicom.nema.org/resources/ontology/DCM", "code": modality }),
    }
}

fn modalities(study: &Study) -> Vec<Value> {
    let mut names: Vec<&str> = study.series.iter().map(|series| series.modality.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter(|name| !name.is_empty()).map(modality).collect()
}

fn series(series: &Series, named: bool) -> Value {
    let instances = series.instances.iter().take(if named { usize::MAX } else { 0 });
    let instances: Vec<Value> = instances
        .map(|(uid, class)| {
            let class = json!({ "system": "urn:ietf:rfc:3986", "code": format!("urn:oid:{class}") });
            json!({ "uid": uid, "sopClass": class })
        })
        .collect();
    let unknown = if series.modality.is_empty() { "OT" } else { &series.modality };
    json!({
        "uid": series.uid,
        "number": series.number.filter(|number| *number >= 0),
        "modality": modality(unknown),
        "description": series.description,
        "numberOfInstances": series.instances.len(),
        "instance": instances,
    })
}
