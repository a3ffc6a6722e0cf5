//! From objects to results, with phantoms as studies and a scripted engine as the model.

mod control;
mod deletion;
mod faults;
mod pipelines;
mod reuse;
mod stat;
mod words;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ai::scripted::{ScriptedEngine, Step};
use crate::ai::{Engine, EngineError, Form, Priority, PromptSet, Turn};
use crate::clock::Timestamp;
use crate::config::{OnDuplicate, Preamble};
use crate::db::{Statement, jobs as job_rows};
use crate::dicom::header;
use crate::ingest::{Body, Origin, Policy, Received, Source};
use crate::jobs::JobKind;
use crate::jobs::completeness::Patience;
use crate::phantom;

const ANSWER: &str = r#"{"findings":[{"finding":"pleural effusion","location":"pleural space","laterality":"left","certainty":"probable","severity":"small","image":1,"box_2d":[600,550,900,900],"measurements":[{"name":"thickness","value":12.5,"unit":"mm"}]}],"impression":"Small left pleural effusion."}"#;

struct Bench {
    dir: tempfile::TempDir,
    db: Db,
    clock: Clock,
    ingest: Ingest,
    analyses: Arc<Analyses>,
    engine: Arc<ScriptedEngine>,
}

impl Bench {
    fn new(engine: ScriptedEngine) -> Self {
        Self::with_model(engine, true)
    }

    fn with_model(engine: ScriptedEngine, model: bool) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), engine, model)
    }

    /// As if the server had ended before the results were written; `state` sets that of the analyses.
    async fn undo_results(&self, state: &'static str) {
        const TABLES: [&str; 4] = [
            "delete from measurement",
            "delete from finding",
            "delete from report_version",
            "delete from report",
        ];
        for statement in [state].into_iter().chain(TABLES) {
            self.db.run(Batch::new().then(Statement::named("undo", statement))).await.unwrap();
        }
    }

    /// The same data folder after a restart.
    fn restarted(self, engine: ScriptedEngine, model: bool) -> Self {
        let Self { dir, clock, .. } = self;
        let bench = Self::in_folder(dir, engine, model);
        bench.clock.advance(clock.now().since(bench.clock.now()));
        bench
    }

    fn in_folder(dir: tempfile::TempDir, engine: ScriptedEngine, model: bool) -> Self {
        let db = Db::for_test(dir.path());
        let blobs = Blobs::open_local(dir.path()).unwrap();
        Self::on(dir, db, blobs, engine, model)
    }

    fn on(dir: tempfile::TempDir, db: Db, blobs: Blobs, engine: ScriptedEngine, model: bool) -> Self {
        let clock = Clock::manual(Timestamp(1_800_000_000_000_000));
        let ingest = Ingest::new(db.clone(), blobs.clone(), clock.clone(), policy());
        let engine = Arc::new(engine);
        let bell = Bell::default();
        let patience = Patience {
            quiet_time: Duration::from_secs(30),
            release_delay: Duration::from_secs(5),
            delivery_timeout: Duration::from_secs(600),
        };
        let deliveries = Deliveries { db: db.clone(), clock: clock.clone(), bell: bell.clone(), patience };
        let overrides = config::Overrides {
            keys: vec![("analysis.guard_words", "[]".to_owned())],
            ..config::Overrides::default()
        };
        let mut settings = config::Config::load(&overrides).unwrap().analysis;
        settings.rules.push(config::Rule {
            name: "CT".to_owned(),
            modality: vec!["CT".to_owned()],
            pipeline: Some("ct".to_owned()),
            ..config::Rule::default()
        });
        settings.experimental = config::Pipeline::ALL.to_vec();
        let model = if model { Model::Ready(Arc::clone(&engine) as Arc<dyn Engine>) } else { Model::Absent };
        let parts = Parts {
            db: db.clone(),
            blobs,
            ingest: ingest.clone(),
            clock: clock.clone(),
            bell,
            deliveries,
            settings,
            exports: Plan::default(),
            model,
            serial_number: "1".to_owned(),
        };
        Self { dir, db, clock, ingest, analyses: Arc::new(Analyses::new(parts)), engine }
    }

    async fn store(&self, objects: &[phantom::dicom::Object], delivery: Option<&str>) {
        let delivery = delivery.map(str::to_owned);
        let origin = Origin { delivery, ..Origin::called(Source::Dimse, "MOD") };
        for object in objects {
            let mut bytes = Vec::new();
            object.write_all(&mut bytes).unwrap();
            let received =
                Received { body: Body::Part10(bytes.as_slice()), origin: &origin, only_study: None };
            self.ingest.store(received).await.unwrap();
        }
    }

    /// Claims and runs every due job until none is left; gives how each ended.
    async fn run_due(&self) -> Vec<Ending> {
        let mut endings = Vec::new();
        for kind in [JobKind::CompleteStudy, JobKind::AnalyseStudy] {
            while let Some(job) = self.claim(kind).await {
                let ending = self.analyses.run(&job).await;
                if let Ending::Fail(reason) = &ending {
                    self.analyses.gave_up(&job, reason).await;
                }
                self.db.run(job_rows::finish(&job, "test", "ran", self.clock.now())).await.unwrap();
                endings.push(ending);
            }
        }
        endings
    }

    async fn claim(&self, kind: JobKind) -> Option<Job> {
        let now = self.clock.now();
        let lease_until = now.plus(Duration::from_secs(60));
        let priority_lead = Duration::from_secs(1800);
        let claim = job_rows::Claim { owner: "test", now, lease_until, priority_lead, priority_least: 0 };
        job_rows::claim(&self.db, kind, claim).await.unwrap()
    }

    async fn settle(&self) -> Vec<Ending> {
        self.clock.advance(Duration::from_secs(31));
        self.run_due().await
    }

    /// The JSON of a column that has one row.
    async fn json(&self, sql: &'static str) -> serde_json::Value {
        let rows = self.db.read(Statement::named("json", sql)).await.unwrap();
        serde_json::from_slice(rows[0].bytes(0).unwrap()).unwrap()
    }

    async fn texts(&self, sql: &'static str) -> Vec<String> {
        let rows = self.db.read(Statement::named("texts", sql)).await.unwrap();
        rows.iter().map(|row| row.opt_text(0).unwrap().unwrap_or("null").to_owned()).collect()
    }
}

