//! From what a model wrote to an answer that keeps the schema, with a remark on every doubt.
//!
//! Shape errors refuse the answer. Doubts about content never do: a contradiction between the
//! words and the box, say, is flagged for the reader and left as it was written.

mod check;
mod contradiction;
mod unwrap;

use serde::{Deserialize, Serialize};

use super::findings::{Answer, Finding, Quantity, Unit};
use super::measure::DISAGREEMENT_FACTOR;

pub use contradiction::contradictions;
pub use unwrap::json_object;
pub(super) use unwrap::without_thought;

/// What one image of the prompt was, so far as checks need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A frontal radiograph, where the side of a box tells the side of the patient.
    FrontalRadiograph,
    Other,
    /// Of an earlier study, shown for comparison: nothing is found on it.
    Prior,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    pub answer: Answer,
    pub remarks: Vec<Remark>,
}

/// A doubt about an answer. `finding` counts from 1 in the answer as it is returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "remark", rename_all = "snake_case")]
pub enum Remark {
    /// A thinking passage or prose around the JSON was dropped.
    SurroundingTextDropped,
    /// The box has no area; it was dropped.
    BoxWithoutArea { finding: usize },
    /// The finding names an image that was not in the prompt; image and box were dropped.
    NoSuchImage { finding: usize, image: u32 },
    /// The finding is placed on the image of the prior study; image and box were dropped.
    OnPriorImage { finding: usize },
    /// A box on none of several images; it was dropped.
    BoxWithoutImage { finding: usize },
    /// The box lies on the padding around its image; it was dropped.
    BoxBesideImage { finding: usize },
    /// The words say one side and the box lies on the other; both were kept.
    LateralityAgainstBox { finding: usize },
    /// The same finding was given again; the repetition was dropped.
    Repeated { finding: usize },
    /// Two findings say the opposite of each other; both were kept.
    Contradicting { finding: usize, other: usize },
    /// An absent finding had a box or measurements; they were dropped.
    AbsentButMeasured { finding: usize },
    /// The image does not say how large its pixels are.
    RegionWithoutSize { finding: usize },
    /// The model's estimate and the number taken on the region disagree; both were kept.
    EstimateAgainstRegion { finding: usize, quantity: Quantity },
    /// The unit does not fit the quantity; the measurement was dropped.
    UnitAgainstQuantity { finding: usize, quantity: Quantity, unit: Unit },
}

impl Remark {
    /// The finding that a reader should look at, 1-based.
    pub fn finding(&self) -> Option<usize> {
        match *self {
            Self::SurroundingTextDropped => None,
            Self::BoxWithoutArea { finding }
            | Self::NoSuchImage { finding, .. }
            | Self::OnPriorImage { finding }
            | Self::BoxWithoutImage { finding }
            | Self::BoxBesideImage { finding }
            | Self::LateralityAgainstBox { finding }
            | Self::Repeated { finding }
            | Self::Contradicting { finding, .. }
            | Self::AbsentButMeasured { finding }
            | Self::RegionWithoutSize { finding }
            | Self::EstimateAgainstRegion { finding, .. }
            | Self::UnitAgainstQuantity { finding, .. } => Some(finding),
        }
    }

    /// One sentence for the reader of the report.
    pub fn sentence(&self) -> String {
        match self {
            Self::SurroundingTextDropped => "Text around the structured answer was dropped.".into(),
            Self::BoxWithoutArea { .. } => "The region had no area and was dropped.".into(),
            Self::NoSuchImage { image, .. } => {
                format!("The model named image {image}, which it was not shown; the region was dropped.")
            }
            Self::OnPriorImage { .. } => {
                "The model placed this on the prior image; the region was dropped.".into()
            }
            Self::BoxWithoutImage { .. } => "The region named none of the images and was dropped.".into(),
            Self::BoxBesideImage { .. } => "The region lay beside the image and was dropped.".into(),
            Self::LateralityAgainstBox { .. } => {
                "The stated side contradicts the side of the region: check the side.".into()
            }
            Self::Repeated { .. } => "The model repeated this finding.".into(),
            Self::Contradicting { other, .. } => format!("This contradicts finding {other}."),
            Self::AbsentButMeasured { .. } => {
                "Region and measurements of an absent finding were dropped.".into()
            }
            Self::RegionWithoutSize { .. } => {
                "The image does not say how large its pixels are: the region has no size in millimetres."
                    .into()
            }
            Self::EstimateAgainstRegion { quantity: Quantity::Attenuation, .. } => {
                "The attenuation that the model estimates does not occur in the region: check the number."
                    .into()
            }
            Self::EstimateAgainstRegion { .. } => format!(
                "The size that the model estimates and that of the region differ by more than a factor of {DISAGREEMENT_FACTOR}: check the size."
            ),
            Self::UnitAgainstQuantity { .. } => "A measurement whose unit does not fit was dropped.".into(),
        }
    }
}

/// Why an answer cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("the answer holds no JSON object")]
    NoObject,
    #[error("the answer is not the JSON that was asked for")]
    Shape(#[source] serde_json::Error),
    #[error("{path} breaks the schema: {rule}")]
    Schema { path: String, rule: &'static str },
}

/// Checks an answer about the images of one prompt, given in the order of the prompt.
pub fn parse(text: &str, images: &[View]) -> Result<Parsed, ParseError> {
    let object = json_object(text).ok_or(ParseError::NoObject)?;
    let mut answer: Answer = serde_json::from_str(object).map_err(ParseError::Shape)?;
    check::limits(&answer)?;
    let mut remarks = Vec::new();
    if object.len() < text.trim().len() {
        remarks.push(Remark::SurroundingTextDropped);
    }
    check::doubts(&mut answer, images, &mut remarks);
    Ok(Parsed { answer, remarks })
}

/// The limits of the schema, of one finding; the path begins at the finding.
pub fn limits_of(finding: &Finding) -> Result<(), ParseError> {
    check::finding_limits("", finding)
}

/// Whether a quantity is given in such a unit.
pub fn fits(quantity: Quantity, unit: Unit) -> bool {
    check::fits(quantity, unit)
}

#[cfg(test)]
mod tests;
