//! What a person may write: the rules that answers of a model are held to, with the place of each
//! fault.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Content, Words, known_code};
use crate::report::codes;
use crate::report::document::ImageReference;
use crate::report::findings::{Certainty, Finding};
use crate::report::parse::{self, ParseError};

/// Bounds of a report, from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of one section, addendum or reason.
    pub text_characters_max: usize,
    pub findings_max: usize,
    pub images_max: usize,
}

/// One thing that is wrong, and where: a JSON Pointer (RFC 6901) into the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    pub pointer: String,
    pub rule: String,
}

impl Fault {
    pub fn new(pointer: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), rule: rule.into() }
    }
}

/// VR LO holds 64 characters, VR SH 16 (PS3.5 6.2).
const TITLE_MAX: usize = 64;
const CODE_VALUE_MAX: usize = 16;
const MEANING_MAX: usize = 64;
const SENTENCE_MAX: usize = 1000;

impl Words {
    /// Everything that is wrong; `image` is what [`Words::image`] names, where it is there.
    pub fn faults(&self, image: Option<&ImageReference>) -> Vec<Fault> {
        let finding = self.as_finding();
        let mut faults = of_schema(&finding);
        faults.extend(units(&finding));
        faults.extend(self.code_faults());
        faults.extend(self.place_faults(image));
        if self.certainty == Certainty::Absent && (self.region.is_some() || !self.measurements.is_empty()) {
            faults.push(Fault::new("/certainty", "what is absent has no region and no measurements"));
        }
        if let Some(sentence) = &self.sentence {
            faults.extend(text("/sentence", sentence, 1, SENTENCE_MAX));
        }
        for (pointer, words) in [("/finding", &self.finding), ("/location", &self.location)] {
            faults.extend(line(pointer, words));
        }
        faults
    }

    fn code_faults(&self) -> Vec<Fault> {
        let Some(code) = &self.code else { return Vec::new() };
        let lengths = [
            text("/code/scheme", &code.scheme, 1, CODE_VALUE_MAX),
            text("/code/value", &code.value, 1, CODE_VALUE_MAX),
            text("/code/meaning", &code.meaning, 1, MEANING_MAX),
        ];
        let mut faults: Vec<Fault> = lengths.into_iter().flatten().collect();
        let parts = [&code.scheme, &code.value, &code.meaning];
        if parts.iter().any(|part| part.contains('\\') || part.chars().any(char::is_control)) {
            faults.push(Fault::new("/code", "a code has no backslash and no control characters"));
        }
        let is_it = |known: &&codes::Code| known.scheme == code.scheme && known.value == code.value;
        let differs = known_code(&self.finding)
            .is_some_and(|known| (&known.scheme, &known.value) != (&code.scheme, &code.value));
        if differs && codes::coded_findings().any(|known| is_it(&known)) {
            let rule = "this is the code of other words; leave it out to have it looked up";
            faults.push(Fault::new("/code", rule));
        }
        faults
    }

    fn place_faults(&self, image: Option<&ImageReference>) -> Option<Fault> {
        match (&self.image, image, self.region) {
            (Some(_), None, _) => Some(Fault::new("/image", "there is no such image in the study")),
            (None, _, Some(_)) => Some(Fault::new("/region", "a region needs its image")),
            (Some(_), Some(image), Some(region)) => {
                let edges = [region.left, region.top, region.right, region.bottom];
                let inside = edges.iter().all(|edge| edge.is_finite())
                    && region.has_area()
                    && region.is_inside(image.rows, image.columns);
                let rule = format!("inside {} rows and {} columns, with an area", image.rows, image.columns);
                (!inside).then(|| Fault::new("/region", rule))
            }
            _ => None,
        }
    }
}

/// The limits of `schema/findings.schema.json`.
fn of_schema(finding: &Finding) -> Vec<Fault> {
    match parse::limits_of(finding) {
        Err(ParseError::Schema { path, rule }) => vec![Fault::new(format!("/{path}"), rule)],
        _ => Vec::new(),
    }
}

fn units(finding: &Finding) -> impl Iterator<Item = Fault> {
    let unfit = finding.measurements.iter().enumerate().filter(|(_, m)| !parse::fits(m.name, m.unit));
    let fault = |index| Fault::new(format!("/measurements/{index}/unit"), "a unit of the quantity");
    unfit.map(move |(index, _)| fault(index))
}

