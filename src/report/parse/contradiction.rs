//! What contradicts itself in an answer, in words that a model can act on.

use super::{ParseError, Remark, View};
use crate::report::findings::{Answer, Laterality};

/// One sentence each; none for an answer that holds together.
pub fn contradictions(text: &str, images: &[View]) -> Result<Vec<String>, ParseError> {
    let parsed = super::parse(text, images)?;
    Ok(parsed.remarks.iter().filter_map(|remark| sentence(remark, &parsed.answer)).collect())
}

/// `None` for what is no contradiction.
fn sentence(remark: &Remark, answer: &Answer) -> Option<String> {
    let named = |finding: usize| named(answer, finding);
    Some(match remark {
        Remark::LateralityAgainstBox { finding } => format!(
            "{} lies by its box_2d on the other side of the image: on a frontal image the patient's left is on the right of the picture.",
            named(*finding)
        ),
        Remark::AbsentButMeasured { finding } => {
            format!("{} is called absent, and yet it has a box_2d or measurements.", named(*finding))
        }
        Remark::BoxWithoutArea { finding } => {
            format!(
                "The box_2d of {} has no area: y0 must be less than y1, and x0 less than x1.",
                named(*finding)
            )
        }
        Remark::Contradicting { finding, other } => {
            format!(
                "{} is called absent in one finding and present in another ({}).",
                named(*finding),
                named(*other)
            )
        }
        Remark::NoSuchImage { finding, image } => {
            format!("{} names image {image}, which there is not.", named(*finding))
        }
        Remark::OnPriorImage { finding } => {
            format!("{} names the prior image; findings are those of the current image.", named(*finding))
        }
        Remark::SurroundingTextDropped
        | Remark::BoxWithoutImage { .. }
        | Remark::BoxBesideImage { .. }
        | Remark::Repeated { .. }
        | Remark::RegionWithoutSize { .. }
        | Remark::EstimateAgainstRegion { .. }
        | Remark::UnitAgainstQuantity { .. } => return None,
    })
}

/// By its words: repeated findings are gone, so that numbers would mislead.
fn named(answer: &Answer, finding: usize) -> String {
    let Some(finding) = finding.checked_sub(1).and_then(|index| answer.findings.get(index)) else {
        return "A finding".to_owned();
    };
    let side = match finding.laterality {
        Laterality::Left => ", left",
        Laterality::Right => ", right",
        Laterality::Bilateral => ", bilateral",
        Laterality::Midline => ", midline",
        Laterality::None => "",
    };
    format!("\"{}\" ({}{side})", finding.finding, finding.location)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(findings: &str) -> Vec<String> {
        let answer = format!(r#"{{"findings":[{findings}],"impression":"See findings."}}"#);
        contradictions(&answer, &[View::FrontalRadiograph]).expect("the answer keeps the schema")
    }

    fn nodule(certainty: &str, rest: &str) -> String {
        format!(
            r#"{{"finding":"nodule","location":"lung","laterality":"left","certainty":"{certainty}"{rest}}}"#
        )
    }

    #[track_caller]
    fn check(findings: &str, beginning: &str) {
        let [sentence] = &of(findings)[..] else { panic!("one contradiction") };
        assert!(sentence.contains(beginning), "{sentence}");
    }

    #[test]
    fn each_contradiction_is_named_by_the_words_of_its_finding() {
        check(
            &nodule("possible", r#","box_2d":[10,100,60,160]"#),
            "\"nodule\" (lung, left) lies by its box_2d",
        );
        check(&nodule("absent", r#","box_2d":[1,700,9,740]"#), "called absent, and yet");
        check(&nodule("possible", r#","box_2d":[9,700,9,740]"#), "has no area");
        check(&format!("{},{}", nodule("absent", ""), nodule("possible", "")), "present in another");
        check(&nodule("possible", r#","image":7"#), "names image 7");
    }

    #[test]
    fn an_answer_that_holds_together_has_none() {
        assert!(of(&nodule("possible", r#","box_2d":[10,700,60,760]"#)).is_empty());
        assert!(of(&format!("{},{}", nodule("possible", ""), nodule("possible", ""))).is_empty());
    }
}
