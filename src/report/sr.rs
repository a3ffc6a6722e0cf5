//! The report as a Comprehensive 3D SR: TID 1500 Measurement Report.
//!
//! What the model calls absent stands under the qualitative evaluations, never as a measurement
//! group: a reader that shows groups only must not show it as found. Every content item has a
//! concept name, also where the templates ask for none, since viewers stumble over the lack.

pub(in crate::report) mod context;
mod group;
mod item;
mod library;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids as sop_classes};
use dicom_object::{FileDicomObject, WithMetaError};

use super::codes::{self, Code};
use super::document::{Draft, Report, ReportFinding};
use super::elements::{self, Dataset, ObjectIdentity, put, put_items, put_lo};
use super::findings::Certainty;
use super::narrative;
use super::uids::{self, Role};
use item::{Item, Relation};

/// Series Number of the SR series; far above what modalities count to.
const SERIES_NUMBER: &str = "9901";

/// PS3.16 CID 7021 Measurement Report Document Titles, which may be extended.
const MEASUREMENT_REPORT: Code = Code::dcm("126000", "Imaging Measurement Report");

/// PS3.16 CID 7000 Diagnostic Imaging Report Document Titles.
const IMAGING_REPORT: Code = Code::ln("18748-4", "Diagnostic Imaging Report");

/// Why the object could not be given its File Meta Information.
#[derive(Debug, thiserror::Error)]
#[error("the SR lacks an attribute of the File Meta Information")]
pub struct SrError(#[source] WithMetaError);

/// The report as an SR object; equal reports give equal objects.
pub fn write(report: &Report) -> Result<FileDicomObject<Dataset>, SrError> {
    let draft = report.draft();
    let mut dataset = elements::common(draft, identity(draft));
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
        modality: "SR",
    }
}

/// SR Document Series and SR Document General Module, PS3.3 C.17.1 and C.17.2.
fn document_general(dataset: &mut Dataset, draft: &Draft) {
    put(dataset, tags::COMPLETION_FLAG, VR::CS, "PARTIAL");
    put_lo(dataset, tags::COMPLETION_FLAG_DESCRIPTION, narrative::AI_DRAFT);
    put(dataset, tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED");
    put(dataset, tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY");
    put_items(dataset, tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new());
    put_items(dataset, tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new());
    put_items(dataset, tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, elements::evidence(draft));
    if let Some(request) = referenced_request(draft) {
        put_items(dataset, tags::REFERENCED_REQUEST_SEQUENCE, vec![request]);
    }
    if let Some(predecessor) = &draft.predecessor {
        let items = elements::predecessor(&draft.subject.study, predecessor);
        put_items(dataset, tags::PREDECESSOR_DOCUMENTS_SEQUENCE, items);
    }
}

/// `None` where the images name no request.
fn referenced_request(draft: &Draft) -> Option<Dataset> {
    let (study, request) = (&draft.subject.study, &draft.subject.request);
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
        .with([context::language()])
        .with(context::device_observer(&draft.provenance.device))
        .with([context::procedure_reported(draft)])
        .with([library::image_library(draft)])
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
        .map(|(index, finding)| group::measurement_group(report, index, finding))
        .collect();
    let container = Item::container(Relation::Contains, Code::dcm("126010", "Imaging Measurements"));
    (!groups.is_empty()).then(|| container.with(groups))
}

/// TID 1500 row 10: what must be said first, the impression, what is absent, and what made it.
fn qualitative_evaluations(draft: &Draft) -> Item {
    let name = Code::umls("C0034375", "Qualitative Evaluations");
    let absent = draft.findings.iter().map(|f| &f.finding).filter(|f| f.certainty == Certainty::Absent);
    let absent = absent.map(|finding| {
        let value = codes::certainty(Certainty::Absent);
        let item = Item::code(Relation::Contains, codes::finding(&finding.finding).code, value);
        item.with([group::finding_site(finding)])
    });
    let impression = Item::text(Relation::Contains, Code::dcm("121073", "Impression"), &draft.impression);
    Item::container(Relation::Contains, name)
        .with(narrative::warnings(draft).iter().map(|text| warning(text)))
        .with([impression])
        .with(absent)
        .with(narrative::limitations(draft).iter().map(|text| limitation(text)))
        .with(context::algorithm(&draft.provenance))
}

fn warning(text: &str) -> Item {
    Item::text(Relation::Contains, Code::private("WARNING", "Warning"), text)
}

fn limitation(text: &str) -> Item {
    Item::text(Relation::Contains, Code::private("LIMITATION", "Limitation"), text)
}

#[cfg(test)]
mod tests;
