//! A signed version as a Comprehensive 3D SR: complete, verified, with its predecessors.
//!
//! What was rejected stands in a container of its own as text, without the codes, sites and
//! regions by which a reader of findings would take it for one.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids as sop_classes};
use dicom_object::FileDicomObject;

use super::group::{self, Group};
use super::item::{Item, Relation};
use super::{
    QUALITATIVE_EVALUATIONS, SrError, absence, context, library, limitation, measurements_of, references,
    warning,
};
use crate::report::codes::{self, Code};
use crate::report::content::{Decision, Method, StatedFinding};
use crate::report::document::{Device, Provenance};
use crate::report::elements::{self, Dataset, ObjectIdentity, coded, equipment, put, put_items, put_lo};
use crate::report::findings::Certainty;
use crate::report::signed::{Signed, Signing, code_of, is_of_model};

/// Series Number of the signed SRs of a report, above that of its draft.
const SERIES_NUMBER: &str = "9911";

/// The signed version as an SR object; equal versions give equal objects.
pub fn write(signed: &Signed, series: &str, instance: &str) -> Result<FileDicomObject<Dataset>, SrError> {
    let identity = ObjectIdentity {
        sop_class: sop_classes::COMPREHENSIVE3_DSR_STORAGE,
        sop_instance: instance.to_owned(),
        series: series.to_owned(),
        series_number: SERIES_NUMBER,
        series_description: "Signed report".into(),
        instance_number: signed.version,
        modality: "SR",
    };
    let mut dataset = elements::common(&signed.origin(), &identity);
    document_general(&mut dataset, signed);
    root(signed).flatten_into(&mut dataset);
    elements::with_meta(dataset).map_err(SrError)
}

/// SR Document General Module, PS3.3 C.17.2.
fn document_general(dataset: &mut Dataset, signed: &Signed) {
    put(dataset, tags::COMPLETION_FLAG, VR::CS, "COMPLETE");
    put(dataset, tags::VERIFICATION_FLAG, VR::CS, "VERIFIED");
    put(dataset, tags::PRELIMINARY_FLAG, VR::CS, "FINAL");
    put_items(dataset, tags::VERIFYING_OBSERVER_SEQUENCE, vec![verifying_observer(&signed.signing)]);
    let mut authors = vec![author(&signed.signing)];
    if let Some(provenance) = &signed.provenance {
        authors.push(device_author(&provenance.device));
        put_items(dataset, tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, vec![contribution(provenance)]);
    }
    put_items(dataset, tags::AUTHOR_OBSERVER_SEQUENCE, authors);
    let predecessors: Vec<_> = signed.earlier.iter().map(|earlier| &earlier.sr).collect();
    references(dataset, &signed.subject, &signed.content.evidence, &predecessors);
}

fn verifying_observer(signing: &Signing) -> Dataset {
    let mut item = Dataset::new_empty();
    put_lo(&mut item, tags::VERIFYING_ORGANIZATION, &signing.organization);
    let at = format!("{}{}+0000", signing.at.dicom_date(), signing.at.dicom_time());
    put(&mut item, tags::VERIFICATION_DATE_TIME, VR::DT, at);
    put(&mut item, tags::VERIFYING_OBSERVER_NAME, VR::PN, signing.person_name());
    put_items(&mut item, tags::VERIFYING_OBSERVER_IDENTIFICATION_CODE_SEQUENCE, Vec::new());
    item
}

/// Identified Person or Device Macro, PS3.3 Table C.17-3b.
fn author(signing: &Signing) -> Dataset {
    let mut item = Dataset::new_empty();
    put(&mut item, tags::OBSERVER_TYPE, VR::CS, "PSN");
    put(&mut item, tags::PERSON_NAME, VR::PN, signing.person_name());
    put_items(&mut item, tags::PERSON_IDENTIFICATION_CODE_SEQUENCE, Vec::new());
    put_lo(&mut item, tags::INSTITUTION_NAME, &signing.organization);
    put_items(&mut item, tags::INSTITUTION_CODE_SEQUENCE, Vec::new());
    item
}

