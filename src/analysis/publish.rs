//! From an answer to rows, a Structured Report and a PDF in the study of the images.
//!
//! The objects follow from the kept answer alone, so that a second run writes nothing new.

use std::sync::Arc;

use dicom_dictionary_std::uids as sop_classes;

use super::Analyses;
use super::ask::Answered;
use super::gather::{Gathered, GatheredPrior, GatheredVolume};
use crate::ai::RgbImage;
use crate::ai::prompt::{Pipeline, Template};
use crate::clock::Timestamp;
use crate::db::analyses::{self, FindingRow, MeasurementRow, Pending, ReportRow, Results, VolumeRow};
use crate::db::audit::{Action, Actor, Entry, ObjectKind};
use crate::db::events::{self, EventKind};
use crate::db::reports::Objects;
use crate::db::{Batch, DbError, audit, studies};
use crate::dicom::uid::UidError;
use crate::export::event::Event;
use crate::ingest::Refused;
use crate::report::codes::{self, Mapping};
use crate::report::content::{Content, Method};
use crate::report::document::{
    self, Device, Draft, Predecessor, PromptIdentity, Report, ReportError, ReportFinding,
};
use crate::report::encapsulated;
use crate::report::measure::{self, Measured};
use crate::report::narrative::Narrative;
use crate::report::parse::{self, ParseError, Parsed};
use crate::report::pdf::{self, KeyImage};
use crate::report::region::Framing;
use crate::report::sr;
use crate::report::uids::{self, Role};
use crate::report::words::Words;
use crate::report::{DocumentError, file};
use crate::reporting::Basis;
use crate::reporting::values::{self, ValuesError};

