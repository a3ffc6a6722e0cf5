//! The report as a Comprehensive 3D SR: TID 1500 Measurement Report.
//!
//! What the model calls absent stands under the qualitative evaluations, never as a measurement
//! group: a reader that shows groups only must not show it as found. Every content item has a
//! concept name, also where the templates ask for none, since viewers stumble over the lack.

pub(in crate::report) mod context;
mod group;
mod item;
mod library;
pub mod signed;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids as sop_classes};
use dicom_object::{FileDicomObject, WithMetaError};

use super::codes::{self, Code};
use super::document::{Draft, ImageReference, Predecessor, Report, ReportFinding, Subject};
use super::elements::{self, Dataset, ObjectIdentity, Origin, put, put_items, put_lo};
use super::findings::{Certainty, Finding};
use super::narrative;
use super::uids::{self, Role};
use item::{Item, Relation};

/// Series Number of the SR series; far above what modalities count to.
const SERIES_NUMBER: &str = "9901";

/// PS3.16 CID 7021 Measurement Report Document Titles, which may be extended.
const MEASUREMENT_REPORT: Code = Code::dcm("126000", "Imaging Measurement Report");

/// PS3.16 CID 7000 Diagnostic Imaging Report Document Titles.
const IMAGING_REPORT: Code = Code::ln("18748-4", "Diagnostic Imaging Report");

/// The report that the model wrote before it was asked for findings.
const MODEL_WORDS: Code = Code::private("MODELWORDS", "Draft report in the model's own words");

const COMPARISON: Code = Code::private("COMPARISON", "Comparison");

/// Of all that the server writes.
const LANGUAGE: &str = "en";

const QUALITATIVE_EVALUATIONS: Code = Code::umls("C0034375", "Qualitative Evaluations");

/// Why the object could not be given its File Meta Information.
#[derive(Debug, thiserror::Error)]
#[error("the SR lacks an attribute of the File Meta Information")]
pub struct SrError(#[source] WithMetaError);

/// The report as an SR object; equal reports give equal objects.
pub fn write(report: &Report) -> Result<FileDicomObject<Dataset>, SrError> {
    let draft = report.draft();
    let mut dataset = elements::common(&Origin::of(draft), &identity(draft));
    document_general(&mut dataset, draft);
    root(report).flatten_into(&mut dataset);
    elements::with_meta(dataset).map_err(SrError)
}

fn identity(draft: &Draft) -> ObjectIdentity<'static> {
    let analysis = &draft.provenance.analysis_id;
    ObjectIdentity {
        sop_class: sop_classes::COMPREHENSIVE3_DSR_STORAGE,
        sop_instance: uids::derive(analysis, Role::SrInstance),
        series: uids::derive(analysis, Role::SrSeries),
        series_number: SERIES_NUMBER,
        series_description: elements::title(draft),
        instance_number: 1,
        modality: "SR",
    }
}