fn device_author(device: &Device) -> Dataset {
    let mut item = Dataset::new_empty();
    put(&mut item, tags::OBSERVER_TYPE, VR::CS, "DEV");
    put(&mut item, tags::STATION_NAME, VR::SH, ());
    put(&mut item, tags::DEVICE_UID, VR::UI, context::device_uid(device));
    put_lo(&mut item, tags::MANUFACTURER, &device.manufacturer);
    put_lo(&mut item, tags::MANUFACTURER_MODEL_NAME, &device.model);
    put(&mut item, tags::INSTITUTION_NAME, VR::LO, ());
    put_items(&mut item, tags::INSTITUTION_CODE_SEQUENCE, Vec::new());
    item
}

/// PS3.3 C.12.1: the model that drafted findings. PS3.16 CID 7005.
fn contribution(provenance: &Provenance) -> Dataset {
    let mut item = Dataset::new_empty();
    let purpose = Code::dcm("109102", "Processing Equipment");
    put_items(&mut item, tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, coded(&purpose));
    equipment(&mut item, &provenance.device);
    let at = provenance.finished;
    let at = format!("{}{}+0000", at.dicom_date(), at.dicom_time());
    put(&mut item, tags::CONTRIBUTION_DATE_TIME, VR::DT, at);
    let model = &provenance.model;
    let what = format!("Findings drafted by the model {} version {}", model.name, model.version);
    put(&mut item, tags::CONTRIBUTION_DESCRIPTION, VR::ST, what);
    item
}

fn root(signed: &Signed) -> Item {
    let (content, signing) = (&signed.content, &signed.signing);
    let device = signed.provenance.iter().flat_map(|made| context::device_observer(&made.device));
    Item::root(super::IMAGING_REPORT, "1500")
        .with([context::language(&content.language)])
        .with(context::person_observer(&signing.person_name(), &signing.organization))
        .with(device)
        .with([context::procedure_reported(&content.evidence)])
        .with([library::image_library(&content.evidence, &[])])
        .with(measurements(signed))
        .with([evaluations(signed)])
        .with(sections(signed))
        .with(addenda(signed))
        .with(listed(Code::private("DRAFTCHANGES", "Changes of the draft"), &signed.changes_of_draft()))
        .with(listed(
            Code::private("VERSIONCHANGES", "Changes since the version signed before"),
            &signed.changes_of_previous(),
        ))
        .with(rejected(signed))
}

fn measurements(signed: &Signed) -> Option<Item> {
    let present = (1..).zip(signed.content.stated());
    let present = present.filter(|(_, finding)| finding.words.certainty != Certainty::Absent);
    measurements_of(present.map(|(number, finding)| group(signed, number, finding)).collect())
}

fn group(signed: &Signed, number: usize, stated: &StatedFinding) -> Item {
    let finding = stated.words.as_finding();
    let of_model = is_of_model(stated);
    let taken = finding.measurements.iter().zip(&stated.words.measurements);
    let measurements = taken.map(|(measurement, taken)| match taken.method {
        Method::ModelEstimate => group::estimate(measurement),
        Method::Person => group::given(measurement),
    });
    let source = if of_model { "AI finding" } else { "Finding" };
    let group = Group {
        tracking: format!("{source} {number}: {}", finding.finding),
        tracking_uid: stated.tracking_uid.clone(),
        code: code_of(stated),
        image: signed.image_of(stated),
        region: stated.words.region,
        algorithm: signed.provenance.iter().filter(|_| of_model).flat_map(context::algorithm).collect(),
        measurements: measurements.chain(stated.measured.iter().map(group::measured)).collect(),
        certainty: (codes::CERTAINTY_OF_READER, codes::certainty_of_reader(finding.certainty)),
        sentence: stated.words.sentence(),
        remarks: vec![standing(stated)],
        finding: &finding,
    };
    group.into_item()
}

