use super::*;
use crate::app::{Archive, data_files};
use crate::clock::Timestamp;
use crate::config::{Config, Overrides};
use crate::db::{SqliteSettings, Statement};
use crate::ingest::testing::{file, hold, image};
use crate::query::Scope;
use crate::upkeep::restore::{Restore, RestoreError, Restored};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

struct Bench {
    dir: tempfile::TempDir,
    config: Config,
    archive: Archive,
}

impl Bench {
    /// An archive with two instances.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = vec![("server.data_dir", dir.path().join("data").display().to_string())];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        let archive = Archive::open(&config, Clock::System).unwrap();
        let bench = Self { dir, config, archive };
        bench.hold(&["1.2.3.4.1", "1.2.3.4.2"]).await;
        bench
    }

    async fn hold(&self, uids: &[&str]) {
        let files: Vec<_> = uids.iter().map(|uid| file(image(CT, uid), EXPLICIT)).collect();
        hold(&self.archive.db, &self.archive.blobs, &files).await;
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("backup")
    }

    async fn back_up(&self, way: Way, recheck: bool) -> Result<Done, BackupError> {
        let backup = Backup {
            db: self.archive.db.clone(),
            blobs: self.archive.blobs.clone(),
            clock: Clock::System,
            folder: self.folder(),
            way,
            recheck,
            files: data_files(&self.config),
            actor: Actor::program("backup"),
        };
        backup.run(|_| ()).await
    }

    async fn restore(&self, into: &str) -> Result<Restored, RestoreError> {
        let (folder, into) = (self.folder(), self.dir.path().join(into));
        let settings = SqliteSettings { readers: 1, group_max: 1 };
        let actor = Actor::program("restore");
        let restore =
            Restore { backup: &folder, into: &into, clock: Clock::manual(Timestamp(9)), settings, actor };
        restore.run(|_| ()).await
    }

    fn first_object(folder: &Path) -> PathBuf {
        let mut path = folder.to_owned();
        while path.is_dir() {
            path = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
        }
        path
    }
}

async fn instances(db: &Db) -> Vec<String> {
    let sql = "select sop_instance_uid || blob_key || hex(sha256) from instance order by id";
    let rows = db.read(Statement::named("instances", sql)).await.unwrap();
    rows.iter().map(|row| row.text(0).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_comes_back_is_what_was_there() {
    let bench = Bench::new().await;
    assert_eq!(bench.back_up(Way::Copied, false).await.unwrap().new_objects, 2);
    let restored = bench.restore("again").await.unwrap();
    assert_eq!((restored.objects, restored.lacking.len()), (2, 0));
    let keys = vec![("server.data_dir", bench.dir.path().join("again").display().to_string())];
    let again =
        Archive::open(&Config::load(&Overrides { file: None, keys }).unwrap(), Clock::System).unwrap();
    assert_eq!(instances(&again.db).await, instances(&bench.archive.db).await);
    assert_eq!(again.serial_number, bench.archive.serial_number);
}

#[tokio::test]
async fn a_second_run_takes_what_is_new_and_lets_go_of_what_is_gone() {
    let bench = Bench::new().await;
    bench.back_up(Way::Linked, false).await.unwrap();
    let scope: Scope = Scope::Study("1.2.3".parse().unwrap());
    bench.archive.ingest.delete(&scope, &Actor::system(), None).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    bench.archive.ingest.sweep_deleted(Timestamp(i64::MAX), &stop).await.unwrap();
    bench.hold(&["1.2.3.4.3"]).await;
    let done = bench.back_up(Way::Copied, true).await.unwrap();
    assert_eq!((done.objects, done.new_objects, done.removed), (1, 1, 2));
    assert_eq!(bench.restore("again").await.unwrap().objects, 1);
}

#[tokio::test]
async fn what_a_deletion_keeps_is_in_the_backup() {
    let bench = Bench::new().await;
    let scope = Scope::Study("1.2.3".parse().unwrap());
    bench.archive.ingest.delete(&scope, &Actor::system(), None).await.unwrap();
    assert_eq!(bench.back_up(Way::Copied, false).await.unwrap().objects, 2);
    assert_eq!(bench.restore("again").await.unwrap().objects, 2);
}

#[tokio::test]
async fn damage_is_named_and_a_good_copy_of_before_stays() {
    let bench = Bench::new().await;
    let object = Bench::first_object(&bench.dir.path().join("data/objects"));
    let bytes = fs::read(&object).unwrap();
    fs::write(&object, &bytes[1..]).unwrap();
    assert_eq!(bench.back_up(Way::Copied, false).await.unwrap().damaged.len(), 1);
    assert_eq!(bench.restore("partly").await.unwrap().lacking.len(), 1);
    fs::write(&object, &bytes).unwrap();
    assert_eq!(bench.back_up(Way::Copied, false).await.unwrap().damaged.len(), 0);
    fs::write(&object, &bytes[1..]).unwrap();
    assert_eq!(bench.back_up(Way::Copied, true).await.unwrap().damaged.len(), 0);
}

#[tokio::test]
async fn a_backup_that_was_tampered_with_is_refused_or_told_of() {
    let bench = Bench::new().await;
    bench.back_up(Way::Copied, false).await.unwrap();
    fs::write(Bench::first_object(&bench.folder().join(OBJECTS)), b"other").unwrap();
    assert_eq!(bench.restore("partly").await.unwrap().lacking.len(), 1);
    assert_eq!(bench.back_up(Way::Copied, false).await.unwrap().new_objects, 1, "it is made good");
    let index = Manifest::read(&bench.folder()).unwrap().index.name;
    fs::write(bench.folder().join(index), b"other").unwrap();
    let refused = bench.restore("never").await.unwrap_err();
    assert!(matches!(refused, RestoreError::Backup(ManifestError::OtherBytes { .. })));
    assert!(!bench.dir.path().join("never/index.sqlite").exists());
}

#[tokio::test]
async fn nothing_is_written_over_what_is_there() {
    let bench = Bench::new().await;
    bench.back_up(Way::Copied, false).await.unwrap();
    assert!(matches!(bench.restore("data").await, Err(RestoreError::Occupied(_))));
    let foreign = bench.dir.path().join("data");
    let other = Bench { dir: tempfile::tempdir().unwrap(), ..Bench::new().await };
    fs::create_dir_all(other.folder()).unwrap();
    fs::copy(foreign.join("serial-number"), other.folder().join("thesis.txt")).unwrap();
    assert!(matches!(other.back_up(Way::Copied, false).await, Err(BackupError::Foreign(_))));
}