/// SR Document Series and SR Document General Module, PS3.3 C.17.1 and C.17.2.
fn document_general(dataset: &mut Dataset, draft: &Draft) {
    put(dataset, tags::COMPLETION_FLAG, VR::CS, "PARTIAL");
    put_lo(dataset, tags::COMPLETION_FLAG_DESCRIPTION, narrative::AI_DRAFT);
    put(dataset, tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED");
    put(dataset, tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY");
    let predecessors: Vec<&Predecessor> = draft.predecessor.iter().collect();
    references(dataset, &draft.subject, &draft.evidence, &predecessors);
    if let Some(prior) = &draft.provenance.reading.prior {
        let items = elements::evidence(&prior.uid, &prior.images);
        put_items(dataset, tags::PERTINENT_OTHER_EVIDENCE_SEQUENCE, items);
    }
}

/// What the document answers, rests on and replaces.
fn references(
    dataset: &mut Dataset,
    subject: &Subject,
    images: &[ImageReference],
    predecessors: &[&Predecessor],
) {
    put_items(dataset, tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new());
    put_items(dataset, tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new());
    let evidence = elements::evidence(&subject.study.uid, images);
    put_items(dataset, tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, evidence);
    if let Some(request) = referenced_request(subject) {
        put_items(dataset, tags::REFERENCED_REQUEST_SEQUENCE, vec![request]);
    }
    if !predecessors.is_empty() {
        let items = elements::predecessors(&subject.study, predecessors);
        put_items(dataset, tags::PREDECESSOR_DOCUMENTS_SEQUENCE, items);
    }
}

/// `None` where the images name no request.
fn referenced_request(subject: &Subject) -> Option<Dataset> {
    let (study, request) = (&subject.study, &subject.request);
    if study.accession_number.is_empty() && request.procedure_id.is_empty() {
        return None;
    }
    let mut item = Dataset::new_empty();
    put(&mut item, tags::STUDY_INSTANCE_UID, VR::UI, study.uid.as_str());
    put_items(&mut item, tags::REFERENCED_STUDY_SEQUENCE, Vec::new());
    put(&mut item, tags::ACCESSION_NUMBER, VR::SH, study.accession_number.as_str());
    put(&mut item, tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, VR::LO, ());
    put(&mut item, tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, VR::LO, ());
    put(&mut item, tags::REQUESTED_PROCEDURE_ID, VR::SH, request.procedure_id.as_str());
    put_lo(&mut item, tags::REQUESTED_PROCEDURE_DESCRIPTION, &request.procedure_description);
    put_items(&mut item, tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, Vec::new());
    Some(item)
}

fn root(report: &Report) -> Item {
    let draft = report.draft();
    Item::root(title(draft), "1500")
        .with([context::language(LANGUAGE)])
        .with(context::device_observer(&draft.provenance.device))
        .with([context::procedure_reported(&draft.evidence)])
        .with([library::image_library(&draft.evidence, draft.prior_images())])
        .with(imaging_measurements(report))
        .with([qualitative_evaluations(draft)])
}

/// Viewers draw the outlines of a measurement report and show nothing else of it; any other
/// report they show as text. So a measurement report is one that loses nothing by being drawn.
fn title(draft: &Draft) -> Code {
    let mut present = draft.findings.iter().filter(|finding| is_present(finding)).peekable();
    match present.peek().is_some() && present.all(|finding| finding.region.is_some()) {
        true => MEASUREMENT_REPORT,
        false => IMAGING_REPORT,
    }
}

fn is_present(finding: &ReportFinding) -> bool {
    finding.finding.certainty != Certainty::Absent
}

/// TID 1500 row 6; `None` when the model names nothing as present.
fn imaging_measurements(report: &Report) -> Option<Item> {
    let present = report.draft().findings.iter().enumerate();
    let groups: Vec<Item> = present
        .filter(|(_, finding)| is_present(finding))
        .map(|(index, finding)| group::of_model(report, index, finding))
        .collect();
    measurements_of(groups)
}

fn measurements_of(groups: Vec<Item>) -> Option<Item> {
    let container = Item::container(Relation::Contains, Code::dcm("126010", "Imaging Measurements"));
    (!groups.is_empty()).then(|| container.with(groups))
}

/// TID 1500 row 10: what must be said first, the impression, what is absent, and what made it.
fn qualitative_evaluations(draft: &Draft) -> Item {
    let absent = draft.findings.iter().map(|f| &f.finding).filter(|f| f.certainty == Certainty::Absent);
    let absent = absent.map(|finding| absence(codes::finding(&finding.finding).code, finding));
    let impression = Item::text(Relation::Contains, Code::dcm("121073", "Impression"), &draft.impression);
    let words = narrative::model_words(draft).map(|text| Item::text(Relation::Contains, MODEL_WORDS, text));
    let in_language = |item: Item| item.with(other_language(draft).map(context::language));
    let comparison = draft.provenance.reading.prior.as_ref().map(|_| narrative::comparison(draft));
    let comparison = comparison.map(|text| Item::text(Relation::Contains, COMPARISON, &text));
    Item::container(Relation::Contains, QUALITATIVE_EVALUATIONS)
        .with(narrative::warnings(draft).iter().map(|text| warning(text)))
        .with([in_language(impression)])
        .with(words.map(in_language))
        .with(comparison)
        .with(absent)
        .with(narrative::limitations(draft).iter().map(|text| limitation(text)))
        .with(context::algorithm(&draft.provenance))
}

/// What the model wrote is in; everything else is in the language of the document.
fn other_language(draft: &Draft) -> Option<&str> {
    Some(draft.provenance.reading.language.as_str()).filter(|language| *language != LANGUAGE)
}

fn absence(code: Code, finding: &Finding) -> Item {
    let value = codes::certainty(Certainty::Absent);
    Item::code(Relation::Contains, code, value).with([group::finding_site(finding)])
}

fn warning(text: &str) -> Item {
    Item::text(Relation::Contains, Code::private("WARNING", "Warning"), text)
}

fn limitation(text: &str) -> Item {
    Item::text(Relation::Contains, Code::private("LIMITATION", "Limitation"), text)
}

#[cfg(test)]
mod tests;