fn policy() -> Policy {
    Policy {
        instance_bytes_max: 1 << 26,
        header: header::Limits {
            inline_bytes_max: 1024,
            header_bytes_max: 1 << 22,
            depth_max: 32,
            elements_max: 100_000,
            fragments_max: 1000,
        },
        sop_classes_extra: Vec::new(),
        on_duplicate: OnDuplicate::Reject,
        preamble: Preamble::Keep,
        picture_bytes_max: 1 << 20,
        concurrency: 4,
        quiet_time: Duration::from_secs(30),
    }
}

fn chest() -> phantom::Study {
    let options =
        phantom::Options { kind: phantom::Kind::Chest, matrix: Some(128), ..phantom::Options::default() };
    phantom::study(2, &options).unwrap()
}

fn ct() -> phantom::Study {
    phantom::study(3, &phantom::Options { kind: phantom::Kind::Ct, ..phantom::Options::default() }).unwrap()
}

fn instance_uid(object: &phantom::dicom::Object) -> String {
    object.meta().media_storage_sop_instance_uid().trim_end_matches('\0').to_owned()
}

const STATES: &str = "select state from analysis order by queued_at, id";

#[tokio::test]
async fn a_complete_study_gets_a_report_in_the_study() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, None).await;
    let endings = bench.settle().await;
    assert_eq!(endings.last(), Some(&Ending::Done("done".to_owned())), "{endings:?}");
    assert_eq!(bench.texts("select modality from series order by modality").await, ["DOC", "DX", "SR"]);
    assert_eq!(bench.texts("select distinct study_uid from study").await.len(), 1);
    assert_eq!(bench.texts("select code from finding").await.len(), 1);
    let methods = "select method || ' ' || coalesce(spacing, '') from measurement group by method, spacing";
    assert_eq!(bench.texts(methods).await, ["model-estimate ", "region-size imager-pixel-spacing"]);
    assert_eq!(bench.texts("select status from report").await, ["draft"]);
}

#[tokio::test]
async fn a_ct_is_shown_slice_by_slice_and_leaves_a_volume() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER).of(PromptSet::Demonstration));
    bench.store(&ct().objects, None).await;
    let endings = bench.settle().await;
    assert_eq!(endings.last(), Some(&Ending::Done("done".to_owned())), "{endings:?}");
    let images = bench.engine.requests()[0].images().count();
    assert_eq!(images, 4);
    assert!(matches!(bench.engine.requests()[0].turns[..], [Turn::User(_), Turn::Open(Form::Json(_))]));
    let shown = bench.db.read(Statement::named("inputs", "select inputs from analysis")).await.unwrap();
    let shown: Vec<serde_json::Value> = serde_json::from_slice(shown[0].bytes(0).unwrap()).unwrap();
    let study = ct();
    let expected = phantom::ct::shown(study.objects.len()).map(|index| instance_uid(&study.objects[index]));
    assert_eq!(
        shown.iter().map(|input| input["sop_instance"].as_str().unwrap()).collect::<Vec<_>>(),
        expected
    );
    let rows = bench.db.read(Statement::named("volume", "select description from volume")).await.unwrap();
    let volume: serde_json::Value = serde_json::from_slice(rows[0].bytes(0).unwrap()).unwrap();
    assert_eq!(volume["volume"]["plane"], "axial");
    assert!(volume["intensities"]["least"].as_f64().unwrap() < -900.0, "{volume}");
    let measured =
        bench.texts("select name from measurement where method = 'region-values' order by id").await;
    assert_eq!(measured.len(), 5, "{measured:?}");
}

