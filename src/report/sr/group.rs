//! One finding as a measurement group: TID 1410 with a region, TID 1501 without.

use crate::report::codes::{self, Code};
use crate::report::document::{Report, ReportFinding};
use crate::report::findings::{Finding, Measurement};
use crate::report::narrative;
use crate::report::parse::Remark;
use crate::report::uids::{self, Role};

use super::context;
use super::item::{Item, Relation};
use super::library::SOURCE;

pub(super) fn measurement_group(report: &Report, index: usize, finding: &ReportFinding) -> Item {
    let template = if finding.region.is_some() { "1410" } else { "1501" };
    let words = &finding.finding;
    Item::container(Relation::Contains, Code::dcm("125007", "Measurement Group"))
        .of_template(template)
        .with(tracking(report, index, words))
        .with([finding_code(words), finding_site(words)])
        .with(context::algorithm(&report.draft().provenance))
        .with(region(report, finding))
        .with(source_image(report, finding))
        .with(words.measurements.iter().map(measurement))
        .with(evaluations(words))
        .with(comments(report, index, words))
}

/// Tracking Identifier for people, Tracking Unique Identifier for machines.
fn tracking(report: &Report, index: usize, finding: &Finding) -> [Item; 2] {
    let uid = uids::derive(&report.draft().provenance.analysis_id, Role::Finding(index));
    let identifier = format!("AI finding {}: {}", index + 1, finding.finding);
    [
        Item::text(Relation::HasObsContext, Code::dcm("112039", "Tracking Identifier"), &identifier),
        Item::uid(Relation::HasObsContext, Code::dcm("112040", "Tracking Unique Identifier"), &uid),
    ]
}

fn finding_code(finding: &Finding) -> Item {
    let code = codes::finding(&finding.finding).code;
    Item::code(Relation::Contains, Code::dcm("121071", "Finding"), code)
}

/// Where, and on which side of the patient.
pub(super) fn finding_site(finding: &Finding) -> Item {
    let laterality = codes::laterality(finding.laterality)
        .map(|side| Item::code(Relation::HasConceptMod, Code::sct("272741003", "Laterality"), side));
    let site = codes::site(&finding.location).code;
    Item::code(Relation::HasConceptMod, Code::sct("363698007", "Finding Site"), site).with(laterality)
}

/// TID 1410 row 8: an SCOORD selected from its image.
fn region(report: &Report, finding: &ReportFinding) -> Option<Item> {
    let (region, image) = (finding.region?, report.image_of(finding)?);
    let source = Item::image(Relation::SelectedFrom, SOURCE, image);
    let outline = Item::polyline(Relation::Contains, Code::dcm("111030", "Image Region"), &region.outline());
    Some(outline.with([source]))
}

/// TID 1501 names the image as a whole; with a region, TID 1410, it hangs from the region.
fn source_image(report: &Report, finding: &ReportFinding) -> Option<Item> {
    let image = report.image_of(finding).filter(|_| finding.region.is_none())?;
    Some(Item::image(Relation::Contains, Code::dcm("121112", "Source of Measurement"), image))
}

fn measurement(measurement: &Measurement) -> Item {
    let derivation = Item::code(
        Relation::HasConceptMod,
        Code::dcm("121401", "Derivation"),
        Code::dcm("121427", "Estimated"),
    );
    let method = Item::code(
        Relation::HasConceptMod,
        Code::sct("370129005", "Measurement Method"),
        Code::private("AIESTIMATE", "Estimate by the model, not measured on pixels"),
    );
    let (quantity, unit) = (codes::quantity(measurement.name), codes::unit(measurement.unit));
    Item::number(Relation::Contains, quantity, measurement.value, unit).with([method, derivation])
}

fn evaluations(finding: &Finding) -> Vec<Item> {
    let certainty = (codes::CERTAINTY, codes::certainty(finding.certainty));
    let severity = finding.severity.map(codes::severity);
    let evaluations = [Some(certainty), severity].into_iter().flatten();
    evaluations.map(|(concept, value)| Item::code(Relation::Contains, concept, value)).collect()
}

/// The model's own words, which codes may have blunted, and what the checks say of them.
fn comments(report: &Report, index: usize, finding: &Finding) -> Vec<Item> {
    let words = Item::text(Relation::Contains, Code::dcm("121106", "Comment"), &narrative::sentence(finding));
    let remarks = report.remarks_on(index + 1).map(Remark::sentence);
    let remarks =
        remarks.map(|text| Item::text(Relation::Contains, Code::private("REMARK", "Automatic check"), &text));
    [words].into_iter().chain(remarks).collect()
}
