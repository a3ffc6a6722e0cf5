//! The limits of `schema/findings.schema.json`, which a remote model may ignore, and the doubts.

use super::{ParseError, Remark, View};
use crate::report::findings::{Answer, Certainty, Finding, Laterality, Measurement, Quantity, Unit};
use crate::report::region::side_on_frontal;

const FINDINGS_MAX: usize = 12;
const IMAGE_MAX: u32 = 85;
const BOX_MAX: u16 = 1000;
const MEASUREMENTS_MAX: usize = 4;

pub(super) fn limits(answer: &Answer) -> Result<(), ParseError> {
    let count = answer.findings.len();
    hold(count <= FINDINGS_MAX, "findings", "at most 12 items")?;
    hold(characters(&answer.impression, 1, 600), "impression", "1 to 600 characters")?;
    answer
        .findings
        .iter()
        .enumerate()
        .try_for_each(|(index, finding)| finding_limits(&format!("findings[{index}]."), finding))
}

/// `before` is the path of the finding itself.
pub(super) fn finding_limits(before: &str, finding: &Finding) -> Result<(), ParseError> {
    let path = |field: &str| format!("{before}{field}");
    hold(characters(&finding.finding, 3, 120), path("finding"), "3 to 120 characters")?;
    hold(characters(&finding.location, 1, 80), path("location"), "1 to 80 characters")?;
    hold(finding.image.is_none_or(|i| (1..=IMAGE_MAX).contains(&i)), path("image"), "1 to 85")?;
    let in_square = |edges: [u16; 4]| edges.iter().all(|edge| *edge <= BOX_MAX);
    hold(finding.box_2d.is_none_or(|b| in_square(b.into())), path("box_2d"), "0 to 1000")?;
    hold(finding.measurements.len() <= MEASUREMENTS_MAX, path("measurements"), "at most 4 items")?;
    let in_range = |m: &Measurement| (-2000.0..=20000.0).contains(&m.value);
    hold(finding.measurements.iter().all(in_range), path("measurements"), "-2000 to 20000")
}

fn hold(kept: bool, path: impl Into<String>, rule: &'static str) -> Result<(), ParseError> {
    if kept { Ok(()) } else { Err(ParseError::Schema { path: path.into(), rule }) }
}

fn characters(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.chars().count())
}

pub(super) fn doubts(answer: &mut Answer, images: &[View], remarks: &mut Vec<Remark>) {
    drop_repetitions(&mut answer.findings, remarks);
    for (index, finding) in answer.findings.iter_mut().enumerate() {
        let mut doubts = FindingDoubts { number: index + 1, remarks };
        doubts.image(finding, images);
        doubts.region(finding);
        doubts.units(finding);
        doubts.absence(finding);
        doubts.side(finding, images);
    }
    contradictions(&answer.findings, remarks);
}

struct FindingDoubts<'a> {
    number: usize,
    remarks: &'a mut Vec<Remark>,
}

impl FindingDoubts<'_> {
    /// The only image that findings can be on need not be named.
    fn image(&mut self, finding: &mut Finding, images: &[View]) {
        match finding.image.map(|image| (image, images.get((image as usize).wrapping_sub(1)))) {
            Some((image, None)) => {
                self.remarks.push(Remark::NoSuchImage { finding: self.number, image });
                (finding.image, finding.box_2d) = (None, None);
            }
            Some((_, Some(View::Prior))) => {
                self.remarks.push(Remark::OnPriorImage { finding: self.number });
                (finding.image, finding.box_2d) = (None, None);
            }
            None => finding.image = only_one(images),
            Some(_) => {}
        }
    }

    fn region(&mut self, finding: &mut Finding) {
        let Some(square) = finding.box_2d else { return };
        if square.x0 >= square.x1 || square.y0 >= square.y1 {
            self.remarks.push(Remark::BoxWithoutArea { finding: self.number });
            finding.box_2d = None;
        } else if finding.image.is_none() {
            self.remarks.push(Remark::BoxWithoutImage { finding: self.number });
            finding.box_2d = None;
        }
    }

    fn units(&mut self, finding: &mut Finding) {
        let number = self.number;
        let remarks = &mut *self.remarks;
        finding.measurements.retain(|m| {
            let fits = fits(m.name, m.unit);
            if !fits {
                remarks.push(Remark::UnitAgainstQuantity { finding: number, quantity: m.name, unit: m.unit });
            }
            fits
        });
    }

    fn absence(&mut self, finding: &mut Finding) {
        let measured = finding.box_2d.is_some() || !finding.measurements.is_empty();
        if finding.certainty == Certainty::Absent && measured {
            self.remarks.push(Remark::AbsentButMeasured { finding: self.number });
            finding.box_2d = None;
            finding.measurements.clear();
        }
    }

    fn side(&mut self, finding: &Finding, images: &[View]) {
        let view = finding.image.and_then(|image| images.get((image as usize).checked_sub(1)?));
        let (Some(View::FrontalRadiograph), Some(square)) = (view, finding.box_2d) else { return };
        let against = match (finding.laterality, side_on_frontal(square)) {
            (Laterality::Left, Some(side)) => side == Laterality::Right,
            (Laterality::Right, Some(side)) => side == Laterality::Left,
            _ => false,
        };
        if against {
            self.remarks.push(Remark::LateralityAgainstBox { finding: self.number });
        }
    }
}

fn only_one(images: &[View]) -> Option<u32> {
    let mut current = (1..).zip(images).filter(|(_, view)| **view != View::Prior);
    let (number, _) = current.next()?;
    current.next().is_none().then_some(number)
}

pub(super) fn fits(quantity: Quantity, unit: Unit) -> bool {
    match quantity {
        Quantity::Diameter | Quantity::LongAxis | Quantity::ShortAxis | Quantity::Thickness => {
            matches!(unit, Unit::Millimetre | Unit::Centimetre)
        }
        Quantity::Ratio => matches!(unit, Unit::One | Unit::Percent),
        Quantity::Attenuation => unit == Unit::Hounsfield,
        Quantity::Volume => unit == Unit::Millilitre,
    }
}

fn drop_repetitions(findings: &mut Vec<Finding>, remarks: &mut Vec<Remark>) {
    let mut kept: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings.drain(..) {
        match kept.iter().position(|earlier| same(earlier, &finding)) {
            Some(index) => remarks.push(Remark::Repeated { finding: index + 1 }),
            None => kept.push(finding),
        }
    }
    *findings = kept;
}

/// Two findings are one if they differ in nothing but letter case and spacing.
fn same(a: &Finding, b: &Finding) -> bool {
    same_thing(a, b)
        && (a.certainty, a.severity, a.image, a.box_2d) == (b.certainty, b.severity, b.image, b.box_2d)
        && a.measurements == b.measurements
}

fn same_thing(a: &Finding, b: &Finding) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    plain(&a.finding) == plain(&b.finding)
        && plain(&a.location) == plain(&b.location)
        && a.laterality == b.laterality
}

fn contradictions(findings: &[Finding], remarks: &mut Vec<Remark>) {
    let absent = |finding: &Finding| finding.certainty == Certainty::Absent;
    for (index, finding) in findings.iter().enumerate() {
        let opposite = |earlier: &Finding| same_thing(earlier, finding) && absent(earlier) != absent(finding);
        if let Some(other) = findings[..index].iter().position(opposite) {
            remarks.push(Remark::Contradicting { finding: index + 1, other: other + 1 });
        }
    }
}
