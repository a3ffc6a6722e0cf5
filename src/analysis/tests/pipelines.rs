//! Pipelines beside the plain ones: what they show, what they are told, and when they are off.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;

use super::*;
use crate::ai::{ContextKind, Part, Request, RgbImage};
use crate::phantom::dicom::Object;

fn put(object: &mut Object, tag: Tag, vr: VR, value: &str) {
    object.put(DataElement::new(tag, vr, value));
}

/// A chest phantom of that seed, as the study of one patient at a date.
fn chest_of(seed: u64, date: &str) -> Vec<Object> {
    let options =
        phantom::Options { kind: phantom::Kind::Chest, matrix: Some(128), ..phantom::Options::default() };
    let mut objects = phantom::study(seed, &options).unwrap().objects;
    for object in &mut objects {
        put(object, tags::PATIENT_ID, VR::LO, "ONE-77");
        put(object, tags::PATIENT_NAME, VR::PN, "Lovelace^Ada");
        put(object, tags::STUDY_DATE, VR::DA, date);
        put(object, tags::BODY_PART_EXAMINED, VR::CS, "CHEST");
    }
    objects
}

fn named(pipeline: &str, modality: &str) -> Vec<config::Rule> {
    vec![config::Rule {
        name: pipeline.to_owned(),
        modality: vec![modality.to_owned()],
        pipeline: Some(pipeline.to_owned()),
        ..config::Rule::default()
    }]
}

fn bench(change: impl FnOnce(&mut config::Analysis)) -> Bench {
    let mut bench = Bench::new(ScriptedEngine::always(ANSWER));
    let analyses = Arc::get_mut(&mut bench.analyses).unwrap();
    change(&mut analyses.parts.settings);
    bench
}

async fn done(bench: &Bench, objects: &[Object]) -> Request {
    bench.store(objects, None).await;
    let endings = bench.settle().await;
    assert_eq!(endings.last(), Some(&Ending::Done("done".to_owned())), "{endings:?}");
    bench.engine.requests().pop().unwrap()
}

fn asked(request: &Request) -> String {
    let parts = request.turns.iter().filter_map(|turn| match turn {
        Turn::User(parts) => Some(parts),
        _ => None,
    });
    let text = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Image(_) => "[image]".to_owned(),
    };
    parts.flatten().map(text).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_chest_radiograph_is_compared_with_the_last_one_before() {
    let bench = bench(|settings| settings.rules = named("longitudinal-chest", "DX"));
    for (seed, date) in [(2, "20200101"), (3, "20250301")] {
        // Nothing before, or only what is older than three years.
        assert_eq!(done(&bench, &chest_of(seed, date)).await.images().count(), 1);
    }
    let request = done(&bench, &chest_of(4, "20250601")).await;
    assert_eq!(request.images().count(), 2);
    assert!(asked(&request).starts_with("[image]\n[image]\nThe first image is the prior"));
    let provenance =
        bench.json("select provenance from analysis order by queued_at desc, id desc limit 1").await;
    let chest = phantom::Options { kind: phantom::Kind::Chest, ..phantom::Options::default() };
    let prior = phantom::study(3, &chest).unwrap().study_uid;
    assert_eq!(provenance["reading"]["prior"]["uid"], prior.as_str());
    let narrative =
        bench.json("select narrative from report order by created_at desc, id desc limit 1").await;
    assert!(narrative["comparison"].as_str().unwrap().contains("study of 2025-03-01"), "{narrative}");
    assert!(narrative["limitations"].to_string().contains("66 %"), "{narrative}");
}

#[tokio::test]
async fn boxes_of_a_comparison_are_on_the_current_image_alone() {
    let bench = bench(|settings| {
        settings.rules = named("longitudinal-chest", "DX");
        settings.repairs_max = 0;
    });
    done(&bench, &chest_of(3, "20250301")).await;
    // Image 1 is the prior one now.
    done(&bench, &chest_of(4, "20250601")).await;
    assert_eq!(bench.texts("select region from finding where region is not null").await.len(), 1);
    let remarks = bench.texts("select remarks from finding where remarks is not null").await;
    assert!(remarks[0].contains("prior image"), "{remarks:?}");
    let mut bench =
        bench.restarted(ScriptedEngine::always(&ANSWER.replace("\"image\":1", "\"image\":2")), true);
    Arc::get_mut(&mut bench.analyses).unwrap().parts.settings.rules = named("longitudinal-chest", "DX");
    let current = chest_of(5, "20250701");
    done(&bench, &current).await;
    let images =
        bench.texts("select sop_instance_uid from finding where region is not null order by analysis").await;
    assert!(images.contains(&instance_uid(&current[0])), "{images:?}");
}

#[tokio::test]
async fn a_prior_that_is_too_old_or_of_somebody_else_is_none() {
    let bench = bench(|settings| {
        settings.rules = named("longitudinal-chest", "DX");
        settings.prior_days_max = 30;
    });
    done(&bench, &chest_of(2, "20250301")).await;
    let mut other = chest_of(3, "20250531");
    other.iter_mut().for_each(|object| put(object, tags::PATIENT_ID, VR::LO, "TWO"));
    done(&bench, &other).await;
    let request = done(&bench, &chest_of(4, "20250601")).await;
    assert_eq!(request.images().count(), 1);
    assert!(asked(&request).contains("Describe this chest X-ray"));
}

