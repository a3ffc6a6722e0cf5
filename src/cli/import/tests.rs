//! What is found, what is stored, and what is said about the rest.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::config::Overrides;
use crate::phantom::{self, Kind, Options};

struct Bench {
    dir: tempfile::TempDir,
    config: Config,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data").display().to_string();
        let keys = vec![("server.data_dir", data_dir), ("ingest.instance_bytes_max", "1000000".to_owned())];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        Self { dir, config }
    }

    fn put(&self, name: &str, content: &[u8]) {
        let path = self.dir.path().join("in").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The summary of importing everything that was put.
    async fn import(&self) -> String {
        let archive = Archive::open(&self.config, Clock::System).unwrap();
        let found = walk::find(&[self.dir.path().join("in")]);
        import(&archive, &self.config, &Actor::program("import"), found, &ProgressBar::hidden())
            .await
            .to_string()
    }
}

fn object(seed: u64) -> Vec<u8> {
    let options = Options { kind: Kind::Chest, matrix: Some(96), ..Options::default() };
    let mut bytes = Vec::new();
    phantom::study(seed, &options).unwrap().objects[0].write_all(&mut bytes).unwrap();
    bytes
}

fn zip(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[track_caller]
fn says(summary: &str, lines: &[&str]) {
    for line in lines {
        assert!(summary.contains(line), "{line:?} is not in:\n{summary}");
    }
}

#[tokio::test]
async fn folders_are_walked_and_objects_stored_once() {
    let bench = Bench::new();
    bench.put("a.dcm", &object(1));
    bench.put("deep/er/b", &object(2));
    says(&bench.import().await, &["stored         2\n", "already there  0\n", "refused        0\n"]);
    says(&bench.import().await, &["stored         0\n", "already there  2\n"]);
}

#[tokio::test]
async fn entries_of_a_zip_are_stored_and_the_others_named() {
    let bench = Bench::new();
    let entries = [("x/1.dcm", object(1)), ("../../2.dcm", object(2)), ("notes.txt", b"hello".to_vec())];
    bench.put("study.zip", &zip(&entries));
    let summary = bench.import().await;
    says(
        &summary,
        &["stored         2\n", "skipped        1\n", "not a DICOM file (1)", "study.zip: notes.txt"],
    );
    assert!(!bench.dir.path().join("2.dcm").exists());
}

#[tokio::test]
async fn what_is_no_object_is_skipped_with_its_reason() {
    let bench = Bench::new();
    bench.put("DICOMDIR", &object(1));
    bench.put("readme.txt", b"nothing");
    bench.put("outer.zip", &zip(&[("inner.zip", zip(&[("1.dcm", object(1))]))]));
    let summary = bench.import().await;
    says(&summary, &["stored         0\n", "refused        0\n", "skipped        3\n"]);
    says(&summary, &["a DICOMDIR, the index of a medium (1)", "a zip within a zip (1)"]);
}

#[tokio::test]
async fn damaged_objects_are_refused_and_named() {
    let bench = Bench::new();
    let whole = object(1);
    bench.put("cut.dcm", &whole[..whole.len() / 2]);
    let mut spoilt = zip(&[("1.dcm", object(2))]);
    let middle = spoilt.len() / 2;
    spoilt[middle..middle + 64].fill(0x55);
    bench.put("spoilt.zip", &spoilt);
    let summary = bench.import().await;
    says(&summary, &["stored         0\n", "refused        2\n", "cut.dcm", "spoilt.zip: 1.dcm"]);
}

#[tokio::test]
async fn an_entry_that_inflates_beyond_the_limit_is_refused() {
    let bench = Bench::new();
    let bomb = [&[0; 128][..], b"DICM", &vec![0; 2_000_000]].concat();
    bench.put("bomb.zip", &zip(&[("1.dcm", bomb)]));
    says(&bench.import().await, &["refused        1\n", "larger than 1000000 bytes"]);
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_refused() {
    let found = walk::find(&[Path::new("/nowhere/at/all").to_owned()]);
    assert_eq!((found.files.len(), found.unreadable.len()), (0, 1));
}
