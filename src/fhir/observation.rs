//! An Observation for each finding, and for each number that goes with it.
//!
//! The finding is what is observed, and whether it is there is the value: a finding that is denied
//! cannot be read as one that is asserted.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::codes::{concept, of_system, worded};
use super::{Finding, Material, Measurement, Report, date, id, made_by_machine, reference, trimmed};
use crate::report::codes::{self, Code};
use crate::report::content::Method;
use crate::report::findings::{Certainty, Laterality, Quantity, Severity, Unit};
use crate::report::measure::{Measurand, MeasuredBy, MeasuredUnit};

const SCT: &str = "http://snomed.info/sct";

pub(super) fn ids(report: &Report) -> Vec<String> {
    report.findings.iter().map(|finding| finding_id(report, finding)).collect()
}

fn finding_id(report: &Report, finding: &Finding) -> String {
    id("Observation", &[&report.id, &finding.id])
}

fn measurement_id(report: &Report, finding: &Finding, number: usize) -> String {
    id("Observation", &[&report.id, &finding.id, &number.to_string()])
}

pub(super) fn resources(material: &Material, report: &Report) -> Vec<Value> {
    let of_finding = |finding: &Finding| {
        let own = observation(material, report, finding);
        let numbers = finding.measurements.iter().enumerate();
        let numbers =
            numbers.map(|(number, one)| measured(material, report, finding, number, one)).collect::<Vec<_>>();
        [vec![own], numbers].concat()
    };
    report.findings.iter().flat_map(of_finding).collect()
}

/// What all observations of a report have.
fn common(material: &Material, report: &Report, finding: &Finding) -> Value {
    let by_machine = finding.by_model || !report.status.is_signed();
    json!({
        "resourceType": "Observation",
        "meta": by_machine.then(made_by_machine),
        "status": report.status.of_observation(),
        "category": [of_system(
            "http://terminology.hl7.org/CodeSystem/observation-category", "imaging", "Imaging")],
        "subject": reference(&material.patient_id()),
        "effectiveDateTime": date(&material.study.date),
        "issued": report.issued,
        "performer": report.signer_id().filter(|_| report.status.is_signed()).iter()
            .map(|id| reference(id)).collect::<Vec<_>>(),
        "device": report.model_id().filter(|_| by_machine).map(|id| reference(&id)),
        "bodySite": body_site(finding),
    })
}

fn observation(material: &Material, report: &Report, finding: &Finding) -> Value {
    let mut resource = common(material, report, finding);
    let members = (0..finding.measurements.len()).map(|number| measurement_id(report, finding, number));
    resource["id"] = finding_id(report, finding).into();
    resource["code"] = worded(&codes::finding(&finding.words), &finding.words);
    resource["valueCodeableConcept"] = presence(finding);
    resource["hasMember"] = members.map(|id| reference(&id)).collect();
    resource["derivedFrom"] = json!([reference(&material.study_id())]);
    resource["component"] = components(finding).into();
    trimmed(resource)
}

/// By the method that it was taken by: a long axis may be an estimate, or that of a region.
fn name(measurement: &Measurement) -> Value {
    let taken =
        parsed::<MeasuredBy>(&measurement.method).and_then(|_| parsed::<Measurand>(&measurement.name));
    let quantity = parsed::<Quantity>(&measurement.name).map(codes::quantity);
    match (taken.map(codes::measurand), quantity) {
        (Some((name, None)), _) => concept(&name),
        (Some((name, Some(derivation))), _) => {
            let mut value = concept(&name);
            value["text"] = format!("{}, {}", name.meaning, derivation.meaning).into();
            value
        }
        (None, Some(quantity)) => concept(&quantity),
        (None, None) => json!({ "text": measurement.name }),
    }
}

fn method(measurement: &Measurement) -> Value {
    if parsed::<MeasuredBy>(&measurement.method).is_some() {
        return concept(&codes::measuring(measurement.spacing.as_deref().and_then(parsed)));
    }
    match parsed::<Method>(&measurement.method) {
        Some(Method::ModelEstimate) => json!({ "text": "Estimate of a model" }),
        Some(Method::Person) | None => Value::Null,
    }
}

fn presence(finding: &Finding) -> Value {
    match finding.certainty == "absent" {
        true => of_system(SCT, "2667000", "Absent"),
        false => of_system(SCT, "52101004", "Present"),
    }
}

/// A word of the rows as the type that it is written from.
fn parsed<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(word.into()).ok()
}

fn body_site(finding: &Finding) -> Value {
    match finding.location.trim() {
        "" => Value::Null,
        location => worded(&codes::site(location), location),
    }
}

fn components(finding: &Finding) -> Vec<Value> {
    let component = |name: Value, value: Value| json!({ "code": name, "valueCodeableConcept": value });
    let side = parsed::<Laterality>(&finding.laterality).and_then(codes::laterality);
    let side = side.map(|side| component(of_system(SCT, "272741003", "Laterality"), concept(&side)));
    let certainty = parsed::<Certainty>(&finding.certainty).filter(|one| *one != Certainty::Absent);
    let certainty =
        certainty.map(|one| component(concept(&codes::CERTAINTY), concept(&codes::certainty(one))));
    let severity = finding.severity.as_deref().and_then(parsed::<Severity>).map(codes::severity);
    let severity = severity.map(|(name, value)| component(concept(&name), concept(&value)));
    [side, certainty, severity].into_iter().flatten().collect()
}

fn measured(
    material: &Material,
    report: &Report,
    finding: &Finding,
    number: usize,
    measurement: &Measurement,
) -> Value {
    let mut resource = common(material, report, finding);
    let unit = parsed::<Unit>(&measurement.unit).map(codes::unit);
    let unit = unit.or_else(|| parsed::<MeasuredUnit>(&measurement.unit).map(codes::measured_unit));
    let unit = unit.unwrap_or_else(|| Code::ucum("1", "no units"));
    resource["id"] = measurement_id(report, finding, number).into();
    resource["code"] = name(measurement);
    resource["valueQuantity"] = json!({
        "value": measurement.value,
        "unit": unit.meaning,
        "system": "http://unitsofmeasure.org",
        "code": unit.value,
    });
    resource["method"] = method(measurement);
    resource["derivedFrom"] =
        json!([reference(&finding_id(report, finding)), reference(&material.study_id())]);
    trimmed(resource)
}
