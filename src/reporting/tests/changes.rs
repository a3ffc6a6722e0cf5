//! What acts make of a draft of a model.

use super::super::change::Context;
use super::*;
use crate::report::content::{Decision, Method};
use crate::report::samples;

fn draft() -> Content {
    Content::of_draft(&samples::report(samples::chest_draft()))
}

fn apply(content: &mut Content, edit: &Edit) -> Result<(), ReportingError> {
    let limits = Limits { text_characters_max: 100, findings_max: 9, images_max: 9 };
    let context = Context { by: "Ana", now: Timestamp(7), report: "r", limits };
    let image = content.evidence[0].clone();
    context.apply(edit, content, Some(image))
}

fn id(content: &Content, index: usize) -> String {
    content.findings[index].id.clone()
}

#[test]
fn what_was_rejected_stays_on_record_and_is_not_stated() {
    let mut content = draft();
    let finding = id(&content, 0);
    apply(&mut content, &Edit::RejectFinding { finding, reason: "Skin fold".into() }).unwrap();
    assert_eq!((content.findings.len(), content.stated().count()), (4, 3));
    let decided = content.findings[0].decided.clone().unwrap();
    assert_eq!((decided.by.as_str(), decided.reason.as_deref()), ("Ana", Some("Skin fold")));
}

#[test]
fn a_rejection_has_its_reason() {
    let mut content = draft();
    let finding = id(&content, 0);
    let edit = Edit::RejectFinding { finding, reason: "  ".into() };
    assert!(matches!(apply(&mut content, &edit), Err(ReportingError::Faults(_))));
}

#[test]
fn an_edit_keeps_the_words_of_the_model_beside() {
    let mut content = draft();
    let (finding, own) = (id(&content, 1), content.findings[1].words.clone());
    let mut words = own.clone();
    words.measurements[0].value = 9.0;
    apply(&mut content, &Edit::ChangeFinding { finding: finding.clone(), words }).unwrap();
    let edited = &content.findings[1];
    assert_eq!((edited.decision, edited.original.as_ref()), (Decision::Edited, Some(&own)));
    assert_eq!(edited.words.measurements[0].method, Method::Person);
    apply(&mut content, &Edit::AcceptFinding { finding }).unwrap();
    let accepted = &content.findings[1];
    assert_eq!((accepted.decision, &accepted.words, &accepted.original), (Decision::Accepted, &own, &None));
}

#[test]
fn the_words_of_the_model_sent_back_are_an_acceptance() {
    let mut content = draft();
    let (finding, words) = (id(&content, 1), content.findings[1].words.clone());
    apply(&mut content, &Edit::ChangeFinding { finding, words }).unwrap();
    let finding = &content.findings[1];
    assert_eq!((finding.decision, &finding.original), (Decision::Accepted, &None));
    assert_eq!(finding.words.measurements[0].method, Method::ModelEstimate);
}

#[test]
fn nothing_of_the_model_is_removed() {
    let mut content = draft();
    let finding = id(&content, 0);
    assert!(matches!(apply(&mut content, &Edit::RemoveFinding { finding }), Err(ReportingError::Refused(_))));
    apply(&mut content, &Edit::AddFinding(nodule())).unwrap();
    let finding = id(&content, 4);
    apply(&mut content, &Edit::RemoveFinding { finding }).unwrap();
    assert_eq!(content.findings.len(), 4);
}

#[test]
fn what_a_person_adds_gets_its_code() {
    let mut content = draft();
    apply(&mut content, &Edit::AddFinding(nodule())).unwrap();
    assert!(content.findings[4].words.code.is_some());
    assert_eq!(content.findings[4].decision, Decision::Edited);
}
