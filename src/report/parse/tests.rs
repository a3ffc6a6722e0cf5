use super::*;
use crate::report::findings::Laterality;

const ONE: &[View] = &[View::FrontalRadiograph];
const TWO: &[View] = &[View::Other, View::Other];

fn answer(findings: &str) -> String {
    format!(r#"{{"findings":[{findings}],"impression":"See findings."}}"#)
}

fn nodule(rest: &str) -> String {
    format!(r#"{{"finding":"nodule","location":"lung","laterality":"left","certainty":"possible"{rest}}}"#)
}

#[track_caller]
fn remarks(findings: &str, images: &[View], expected: &[Remark]) -> Answer {
    let parsed = parse(&answer(findings), images).expect("the answer keeps the schema");
    assert_eq!(parsed.remarks, expected);
    parsed.answer
}

#[track_caller]
fn refused(findings: &str, message: &str) {
    let error = parse(&answer(findings), ONE).expect_err("the answer breaks the schema");
    assert_eq!(error.to_string(), message);
}

#[test]
fn a_clean_answer_has_no_remarks() {
    let answer = remarks(&nodule(r#","image":1,"box_2d":[10,700,60,760]"#), ONE, &[]);
    assert_eq!(answer.findings[0].laterality, Laterality::Left);
}

#[test]
fn a_fenced_answer_says_so() {
    let parsed = parse(&format!("```json\n{}\n```", answer("")), ONE).expect("the object is whole");
    assert_eq!(parsed.remarks, [Remark::SurroundingTextDropped]);
}

#[test]
fn schema_limits_are_kept_without_a_grammar() {
    refused(&nodule(r#","image":86"#), "findings[0].image breaks the schema: 1 to 85");
    refused(&nodule(r#","box_2d":[0,0,10,1001]"#), "findings[0].box_2d breaks the schema: 0 to 1000");
    refused(
        &nodule("").replace("nodule", "no"),
        "findings[0].finding breaks the schema: 3 to 120 characters",
    );
    refused(&vec![nodule(""); 13].join(","), "findings breaks the schema: at most 12 items");
    refused(&nodule(r#","diameter_mm":8"#), "the answer is not the JSON that was asked for");
}

#[test]
fn an_answer_cut_short_is_refused() {
    assert!(matches!(parse(r#"{"findings":[{"#, ONE), Err(ParseError::NoObject)));
    assert!(matches!(parse(r#"{"findings":[{}"#, ONE), Err(ParseError::Shape(_))));
}

#[test]
fn a_flat_box_is_dropped() {
    let answer =
        remarks(&nodule(r#","box_2d":[60,700,60,760]"#), ONE, &[Remark::BoxWithoutArea { finding: 1 }]);
    assert_eq!(answer.findings[0].box_2d, None);
}

#[test]
fn the_only_image_need_not_be_named() {
    assert_eq!(remarks(&nodule(""), ONE, &[]).findings[0].image, Some(1));
    assert_eq!(remarks(&nodule(""), TWO, &[]).findings[0].image, None);
    remarks(&nodule(r#","box_2d":[1,2,3,4]"#), TWO, &[Remark::BoxWithoutImage { finding: 1 }]);
}

#[test]
fn an_image_outside_the_prompt_takes_its_box_along() {
    let answer = remarks(
        &nodule(r#","image":3,"box_2d":[1,2,3,4]"#),
        TWO,
        &[Remark::NoSuchImage { finding: 1, image: 3 }],
    );
    assert_eq!((answer.findings[0].image, answer.findings[0].box_2d), (None, None));
}

#[test]
fn nothing_is_found_on_the_prior_image() {
    let compared = &[View::Prior, View::FrontalRadiograph];
    let on_prior = nodule(r#","image":1,"box_2d":[10,700,60,760]"#);
    let answer = remarks(&on_prior, compared, &[Remark::OnPriorImage { finding: 1 }]);
    assert_eq!((answer.findings[0].image, answer.findings[0].box_2d), (None, None));
    assert_eq!(remarks(&nodule(r#","box_2d":[10,700,60,760]"#), compared, &[]).findings[0].image, Some(2));
}

#[test]
fn a_side_against_the_box_is_flagged_not_corrected() {
    let answer =
        remarks(&nodule(r#","box_2d":[10,100,60,160]"#), ONE, &[Remark::LateralityAgainstBox { finding: 1 }]);
    assert_eq!(answer.findings[0].laterality, Laterality::Left);
    assert!(answer.findings[0].box_2d.is_some());
    remarks(&nodule(r#","image":1,"box_2d":[10,100,60,160]"#), TWO, &[]);
}

#[test]
fn repetitions_go_and_contradictions_stay() {
    let twice = format!("{},{}", nodule(""), nodule("").replace("nodule", "Nodule"));
    assert_eq!(remarks(&twice, ONE, &[Remark::Repeated { finding: 1 }]).findings.len(), 1);
    let opposite = format!("{},{}", nodule(""), nodule("").replace("possible", "absent"));
    assert_eq!(remarks(&opposite, ONE, &[Remark::Contradicting { finding: 2, other: 1 }]).findings.len(), 2);
}

#[test]
fn an_absent_finding_has_no_place_or_size() {
    let absent = nodule(r#","box_2d":[1,700,3,740]"#).replace("possible", "absent");
    assert_eq!(remarks(&absent, ONE, &[Remark::AbsentButMeasured { finding: 1 }]).findings[0].box_2d, None);
}

#[test]
fn a_diameter_in_hounsfield_units_is_dropped() {
    let wrong = nodule(
        r#","measurements":[{"name":"diameter","value":8,"unit":"[hnsf'U]"},{"name":"diameter","value":8,"unit":"mm"}]"#,
    );
    let remark =
        Remark::UnitAgainstQuantity { finding: 1, quantity: Quantity::Diameter, unit: Unit::Hounsfield };
    assert_eq!(remarks(&wrong, ONE, &[remark]).findings[0].measurements.len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}", inside in "[\\[\\]{}:,\"a-z0-9 -]{0,80}") {
        let _ = parse(&text, ONE);
        let _ = parse(&format!("{{{inside}}}"), ONE);
    }

    #[test]
    fn every_box_that_is_left_has_an_area(edges: [u16; 4], image in 1..4u32) {
        let square = edges.map(|edge| edge % 1001);
        let finding = nodule(&format!(r#","image":{image},"box_2d":{square:?}"#));
        let parsed = parse(&answer(&finding), TWO).expect("the answer keeps the schema");
        let square = parsed.answer.findings[0].box_2d;
        proptest::prop_assert!(square.is_none_or(|b| b.x0 < b.x1 && b.y0 < b.y1));
    }
}