fn text(pointer: &str, text: &str, min: usize, max: usize) -> Option<Fault> {
    let fits = (min..=max).contains(&text.chars().count());
    (!fits).then(|| Fault::new(pointer, format!("{min} to {max} characters")))
}

fn line(pointer: &str, text: &str) -> Option<Fault> {
    let control = text.chars().any(char::is_control);
    control.then(|| Fault::new(pointer, "one line without control characters"))
}

impl Content {
    /// Everything that is wrong with the text.
    pub fn faults(&self, limits: &Limits) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        faults.extend(text("/title", &self.title, 1, TITLE_MAX).or_else(|| line("/title", &self.title)));
        if !is_language(&self.language) {
            faults.push(Fault::new("/language", "a language tag of RFC 5646, as in \"en\" or \"pt-BR\""));
        }
        for (name, section) in self.sections.named() {
            let pointer = format!("/sections/{name}");
            faults.extend(text(&pointer, section, 0, limits.text_characters_max));
            if section.chars().any(is_forbidden) {
                faults.push(Fault::new(pointer, "no control characters but line ends and tabs"));
            }
        }
        if self.findings.len() > limits.findings_max {
            faults.push(Fault::new("/findings", format!("at most {} findings", limits.findings_max)));
        }
        if self.evidence.len() > limits.images_max {
            faults.push(Fault::new("/findings", format!("on at most {} images", limits.images_max)));
        }
        faults
    }
}

impl Limits {
    /// A text of its own, as of an addendum or a reason.
    pub fn faults_of(&self, pointer: &str, given: &str) -> Option<Fault> {
        let stated = given.trim();
        text(pointer, if stated.is_empty() { stated } else { given }, 1, self.text_characters_max)
            .or_else(|| given.chars().any(is_forbidden).then(|| Fault::new(pointer, "no control characters")))
    }
}

/// VR UT has no control characters but TAB, LF, FF and CR (PS3.5 6.1.3).
fn is_forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

/// The shape of RFC 5646 2.1: subtags of up to eight letters and digits; it becomes a code value.
fn is_language(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let primary = |tag: &str| (2..=3).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphabetic());
    let further = |tag: &str| (1..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric());
    tag.len() <= CODE_VALUE_MAX && subtags.next().is_some_and(primary) && subtags.all(further)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::content::{CodedWords, Content, Method, Taken};
    use crate::report::findings::{Quantity, Unit};
    use crate::report::region::Region;
    use crate::report::samples;

    fn effusion() -> (Words, ImageReference) {
        let content = Content::of_draft(&samples::report(samples::chest_draft()));
        (content.findings[0].words.clone(), content.evidence[0].clone())
    }

    #[track_caller]
    fn faulty(change: impl FnOnce(&mut Words), pointer: &str) {
        let (mut words, image) = effusion();
        assert_eq!(words.faults(Some(&image)), []);
        change(&mut words);
        let faults = words.faults(Some(&image));
        assert_eq!(faults.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), [pointer]);
    }

    #[test]
    fn a_person_is_held_to_the_rules_of_the_model() {
        faulty(|words| words.finding = "x".into(), "/finding");
        faulty(|words| words.location = "y".repeat(81), "/location");
        faulty(|words| words.certainty = Certainty::Absent, "/certainty");
        let beside = Region { left: 0.0, top: 0.0, right: 9e9, bottom: 1.0 };
        faulty(|words| words.region = Some(beside), "/region");
        faulty(|words| words.image = None, "/region");
        let (name, unit) = (Quantity::Diameter, Unit::Millilitre);
        let litres = Taken { name, value: 1.0, unit, method: Method::Person };
        faulty(|words| words.measurements = vec![litres], "/measurements/0/unit");
    }

    #[test]
    fn an_image_that_is_not_there_is_a_fault() {
        let (words, _) = effusion();
        assert_eq!(words.faults(None)[0].pointer, "/image");
    }

    #[test]
    fn words_do_not_carry_the_code_of_others() {
        faulty(|words| words.finding = "pneumothorax".into(), "/code");
        let own = CodedWords { scheme: "SCT".into(), value: "1234567".into(), meaning: "Finer".into() };
        let (mut words, image) = effusion();
        words.code = Some(own);
        assert_eq!(words.faults(Some(&image)), []);
    }

    #[test]
    fn languages_have_the_shape_of_their_tags() {
        for tag in ["en", "pt-BR", "zh-Hant"] {
            assert!(is_language(tag), "{tag}");
        }
        for tag in ["", "e", "en_US", "en-"] {
            assert!(!is_language(tag), "{tag}");
        }
    }
}
