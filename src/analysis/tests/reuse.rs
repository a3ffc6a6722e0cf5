//! A question that was answered before.

use super::*;
use crate::ai::Cut;
use crate::phantom::dicom::Object;

/// The same pixels as a study of its own.
fn copied(objects: &[Object], number: u32) -> Vec<Object> {
    use dicom_dictionary_std::tags;
    let other = |uid: &str| format!("{}.{number}", uid.trim_end_matches('\0'));
    let copied = objects.iter().map(|object| {
        let mut copy: dicom_object::InMemDicomObject = (**object).clone();
        for tag in [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID] {
            let uid = other(&object.element(tag).unwrap().to_str().unwrap());
            copy.put(dicom_core::DataElement::new(tag, dicom_core::VR::UI, uid));
        }
        let meta = object.meta();
        copy.with_meta(
            dicom_object::FileMetaTableBuilder::new()
                .transfer_syntax(meta.transfer_syntax())
                .media_storage_sop_class_uid(meta.media_storage_sop_class_uid())
                .media_storage_sop_instance_uid(other(meta.media_storage_sop_instance_uid())),
        )
        .unwrap()
    });
    copied.collect()
}

/// How often the model was asked about a study, its copy, and what the report of the copy says.
async fn twice(change: impl FnOnce(&mut config::Analysis)) -> (Bench, serde_json::Value) {
    let step = || Step::Answers(vec!["FINDINGS: Effusion.".to_owned(), ANSWER.to_owned()], Some(Cut::Tokens));
    let mut bench = Bench::new(ScriptedEngine::new([step(), step()]));
    change(&mut Arc::get_mut(&mut bench.analyses).unwrap().parts.settings);
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    bench.store(&copied(&chest().objects, 7), None).await;
    bench.settle().await;
    assert_eq!(bench.texts(STATES).await, ["done", "done"]);
    let newest = "select provenance from analysis order by queued_at desc limit 1";
    let provenance = bench.json(newest).await;
    (bench, provenance)
}

#[tokio::test]
async fn what_was_asked_before_is_answered_without_the_model_and_says_so() {
    let (bench, provenance) = twice(|_| {}).await;
    assert_eq!(bench.engine.calls(), 1);
    let first =
        bench.texts("select cast(finished_at as text) from analysis order by queued_at limit 1").await;
    let given = Timestamp(first[0].parse().unwrap()).rfc3339();
    assert_eq!(provenance["reading"]["reused_from"], given.as_str());
    assert_eq!(
        (&provenance["usage"]["answer_tokens"], &provenance["usage"]["cut"]),
        (&0.into(), &"tokens".into())
    );
    assert_eq!(bench.texts("select distinct words from analysis").await.len(), 1);
    let asked = bench.json("select narrative from report order by created_at limit 1").await.to_string();
    let reused =
        bench.json("select narrative from report order by created_at desc limit 1").await.to_string();
    assert!(reused.contains(&given) && !asked.contains("not asked anew"), "{asked} {reused}");
    assert_eq!(bench.texts("select action from audit where action = 'run-model'").await.len(), 2);
}

#[tokio::test]
async fn an_answer_stands_for_no_other_where_it_is_drawn_off_or_old() {
    let changes: [fn(&mut config::Analysis); 2] =
        [|settings| settings.temperature = 0.7, |settings| settings.cache = config::AnswerCache::Off];
    for change in changes {
        let (bench, provenance) = twice(change).await;
        assert_eq!((bench.engine.calls(), provenance["reading"].get("reused_from")), (2, None));
    }
}

#[tokio::test]
async fn an_answer_is_too_old_one_day() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    // the third comes 120 days after the answer, whenever that was used again
    for (number, calls) in [(1, 1), (2, 1), (3, 2)] {
        bench.store(&copied(&chest().objects, number), None).await;
        bench.settle().await;
        assert_eq!(bench.engine.calls(), calls);
        bench.clock.advance(Duration::from_secs(60 * 86_400));
    }
}

#[tokio::test]
async fn a_model_with_other_prompts_is_asked() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    let bench = bench.restarted(ScriptedEngine::always(ANSWER).of(PromptSet::Demonstration), true);
    bench.store(&copied(&chest().objects, 7), None).await;
    bench.settle().await;
    assert_eq!((bench.texts(STATES).await.len(), bench.engine.calls()), (2, 1));
}
