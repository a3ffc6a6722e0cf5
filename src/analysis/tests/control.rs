//! Cancelling and trying again.

use super::*;
use crate::analysis::control::ControlError;
use crate::db::audit::Actor;

const TOLD: &str = "select kind from event where subject is not null order by sequence";

/// A study whose analysis is being answered, for ever.
async fn hanging() -> (Bench, String) {
    let bench = Bench::new(ScriptedEngine::new([Step::Hang, Step::Answer(ANSWER.to_owned())]));
    bench.store(&chest().objects, None).await;
    bench.clock.advance(Duration::from_secs(31));
    let deciding = bench.claim(JobKind::CompleteStudy).await.unwrap();
    bench.analyses.run(&deciding).await;
    bench.db.run(job_rows::finish(&deciding, "test", "ran", bench.clock.now())).await.unwrap();
    let id = bench.texts("select id from analysis").await.remove(0);
    (bench, id)
}

async fn asked(bench: &Bench) {
    while bench.engine.calls() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn cancelling_frees_the_worker_and_leaves_no_results() {
    let (bench, id) = hanging().await;
    let job = bench.claim(JobKind::AnalyseStudy).await.unwrap();
    let cancelling = async {
        asked(&bench).await;
        bench.analyses.cancel(&id, &Actor::program("ann")).await.unwrap()
    };
    let (ending, ticket) = tokio::join!(bench.analyses.run(&job), cancelling);
    assert!(matches!(ending, Ending::Done(_)), "{ending:?}");
    assert_eq!((ticket.state.as_str(), bench.texts(STATES).await), ("cancelled", vec!["cancelled".into()]));
    assert_eq!(bench.texts("select id from report").await.len(), 0);
    assert_eq!(bench.texts("select modality from series where modality = 'SR'").await.len(), 0);
    assert_eq!(bench.texts("select actor_name from audit where action = 'cancel-analysis'").await, ["ann"]);
    assert_eq!(bench.texts(TOLD).await.last().unwrap(), "analysis-cancelled");
    assert_eq!(
        bench.analyses.cancel(&id, &Actor::program("ann")).await.unwrap().state,
        "cancelled",
        "twice is once"
    );
}

#[tokio::test]
async fn what_was_cancelled_can_be_tried_again() {
    let (bench, id) = hanging().await;
    let job = bench.claim(JobKind::AnalyseStudy).await.unwrap();
    let cancelling = async {
        asked(&bench).await;
        bench.analyses.cancel(&id, &Actor::program("ann")).await.unwrap();
        bench.clock.advance(Duration::from_secs(1));
        bench.analyses.retry(&id, &Actor::program("ann")).await.unwrap()
    };
    let (_, ticket) = tokio::join!(bench.analyses.run(&job), cancelling);
    assert_eq!(ticket.state, "queued");
    bench.db.run(job_rows::finish(&job, "test", "ran", bench.clock.now())).await.unwrap();
    bench.run_due().await;
    assert_eq!(bench.texts(STATES).await, ["done"]);
    let refused = bench.analyses.cancel(&id, &Actor::program("ann")).await.unwrap_err();
    assert!(matches!(refused, ControlError::State(_)));
    assert!(matches!(
        bench.analyses.retry(&id, &Actor::program("ann")).await.unwrap_err(),
        ControlError::State(_)
    ));
}

#[tokio::test]
async fn what_has_an_answer_is_published_whatever_is_asked() {
    let (bench, id) = hanging().await;
    bench.db.run(analyses::start(&id, bench.clock.now())).await.unwrap();
    let kept = analyses::keep_answer(
        &id,
        analyses::NewAnswer {
            answer: ANSWER,
            words: None,
            unused: None,
            provenance: b"{}".to_vec(),
            inputs: b"[]".to_vec(),
            question_sha256: None,
        },
        bench.clock.now(),
    );
    bench.db.run(kept).await.unwrap();
    let refused = bench.analyses.cancel(&id, &Actor::program("ann")).await.unwrap_err();
    assert!(matches!(refused, ControlError::State(_)));
    assert_eq!(bench.texts(STATES).await, ["running"]);
}

#[tokio::test]
async fn another_process_can_cancel() {
    let (bench, id) = hanging().await;
    let job = bench.claim(JobKind::AnalyseStudy).await.unwrap();
    let cancelling = async {
        asked(&bench).await;
        bench.db.run(analyses::cancel(&id, bench.clock.now())).await.unwrap();
    };
    let (ending, _) = tokio::join!(bench.analyses.run(&job), cancelling);
    assert!(matches!(ending, Ending::Done(_)), "{ending:?}");
    assert_eq!(bench.texts(STATES).await, ["cancelled"]);
}

#[tokio::test]
async fn an_analysis_is_told_from_the_queue_to_its_end() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    let told = bench.texts("select kind from event order by sequence").await;
    assert_eq!(told.first().unwrap(), "study-received");
    let of_analysis = bench.texts(TOLD).await;
    assert_eq!(of_analysis.first().unwrap(), "analysis-queued");
    assert!(of_analysis.contains(&"analysis-parsing".to_owned()), "{of_analysis:?}");
    assert!(of_analysis.contains(&"analysis-done".to_owned()), "{of_analysis:?}");
}
