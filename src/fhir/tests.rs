//! What a bundle says, and never says.

use super::*;

fn material(status: Status, certainty: &str) -> Material {
    let finding = Finding {
        id: "f".into(),
        words: "pleural effusion".into(),
        location: "left lower lobe".into(),
        laterality: "left".into(),
        certainty: certainty.into(),
        severity: Some("small".into()),
        by_model: status == Status::Preliminary,
        sop_instance: Some("1.2.3".into()),
        measurements: vec![Measurement {
            name: "diameter".into(),
            value: 12.5,
            unit: "mm".into(),
            method: "model-estimate".into(),
            spacing: None,
        }],
    };
    let report = Report {
        id: "r".into(),
        version: 1,
        status,
        issued: "2026-11-23T12:00:00.000Z".into(),
        conclusion: "Small effusion.".into(),
        signer: Some(Signer { id: "u".into(), name: "Dr. Example".into() }),
        model: Some(Model { name: "m".into(), version: "1".into() }),
        findings: vec![finding],
        sr_instance: "1.2.9".into(),
        pdf_url: Some("http://localhost/r/pdf".into()),
    };
    let patient = Patient {
        patient_id: "P1".into(),
        name: "Doe^Jane A^^Dr".into(),
        birth_date: "19700102".into(),
        sex: "F".into(),
        ..Patient::default()
    };
    let series = Series {
        uid: "1.1.1".into(),
        modality: "CT".into(),
        instances: vec![("1.1.1.1".into(), "1.2.840.10008.5.1.4.1.1.2".into())],
        ..Series::default()
    };
    let study =
        Study { uid: "1.1".into(), date: "20260101".into(), series: vec![series], ..Study::default() };
    Material { patient, study, report: Some(report) }
}

fn of_kind<'a>(bundle: &'a Value, kind: &str) -> Vec<&'a Value> {
    let entries = bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]);
    entries.filter(|resource| resource["resourceType"] == kind).collect()
}

#[test]
fn nothing_that_nobody_signed_is_final() {
    let bundle = bundle(&material(Status::Preliminary, "probable"));
    for resource in of_kind(&bundle, "Observation").into_iter().chain(of_kind(&bundle, "DiagnosticReport")) {
        assert_eq!(resource["status"], "preliminary");
        assert_eq!(resource["meta"]["security"][0]["code"], "AIAST");
        assert!(resource.get("performer").is_none() && resource.get("resultsInterpreter").is_none());
    }
}

#[test]
fn what_was_signed_names_who_did_it() {
    let bundle = bundle(&material(Status::Final, "definite"));
    let report = of_kind(&bundle, "DiagnosticReport")[0];
    let signer = of_kind(&bundle, "Practitioner")[0];
    assert_eq!(report["status"], "final");
    let reference = format!("urn:uuid:{}", signer["id"].as_str().unwrap());
    assert_eq!(report["resultsInterpreter"][0]["reference"], reference);
    assert!(report.get("meta").is_none());
}

#[test]
fn a_denied_finding_is_absent() {
    let bundle = bundle(&material(Status::Preliminary, "absent"));
    let observation = of_kind(&bundle, "Observation")[0];
    assert_eq!(observation["code"]["coding"][0]["code"], "60046008");
    assert_eq!(observation["valueCodeableConcept"]["coding"][0]["code"], "2667000");
}

#[test]
fn every_reference_leads_to_an_entry() {
    let bundle = bundle(&material(Status::Final, "probable"));
    let entries = bundle["entry"].as_array().unwrap();
    let urls: Vec<&str> = entries.iter().map(|entry| entry["fullUrl"].as_str().unwrap()).collect();
    let text = bundle.to_string();
    let references: Vec<&str> =
        text.split("\"reference\":\"").skip(1).map(|rest| &rest[..rest.find('"').unwrap()]).collect();
    assert!(references.len() > 8);
    assert!(references.iter().all(|reference| urls.contains(reference)), "{references:?}");
}

#[test]
fn ids_stay_the_same_and_numbers_keep_their_units() {
    let (one, two) = (material(Status::Preliminary, "probable"), material(Status::Final, "definite"));
    let (one, two) = (bundle(&one), bundle(&two));
    assert_eq!(of_kind(&one, "Observation")[1]["id"], of_kind(&two, "Observation")[1]["id"]);
    let quantity = &of_kind(&one, "Observation")[1]["valueQuantity"];
    assert_eq!((quantity["value"].as_f64(), quantity["code"].as_str()), (Some(12.5), Some("mm")));
    let patient = of_kind(&one, "Patient")[0];
    assert_eq!((&patient["birthDate"], &patient["gender"]), (&json!("1970-01-02"), &json!("female")));
    assert_eq!(patient["name"][0]["given"], json!(["Jane", "A"]));
}
