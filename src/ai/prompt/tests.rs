use std::sync::Arc;

use super::*;
use crate::ai::{Form, Part, Priority, Request, RgbImage, Settings, Turn};
use crate::config::{ContextKind, Language};

fn question(set: PromptSet, pipeline: Pipeline, images: usize) -> Question {
    let image = Arc::new(RgbImage { width: 1, height: 1, data: vec![0; 3] });
    let template = set.template(pipeline).unwrap();
    Question {
        template,
        images: vec![image; images],
        focus: template.focus_of(&["CHEST"]),
        language: Language::ENGLISH,
        context: Context::default(),
        settings: Settings::default(),
        priority: Priority::default(),
    }
}

/// The beginning of everything that is said, turn by turn.
fn shape(request: &Request) -> Vec<String> {
    let start = |text: &str| text.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let part = |part: &Part| match part {
        Part::Image(_) => "image".to_owned(),
        Part::Text(text) => start(text),
    };
    let turn = |turn: &Turn| match turn {
        Turn::User(parts) => parts.iter().map(part).collect(),
        Turn::Said(text) => vec![format!("said {}", start(text))],
        Turn::Open(Form::Text) => vec!["words?".to_owned()],
        Turn::Open(Form::Json(_)) => vec!["json?".to_owned()],
    };
    request.turns.iter().flat_map(turn).collect()
}

fn all_text(request: &Request) -> String {
    let parts = request.turns.iter().filter_map(|turn| match turn {
        Turn::User(parts) => Some(parts),
        _ => None,
    });
    let text = |part: &Part| match part {
        Part::Text(text) => text.clone() + "\n",
        Part::Image(_) => String::new(),
    };
    parts.flatten().map(text).collect()
}

#[test]
fn every_prompt_has_a_pipeline_a_digest_and_nothing_left_to_fill_in() {
    for set in [PromptSet::Medgemma, PromptSet::Demonstration] {
        for template in set.templates() {
            let pipeline = Pipeline::from_name(&template.name).unwrap();
            assert_eq!((template.sha256.len(), template.pad_to_square), (64, true));
            let mut asked = question(set, pipeline, 2);
            asked.language = Language::of("de").unwrap();
            for text in [
                all_text(&asked.request()),
                asked.again(None, "{}", &[]).map_or_else(String::new, |r| all_text(&r)),
            ] {
                assert!(!text.contains(['{', '}']), "{}: {text}", template.name);
            }
        }
    }
    assert!(Pipeline::ALL.into_iter().all(|pipeline| PromptSet::Medgemma.template(pipeline).is_some()));
}

#[test]
fn words_come_first_and_findings_follow_in_the_same_conversation() {
    let request = question(PromptSet::Medgemma, Pipeline::ChestRadiograph, 1).request();
    assert_eq!(shape(&request), ["image", "Describe this chest", "words?", "Now give the", "json?"]);
}

#[test]
fn the_demonstration_model_is_asked_once_with_the_words_it_was_trained_on() {
    let request = question(PromptSet::Demonstration, Pipeline::ChestRadiograph, 2).request();
    assert_eq!(shape(&request), ["image", "image", "Report the findings", "json?"]);
    let digest = "72f94070c8d74fd2f88f4b0866d94ae6e45226220f047809e63231d2ef863c60";
    assert_eq!(PromptSet::Demonstration.template(Pipeline::ChestRadiograph).unwrap().sha256, digest);
    assert!(PromptSet::Demonstration.template(Pipeline::Mr).is_none());
}

#[test]
fn slices_are_labelled_after_their_image() {
    let request = question(PromptSet::Medgemma, Pipeline::Ct, 2).request();
    let expected = [
        "You are an",
        "image",
        "SLICE 1",
        "image",
        "SLICE 2",
        "Based on the",
        "words?",
        "Now give the",
        "json?",
    ];
    assert_eq!(shape(&request), expected);
}

#[test]
fn the_organs_follow_from_the_part_of_the_body() {
    let ct = PromptSet::Medgemma.template(Pipeline::Ct).unwrap();
    let name = |descriptions: &[&str]| ct.focus_of(descriptions).unwrap().name.as_str();
    assert_eq!(name(&["ABDOMEN", "Thorax 1.0"]), "abdomen");
    assert_eq!(name(&["", "Leber art. 3.0 B30f"]), "liver");
    assert_eq!(name(&["EXTREMITY", "hepaticologist"]), "any");
    let mut asked = question(PromptSet::Medgemma, Pipeline::Ct, 1);
    asked.focus = ct.focus_of(&["LIVER"]);
    assert!(all_text(&asked.request()).contains("the liver and the bile ducts"));
}

#[test]
fn an_answer_that_contradicts_itself_is_given_back_with_the_contradiction() {
    let asked = question(PromptSet::Medgemma, Pipeline::ChestRadiograph, 1);
    let again = asked.again(Some("Clear lungs."), "{}", &["Finding 1 is on the left.".to_owned()]).unwrap();
    let expected = [
        "image",
        "Describe this chest",
        "said Clear lungs.",
        "Now give the",
        "said {}",
        "Your JSON contradicts",
        "json?",
    ];
    assert_eq!(shape(&again), expected);
    assert!(all_text(&again).contains("- Finding 1 is on the left."));
    assert!(question(PromptSet::Demonstration, Pipeline::Ct, 1).again(None, "{}", &[]).is_none());
}

#[test]
fn english_is_not_asked_for_and_other_languages_are_in_both_passes() {
    let mut asked = question(PromptSet::Medgemma, Pipeline::ChestRadiograph, 1);
    assert!(!all_text(&asked.request()).contains("English."));
    asked.language = Language::of("de").unwrap();
    let text = all_text(&asked.request());
    assert!(
        text.contains("Write the report in German.")
            && text.contains("the impression in German, everything else in English.")
    );
}

#[test]
fn what_is_known_stands_between_the_images_and_the_question() {
    let nobody = Identifying { names: &[], identifiers: &[], birth_date: "" };
    let mut asked = question(PromptSet::Medgemma, Pipeline::ChestRadiograph, 1);
    asked.context = Context::of(vec![(ContextKind::Reason, "Fever".to_owned())], nobody, 100);
    assert_eq!(shape(&asked.request())[..2], ["image", "This was known"]);
    assert!(all_text(&asked.request()).contains("Reason for the examination: Fever\n\nDescribe"));
    asked.template = PromptSet::Demonstration.template(Pipeline::ChestRadiograph).unwrap();
    assert!(!all_text(&asked.request()).contains("Fever"));
}

#[test]
fn an_unknown_key_is_refused() {
    let ct = include_str!("../prompts/demonstration/ct.toml");
    assert!(Template::parse(&format!("{ct}\nsurprise = 1\n")).is_err());
}
