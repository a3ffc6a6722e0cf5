//! What FHIR says of a study, gathered from the index.

use bytes::Bytes;
use dicom_dictionary_std::tags;
use futures::stream::{self, StreamExt};
use serde_json::{Map, Value};

use super::stated::{Number, Said, stated};
use crate::auth::Reach;
use crate::db::page::Page;
use crate::db::results::{self, Report, ReportFilter};
use crate::db::{Db, retrieve, studies};
use crate::dicom::header::hex;
use crate::dicom::uid::StudyUid;
use crate::dicom::{data_set, packed};
use crate::fhir::{self, Finding, Material, Measurement, Model, Patient, Series, Study};
use crate::media::zip::{BoxError, Content};
use crate::query::Scope;

/// A bundle for each study, one a line.
pub(super) fn lines(db: Db, studies: Vec<StudyUid>) -> Content {
    let bundles = stream::iter(studies).then(move |study| {
        let db = db.clone();
        async move {
            let filter = ReportFilter { study: Some(study.clone()), ..ReportFilter::default() };
            let page = Page::first("report.created_at", true, 1);
            let newest = results::reports(&db, &Reach::Everything, filter, &page).await?.items.pop();
            let bundle = bundle(&db, &Reach::Everything, &study, newest.as_ref(), None).await?;
            Ok::<_, BoxError>(Bytes::from(format!("{bundle}\n")))
        }
    });
    bundles.boxed()
}

/// The study, as far as it is in reach, with one report or with none.
pub async fn bundle(
    db: &Db,
    reach: &Reach,
    study: &StudyUid,
    report: Option<&Report>,
    pdf_url: Option<String>,
) -> Result<Value, BoxError> {
    let attributes = attributes(db, study).await?;
    let report = match report {
        Some(report) => Some(of_report(db, report, pdf_url).await?),
        None => None,
    };
    let study = of_study(db, reach, study, &attributes).await?;
    Ok(fhir::bundle(&Material { patient: patient(&attributes), study, report }))
}

/// Of the first instance.
async fn attributes(db: &Db, study: &StudyUid) -> Result<Map<String, Value>, BoxError> {
    let scope = Scope::Study(study.clone());
    let page = retrieve::instances(db, &scope, 0).await?;
    let Some(first) = page.first() else { return Ok(Map::new()) };
    let stored = retrieve::metadata_of(db, first).await?.unwrap_or_default();
    if stored.is_empty() {
        return Ok(Map::new());
    }
    Ok(serde_json::from_slice(&packed::unpack(&stored)?)?)
}

fn patient(attributes: &Map<String, Value>) -> Patient {
    let text = |tag| attributes.get(&hex(tag)).map(data_set::text_of).unwrap_or_default();
    Patient {
        patient_id: text(tags::PATIENT_ID),
        issuer: text(tags::ISSUER_OF_PATIENT_ID),
        name: text(tags::PATIENT_NAME),
        birth_date: text(tags::PATIENT_BIRTH_DATE),
        sex: text(tags::PATIENT_SEX),
    }
}

async fn of_study(
    db: &Db,
    reach: &Reach,
    study: &StudyUid,
    attributes: &Map<String, Value>,
) -> Result<Study, BoxError> {
    let text = |tag| attributes.get(&hex(tag)).map(data_set::text_of).unwrap_or_default();
    let members = studies::members(db, study).await?;
    let series = results::series(db, reach, study).await?.into_iter().map(|series| {
        let own = members.iter().filter(|member| member.series.as_str() == series.series_uid);
        Series {
            instances: own.map(|one| (one.sop_instance.to_string(), one.sop_class.to_string())).collect(),
            uid: series.series_uid,
            number: series.series_number,
            modality: series.modality,
            description: series.description,
        }
    });
    Ok(Study {
        uid: study.to_string(),
        date: text(tags::STUDY_DATE),
        time: text(tags::STUDY_TIME),
        description: text(tags::STUDY_DESCRIPTION),
        accession_number: text(tags::ACCESSION_NUMBER),
        series: series.collect(),
    })
}

async fn of_report(db: &Db, report: &Report, pdf_url: Option<String>) -> Result<fhir::Report, BoxError> {
    let analysis = match &report.analysis {
        Some(analysis) => results::analysis(db, analysis).await?,
        None => None,
    };
    let provenance = analysis.and_then(|analysis| analysis.provenance);
    let provenance: Value = provenance.map_or(Ok(Value::Null), |json| serde_json::from_slice(&json))?;
    let stated = stated(db, report).await?;
    Ok(fhir::Report {
        id: report.id.clone(),
        version: report.version,
        status: stated.status,
        issued: stated.at.rfc3339(),
        conclusion: stated.impression,
        signer: stated.signer,
        model: model(&provenance),
        findings: stated.findings.into_iter().map(finding).collect(),
        sr_instance: report.sr_instance_uid.clone(),
        pdf_url,
    })
}

fn model(provenance: &Value) -> Option<Model> {
    let text = |name: &str| provenance["model"][name].as_str().unwrap_or_default().to_owned();
    Some(Model { name: text("name"), version: text("version") }).filter(|model| !model.name.is_empty())
}

fn finding(said: Said) -> Finding {
    let number = |one: Number| Measurement {
        name: one.name,
        value: one.value,
        unit: one.unit,
        method: one.method,
        spacing: one.spacing,
    };
    Finding {
        id: said.id,
        words: said.words,
        location: said.location,
        laterality: said.laterality,
        certainty: said.certainty,
        severity: said.severity,
        by_model: said.by_model,
        sop_instance: said.sop_instance,
        measurements: said.numbers.into_iter().map(number).collect(),
    }
}
