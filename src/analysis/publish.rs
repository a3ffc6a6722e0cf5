//! From an answer to rows, a Structured Report and a PDF in the study of the images.
//!
//! The objects follow from the kept answer alone, so that a second run writes nothing new.

use std::io::Cursor;

use dicom_dictionary_std::uids as sop_classes;
use dicom_object::{FileDicomObject, InMemDicomObject};

use super::Analyses;
use super::gather::{Gathered, GatheredVolume};
use super::perform::Answered;
use crate::ai::prompt::Pipeline;
use crate::clock::Timestamp;
use crate::db::analyses::{self, FindingRow, MeasurementRow, Pending, ReportRow, Results, VolumeRow};
use crate::db::{Batch, DbError, audit, studies};
use crate::dicom::uid::UidError;
use crate::export::event::Event;
use crate::ingest::{Body, Origin, Received, Refusal, Refused, Source};
use crate::report::codes::{self, Mapping};
use crate::report::document::{
    self, Device, Draft, Predecessor, PromptIdentity, Report, ReportError, ReportFinding,
};
use crate::report::encapsulated::{self, EncapsulateError};
use crate::report::narrative::Narrative;
use crate::report::parse::{self, ParseError, Parsed};
use crate::report::pdf::{self, KeyImage, PdfError};
use crate::report::region::Framing;
use crate::report::sr::{self, SrError};
use crate::report::uids::{self, Role};

#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("the answer cannot be used")]
    Parse(#[from] ParseError),
    #[error("the report does not hold together")]
    Report(#[from] ReportError),
    #[error("the PDF could not be made")]
    Pdf(#[from] PdfError),
    #[error("the SR could not be made")]
    Sr(#[from] SrError),
    #[error("the PDF could not be put into DICOM")]
    Encapsulate(#[from] EncapsulateError),
    #[error("an object could not be written")]
    Write(#[source] Box<dicom_object::WriteError>),
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
            _ => false,
        }
    }
}

/// What leaves the server about one analysis.
struct Objects {
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
        let views: Vec<parse::View> = gathered.images.iter().map(|image| image.view).collect();
        let parsed = parse::parse(&answered.text, &views)?;
        let predecessor = self.predecessor(analysis).await?;
        let provenance = self.document_provenance(analysis, pipeline, &answered);
        let volume = gathered.volume.as_ref().map(volume_row).transpose()?;
        let pictures = gathered.images.iter().map(|image| image.picture.clone()).collect::<Vec<_>>();
        let report = Report::new(draft(gathered, parsed, provenance, predecessor))?;
        let findings = finding_rows(&report)?;
        let impression = report.draft().impression.clone();
        let objects = tokio::task::spawn_blocking(move || objects(&report, &pictures)).await??;
        self.store(&objects.sr).await?;
        self.store(&objects.pdf).await?;
        let report = report_row(&analysis.id, objects.narrative);
        let results = Results { analysis, impression: &impression, findings, report, volume };
        let now = self.parts.clock.now();
        let mut batch = analyses::complete(&results, now).then(audit::append(&done_audit(analysis), now));
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
        let objects = [report.sr_instance_uid.parse()?, report.pdf_instance_uid.parse()?];
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
        answered: &Answered,
    ) -> document::Provenance {
        let kept = &answered.provenance;
        document::Provenance {
            analysis_id: analysis.id.clone(),
            started: answered.started,
            finished: answered.at,
            pipeline: document::Pipeline {
                name: pipeline.name().to_owned(),
                title: pipeline.template().title.clone(),
                experimental: pipeline == Pipeline::Ct,
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
        }
    }

    async fn store(&self, file: &[u8]) -> Result<(), PublishError> {
        let origin = Origin { source: Source::Analysis, calling_aet: String::new(), delivery: None };
        let received = Received { body: Body::Part10(file), origin: &origin, only_study: None };
        match self.parts.ingest.store(received).await {
            // Its UID is this analysis' own: an earlier attempt, of an earlier version perhaps,
            // got this far, and what has been seen of it stands.
            Ok(_) | Err(Refused { refusal: Refusal::Conflict, .. }) => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }
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
        remarks,
        limitations: gathered.limitations,
        predecessor,
    }
}

/// CPU work: the narrative, the SR, the PDF and its envelope.
fn objects(
    report: &Report,
    pictures: &[std::sync::Arc<crate::ai::RgbImage>],
) -> Result<Objects, PublishError> {
    let evidence = report.key_image();
    let key_image =
        pictures.get(evidence).map(|picture| KeyImage { picture, evidence, framing: Framing::Padded });
    let pdf = pdf::write(report, key_image)?;
    Ok(Objects {
        sr: file(sr::write(report)?)?,
        pdf: file(encapsulated::write(report, pdf)?)?,
        narrative: serde_json::to_vec(&Narrative::of(report))?,
    })
}

fn file(object: FileDicomObject<InMemDicomObject>) -> Result<Vec<u8>, PublishError> {
    let mut bytes = Cursor::new(Vec::new());
    object.write_all(&mut bytes).map_err(|error| PublishError::Write(Box::new(error)))?;
    Ok(bytes.into_inner())
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
        measurements: finding.measurements.iter().map(measurement_row).collect::<Result<_, _>>()?,
    })
}

fn measurement_row(
    measurement: &crate::report::findings::Measurement,
) -> Result<MeasurementRow, PublishError> {
    Ok(MeasurementRow {
        name: word(&measurement.name)?,
        value: measurement.value,
        unit: word(&measurement.unit)?,
        method: "model-estimate",
    })
}

/// The word that the schema has for a value.
fn word(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_value(value).map(|value| value.as_str().unwrap_or_default().to_owned())
}

fn report_row(analysis: &str, narrative: Vec<u8>) -> ReportRow {
    ReportRow {
        narrative,
        series_uid_sr: uids::derive(analysis, Role::SrSeries),
        sr_instance_uid: uids::derive(analysis, Role::SrInstance),
        series_uid_pdf: uids::derive(analysis, Role::PdfSeries),
        pdf_instance_uid: uids::derive(analysis, Role::PdfInstance),
    }
}

fn volume_row(volume: &GatheredVolume) -> Result<VolumeRow, PublishError> {
    let description = serde_json::json!({
        "volume": volume.description,
        "intensities": volume.intensities,
        "choice": volume.choice,
    });
    Ok(VolumeRow { series_uid: volume.series.to_string(), description: serde_json::to_vec(&description)? })
}

fn done_audit(analysis: &Pending) -> audit::Entry<'_> {
    audit::Entry {
        actor: "system",
        action: "complete-analysis",
        study: Some(&analysis.study),
        subject: Some(&analysis.id),
        outcome: "success",
        detail: None,
    }
}