/// What the signer made of it.
fn standing(finding: &StatedFinding) -> String {
    let by = finding.decided.as_ref().map_or("", |decided| decided.by.as_str());
    match finding.decision {
        Decision::Accepted => format!("Of the model, accepted by {by}."),
        Decision::Edited if is_of_model(finding) => format!("Of the model, edited by {by}."),
        Decision::Edited => format!("Added by {by}."),
        Decision::Undecided | Decision::Rejected => "Not a finding of the signer.".into(),
    }
}

fn evaluations(signed: &Signed) -> Item {
    let absent = signed.content.stated().filter(|stated| stated.words.certainty == Certainty::Absent);
    let absent = absent.map(|stated| absence(code_of(stated), &stated.words.as_finding()));
    let impression = Item::text(
        Relation::Contains,
        Code::dcm("121073", "Impression"),
        &signed.content.sections.impression,
    );
    Item::container(Relation::Contains, QUALITATIVE_EVALUATIONS)
        .with(signed.notices().iter().map(|text| warning(text)))
        .with([impression])
        .with(absent)
        .with(signed.content.limitations.iter().map(|text| limitation(text)))
        .with(signed.provenance.iter().flat_map(context::algorithm))
}

/// PS3.16 CID 7001 Diagnostic Imaging Report Headings, with elements of CID 7002.
fn sections(signed: &Signed) -> Vec<Item> {
    let sections = &signed.content.sections;
    let section = |heading: Code, element: Code, text: &str| {
        let item = Item::text(Relation::Contains, element, text);
        (!text.trim().is_empty()).then(|| Item::container(Relation::Contains, heading).with([item]))
    };
    let made = [
        section(
            Code::ln("11329-0", "History"),
            Code::dcm("121060", "History"),
            &sections.clinical_information,
        ),
        section(
            Code::ln("55111-9", "Current Procedure Descriptions"),
            Code::dcm("121065", "Procedure Description"),
            &sections.technique,
        ),
        section(
            Code::ln("18834-2", "Previous Findings"),
            Code::dcm("121068", "Previous Finding"),
            &sections.comparison,
        ),
        section(Code::ln("59776-5", "Findings"), Code::dcm("121071", "Finding"), &sections.findings),
        section(Code::ln("19005-8", "Impressions"), Code::dcm("121073", "Impression"), &sections.impression),
    ];
    made.into_iter().flatten().collect()
}

fn addenda(signed: &Signed) -> Option<Item> {
    let addenda = &signed.content.addenda;
    let items = addenda
        .iter()
        .map(|addendum| Item::text(Relation::Contains, Code::dcm("121106", "Comment"), &addendum.text));
    let container = Item::container(Relation::Contains, Code::ln("55107-7", "Addendum"));
    (!addenda.is_empty()).then(|| container.with(items))
}

fn listed(concept: Code, texts: &[String]) -> Option<Item> {
    let item =
        |text: &String| Item::text(Relation::Contains, Code::private("CHANGE", "Change by a person"), text);
    let items = texts.iter().map(item);
    (!texts.is_empty()).then(|| Item::container(Relation::Contains, concept).with(items))
}

fn rejected(signed: &Signed) -> Option<Item> {
    let texts: Vec<Item> = signed.content.rejected().map(rejection).collect();
    let concept = Code::private("REJECTED", "Statements of the model that were rejected: no findings");
    (!texts.is_empty()).then(|| Item::container(Relation::Contains, concept).with(texts))
}

fn rejection(finding: &StatedFinding) -> Item {
    let (by, reason) = finding
        .decided
        .as_ref()
        .map_or(("", ""), |decided| (decided.by.as_str(), decided.reason.as_deref().unwrap_or_default()));
    let text =
        format!("REJECTED, not a finding: \"{}\" Rejected by {by}: {reason}", finding.words.sentence());
    Item::text(Relation::Contains, Code::private("REJECTEDTEXT", "Rejected, not a finding"), &text)
}
