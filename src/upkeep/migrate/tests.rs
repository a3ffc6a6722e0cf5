use std::path::Path;

use super::*;
use crate::app::{AppError, Archive, Beside, End, Ends, EndsError, PairingError};
use crate::causes::chain;
use crate::config::{Config, Overrides};
use crate::db::Statement;
use crate::db::uploads::Part;
use crate::dicom::uid::StudyUid;
use crate::ingest::testing::{file, hold, image};
use crate::query::Scope;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// An archive in SQLite and a folder; the other ends are in other folders.
struct Bench {
    dir: tempfile::TempDir,
}

fn config(dir: &Path, objects: Option<&Path>) -> Config {
    let mut keys = vec![("server.data_dir", dir.display().to_string())];
    keys.extend(objects.map(|objects| ("storage.url", format!("file://{}", objects.display()))));
    Config::load(&Overrides { file: None, keys }).unwrap()
}

impl Bench {
    /// Three instances in two studies, of which one is deleted and kept.
    async fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        let archive = bench.archive("a");
        let files = ["1.2.3.4.1", "1.2.3.4.2"].map(|uid| file(image(CT, uid), EXPLICIT));
        hold(&archive.db, &archive.blobs, &files).await;
        let study: StudyUid = "1.2.3".parse().unwrap();
        let instance = "1.2.3.4.2".parse().unwrap();
        let scope = Scope::Instance(study, "1.2.3.4".parse().unwrap(), instance);
        archive.ingest.delete(&scope, &Actor::system(), None).await.unwrap();
        std::fs::create_dir_all(bench.path("a").join("uploads")).unwrap();
        std::fs::write(bench.path("a").join("uploads/one"), b"half a file").unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn archive(&self, name: &str) -> Archive {
        Archive::open(&config(&self.path(name), None), Clock::System).unwrap()
    }

    async fn run(&self, from: &Config, to: &Config, damage: Damage) -> Result<Done, MigrateError> {
        let ends = Ends::open(from, to).unwrap();
        let side = |end: &End| Side { db: end.db.clone(), blobs: end.blobs.clone() };
        let migrate = Migrate {
            from: side(&ends.from),
            to: side(&ends.to),
            keeps_index: ends.keeps_index,
            keeps_objects: ends.keeps_objects,
            route: ends.route.clone(),
            files: ends.files.clone(),
            lanes: 2,
            damage,
            quiet: Duration::from_secs(1),
            clock: Clock::System,
            actor: Actor::program("migrate"),
        };
        migrate.run(drop).await
    }

    async fn migrate(&self, from: &str, to: &str) -> Result<Done, MigrateError> {
        let [from, to] = [from, to].map(|name| config(&self.path(name), None));
        self.run(&from, &to, Damage::Ends).await
    }

    fn objects(&self, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let root = self.path(name).join("objects");
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found
                        .push((path.strip_prefix(&root).unwrap().to_owned(), std::fs::read(path).unwrap())),
                }
            }
        }
        found.sort();
        found
    }
}

