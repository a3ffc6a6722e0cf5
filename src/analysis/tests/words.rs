//! Two passes: words, then findings, and what becomes of both.

use super::*;
use crate::ai::Cut;
use crate::query::Scope;
use crate::query::stored_object::StoredObject;

const WORDS: &str = "<unused94>thought hm<unused95>FINDINGS: Small left effusion.\n\nIMPRESSION: Effusion.";

/// The answer with its box on the other side.
fn contradictory() -> String {
    ANSWER.replace("[600,550,900,900]", "[600,100,900,450]")
}

async fn answered(steps: impl IntoIterator<Item = Step>) -> Bench {
    let bench = Bench::new(ScriptedEngine::new(steps));
    bench.store(&chest().objects, None).await;
    let endings = bench.settle().await;
    assert_eq!(endings.last(), Some(&Ending::Done("done".to_owned())), "{endings:?}");
    bench
}

fn said(words: &str, answer: &str) -> Step {
    Step::Answers(vec![words.to_owned(), answer.to_owned()], None)
}

/// Every Text Value (0040,A160) of the SR.
async fn sr_texts(bench: &Bench) -> Vec<String> {
    let study: StudyUid = chest().study_uid.parse().unwrap();
    let stored = crate::db::retrieve::instances(&bench.db, &Scope::Study(study), 0).await.unwrap();
    let mut texts = Vec::new();
    for instance in stored {
        let object = StoredObject::open(&bench.db, &bench.analyses.parts.blobs, instance).await.unwrap();
        let attributes = object.attributes(&bench.db).await.unwrap();
        collect(&attributes, &mut texts);
    }
    texts
}

fn collect(object: &dicom_object::InMemDicomObject, texts: &mut Vec<String>) {
    use dicom_dictionary_std::tags;
    texts.extend(crate::volume::attributes::text(object, tags::TEXT_VALUE));
    for item in crate::volume::attributes::items(object, tags::CONTENT_SEQUENCE) {
        collect(item, texts);
    }
}

#[tokio::test]
async fn words_are_asked_for_first_and_kept_as_they_were_written() {
    let bench = answered([said(WORDS, ANSWER)]).await;
    let turns = &bench.engine.requests()[0].turns;
    assert!(matches!(
        turns[..],
        [Turn::User(_), Turn::Open(Form::Text), Turn::User(_), Turn::Open(Form::Json(_))]
    ));
    assert_eq!(bench.texts("select words from analysis").await, [WORDS]);
    assert_eq!(bench.texts("select answer from analysis").await, [ANSWER]);
    let narrative = bench.json("select narrative from report").await;
    assert_eq!(narrative["model_words"], "FINDINGS: Small left effusion.\n\nIMPRESSION: Effusion.");
    let texts = sr_texts(&bench).await;
    assert!(texts.iter().any(|text| text.contains("FINDINGS: Small left effusion.")), "{texts:?}");
    assert!(!texts.iter().any(|text| text.contains("thought")));
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_is_asked_for_again_and_both_are_kept() {
    let bench = answered([said(WORDS, &contradictory()), Step::Answer(ANSWER.to_owned())]).await;
    let turns = &bench.engine.requests()[1].turns;
    assert!(matches!(turns[1], Turn::Said(ref words) if words == WORDS));
    assert!(matches!(turns[3], Turn::Said(ref answer) if *answer == contradictory()));
    assert_eq!(bench.texts("select answer from analysis").await, [ANSWER]);
    assert_eq!(bench.json("select unused_answers from analysis").await, serde_json::json!([contradictory()]));
    assert_eq!(bench.texts("select remarks from finding").await, ["null"]);
    let narrative = bench.json("select narrative from report").await;
    assert!(narrative["limitations"].to_string().contains("was asked again"), "{narrative}");
}

#[tokio::test]
async fn what_is_no_better_the_second_time_is_flagged() {
    let bench = answered([said(WORDS, &contradictory()), Step::Answer(contradictory())]).await;
    assert_eq!(bench.engine.calls(), 2);
    assert_eq!(bench.texts("select answer from analysis").await, [contradictory()]);
    assert!(bench.texts("select remarks from finding").await[0].contains("check the side"));
}

#[tokio::test]
async fn a_second_answer_that_fails_leaves_the_first() {
    let bench = answered([said(WORDS, &contradictory()), Step::Fail(EngineError::Repeating)]).await;
    assert!(bench.texts("select remarks from finding").await[0].contains("check the side"));
    assert_eq!(bench.json("select provenance from analysis").await["reading"]["repairs"], 0);
}

#[tokio::test]
async fn words_that_were_cut_are_no_failure_but_a_remark() {
    let looping = format!("Clear lungs. {}", "The heart is normal in size. ".repeat(5));
    let bench =
        answered([Step::Answers(vec![looping.clone(), ANSWER.to_owned()], Some(Cut::Repetition))]).await;
    assert_eq!(bench.texts("select words from analysis").await, [looping]);
    let narrative = bench.json("select narrative from report").await;
    assert_eq!(narrative["model_words"], "Clear lungs. The heart is normal in size.");
    assert!(narrative["limitations"].to_string().contains("fell into repetition"));
}

#[tokio::test]
async fn the_demonstration_model_is_asked_once_and_never_again() {
    let engine = ScriptedEngine::new([Step::Answer(contradictory())]).of(PromptSet::Demonstration);
    let bench = Bench::new(engine);
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    assert_eq!((bench.texts(STATES).await, bench.engine.calls()), (vec!["done".to_owned()], 1));
    assert_eq!(bench.texts("select words from analysis").await, ["null"]);
}
