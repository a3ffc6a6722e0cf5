use std::path::PathBuf;

use dicom_core::{DataElement, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::*;
use crate::app::Archive;
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::db::{Batch, Statement};
use crate::ingest::{Body, Origin, Received, Source};

struct Bench {
    dir: tempfile::TempDir,
    archive: Archive,
}

impl Bench {
    /// An archive with one instance.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = vec![("server.data_dir", dir.path().display().to_string())];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        let archive = Archive::open(&config, Clock::System).unwrap();
        let origin = Origin::of(Source::Stow);
        let received = Received { body: Body::Part10(&file()[..]), origin: &origin, only_study: None };
        archive.ingest.store(received).await.unwrap();
        Self { dir, archive }
    }

    async fn verdict(&self, sop_class: &str, sop_instance: &str) -> Verdict {
        let integrity = Integrity::new(self.archive.db.clone(), self.archive.blobs.clone(), 1);
        let reference =
            Reference { sop_class: sop_class.parse().unwrap(), sop_instance: sop_instance.parse().unwrap() };
        integrity.check(&reference).await.unwrap()
    }

    fn path(&self) -> PathBuf {
        let mut folder = self.dir.path().join("objects");
        while folder.is_dir() {
            folder = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        }
        folder
    }

    /// The verdict when the byte at `offset` from the beginning or the end is another one.
    async fn verdict_when_flipped(&self, offset: isize) -> Verdict {
        let mut bytes = std::fs::read(self.path()).unwrap();
        let at = offset.rem_euclid(bytes.len() as isize) as usize;
        bytes[at] ^= 1;
        std::fs::write(self.path(), bytes).unwrap();
        self.verdict(uids::CT_IMAGE_STORAGE, "1.2.3.4.5").await
    }
}

fn file() -> Vec<u8> {
    let uid = |tag, value| DataElement::new(tag, VR::UI, value);
    let object = InMemDicomObject::from_element_iter([
        uid(tags::SOP_CLASS_UID, uids::CT_IMAGE_STORAGE),
        uid(tags::SOP_INSTANCE_UID, "1.2.3.4.5"),
        uid(tags::STUDY_INSTANCE_UID, "1.2.3"),
        uid(tags::SERIES_INSTANCE_UID, "1.2.3.4"),
        DataElement::new(tags::TEXT_VALUE, VR::UT, "x".repeat(600_000).as_str()),
    ]);
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut bytes = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}

fn is_damaged(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Damaged { study, .. } if study.as_str() == "1.2.3")
}

#[tokio::test]
async fn what_is_as_it_was_stored_is_intact() {
    let bench = Bench::new().await;
    assert_eq!(bench.verdict(uids::CT_IMAGE_STORAGE, "1.2.3.4.5").await, Verdict::Intact);
    assert_eq!(bench.verdict(uids::CT_IMAGE_STORAGE, "1.2.3.4.6").await, Verdict::NotStored);
    assert_eq!(bench.verdict(uids::MR_IMAGE_STORAGE, "1.2.3.4.5").await, Verdict::OtherClass);
}

#[tokio::test]
async fn one_other_byte_anywhere_is_damage() {
    for offset in [0, 140, 200, 300_000, -1] {
        let verdict = Bench::new().await.verdict_when_flipped(offset).await;
        assert!(is_damaged(&verdict), "{offset}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_cut_or_gone_is_damage() {
    let bench = Bench::new().await;
    let bytes = std::fs::read(bench.path()).unwrap();
    std::fs::write(bench.path(), &bytes[..bytes.len() - 1]).unwrap();
    assert!(is_damaged(&bench.verdict(uids::CT_IMAGE_STORAGE, "1.2.3.4.5").await));
    std::fs::remove_file(bench.path()).unwrap();
    assert!(is_damaged(&bench.verdict(uids::CT_IMAGE_STORAGE, "1.2.3.4.5").await));
}

#[tokio::test]
async fn rows_of_the_first_version_hold_the_digest_of_the_file() {
    let bench = Bench::new().await;
    let whole = Sha256::digest(std::fs::read(bench.path()).unwrap()).to_vec();
    let set = Statement::named("set", "update instance set sha256 = $1").bind(whole);
    bench.archive.db.run(Batch::new().then(set)).await.unwrap();
    assert_eq!(bench.verdict(uids::CT_IMAGE_STORAGE, "1.2.3.4.5").await, Verdict::Intact);
    assert!(is_damaged(&bench.verdict_when_flipped(-5).await));
}