async fn instances(db: &Db) -> Vec<String> {
    let sql = "select sop_instance_uid || blob_key || hex(sha256) from instance order by id";
    let rows = db.read(Statement::named("instances", sql)).await.unwrap();
    rows.iter().map(|row| row.text(0).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_other_end_is_the_same_archive_with_another_name_and_goes_on() {
    let bench = Bench::new().await;
    let done = bench.migrate("a", "b").await.unwrap();
    assert_eq!((done.objects, done.already, done.damaged.len()), (2, 0, 0));
    assert_eq!(bench.objects("a"), bench.objects("b"));
    assert_eq!(std::fs::read(bench.path("b").join("uploads/one")).unwrap(), b"half a file");
    let (old, new) = (bench.archive("a"), bench.archive("b"));
    assert_eq!(instances(&old.db).await, instances(&new.db).await);
    assert_ne!(migration::identity(&old.db).await.unwrap(), migration::identity(&new.db).await.unwrap());
    assert_eq!(old.serial_number, new.serial_number);
    let trail = audit::verify(&new.db, &[]).await.unwrap();
    assert!(trail.flaws.is_empty() && trail.rows > 1);
    hold(&new.db, &new.blobs, &[file(image(CT, "1.2.3.4.7"), EXPLICIT)]).await;
    assert_eq!(instances(&new.db).await.len(), 2);
}

#[tokio::test]
async fn what_is_there_already_is_neither_copied_nor_written_over() {
    let bench = Bench::new().await;
    bench.migrate("a", "b").await.unwrap();
    let again = bench.migrate("a", "b").await.unwrap_err();
    assert!(matches!(again, MigrateError::NotEmpty { .. }), "{again}");
    let same = Ends::open(&config(&bench.path("a"), None), &config(&bench.path("a"), None));
    assert!(matches!(same, Err(EndsError::Same)));
}

#[tokio::test]
async fn a_run_that_was_broken_off_goes_on_and_its_target_is_no_archive_before() {
    let bench = Bench::new().await;
    let (key, _) = bench.objects("a").remove(0);
    let object = bench.path("a").join("objects").join(&key);
    let whole = std::fs::read(&object).unwrap();
    std::fs::write(&object, &whole[1..]).unwrap();
    let broken = bench.migrate("a", "b").await.unwrap_err();
    assert!(matches!(broken, MigrateError::Damaged { .. }), "{broken}");
    let refused = Archive::open(&config(&bench.path("b"), None), Clock::System).err().unwrap();
    assert!(matches!(refused, AppError::Pairing(PairingError::Unfinished { .. })), "{refused}");
    std::fs::write(&object, &whole).unwrap();
    let other = bench.archive("c");
    hold(&other.db, &other.blobs, &[file(image(CT, "1.2.9.1.1"), EXPLICIT)]).await;
    drop(other);
    assert!(matches!(bench.migrate("c", "b").await, Err(MigrateError::OtherMigration { .. })));
    bench.migrate("a", "b").await.unwrap();
    assert_eq!(bench.objects("a"), bench.objects("b"));
}

#[tokio::test]
async fn what_was_written_between_two_runs_comes_along() {
    let bench = Bench::new().await;
    let (key, whole) = bench.objects("a").pop().unwrap();
    let object = bench.path("a").join("objects").join(&key);
    std::fs::write(&object, b"other").unwrap();
    bench.migrate("a", "b").await.unwrap_err();
    std::fs::write(&object, &whole).unwrap();
    let archive = bench.archive("a");
    hold(&archive.db, &archive.blobs, &[file(image(CT, "1.2.3.4.9"), EXPLICIT)]).await;
    let rename = Statement::named("rename", "update patient set name = 'Other'");
    archive.db.run(Batch::new().then(rename)).await.unwrap();
    drop(archive);
    bench.migrate("a", "b").await.unwrap();
    let name = bench.archive("b").db.read_one(Statement::named("name", "select name from patient")).await;
    assert_eq!(name.unwrap().unwrap().text(0).unwrap(), "Other");
    assert_eq!(bench.objects("a"), bench.objects("b"));
}

#[tokio::test]
async fn damaged_objects_come_along_when_that_is_asked_for_and_are_named() {
    let bench = Bench::new().await;
    let (key, _) = bench.objects("a").remove(0);
    std::fs::write(bench.path("a").join("objects").join(&key), b"other").unwrap();
    let (from, to) = (config(&bench.path("a"), None), config(&bench.path("b"), None));
    let done = bench.run(&from, &to, Damage::IsTakenAlong).await.unwrap();
    assert_eq!((done.damaged, done.objects), (vec![key.display().to_string()], 1));
    assert_eq!(bench.objects("a"), bench.objects("b"));
}

#[tokio::test]
async fn objects_alone_go_to_another_folder_and_the_one_before_is_no_longer_theirs() {
    let bench = Bench::new().await;
    let (before, after) =
        (config(&bench.path("a"), None), config(&bench.path("a"), Some(&bench.path("store"))));
    let done = bench.run(&before, &after, Damage::Ends).await.unwrap();
    assert_eq!((done.objects, done.tables), (2, 0));
    assert_eq!(bench.objects("a"), bench.objects("store"));
    let refused = Archive::open(&before, Clock::System).err().unwrap();
    assert!(matches!(refused, AppError::Pairing(PairingError::OtherArchive { .. })), "{refused}");
    assert_eq!(instances(&Archive::open(&after, Clock::System).unwrap().db).await.len(), 1);
}

#[tokio::test]
async fn an_index_alone_goes_elsewhere_and_the_one_before_has_no_objects_any_more() {
    let bench = Bench::new().await;
    let (before, after) = (config(&bench.path("a"), None), config(&bench.path("b"), Some(&bench.path("a"))));
    let done = bench.run(&before, &after, Damage::Ends).await.unwrap();
    assert_eq!((done.objects, done.tables > 30), (0, true));
    assert!(Archive::open(&before, Clock::System).is_err() && Beside::open(&before).is_err());
    let archive = Archive::open(&after, Clock::System).unwrap();
    assert_eq!(instances(&archive.db).await.len(), 1);
}

#[tokio::test]
async fn an_archive_in_use_is_left_alone() {
    let bench = Bench::new().await;
    let _server = bench.archive("a");
    let refused = Ends::open(&config(&bench.path("a"), None), &config(&bench.path("b"), None)).err().unwrap();
    assert!(chain(&refused).contains("is in use by another radiant process"), "{}", chain(&refused));
}

#[tokio::test]
async fn other_schemas_are_refused_and_left_as_they_are() {
    let bench = Bench::new().await;
    let archive = bench.archive("a");
    let newer = "insert into refinery_schema_history (version, name, applied_on, checksum) values (9999, 'x', '', '0')";
    archive.db.run(Batch::new().then(Statement::named("newer", newer))).await.unwrap();
    drop(archive);
    let refused = Ends::open(&config(&bench.path("a"), None), &config(&bench.path("b"), None)).err().unwrap();
    assert!(matches!(refused, EndsError::Schema { end: "--from", found: 9999, .. }), "{refused}");
    assert!(!bench.path("b").join("index.sqlite").exists());
}

/// What an archive has in pieces when instances shared it.
async fn piece(archive: &Archive, upload: &str, start: u64, bytes: &[u8]) {
    let key = BlobKey::of_upload(upload, start);
    let mut staged = archive.blobs.stage().unwrap();
    std::io::Write::write_all(&mut staged.file, bytes).unwrap();
    archive.blobs.keep(staged, &key).await.unwrap();
    let part = Part { bytes: start..start + bytes.len() as u64, key };
    archive.db.run(Batch::new().then(uploads::insert_part(upload, &part))).await.unwrap();
}

#[tokio::test]
async fn uploads_in_pieces_become_files_where_the_archive_is_one_servers() {
    let bench = Bench::new().await;
    let archive = bench.archive("a");
    let (whole, behind) = (ids::row_id(), ids::row_id());
    piece(&archive, &whole, 0, b"hel").await;
    piece(&archive, &whole, 3, b"lo").await;
    std::fs::write(bench.path("a").join("uploads").join(&behind), b"he, and more").unwrap();
    piece(&archive, &behind, 2, b"y").await;
    drop(archive);
    let done = bench.migrate("a", "b").await.unwrap();
    assert_eq!(done.objects, 2 + 3);
    let file = |id: &str| std::fs::read(bench.path("b").join("uploads").join(id)).unwrap();
    assert_eq!((file(&whole), file(&behind)), (b"hello".to_vec(), b"hey".to_vec()));
    assert_eq!(uploads::next_in_pieces(&bench.archive("b").db, "").await.unwrap(), None);
    assert_eq!(uploads::count_parts(&bench.archive("a").db, &whole).await.unwrap(), 2);
}