#[tokio::test]
async fn what_waits_for_the_model_to_load_is_told_what_became_of_it() {
    for (fails, after) in [(false, "done"), (true, "waiting: the model could not be loaded")] {
        let mut bench = Bench::new(ScriptedEngine::always(ANSWER));
        let engine = Arc::clone(&bench.engine) as Arc<dyn Engine>;
        let load = move || if fails { Err("model.dir is torn".to_owned()) } else { Ok(engine) };
        Arc::get_mut(&mut bench.analyses).unwrap().parts.model = Model::Coming(Coming::by(load));
        bench.store(&chest().objects, None).await;
        bench.settle().await;
        let told = "select state || coalesce(': ' || reason, '') from analysis";
        assert_eq!(bench.texts(told).await, ["waiting: the model is being loaded"]);
        bench.analyses.begin().await.unwrap();
        bench.run_due().await;
        assert_eq!(bench.texts(told).await, [after]);
    }
}

#[tokio::test]
async fn the_stat_study_is_taken_first_and_the_model_is_told_so() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, None).await;
    bench.clock.advance(Duration::from_secs(60));
    bench.store(&ct().objects, None).await;
    let hasten = "update worklist set priority = 2 where modalities like '%CT%'";
    bench.db.run(Batch::new().then(Statement::named("hasten", hasten))).await.unwrap();
    bench.settle().await;
    let asked = bench.engine.requests();
    let order: Vec<_> = asked.iter().map(|request| (request.images().count(), request.priority)).collect();
    assert_eq!(order, [(8, Priority::Stat), (1, Priority::Routine)]);
}

#[tokio::test]
async fn a_full_model_is_asked_again_later() {
    let full = Step::Fail(EngineError::QueueFull(1));
    let bench = Bench::new(ScriptedEngine::new([full]));
    bench.store(&chest().objects, None).await;
    assert!(matches!(bench.settle().await.last(), Some(Ending::Later(..))));
}

#[tokio::test]
async fn a_study_is_not_looked_at_before_it_is_quiet_or_released() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, Some("association")).await;
    bench.clock.advance(Duration::from_secs(29));
    assert!(bench.run_due().await.is_empty());
    bench.clock.advance(Duration::from_secs(2));
    assert!(matches!(bench.run_due().await[..], [Ending::Later(..)]), "an association is open");
}

#[tokio::test]
async fn the_end_of_an_association_shortens_the_wait() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, Some("association")).await;
    bench.analyses.parts.deliveries.association_ended("association").await.unwrap();
    bench.clock.advance(Duration::from_secs(6));
    bench.run_due().await;
    assert_eq!(bench.texts(STATES).await, ["done"]);
}

#[tokio::test]
async fn late_images_give_an_analysis_that_supersedes_the_first() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    let objects = ct().objects;
    let (first, late) = objects.split_at(objects.len() - 4);
    bench.store(first, None).await;
    bench.settle().await;
    bench.store(late, None).await;
    bench.settle().await;
    assert_eq!(bench.texts(STATES).await, ["done", "done"]);
    let links = "select supersedes from analysis union all select superseded_by from analysis";
    assert_eq!(bench.texts(links).await.iter().filter(|link| *link != "null").count(), 2);
}

#[tokio::test]
async fn an_analysis_that_fails_is_passed_over_by_the_one_that_was_to_replace_it() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    let objects = ct().objects;
    let (first, rest) = objects.split_at(objects.len() - 8);
    for (objects, stays_running) in [(first, false), (&rest[..4], true), (&rest[4..], false)] {
        bench.store(objects, None).await;
        if !stays_running {
            bench.settle().await;
            continue;
        }
        bench.clock.advance(Duration::from_secs(31));
        let deciding = bench.claim(JobKind::CompleteStudy).await.unwrap();
        bench.analyses.run(&deciding).await;
        bench.db.run(job_rows::finish(&deciding, "test", "ran", bench.clock.now())).await.unwrap();
        let second = bench.texts("select id from analysis where state = 'queued'").await.remove(0);
        bench.db.run(analyses::start(&second, bench.clock.now())).await.unwrap();
    }
    assert_eq!(bench.texts(STATES).await, ["done", "failed", "done"]);
    let by_age = "select supersedes from analysis where state = 'done' order by queued_at desc limit 1";
    let oldest = bench.texts("select id from analysis order by queued_at limit 1").await;
    assert_eq!(bench.texts(by_age).await, oldest);
    let newest = bench.texts("select id from analysis order by queued_at desc limit 1").await;
    assert_eq!(bench.texts("select superseded_by from analysis order by queued_at limit 1").await, newest);
}

