//! What the demonstration prints on standard output.

use std::fmt::Write;
use std::net::SocketAddr;

use super::DemoError;
use super::cases::DemoStudy;
use super::follow::Fate;
use crate::config::Config;
use crate::db::results::{Finding, Measurement, Report};
use crate::db::{Db, DbError, results};
use crate::report::findings::Answer;

const NOTICE: &str =
    "A demonstration on synthetic phantoms. The model is not a medical model; nothing here is a diagnosis.";

/// Of numbers that the model wrote.
const ESTIMATE: &str = "model-estimate";
/// UCUM for ratios.
const NO_UNIT: &str = "1";

pub(super) fn opening(http: SocketAddr, dimse: SocketAddr, config: &Config) -> String {
    format!(
        "{NOTICE}\n\n\
         data folder  {}\n\
         console      http://{http}/\n\
         DICOMweb     http://{http}/dicom-web\n\
         DIMSE        {} at {dimse}\n\n",
        config.server.data_dir.display(),
        config.dimse.ae_title.trim(),
    )
}

pub(super) fn closing(http: SocketAddr) -> String {
    format!(
        "\nall reports  http://{http}/api/v1/reports\nDICOMweb     http://{http}/dicom-web/studies\n\n{NOTICE}\n"
    )
}

pub(super) async fn study(
    db: &Db,
    http: SocketAddr,
    study: &DemoStudy,
    fate: &Fate,
) -> Result<String, DemoError> {
    let result = match fate {
        Fate::Reported { analysis, report } => reported(db, http, analysis, report).await?,
        Fate::Failed(reason) => format!("  no report     {reason}\n"),
    };
    let truth = truth(&study.phantom.truth);
    Ok(format!("\n{} ({})\n{truth}{result}", study.title, study.uid))
}

fn truth(truth: &Answer) -> String {
    let findings: Vec<String> = truth
        .findings
        .iter()
        .map(|finding| {
            words(&finding.finding, &word(&finding.laterality), finding.severity.as_ref().map(word))
        })
        .collect();
    let findings = if findings.is_empty() { "no finding".to_owned() } else { findings.join("; ") };
    format!("  truth         {findings}\n                {}\n", truth.impression)
}

async fn reported(db: &Db, http: SocketAddr, analysis: &str, report: &str) -> Result<String, DbError> {
    let findings = results::findings(db, analysis).await?;
    let measurements = results::measurements(db, analysis).await?;
    let impression = results::analysis(db, analysis).await?.and_then(|analysis| analysis.impression);
    let mut text = answer(&findings, &measurements, impression.as_deref().unwrap_or_default());
    if let Some(report) = results::report(db, report).await? {
        text.push_str(&links(http, &report));
    }
    Ok(text)
}

fn answer(findings: &[Finding], measurements: &[Measurement], impression: &str) -> String {
    let told = findings.iter().map(|finding| {
        let words = words(&finding.finding, &finding.laterality, finding.severity.clone());
        let own = measurements.iter().filter(|one| one.finding == finding.id);
        let estimates: String = own.filter(|one| one.method == ESTIMATE).map(measured_words).collect();
        format!("{words} ({}{estimates})", finding.certainty)
    });
    let told: Vec<String> = told.collect();
    let told = if told.is_empty() { "no finding".to_owned() } else { told.join("; ") };
    format!("  findings      {told}\n  impression    {impression}\n")
}

fn measured_words(measurement: &Measurement) -> String {
    let Measurement { name, value, unit, .. } = measurement;
    match unit.as_str() {
        NO_UNIT => format!(", {name} {value}"),
        unit => format!(", {name} {value} {unit}"),
    }
}

fn words(finding: &str, laterality: &str, severity: Option<String>) -> String {
    let side = if laterality == "none" { "" } else { laterality };
    let parts = [severity.as_deref().unwrap_or_default(), side, finding];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The word that an enum has in JSON.
fn word(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_value(value).ok();
    json.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn links(http: SocketAddr, report: &Report) -> String {
    let (api, study) = (format!("http://{http}/api/v1/reports/{}", report.id), &report.study);
    let sr = format!(
        "http://{http}/dicom-web/studies/{study}/series/{}/instances/{}",
        report.series_uid_sr, report.sr_instance_uid
    );
    let mut text = String::new();
    for (what, url) in [("report", api.clone()), ("PDF", format!("{api}/pdf")), ("SR", sr.clone())] {
        // Writing into a string does not fail.
        let _ = writeln!(text, "  {what:<13} {url}");
    }
    text + &format!("  SR metadata   {sr}/metadata\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effusion() -> Finding {
        Finding {
            id: "f".into(),
            finding: "pleural effusion".into(),
            location: "pleural space".into(),
            laterality: "left".into(),
            certainty: "probable".into(),
            severity: Some("large".into()),
            code: None,
            sop_instance_uid: None,
            frame: None,
            region: None,
            remarks: None,
        }
    }

    #[test]
    fn findings_read_as_people_write_them() {
        let measured = Measurement {
            finding: "f".into(),
            name: "thickness".into(),
            value: 12.5,
            unit: "mm".into(),
            method: "model-estimate".into(),
            spacing: None,
        };
        let text = answer(&[effusion()], &[measured], "Large left pleural effusion.");
        assert!(text.contains("large left pleural effusion (probable, thickness 12.5 mm)\n"), "{text}");
        assert!(answer(&[], &[], "").contains("no finding"));
    }

    #[test]
    fn the_truth_is_in_the_words_of_an_answer() {
        let json = r#"{"findings":[{"finding":"pleural effusion","location":"pleural space","laterality":"left","certainty":"probable","severity":"large"}],"impression":"x"}"#;
        let text = truth(&serde_json::from_str(json).unwrap());
        assert!(text.contains("large left pleural effusion\n"), "{text}");
    }
}
