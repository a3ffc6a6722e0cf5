//! What deletion does to analyses, and what no analysis undoes.

use super::*;
use crate::audit::Actor;
use crate::auth::Reach;
use crate::db::page::Page;
use crate::db::results::{self, ReportFilter};
use crate::ingest::Refusal;
use crate::query::Scope;

impl Bench {
    async fn delete_study(&self) -> String {
        let study = self.texts("select study_uid from study").await.remove(0).parse().unwrap();
        self.ingest.delete(&Scope::Study(study), &Actor::program("test"), None).await.unwrap()
    }

    async fn reports(&self) -> i64 {
        let page = Page::first("report.id", true, 1);
        results::reports(&self.db, &Reach::Everything, ReportFilter::default(), &page).await.unwrap().total
    }

    async fn studies(&self) -> usize {
        self.texts("select study_uid from study").await.len()
    }
}

#[tokio::test]
async fn an_analysis_of_a_deleted_study_is_not_begun() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, None).await;
    bench.clock.advance(Duration::from_secs(31));
    let decide = bench.claim(JobKind::CompleteStudy).await.unwrap();
    bench.analyses.run(&decide).await;
    bench.delete_study().await;
    assert!(bench.claim(JobKind::AnalyseStudy).await.is_none());
    assert_eq!((bench.texts(STATES).await, bench.engine.requests().len()), (vec!["cancelled".to_owned()], 0));
}

#[tokio::test]
async fn a_late_worker_does_not_bring_a_deleted_study_back() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, None).await;
    bench.clock.advance(Duration::from_secs(31));
    let decide = bench.claim(JobKind::CompleteStudy).await.unwrap();
    bench.analyses.run(&decide).await;
    let late = bench.claim(JobKind::AnalyseStudy).await.unwrap();
    bench.delete_study().await;
    assert_eq!(bench.analyses.run(&late).await, Ending::Done("the analysis is cancelled".to_owned()));
    let mut result = Vec::new();
    chest().objects[0].write_all(&mut result).unwrap();
    let origin = Origin::of(Source::Analysis);
    let received = Received { body: Body::Part10(result.as_slice()), origin: &origin, only_study: None };
    let refused = bench.ingest.store(received).await.unwrap_err();
    assert!(matches!(refused.refusal, Refusal::StudyGone), "{refused}");
    assert_eq!(bench.studies().await, 0);
}

#[tokio::test]
async fn what_is_stored_again_is_analysed_again() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    bench.delete_study().await;
    assert_eq!((bench.reports().await, bench.studies().await), (0, 0));
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    assert_eq!((bench.reports().await, bench.engine.requests().len()), (1, 2));
}

#[tokio::test]
async fn what_is_restored_has_its_report_and_is_not_analysed_again() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    let deletion = bench.delete_study().await;
    let restored = bench.ingest.restore(&deletion, &Actor::program("test")).await.unwrap();
    assert_eq!((restored.restored, restored.refused), (chest().objects.len() as u64 + 2, 0));
    bench.settle().await;
    assert_eq!((bench.reports().await, bench.engine.requests().len()), (1, 1));
    assert_eq!(bench.texts("select modality from series order by modality").await, ["DOC", "DX", "SR"]);
}
