use std::path::PathBuf;

use super::*;
use crate::app::{Archive, Rebuild};
use crate::config::{Config, Overrides};
use crate::db::Statement;
use crate::ingest::testing::{file, hold, image};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

struct Bench {
    dir: tempfile::TempDir,
    config: Config,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = vec![("server.data_dir", dir.path().display().to_string())];
        Self { config: Config::load(&Overrides { file: None, keys }).unwrap(), dir }
    }

    fn archive(&self) -> Archive {
        Archive::open(&self.config, Clock::System).unwrap()
    }

    /// Two instances, and what the index says of them.
    async fn filled(&self) -> Vec<String> {
        let archive = self.archive();
        let files = ["1.2.3.4.1", "1.2.3.4.2"].map(|uid| file(image(CT, uid), EXPLICIT));
        hold(&archive.db, &archive.blobs, &files).await;
        rows(&archive.db).await
    }

    fn lose_index(&self) {
        for rest in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.dir.path().join(format!("index.sqlite{rest}")));
        }
    }

    async fn reindex(&self) -> (Counts, Vec<String>) {
        let rebuild = Rebuild::open(&self.config, Clock::System).unwrap();
        let reindex = Reindex {
            db: rebuild.db.clone(),
            blobs: rebuild.blobs.clone(),
            ingest: rebuild.ingest.clone(),
            clock: Clock::System,
            actor: Actor::program("reindex"),
        };
        let mut reasons = Vec::new();
        let tell = |told: Told<'_>| match told {
            Told::SetAside { reason, to, .. } => {
                assert!(PathBuf::from(to).is_file());
                reasons.push(reason);
            }
            Told::Indexed { .. } => {}
        };
        let counts = reindex.run(tell).await.unwrap();
        drop(reindex);
        rebuild.finish().await.unwrap();
        (counts, reasons)
    }

    fn object(&self) -> PathBuf {
        let mut path = self.dir.path().join("objects");
        while path.is_dir() {
            path = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
        }
        path
    }
}

async fn rows(db: &Db) -> Vec<String> {
    let sql = "select sop_instance_uid || blob_key || hex(sha256) || hex(dataset_sha256) || hex(layout)
        || hex(instance.metadata) || study_uid || hex(study.attributes) || series_uid || study.instance_count
        from instance join series on series.id = instance.series join study on study.id = instance.study
        order by sop_instance_uid";
    let rows = db.read(Statement::named("rows", sql)).await.unwrap();
    rows.iter().map(|row| row.text(0).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_new_index_says_what_the_lost_one_said_and_moves_no_bytes() {
    let bench = Bench::new();
    let before = bench.filled().await;
    let written = std::fs::metadata(bench.object()).unwrap().modified().unwrap();
    bench.lose_index();
    let (counts, reasons) = bench.reindex().await;
    assert_eq!((counts.indexed, counts.set_aside, reasons.len()), (2, 0, 0));
    let archive = bench.archive();
    assert_eq!(rows(&archive.db).await, before);
    assert_eq!(std::fs::metadata(bench.object()).unwrap().modified().unwrap(), written);
    let jobs = archive.db.read(Statement::named("jobs", "select id from job")).await.unwrap();
    assert!(jobs.is_empty(), "nothing is analysed again");
}

#[tokio::test]
async fn what_cannot_be_read_is_set_aside_with_its_reason() {
    let bench = Bench::new();
    bench.filled().await;
    bench.lose_index();
    let mut bytes = std::fs::read(bench.object()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(bench.object(), &bytes).unwrap();
    let stray = bench.object().with_file_name("1.2.9.000000000000");
    std::fs::write(&stray, b"no object").unwrap();
    let (counts, mut reasons) = bench.reindex().await;
    reasons.sort();
    assert_eq!((counts.indexed, counts.set_aside), (1, 2));
    assert_eq!(reasons[0], "its bytes are not those that its name was made of");
    assert!(!stray.exists());
}

#[tokio::test]
async fn an_index_that_is_there_is_not_replaced() {
    let bench = Bench::new();
    bench.filled().await;
    assert!(Rebuild::open(&bench.config, Clock::System).is_err());
}

#[tokio::test]
async fn a_run_that_was_broken_off_goes_on() {
    let bench = Bench::new();
    bench.filled().await;
    bench.lose_index();
    let rebuild = Rebuild::open(&bench.config, Clock::System).unwrap();
    let origin = Origin::of(Source::Import);
    let first = rebuild.blobs.listed_before(ALL).try_next().await.unwrap().unwrap();
    rebuild.ingest.index_stored(&first, &origin).await.unwrap();
    drop(rebuild);
    let (counts, _) = bench.reindex().await;
    assert_eq!((counts.indexed, counts.already), (1, 1));
}