#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("the answer cannot be used")]
    Parse(#[from] ParseError),
    #[error("the report does not hold together")]
    Report(#[from] ReportError),
    #[error("a region cannot be measured")]
    Measure(#[from] ValuesError),
    #[error("the documents could not be made")]
    Documents(#[from] DocumentError),
    #[error("an object was refused")]
    Store(#[from] Refused),
    #[error("a UID of this report or of the earlier one is malformed")]
    Uid(#[from] UidError),
    #[error("a result cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error("making the objects stopped unexpectedly")]
    Worker(#[from] tokio::task::JoinError),
}

impl PublishError {
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Index(_) => true,
            Self::Store(refused) => refused.refusal.is_ours(),
            Self::Measure(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// What leaves the server about one analysis.
struct Written {
    sr: Vec<u8>,
    pdf: Vec<u8>,
    narrative: Vec<u8>,
}

impl Analyses {
    pub(super) async fn publish(
        &self,
        analysis: &Pending,
        pipeline: Pipeline,
        gathered: Gathered,
        answered: Answered,
    ) -> Result<(), PublishError> {
        let mut parsed = parse::parse(&answered.answer, &gathered.views())?;
        without_prior(&mut parsed, gathered.prior.as_ref());
        let predecessor = self.predecessor(analysis).await?;
        let provenance = self.document_provenance(analysis, pipeline, gathered.template, &answered);
        let words = answered.words.as_ref().map(|words| Words::of(words, answered.provenance.usage.cut));
        let volume = gathered.volume.as_ref().map(volume_row).transpose()?;
        let pictures = gathered.images.iter().map(|image| image.picture.clone()).collect::<Vec<_>>();
        let institution = gathered.institution.clone();
        let mut draft = Draft { words, ..draft(gathered, parsed, provenance, predecessor) };
        self.measure(&mut draft).await?;
        let report = Report::new(draft)?;
        let findings = finding_rows(&report)?;
        let impression = report.draft().impression.clone();
        let (content, basis) = life(&report, institution)?;
        let objects = tokio::task::spawn_blocking(move || objects(&report, &pictures)).await??;
        self.parts.ingest.store_result(&objects.sr).await?;
        self.parts.ingest.store_result(&objects.pdf).await?;
        let report = report_row(&analysis.id, objects.narrative, content, basis);
        let results = Results { analysis, impression: &impression, findings, report, volume };
        let now = self.parts.clock.now();
        let system = Actor::system();
        let done = Entry::new(&system, Action::CompleteAnalysis).study(&analysis.study);
        let done = done.object(ObjectKind::Analysis, &analysis.id);
        let mut batch = analyses::complete(&results, now).then(audit::append(&done, now));
        let detail = serde_json::json!({ "report": analysis.id });
        let about = events::Event::about(EventKind::AnalysisDone, &analysis.study, &analysis.id);
        batch.push(events::append(&events::Event { detail: Some(&detail), ..about }, now));
        // A report has the id of its analysis.
        let drafted = events::Event::about(EventKind::ReportDrafted, &analysis.study, &analysis.id);
        batch.push(events::append(&drafted, now));
        batch.append(self.exports(analysis, &results.report, now).await?);
        self.run_batch(batch).await?;
        self.parts.bell.ring();
        Ok(())
    }

    /// SR and PDF to their destinations, and the news to who wants it.
    async fn exports(
        &self,
        analysis: &Pending,
        report: &ReportRow,
        now: Timestamp,
    ) -> Result<Batch, PublishError> {
        let members = studies::members(&self.parts.db, &analysis.study).await?;
        let objects = [report.objects.sr_instance_uid.parse()?, report.objects.pdf_instance_uid.parse()?];
        let mut batch = self.parts.exports.results(&members, &objects, now);
        let (study, id) = (&analysis.study, analysis.id.as_str());
        let event = Event::AnalysisDone { study, analysis: id, report: id };
        batch.append(self.parts.exports.event(&event, now));
        Ok(batch)
    }

    async fn predecessor(&self, analysis: &Pending) -> Result<Option<Predecessor>, PublishError> {
        let Some(old) = &analysis.supersedes else { return Ok(None) };
        let Some((series, instance)) = analyses::predecessor(&self.parts.db, old).await? else {
            return Ok(None);
        };
        Ok(Some(Predecessor {
            series: series.parse()?,
            sop_class: sop_classes::COMPREHENSIVE3_DSR_STORAGE.parse()?,
            sop_instance: instance.parse()?,
        }))
    }

    fn document_provenance(
        &self,
        analysis: &Pending,
        pipeline: Pipeline,
        template: &Template,
        answered: &Answered,
    ) -> document::Provenance {
        let kept = &answered.provenance;
        document::Provenance {
            analysis_id: analysis.id.clone(),
            started: analysis.started_at.unwrap_or(analysis.queued_at),
            finished: answered.at,
            pipeline: document::Pipeline {
                name: pipeline.name().to_owned(),
                title: template.title.clone(),
                experimental: pipeline.is_experimental(),
            },
            model: kept.model.clone(),
            prompt: PromptIdentity {
                name: kept.prompt.clone(),
                version: kept.prompt_version.clone(),
                sha256: kept.prompt_sha256.clone(),
            },
            settings: kept.settings.clone(),
            usage: kept.usage.clone(),
            device: Device::radiant(self.parts.serial_number.clone()),
            reading: kept.reading.clone(),
        }
    }

    /// Takes on each region what its image and its pixels say.
    async fn measure(&self, draft: &mut Draft) -> Result<(), PublishError> {
        for found in &mut draft.findings {
            let image = found.image.and_then(|index| draft.evidence.get(index));
            if let (Some(image), Some(region)) = (image, &found.region) {
                found.measured = values::measured(&self.parts.db, &self.parts.blobs, image, region).await?;
            }
        }
        measure::compare(&draft.findings, &mut draft.remarks);
        Ok(())
    }
}

/// The images of an earlier study come first in the prompt and are none of the report.
fn without_prior(parsed: &mut Parsed, prior: Option<&GatheredPrior>) {
    let before = prior.map_or(0, |prior| prior.study.images.len() as u32);
    parsed.answer.findings.iter_mut().for_each(|finding| {
        finding.image = finding.image.and_then(|image| image.checked_sub(before));
    });
}

fn draft(
    gathered: Gathered,
    parsed: Parsed,
    provenance: document::Provenance,
    predecessor: Option<Predecessor>,
) -> Draft {
    let evidence: Vec<_> = gathered.images.into_iter().map(|image| image.reference).collect();
    let mut remarks = parsed.remarks;
    let findings = document::placed(parsed.answer.findings, &evidence, Framing::Padded, &mut remarks);
    Draft {
        subject: gathered.subject,
        evidence,
        provenance,
        findings,
        impression: parsed.answer.impression,
        words: None,
        remarks,
        limitations: gathered.limitations,
        predecessor,
    }
}

/// CPU work: the narrative, the SR, the PDF and its envelope.
fn objects(report: &Report, pictures: &[Arc<RgbImage>]) -> Result<Written, PublishError> {
    let (sr, pdf) = documents(report, pictures)?;
    Ok(Written { sr, pdf, narrative: serde_json::to_vec(&Narrative::of(report))? })
}

fn documents(report: &Report, pictures: &[Arc<RgbImage>]) -> Result<(Vec<u8>, Vec<u8>), DocumentError> {
    let evidence = report.key_image();
    let key_image =
        pictures.get(evidence).map(|picture| KeyImage { picture, evidence, framing: Framing::Padded });
    let pdf = pdf::write(report, key_image)?;
    Ok((file(&sr::write(report)?)?, file(&encapsulated::write(report, pdf)?)?))
}

fn finding_rows(report: &Report) -> Result<Vec<FindingRow>, PublishError> {
    let findings = report.draft().findings.iter().enumerate();
    findings.map(|(index, finding)| finding_row(report, index + 1, finding)).collect()
}

fn finding_row(report: &Report, number: usize, found: &ReportFinding) -> Result<FindingRow, PublishError> {
    let finding = &found.finding;
    let concept = codes::finding(&finding.finding);
    let code = concept.code;
    let code = (concept.mapping == Mapping::Mapped)
        .then(|| format!("{}|{}|{}", code.scheme, code.value, code.meaning));
    let image = report.image_of(found);
    let remarks: Vec<String> = report.remarks_on(number).map(parse::Remark::sentence).collect();
    Ok(FindingRow {
        finding: finding.finding.clone(),
        location: finding.location.clone(),
        laterality: word(&finding.laterality)?,
        certainty: word(&finding.certainty)?,
        severity: finding.severity.as_ref().map(word).transpose()?,
        code,
        sop_instance: image.map(|image| image.sop_instance.to_string()),
        frame: image.and_then(|image| image.frame),
        region: found.region.map(|region| serde_json::to_string(&region)).transpose()?,
        remarks: (!remarks.is_empty()).then(|| serde_json::to_string(&remarks)).transpose()?,
        measurements: measurement_rows(found)?,
    })
}

/// The estimates of the model, then what was taken on the region.
fn measurement_rows(found: &ReportFinding) -> Result<Vec<MeasurementRow>, PublishError> {
    let estimates = found.finding.measurements.iter().map(|estimate| {
        Ok(MeasurementRow {
            name: word(&estimate.name)?,
            value: estimate.value,
            unit: word(&estimate.unit)?,
            method: word(&Method::ModelEstimate)?,
            spacing: None,
        })
    });
    estimates.chain(found.measured.iter().map(measured_row)).collect()
}

fn measured_row(measured: &Measured) -> Result<MeasurementRow, PublishError> {
    Ok(MeasurementRow {
        name: word(&measured.name)?,
        value: measured.value,
        unit: word(&measured.unit)?,
        method: word(&measured.method)?,
        spacing: measured.spacing.as_ref().map(word).transpose()?,
    })
}

/// The word that the schema has for a value.
fn word(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_value(value).map(|value| value.as_str().unwrap_or_default().to_owned())
}

/// The first version of the report, and what its later ones have in common with it: JSON.
fn life(report: &Report, institution: String) -> Result<(Vec<u8>, Vec<u8>), serde_json::Error> {
    let draft = report.draft();
    let basis = Basis {
        subject: draft.subject.clone(),
        institution,
        provenance: Some(draft.provenance.clone()),
        earlier_draft: draft.predecessor.clone(),
    };
    Ok((serde_json::to_vec(&Content::of_draft(report))?, serde_json::to_vec(&basis)?))
}

fn report_row(analysis: &str, narrative: Vec<u8>, content: Vec<u8>, basis: Vec<u8>) -> ReportRow {
    let objects = Objects {
        series_uid_sr: uids::derive(analysis, Role::SrSeries),
        sr_instance_uid: uids::derive(analysis, Role::SrInstance),
        series_uid_pdf: uids::derive(analysis, Role::PdfSeries),
        pdf_instance_uid: uids::derive(analysis, Role::PdfInstance),
    };
    ReportRow { narrative, content, basis, objects }
}

fn volume_row(volume: &GatheredVolume) -> Result<VolumeRow, PublishError> {
    let description = serde_json::json!({
        "volume": volume.description,
        "intensities": volume.intensities,
        "choice": volume.choice,
    });
    Ok(VolumeRow { series_uid: volume.series.to_string(), description: serde_json::to_vec(&description)? })
}
