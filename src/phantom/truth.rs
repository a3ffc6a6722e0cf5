//! What a phantom shows, in the words of an answer.
//!
//! Both kinds of phantom speak through these functions, so that a model trained on them learns
//! one vocabulary.

use crate::report::findings::{
    Answer, Box2d, Certainty, Finding, Laterality, Measurement, Quantity, Severity, Unit,
};

use super::random::Random;

/// The impression of a study without findings.
pub const NORMAL_IMPRESSION: &str = "No acute abnormality.";

/// The patient's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Right,
    Left,
}

impl Side {
    pub(crate) fn draw(random: &mut Random) -> Self {
        random.pick([Side::Right, Side::Left])
    }

    /// -1 on the picture's left, where the patient's right is, and 1 on its right.
    pub(crate) fn sign(self) -> f32 {
        match self {
            Side::Right => -1.0,
            Side::Left => 1.0,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Side::Right => "right",
            Side::Left => "left",
        }
    }
}

impl From<Side> for Laterality {
    fn from(side: Side) -> Self {
        match side {
            Side::Right => Laterality::Right,
            Side::Left => Laterality::Left,
        }
    }
}

/// The three grades lie far apart in every phantom: no effusion falls between two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    Small,
    Moderate,
    Large,
}

impl Grade {
    pub(crate) fn draw(random: &mut Random) -> Self {
        random.pick([Grade::Small, Grade::Moderate, Grade::Large])
    }

    fn word(self) -> &'static str {
        match self {
            Grade::Small => "Small",
            Grade::Moderate => "Moderate",
            Grade::Large => "Large",
        }
    }
}

impl From<Grade> for Severity {
    fn from(grade: Grade) -> Self {
        match grade {
            Grade::Small => Severity::Small,
            Grade::Moderate => Severity::Moderate,
            Grade::Large => Severity::Large,
        }
    }
}

/// A finding and the sentence that sums it up.
pub(crate) struct Statement {
    finding: Finding,
    sentence: String,
}

/// Where a finding is seen: the 1-based image of the prompt, and the box on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) image: u32,
    pub(crate) box_2d: Box2d,
}

pub(crate) fn effusion(side: Side, grade: Grade, place: Place) -> Statement {
    let finding = Finding {
        laterality: side.into(),
        severity: Some(grade.into()),
        ..seen("pleural effusion", "pleural space", place)
    };
    Statement { finding, sentence: format!("{} {} pleural effusion.", grade.word(), side.word()) }
}

/// `ratio` is the cardiothoracic ratio. An enlarged heart carries no box: it is judged on the
/// whole image.
pub(crate) fn cardiomegaly(ratio: f32) -> Statement {
    let value = f64::from((ratio * 100.0).round()) / 100.0;
    let finding = Finding {
        finding: "cardiomegaly".into(),
        location: "heart".into(),
        laterality: Laterality::None,
        certainty: Certainty::Probable,
        severity: None,
        image: Some(1),
        box_2d: None,
        measurements: vec![Measurement { name: Quantity::Ratio, value, unit: Unit::One }],
    };
    Statement { finding, sentence: "Enlarged heart.".into() }
}

pub(crate) fn nodule(side: Side, diameter_mm: f32, place: Place) -> Statement {
    // Told to 5 mm: what a picture of 224 pixels can carry.
    let value = f64::from((diameter_mm / 5.0).round() * 5.0);
    let finding = Finding {
        laterality: side.into(),
        measurements: vec![Measurement { name: Quantity::Diameter, value, unit: Unit::Millimetre }],
        ..seen("pulmonary nodule", "lung", place)
    };
    Statement { finding, sentence: format!("Nodule in the {} lung.", side.word()) }
}

fn seen(finding: &str, location: &str, place: Place) -> Finding {
    Finding {
        finding: finding.into(),
        location: location.into(),
        laterality: Laterality::None,
        certainty: Certainty::Probable,
        severity: None,
        image: Some(place.image),
        box_2d: Some(place.box_2d),
        measurements: Vec::new(),
    }
}

pub(crate) fn answer(statements: Vec<Statement>) -> Answer {
    let sentences: Vec<&str> = statements.iter().map(|s| s.sentence.as_str()).collect();
    let impression = match sentences.as_slice() {
        [] => NORMAL_IMPRESSION.to_owned(),
        some => some.join(" "),
    };
    Answer { findings: statements.into_iter().map(|s| s.finding).collect(), impression }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_and_impression_say_the_same() {
        let place = Place { image: 1, box_2d: [500, 550, 750, 850].into() };
        let told = answer(vec![effusion(Side::Left, Grade::Large, place), cardiomegaly(0.617)]);
        assert_eq!(told.impression, "Large left pleural effusion. Enlarged heart.");
        assert_eq!(told.findings[0].laterality, Laterality::Left);
        assert_eq!(told.findings[1].measurements[0].value, 0.62);
        assert_eq!(answer(Vec::new()).impression, NORMAL_IMPRESSION);
    }
}