#[tokio::test]
async fn what_an_earlier_attempt_published_stands() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    bench.undo_results("update analysis set state = 'running', started_at = started_at - 5000000").await;
    let id = bench.texts("select id from analysis").await.remove(0);
    assert_eq!(bench.analyses.perform(&id).await, Ending::Done("done".to_owned()));
}

#[tokio::test]
async fn what_failed_after_its_answer_is_published_from_the_kept_answer() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    let study = chest();
    bench.store(&study.objects, None).await;
    bench.settle().await;
    let sql = "update analysis set state = 'failed'";
    for statement in [
        sql,
        "delete from measurement",
        "delete from finding",
        "delete from report_version",
        "delete from report",
    ] {
        bench.db.run(Batch::new().then(Statement::named("undo", statement))).await.unwrap();
    }
    let uid: StudyUid = study.study_uid.parse().unwrap();
    bench.analyses.request(&uid, None).await.unwrap();
    bench.run_due().await;
    assert_eq!((bench.texts(STATES).await, bench.engine.calls()), (vec!["done".to_owned()], 1));
}

#[tokio::test]
async fn an_analysis_that_gave_way_can_be_asked_for_again() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    let study = chest();
    bench.store(&study.objects, None).await;
    let uid: StudyUid = study.study_uid.parse().unwrap();
    let first = bench.analyses.request(&uid, None).await.unwrap();
    let give_way = "update analysis set state = 'cancelled', superseded_by = 'x'";
    bench.db.run(Batch::new().then(Statement::named("give_way", give_way))).await.unwrap();
    let again = bench.analyses.request(&uid, None).await.unwrap();
    assert_eq!((again.analysis, again.state), (first.analysis, "queued".to_owned()));
    assert_eq!(bench.texts(STATES).await, ["queued"]);
}

#[tokio::test]
async fn the_same_content_is_analysed_once_however_often_it_comes() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    let study = chest();
    for _ in 0..3 {
        bench.store(&study.objects, None).await;
        bench.settle().await;
    }
    let uid: StudyUid = study.study_uid.parse().unwrap();
    let ticket = bench.analyses.request(&uid, None).await.unwrap();
    assert_eq!((ticket.state.as_str(), bench.engine.calls()), ("done", 1));
}

#[tokio::test]
async fn without_a_model_a_study_waits_and_is_analysed_once_there_is_one() {
    let bench = Bench::with_model(ScriptedEngine::always(ANSWER), false);
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    assert_eq!(bench.texts(STATES).await, ["waiting"]);
    assert_eq!(bench.texts("select reason from analysis").await, [NO_MODEL]);
    assert_eq!(bench.analyses.resume_waiting().await.unwrap(), 0);
    let bench = bench.restarted(ScriptedEngine::always(ANSWER), true);
    assert_eq!(bench.analyses.resume_waiting().await.unwrap(), 1);
    bench.run_due().await;
    assert_eq!(bench.texts(STATES).await, ["done"]);
}

#[tokio::test]
async fn a_failure_of_the_model_is_kept_with_its_reason() {
    let bench = Bench::new(ScriptedEngine::new([Step::Fail(EngineError::Repeating)]));
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    assert_eq!(bench.texts(STATES).await, ["failed"]);
    let reason = bench.texts("select reason from analysis").await.remove(0);
    assert!(reason.contains("repeats"), "{reason}");
}

#[tokio::test]
async fn what_no_rule_names_is_skipped_with_its_reason() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    let mut objects = chest().objects;
    objects[0].put(dicom_core::DataElement::new(
        dicom_dictionary_std::tags::MODALITY,
        dicom_core::VR::CS,
        "US",
    ));
    bench.store(&objects, None).await;
    bench.settle().await;
    assert_eq!(bench.texts("select verdict from decision").await, ["skip"]);
    assert_eq!(bench.texts("select rule from decision").await, ["no-rule"]);
}

#[tokio::test]
async fn a_second_run_after_a_crash_writes_nothing_twice() {
    let bench = Bench::new(ScriptedEngine::always(ANSWER));
    bench.store(&chest().objects, None).await;
    bench.settle().await;
    bench.undo_results("update analysis set state = 'running'").await;
    let id = bench.texts("select id from analysis").await.remove(0);
    bench.clock.advance(Duration::from_secs(100));
    assert_eq!(bench.analyses.perform(&id).await, Ending::Done("done".to_owned()));
    assert_eq!(
        (
            bench.texts("select sop_instance_uid from instance where source = 'analysis'").await.len(),
            bench.engine.calls()
        ),
        (2, 1)
    );
}
