use std::time::Duration;

use super::*;
use crate::app::Archive;
use crate::clock::Timestamp;
use crate::config::{Config, Overrides};
use crate::db::{Statement, holds};
use crate::dicom::uid::StudyUid;
use crate::ingest::testing::{file, hold, image};
use crate::query::Scope;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const DAY: Duration = Duration::from_secs(24 * 3600);
const RULES: &str = r#"[{ name = "old", keep_days = 30 }]"#;

struct Bench {
    _dir: tempfile::TempDir,
    archive: Archive,
}

impl Bench {
    /// An archive with one study that came at the beginning of time, and is complete.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = vec![("server.data_dir", dir.path().display().to_string())];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        let archive = Archive::open(&config, Clock::System).unwrap();
        hold(&archive.db, &archive.blobs, &[file(image(CT, "1.2.3.4.1"), EXPLICIT)]).await;
        let bench = Self { _dir: dir, archive };
        bench.sql("update job set state = 'done'").await;
        bench
    }

    async fn sql(&self, sql: &'static str) {
        self.archive.db.run(Batch::new().then(Statement::named("test", sql))).await.unwrap();
    }

    fn retention(&self, days: u32, most: &str) -> Retention {
        let keys = vec![
            ("retention.rules", RULES.to_owned()),
            ("retention.studies_per_run_max", most.to_owned()),
            ("retention.enabled", "true".to_owned()),
            ("deletion.enabled", "true".to_owned()),
        ];
        let settings = Config::load(&Overrides { file: None, keys }).unwrap().retention;
        let clock = Clock::manual(Timestamp(1));
        clock.advance(DAY * days);
        Retention { db: self.archive.db.clone(), clock, settings }
    }

    async fn deleted(&self, days: u32) -> u32 {
        self.retention(days, "10").run(&self.archive.ingest).await.unwrap()
    }

    async fn text(&self, sql: &'static str) -> String {
        let row = self.archive.db.read_one(Statement::named("test", sql)).await.unwrap().unwrap();
        row.text(0).unwrap().to_owned()
    }
}

fn study() -> StudyUid {
    "1.2.3".parse().unwrap()
}

#[tokio::test]
async fn a_study_goes_when_its_time_is_over_and_not_before() {
    let bench = Bench::new().await;
    assert_eq!(bench.deleted(29).await, 0);
    let mut seen = Vec::new();
    let retention = bench.retention(31, "10");
    retention.look(|rule, due| seen.push((rule.name.clone(), due.study.clone()))).await.unwrap();
    assert_eq!(seen, [("old".to_owned(), study())]);
    assert_eq!((bench.deleted(31).await, bench.deleted(31).await), (1, 0));
    assert_eq!(bench.text("select reason from deletion").await, "retention rule old");
    let told = "select actor_name from audit where action = 'delete-study'";
    assert_eq!(bench.text(told).await, "retention rule old");
}

#[tokio::test]
async fn one_run_deletes_no_more_than_it_may() {
    let bench = Bench::new().await;
    let mut second = image(CT, "1.2.9.4.1");
    second.put_str(dicom_dictionary_std::tags::STUDY_INSTANCE_UID, dicom_core::VR::UI, "1.2.9");
    second.put_str(dicom_dictionary_std::tags::SERIES_INSTANCE_UID, dicom_core::VR::UI, "1.2.9.4");
    hold(&bench.archive.db, &bench.archive.blobs, &[file(second, EXPLICIT)]).await;
    bench.sql("update job set state = 'done'").await;
    for expected in [1, 1, 0] {
        let run = bench.retention(31, "1").run(&bench.archive.ingest).await.unwrap();
        assert_eq!(run, expected);
    }
}

#[tokio::test]
async fn what_is_held_is_deleted_by_nobody_until_it_is_released() {
    let bench = Bench::new().await;
    let (db, actor, now) = (&bench.archive.db, Actor::program("test"), Clock::System.now());
    db.run(holds::place(&study(), "a trial", &actor, now)).await.unwrap();
    assert_eq!(bench.deleted(31).await, 0);
    let refused = bench.archive.ingest.retire(&study(), &actor, "old").await.unwrap_err();
    assert!(matches!(refused, DeleteError::Held(hold) if hold.reason == "a trial"));
    let part = Scope::Instance(study(), "1.2.3.4".parse().unwrap(), "1.2.3.4.1".parse().unwrap());
    for scope in [Scope::Study(study()), part] {
        let refused = bench.archive.ingest.delete(&scope, &actor, None).await.unwrap_err();
        assert!(matches!(refused, DeleteError::Held(_)), "{refused}");
    }
    db.run(holds::release(&study(), &actor, now)).await.unwrap();
    assert_eq!(bench.deleted(31).await, 1);
}

#[tokio::test]
async fn what_begins_between_look_and_deletion_keeps_a_study() {
    let bench = Bench::new().await;
    bench.sql("update job set state = 'leased' where kind = 'complete-study'").await;
    let refused = bench.archive.ingest.retire(&study(), &Actor::program("test"), "old").await.unwrap_err();
    assert!(matches!(refused, DeleteError::NothingThere), "{refused}");
    assert_eq!(bench.text("select study_uid from study").await, "1.2.3");
}

#[tokio::test]
async fn the_job_runs_again_and_again_while_it_is_turned_on() {
    let bench = Bench::new().await;
    let ingest = Arc::clone(&bench.archive.ingest);
    let mut job = RetentionJob { retention: bench.retention(31, "10"), ingest };
    job.begin().await.unwrap();
    job.begin().await.unwrap();
    assert_eq!(bench.text("select state from job where kind = 'retain-studies'").await, "queued");
    let ending = job.perform().await;
    assert!(matches!(&ending, Ending::Later(_, told) if told.starts_with("1 studies")), "{ending:?}");
    job.retention.settings.enabled = false;
    assert!(matches!(job.perform().await, Ending::Done(_)));
}
