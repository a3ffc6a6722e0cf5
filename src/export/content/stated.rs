//! What a report says in the version that is in force: of a person's version what it states, of an
//! untouched draft what the model said.

use serde::Serialize;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::db::results::{self, Report};
use crate::db::{Db, reports};
use crate::fhir::{Signer, Status};
use crate::media::zip::BoxError;
use crate::report::content::{Content, Decision, Origin, StatedFinding};

pub(super) struct Stated {
    pub(super) status: Status,
    pub(super) signer: Option<Signer>,
    pub(super) at: Timestamp,
    pub(super) impression: String,
    pub(super) findings: Vec<Said>,
}

pub(super) struct Said {
    pub(super) id: String,
    pub(super) words: String,
    /// `scheme|value|meaning`.
    pub(super) code: Option<String>,
    pub(super) location: String,
    pub(super) laterality: String,
    pub(super) certainty: String,
    pub(super) severity: Option<String>,
    pub(super) sop_instance: Option<String>,
    pub(super) frame: Option<i64>,
    /// JSON.
    pub(super) region: Option<String>,
    /// Nobody has looked at it.
    pub(super) by_model: bool,
    pub(super) numbers: Vec<Number>,
}

pub(super) struct Number {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: String,
    pub(super) method: String,
    /// What a length or area taken on a region rests on.
    pub(super) spacing: Option<String>,
}

pub(super) async fn stated(db: &Db, report: &Report) -> Result<Stated, BoxError> {
    let version = reports::version(db, &report.id, report.version).await?;
    let Some(version) = version else { return of_model(db, report).await };
    let content: Content = serde_json::from_slice(&version.content)?;
    let status = version.signature.as_ref().map_or(Status::Preliminary, |_| signed(&version.status));
    let signer = version.signature.as_ref();
    let findings = content.findings.iter().filter(|finding| finding.is_stated());
    Ok(Stated {
        status,
        signer: signer.map(|by| Signer { id: version.author.clone(), name: by.signer_name.clone() }),
        at: version.at,
        impression: content.sections.impression.clone(),
        findings: findings.map(said).collect(),
    })
}

/// Of a version that has a signature; whatever else is not known to be signed.
fn signed(status: &str) -> Status {
    match status {
        "signed" => Status::Final,
        "corrected" => Status::Corrected,
        "addended" => Status::Appended,
        "superseded" => Status::Superseded,
        _ => Status::Preliminary,
    }
}

/// An enumeration by the word that it is written with.
fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn said(finding: &StatedFinding) -> Said {
    let words = &finding.words;
    let given = words.measurements.iter().map(|taken| Number {
        name: word(&taken.name),
        value: taken.value,
        unit: word(&taken.unit),
        method: word(&taken.method),
        spacing: None,
    });
    let measured = finding.measured.iter().map(|measured| Number {
        name: word(&measured.name),
        value: measured.value,
        unit: word(&measured.unit),
        method: word(&measured.method),
        spacing: measured.spacing.as_ref().map(word),
    });
    Said {
        id: finding.id.clone(),
        words: words.finding.clone(),
        code: words.code.as_ref().map(|code| format!("{}|{}|{}", code.scheme, code.value, code.meaning)),
        location: words.location.clone(),
        laterality: word(&words.laterality),
        certainty: word(&words.certainty),
        severity: words.severity.as_ref().map(word),
        sop_instance: words.image.as_ref().map(|image| image.sop_instance_uid.clone()),
        frame: words.image.as_ref().and_then(|image| image.frame).map(i64::from),
        region: words.region.as_ref().and_then(|region| serde_json::to_string(region).ok()),
        by_model: finding.origin == Origin::Model && finding.decision == Decision::Undecided,
        numbers: given.chain(measured).collect(),
    }
}

/// Of a report that no version was kept of.
async fn of_model(db: &Db, report: &Report) -> Result<Stated, BoxError> {
    let analysis = report.analysis.as_deref().unwrap_or_default();
    let measurements = results::measurements(db, analysis).await?;
    let finding = |one: results::Finding| {
        let own = measurements.iter().filter(|number| number.finding == one.id);
        let numbers = own.map(|number| Number {
            name: number.name.clone(),
            value: number.value,
            unit: number.unit.clone(),
            method: number.method.clone(),
            spacing: number.spacing.clone(),
        });
        Said {
            numbers: numbers.collect(),
            id: one.id,
            words: one.finding,
            code: one.code,
            location: one.location,
            laterality: one.laterality,
            certainty: one.certainty,
            severity: one.severity,
            sop_instance: one.sop_instance_uid,
            frame: one.frame,
            region: one.region,
            by_model: true,
        }
    };
    let narrative: Value = serde_json::from_slice(&report.narrative).unwrap_or_default();
    Ok(Stated {
        status: Status::Preliminary,
        signer: None,
        at: report.created_at,
        impression: narrative["impression"].as_str().unwrap_or_default().to_owned(),
        findings: results::findings(db, analysis).await?.into_iter().map(finding).collect(),
    })
}
