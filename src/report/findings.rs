//! The findings a model answers with: the typed form of `schema/findings.schema.json`.
//!
//! The model writes words; the server writes codes. Field order here is the order of the keys
//! in the JSON that a model is constrained to, and that the demo model is trained on.

use serde::{Deserialize, Serialize};

/// The schema every answer is constrained to, and validated against.
pub const SCHEMA: &str = include_str!("../../schema/findings.schema.json");

/// One schema-valid answer about one study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub findings: Vec<Finding>,
    pub impression: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    pub finding: String,
    pub location: String,
    pub laterality: Laterality,
    pub certainty: Certainty,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// 1-based index of the image in the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_2d: Option<Box2d>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
}

/// `[y0, x0, y1, x1]`, 0 to 1000 on the image as the model saw it (square, padded).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u16; 4]", into = "[u16; 4]")]
pub struct Box2d {
    pub y0: u16,
    pub x0: u16,
    pub y1: u16,
    pub x1: u16,
}

impl From<[u16; 4]> for Box2d {
    fn from([y0, x0, y1, x1]: [u16; 4]) -> Self {
        Self { y0, x0, y1, x1 }
    }
}

impl From<Box2d> for [u16; 4] {
    fn from(b: Box2d) -> Self {
        [b.y0, b.x0, b.y1, b.x1]
    }
}

/// The side of the patient, never of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Laterality {
    Left,
    Right,
    Bilateral,
    Midline,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    Definite,
    Probable,
    Possible,
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Small,
    Moderate,
    Large,
    Mild,
    Severe,
}

/// A number the model wrote. It is an estimate, not a measurement made on the pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    pub name: Quantity,
    pub value: f64,
    pub unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    Diameter,
    LongAxis,
    ShortAxis,
    Thickness,
    Ratio,
    Attenuation,
    Volume,
}

/// UCUM units a model may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Unit {
    #[serde(rename = "mm")]
    Millimetre,
    #[serde(rename = "cm")]
    Centimetre,
    #[serde(rename = "[hnsf'U]")]
    Hounsfield,
    #[serde(rename = "mL")]
    Millilitre,
    #[serde(rename = "1")]
    One,
    #[serde(rename = "%")]
    Percent,
}
