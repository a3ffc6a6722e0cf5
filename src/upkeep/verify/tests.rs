use std::path::{Path, PathBuf};

use super::*;
use crate::app::Archive;
use crate::clock::Timestamp;
use crate::config::{Config, Overrides};
use crate::ingest::testing::{file, hold, image};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

struct Bench {
    dir: tempfile::TempDir,
    archive: Archive,
}

impl Bench {
    /// An archive with three instances.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = vec![("server.data_dir", dir.path().display().to_string())];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        let archive = Archive::open(&config, Clock::System).unwrap();
        let files = ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"].map(|uid| file(image(CT, uid), EXPLICIT));
        hold(&archive.db, &archive.blobs, &files).await;
        Self { dir, archive }
    }

    async fn verify(&self, range: &Range, replica: Option<&Path>) -> (Counts, Vec<Finding>) {
        let verify = Verify {
            db: self.archive.db.clone(),
            blobs: self.archive.blobs.clone(),
            clock: Clock::System,
            integrity: Integrity::new(self.archive.db.clone(), self.archive.blobs.clone(), 2),
            lanes: 2,
            replica: replica.map(|path| Replica::open(path).unwrap()),
            actor: Actor::program("verify"),
        };
        let mut found = Vec::new();
        let tell = |told: Told<'_>| match told {
            Told::Found(finding) => found.push(finding.clone()),
            Told::Read { .. } | Told::Reached { .. } => {}
        };
        let counts = verify.run(range, 0, tell).await.unwrap();
        (counts, found)
    }

    fn objects(&self) -> Vec<PathBuf> {
        let mut found = files_below(&self.dir.path().join("objects"));
        found.sort();
        found
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn copy(from: &Path, to: &Path) {
    for path in files_below(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&path, target).unwrap();
    }
}

fn harms(found: &[Finding]) -> Vec<&'static str> {
    let mut harms: Vec<_> = found
        .iter()
        .map(|finding| match finding {
            Finding::Damaged(harm, _) | Finding::Repaired(harm, _) => harm.as_str(),
            Finding::NotRead(_) => "not-read",
            Finding::WithoutRow { .. } => "without-row",
        })
        .collect();
    harms.sort_unstable();
    harms
}

#[tokio::test]
async fn a_whole_archive_has_nothing_to_tell() {
    let bench = Bench::new().await;
    let (counts, found) = bench.verify(&Range::default(), None).await;
    assert_eq!((counts.checked, found), (3, vec![]));
}

#[tokio::test]
async fn what_is_damaged_is_named_and_comes_back_bit_by_bit() {
    let bench = Bench::new().await;
    let (replica, objects) = (tempfile::tempdir().unwrap(), bench.objects());
    copy(&bench.dir.path().join("objects"), replica.path());
    let before: Vec<_> = objects.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let mut flipped = before[0].clone();
    *flipped.last_mut().unwrap() ^= 1;
    std::fs::write(&objects[0], flipped).unwrap();
    std::fs::write(&objects[1], &before[1][..9]).unwrap();
    std::fs::remove_file(&objects[2]).unwrap();
    let (counts, found) = bench.verify(&Range::default(), None).await;
    assert_eq!((counts.damaged, harms(&found)), (3, vec!["missing", "other-bytes", "other-size"]));
    let (counts, _) = bench.verify(&Range::default(), Some(replica.path())).await;
    assert_eq!((counts.repaired, counts.is_whole()), (3, true));
    let after: Vec<_> = objects.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(after == before && bench.verify(&Range::default(), None).await.1.is_empty());
}

#[tokio::test]
async fn a_copy_that_is_damaged_too_is_not_put_in_place() {
    let bench = Bench::new().await;
    let (replica, objects) = (tempfile::tempdir().unwrap(), bench.objects());
    std::fs::write(&objects[0], b"other").unwrap();
    copy(&bench.dir.path().join("objects"), replica.path());
    let (counts, _) = bench.verify(&Range::default(), Some(replica.path())).await;
    assert_eq!((counts.damaged, counts.repaired), (1, 0));
    assert_eq!(std::fs::read(&objects[0]).unwrap(), b"other");
}

#[tokio::test]
async fn objects_without_a_row_are_named_once_they_are_old() {
    let bench = Bench::new().await;
    let stray = bench.objects()[0].with_file_name("1.2.9.abcdef");
    std::fs::write(&stray, b"stray").unwrap();
    assert_eq!(bench.verify(&Range::default(), None).await.0.without_row, 0);
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1);
    std::fs::File::options().write(true).open(&stray).unwrap().set_modified(long_ago).unwrap();
    let (counts, found) = bench.verify(&Range::default(), None).await;
    assert_eq!((counts.without_row, counts.without_row_bytes, counts.is_whole()), (1, 5, true));
    assert!(harms(&found) == ["without-row"] && stray.exists());
}

#[tokio::test]
async fn a_range_is_a_study_or_what_came_since() {
    let bench = Bench::new().await;
    let of = |study: &str| Range { study: Some(study.parse().unwrap()), since: None };
    assert_eq!(bench.verify(&of("1.2.3"), None).await.0.checked, 3);
    assert_eq!(bench.verify(&of("1.2.4"), None).await.0.checked, 0);
    let since = |at| Range { study: None, since: Some(Timestamp(at)) };
    assert_eq!(bench.verify(&since(1), None).await.0.checked, 3);
    assert_eq!(bench.verify(&since(2), None).await.0.checked, 0);
}
