//! What cannot wait, while every worker is busy.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::jobs::driver::{self, Driver};

fn one_worker(bench: &Bench, stat_workers: usize) -> Driver {
    Driver {
        db: bench.db.clone(),
        clock: bench.clock.clone(),
        bell: bench.analyses.parts.bell.clone(),
        kind: JobKind::AnalyseStudy,
        handler: bench.analyses.clone(),
        workers: 1,
        stat_workers,
        lease: Duration::from_secs(600),
        priority_lead: Duration::from_secs(1800),
        attempts_max: 2,
        owner: "test".to_owned(),
    }
}

/// Decides about all that is quiet, and analyses nothing yet.
async fn decide(bench: &Bench) {
    bench.clock.advance(Duration::from_secs(31));
    while let Some(job) = bench.claim(JobKind::CompleteStudy).await {
        bench.analyses.run(&job).await;
        bench.db.run(job_rows::finish(&job, "test", "ran", bench.clock.now())).await.unwrap();
    }
}

async fn state_becomes(bench: &Bench, wanted: &[&str]) {
    while bench.texts(STATES).await != wanted {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_stat_study_finds_a_worker_when_all_are_busy() {
    let steps = [Step::Hang, Step::Answer(ANSWER.to_owned())];
    let bench = Bench::new(ScriptedEngine::new(steps).of(PromptSet::Demonstration));
    let stop = CancellationToken::new();
    let driving = tokio::spawn(driver::run(one_worker(&bench, 1), stop.clone()));
    bench.store(&chest().objects, None).await;
    decide(&bench).await;
    state_becomes(&bench, &["running"]).await;
    bench.clock.advance(Duration::from_secs(1));
    bench.store(&ct().objects, None).await;
    decide(&bench).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bench.texts(STATES).await, ["running", "queued"], "it is routine still");
    let hasten = "update worklist set priority = 2 where modalities like '%CT%'";
    bench.db.run(Batch::new().then(Statement::named("hasten", hasten))).await.unwrap();
    bench.analyses.parts.bell.ring();
    state_becomes(&bench, &["running", "done"]).await;
    stop.cancel();
    driving.await.unwrap();
}
