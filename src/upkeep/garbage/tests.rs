use std::fs::{self, File};

use super::*;
use crate::app::Archive;
use crate::config::{Config, Overrides};
use crate::db::Statement;
use crate::ids;
use crate::ingest::testing::{file, hold, image};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const HOUR: Duration = Duration::from_secs(3600);

struct Bench {
    dir: tempfile::TempDir,
    archive: Archive,
}

impl Bench {
    /// An archive with one object that is hours old.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = vec![("server.data_dir", dir.path().display().to_string())];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        let archive = Archive::open(&config, Clock::System).unwrap();
        hold(&archive.db, &archive.blobs, &[file(image(CT, "1.2.3.4.1"), EXPLICIT)]).await;
        let bench = Self { dir, archive };
        bench.age(&bench.path("objects").join(bench.key().await));
        bench
    }

    async fn key(&self) -> String {
        let statement = Statement::named("key", "select blob_key from instance");
        self.archive.db.read_one(statement).await.unwrap().unwrap().text(0).unwrap().to_owned()
    }

    async fn sql(&self, sql: &str) {
        self.archive.db.run(Batch::new().then(Statement::fixture(sql))).await.unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn age(&self, path: &Path) {
        let at = Clock::System.now().minus(HOUR * 2);
        File::options().write(true).open(path).unwrap().set_modified(at.into()).unwrap();
    }

    /// A file of three bytes, two hours old or new.
    fn plant(&self, name: &str, old: bool) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"abc").unwrap();
        if old {
            self.age(&path);
        }
        path
    }

    async fn run(&self, does: Does) -> (Counts, Vec<LeftOver>) {
        let garbage = Garbage {
            db: self.archive.db.clone(),
            blobs: self.archive.blobs.clone(),
            clock: Clock::System,
            older_than: HOUR,
            downloads: self.path(content::FOLDER),
            does,
            actor: Actor::program("gc"),
        };
        let mut found = Vec::new();
        let counts = garbage.run(|left_over| found.push(left_over.clone())).await.unwrap();
        (counts, found)
    }
}

#[tokio::test]
async fn an_old_object_without_a_row_goes_and_the_others_stay() {
    let bench = Bench::new().await;
    let orphan = bench.plant("objects/ab/1.2.9/1.2.9.1.0123456789ab", true);
    let young = bench.plant("objects/ab/1.2.9/1.2.9.2.0123456789ab", false);
    let (shown, found) = bench.run(Does::Show).await;
    assert_eq!((shown[0], orphan.exists()), (Count { count: 1, bytes: 3 }, true));
    assert_eq!(found[0].name, "ab/1.2.9/1.2.9.1.0123456789ab");
    let (removed, _) = bench.run(Does::Remove).await;
    assert_eq!((removed, orphan.exists(), young.exists()), (shown, false, true));
    assert!(bench.path("objects").join(bench.key().await).exists());
    assert_eq!(bench.run(Does::Remove).await.0, Counts::default());
}

#[tokio::test]
async fn what_a_deletion_keeps_is_no_garbage() {
    let bench = Bench::new().await;
    let object = bench.path("objects").join(bench.key().await);
    let study = crate::query::Scope::Study("1.2.3".parse().unwrap());
    bench.archive.ingest.delete(&study, &Actor::program("test"), None).await.unwrap();
    assert_eq!(bench.run(Does::Remove).await.0, Counts::default());
    assert!(object.exists());
}

#[tokio::test]
async fn files_that_nobody_needs_go_and_those_of_what_is_under_way_stay() {
    let bench = Bench::new().await;
    let [wanted, ended] = [ids::row_id(), ids::row_id()];
    for (id, state, finished) in [(&wanted, "receiving", "null"), (&ended, "done", "1")] {
        bench
            .sql(&format!(
                "insert into upload (id, owner, reach, kind, state, bytes_received, created_at, updated_at, finished_at)
                 values ('{id}', 'o', '', 'resumable', '{state}', 0, 0, 0, {finished})"
            ))
            .await;
    }
    let gone =
        ["staging/a", &format!("uploads/{ended}"), "downloads/x.part"].map(|name| bench.plant(name, true));
    let kept = [bench.plant(&format!("uploads/{wanted}"), true), bench.plant("staging/b", false)];
    let (counts, _) = bench.run(Does::Remove).await;
    assert_eq!(counts.map(|count| count.count), [0, 1, 1, 1]);
    assert!(gone.iter().all(|path| !path.exists()) && kept.iter().all(|path| path.exists()));
}

#[tokio::test]
async fn a_download_whose_time_is_over_ends_with_its_file() {
    let bench = Bench::new().await;
    let soon = i64::MAX;
    for (id, expires) in [("over", 1), ("there", soon)] {
        bench
            .sql(&format!(
                "insert into download (id, owner, form, options, state, studies, instances_total, created_at,
                    updated_at, expires_at) values ('{id}', 'o', 'dicom', x'00', 'done', 1, 1, 0, 0, {expires})"
            ))
            .await;
    }
    let [over, there] = ["downloads/over", "downloads/there"].map(|name| bench.plant(name, true));
    bench.run(Does::Show).await;
    assert!(over.exists());
    bench.run(Does::Remove).await;
    assert!(!over.exists() && there.exists());
    let state = downloads::one(&bench.archive.db, "over").await.unwrap().unwrap().state;
    assert_eq!(state, State::Expired);
}

#[tokio::test]
async fn a_removal_is_in_the_trail_and_a_look_is_not() {
    let bench = Bench::new().await;
    let told = async || {
        let sql = "select count(*) from audit where action = 'collect-garbage'";
        bench.archive.db.read_one(Statement::named("told", sql)).await.unwrap().unwrap().int(0).unwrap()
    };
    bench.run(Does::Show).await;
    assert_eq!(told().await, 0);
    bench.run(Does::Remove).await;
    assert_eq!(told().await, 2);
}