#[tokio::test]
async fn what_the_order_says_is_told_without_the_name_and_only_its_kinds_are_kept() {
    let bench = bench(|settings| settings.context = vec![ContextKind::Reason, ContextKind::Age]);
    let mut objects = chest_of(2, "20250301");
    put(&mut objects[0], tags::REASON_FOR_THE_REQUESTED_PROCEDURE, VR::LO, "Ms Lovelace (ONE-77): cough");
    put(&mut objects[0], tags::ADDITIONAL_PATIENT_HISTORY, VR::LT, "Smoker");
    put(&mut objects[0], tags::PATIENT_AGE, VR::AS, "036Y");
    let told = asked(&done(&bench, &objects).await);
    assert!(
        told.contains("Reason for the examination: Ms … (…): cough\nAge of the patient: 36 years"),
        "{told}"
    );
    assert!(!told.contains("Smoker"));
    let provenance = bench.json("select provenance from analysis").await;
    assert_eq!(provenance["reading"]["context"], serde_json::json!(["reason", "age"]));
    assert!(!provenance.to_string().contains("cough"));
}

fn range_of(image: &RgbImage) -> (u8, u8) {
    (*image.data.iter().min().unwrap(), *image.data.iter().max().unwrap())
}

#[tokio::test]
async fn an_mr_is_shown_from_its_least_to_its_greatest_value() {
    let bench = bench(|settings| settings.rules = named("mr", "MR"));
    let mut objects = ct().objects;
    objects.iter_mut().for_each(|object| put(object, tags::MODALITY, VR::CS, "MR"));
    let request = done(&bench, &objects).await;
    let ranges: Vec<(u8, u8)> = request.images().map(|image| range_of(image)).collect();
    assert_eq!(ranges.len(), 8);
    assert!(ranges.iter().all(|(least, _)| *least == 0), "{ranges:?}");
    assert!(asked(&request).contains("MR slices of one acquisition"));
    let narrative = bench.json("select narrative from report").await;
    assert!(narrative["warnings"].to_string().contains("Experimental"));
    assert!(narrative["limitations"].to_string().contains("65 %"), "{narrative}");
}

#[tokio::test]
async fn a_photograph_is_shown_in_its_colours() {
    let bench = bench(|settings| settings.rules = named("photograph", "XC"));
    let mut objects = chest_of(2, "20250301");
    let object = &mut objects[0];
    put(object, tags::MODALITY, VR::CS, "XC");
    put(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 3_u16),
        (tags::PLANAR_CONFIGURATION, 0),
        (tags::ROWS, 2),
        (tags::COLUMNS, 1),
        (tags::BITS_ALLOCATED, 8),
        (tags::BITS_STORED, 8),
        (tags::HIGH_BIT, 7),
    ] {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    let pixels = PrimitiveValue::from([200_u8, 10, 20, 1, 2, 3].to_vec());
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, pixels));
    let request = done(&bench, &objects).await;
    let image = request.images().next().unwrap();
    assert_eq!((image.width, image.height), (2, 2));
    assert_eq!(image.data, [200, 10, 20, 0, 0, 0, 1, 2, 3, 0, 0, 0]);
}

#[tokio::test]
async fn what_is_experimental_is_skipped_with_its_reason_until_it_is_turned_on() {
    let bench = bench(|settings| settings.experimental = Vec::new());
    bench.store(&ct().objects, None).await;
    bench.settle().await;
    assert_eq!(bench.engine.calls(), 0);
    assert!(bench.texts("select reason from decision").await[0].contains("\"ct\" is experimental"));
    let uid: StudyUid = ct().study_uid.parse().unwrap();
    let refused = bench.analyses.request(&uid, Some("ct")).await.unwrap_err();
    assert!(refused.to_string().contains("analysis.experimental"), "{refused}");
}

#[tokio::test]
async fn a_pipeline_that_the_model_has_no_prompt_for_fails_with_that_reason() {
    let engine = ScriptedEngine::always(ANSWER).of(PromptSet::Demonstration);
    let mut bench = Bench::new(engine);
    Arc::get_mut(&mut bench.analyses).unwrap().parts.settings.rules = named("mr", "CT");
    bench.store(&ct().objects, None).await;
    bench.settle().await;
    assert!(bench.texts("select reason from analysis").await[0].contains("know no pipeline mr"));
}

#[tokio::test]
async fn a_report_in_another_language_says_so() {
    let bench = bench(|settings| settings.language = config::Language::of("de").unwrap());
    let request = done(&bench, &chest_of(2, "20250301")).await;
    assert!(asked(&request).contains("Write the report in German."));
    let content = bench.json("select content from report_version").await;
    assert_eq!(content["language"], "de");
}
