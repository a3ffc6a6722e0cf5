//! One finding as a measurement group: TID 1410 with a region, TID 1501 without.

use crate::report::codes::{self, Code, Mapping};
use crate::report::document::{ImageReference, Report, ReportFinding};
use crate::report::findings::{Finding, Measurement};
use crate::report::measure::Measured;
use crate::report::narrative;
use crate::report::parse::Remark;
use crate::report::region::Region;
use crate::report::uids::{self, Role};

use super::context;
use super::item::{Item, Relation};
use super::library::SOURCE;

/// Everything that a group says.
pub(super) struct Group<'a> {
    /// For people.
    pub(super) tracking: String,
    /// For machines.
    pub(super) tracking_uid: String,
    pub(super) finding: &'a Finding,
    pub(super) code: Code,
    pub(super) image: Option<&'a ImageReference>,
    pub(super) region: Option<Region>,
    /// TID 4019, where a model said it.
    pub(super) algorithm: Vec<Item>,
    pub(super) measurements: Vec<Item>,
    /// Concept name and value.
    pub(super) certainty: (Code, Code),
    pub(super) sentence: String,
    pub(super) remarks: Vec<String>,
}

/// A finding of a model that nobody has looked at.
pub(super) fn of_model(report: &Report, index: usize, found: &ReportFinding) -> Item {
    let (draft, finding) = (report.draft(), &found.finding);
    let group = Group {
        tracking: format!("AI finding {}: {}", index + 1, finding.finding),
        tracking_uid: uids::derive(&draft.provenance.analysis_id, Role::Finding(index)),
        finding,
        code: codes::finding(&finding.finding).code,
        image: report.image_of(found),
        region: found.region,
        algorithm: context::algorithm(&draft.provenance),
        measurements: finding
            .measurements
            .iter()
            .map(estimate)
            .chain(found.measured.iter().map(measured))
            .collect(),
        certainty: (codes::CERTAINTY, codes::certainty(finding.certainty)),
        sentence: narrative::sentence(finding),
        remarks: unmapped(finding)
            .into_iter()
            .chain(report.remarks_on(index + 1).map(Remark::sentence))
            .collect(),
    };
    group.into_item()
}

/// The codes of the private scheme carry words that no table has.
fn unmapped(finding: &Finding) -> Option<String> {
    let is_unmapped = codes::finding(&finding.finding).mapping == Mapping::Unmapped;
    is_unmapped.then(|| "Unmapped: the table of codes does not have the words of this finding.".to_owned())
}

impl Group<'_> {
    pub(super) fn into_item(self) -> Item {
        let template = if self.region.is_some() { "1410" } else { "1501" };
        let tracking = Code::dcm("112039", "Tracking Identifier");
        let tracking_uid = Code::dcm("112040", "Tracking Unique Identifier");
        let place = self.place();
        let evaluations = evaluations(self.certainty, self.finding);
        Item::container(Relation::Contains, Code::dcm("125007", "Measurement Group"))
            .of_template(template)
            .with([Item::text(Relation::HasObsContext, tracking, &self.tracking)])
            .with([Item::uid(Relation::HasObsContext, tracking_uid, &self.tracking_uid)])
            .with([Item::code(Relation::Contains, Code::dcm("121071", "Finding"), self.code)])
            .with([finding_site(self.finding)])
            .with(self.algorithm)
            .with(place)
            .with(self.measurements)
            .with(evaluations)
            .with(comments(&self.sentence, &self.remarks))
    }

    /// TID 1410 row 8: an SCOORD selected from its image. TID 1501 names the image as a whole.
    fn place(&self) -> Option<Item> {
        let image = self.image?;
        Some(match self.region {
            Some(region) => {
                let concept = Code::dcm("111030", "Image Region");
                let source = Item::image(Relation::SelectedFrom, SOURCE, image);
                Item::polyline(Relation::Contains, concept, &region.outline()).with([source])
            }
            None => Item::image(Relation::Contains, Code::dcm("121112", "Source of Measurement"), image),
        })
    }
}

/// Where, and on which side of the patient.
pub(super) fn finding_site(finding: &Finding) -> Item {
    let laterality = codes::laterality(finding.laterality)
        .map(|side| Item::code(Relation::HasConceptMod, Code::sct("272741003", "Laterality"), side));
    let site = codes::site(&finding.location).code;
    Item::code(Relation::HasConceptMod, Code::sct("363698007", "Finding Site"), site).with(laterality)
}

/// A number that a model wrote.
pub(super) fn estimate(measurement: &Measurement) -> Item {
    let derivation = Item::code(
        Relation::HasConceptMod,
        Code::dcm("121401", "Derivation"),
        Code::dcm("121427", "Estimated"),
    );
    let how = Code::private("AIESTIMATE", "Estimate by the model, not measured on pixels");
    number(measurement).with([method(how), derivation])
}

/// A number that a person answers for.
pub(super) fn given(measurement: &Measurement) -> Item {
    number(measurement).with([method(Code::private("READERVALUE", "Value given by the reader"))])
}

/// A number that the server took on the region.
pub(super) fn measured(measured: &Measured) -> Item {
    let (name, derivation) = codes::measurand(measured.name);
    let derivation =
        derivation.map(|how| Item::code(Relation::HasConceptMod, Code::dcm("121401", "Derivation"), how));
    Item::number(Relation::Contains, name, measured.value, codes::measured_unit(measured.unit))
        .with([method(codes::measuring(measured.spacing))])
        .with(derivation)
}

fn number(measurement: &Measurement) -> Item {
    let (quantity, unit) = (codes::quantity(measurement.name), codes::unit(measurement.unit));
    Item::number(Relation::Contains, quantity, measurement.value, unit)
}

fn method(how: Code) -> Item {
    Item::code(Relation::HasConceptMod, Code::sct("370129005", "Measurement Method"), how)
}

fn evaluations(certainty: (Code, Code), finding: &Finding) -> Vec<Item> {
    let evaluations = [Some(certainty), finding.severity.map(codes::severity)].into_iter().flatten();
    evaluations.map(|(concept, value)| Item::code(Relation::Contains, concept, value)).collect()
}

/// The words themselves, which codes may have blunted, and what the checks say of them.
fn comments(sentence: &str, remarks: &[String]) -> Vec<Item> {
    let words = Item::text(Relation::Contains, Code::dcm("121106", "Comment"), sentence);
    let remark =
        |text: &String| Item::text(Relation::Contains, Code::private("REMARK", "Automatic check"), text);
    [words].into_iter().chain(remarks.iter().map(remark)).collect()
}
