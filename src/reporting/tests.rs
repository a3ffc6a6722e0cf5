//! The life of reports over an archive of one small image, without a model.

mod changes;

use super::*;
use crate::clock::Timestamp;
use crate::db::audit::Actor;
use crate::db::{Batch, Statement, studies};
use crate::dicom::uid::StudyUid;
use crate::ingest::testing;
use crate::report::content::Words;
use crate::report::findings::{Certainty, Laterality};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const RADIOGRAPH: &str = "1.2.840.10008.5.1.4.1.1.1";

struct Bench {
    _dir: tempfile::TempDir,
    reporting: Reporting,
    study: StudyUid,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        let blobs = Blobs::open_local(dir.path()).unwrap();
        testing::hold(&db, &blobs, &[testing::file(testing::image(RADIOGRAPH, "1.2.3.4.1"), EXPLICIT)]).await;
        let clock = Clock::manual(Timestamp(1_800_000_000_000_000));
        let parts = Parts {
            ingest: Ingest::new(db.clone(), blobs.clone(), clock.clone(), testing::policy()),
            db,
            blobs,
            clock,
            bell: Bell::default(),
            exports: Plan::default(),
            settings: config::Report {
                organization: "Hospital".into(),
                signer: String::new(),
                language: "en".into(),
                text_characters_max: 1000,
                findings_max: 4,
                images_max: 4,
                versions_max: 12,
                workers: 1,
                attempts_max: 2,
            },
            serial_number: "1".into(),
        };
        Self { _dir: dir, reporting: Reporting::new(parts), study: "1.2.3".parse().unwrap() }
    }

    async fn begun(&self) -> Opened {
        let texts = TextChanges { impression: Some("Normal.".into()), ..TextChanges::default() };
        let beginning = Beginning { texts, reason: None };
        self.reporting.begin(&ana(), &self.study, &beginning).await.unwrap()
    }

    async fn edit(&self, opened: &Opened, edit: Edit) -> Result<Opened, ReportingError> {
        self.reporting.edit(&ana(), &opened.head.id, &seen(opened), &edit, Some("because")).await
    }

    async fn sign(&self, opened: &Opened) -> Result<Opened, ReportingError> {
        let signer = Signer { author: ana(), proof: "password" };
        self.reporting.sign(&signer, &opened.head.id, &seen(opened), false, None).await
    }

    async fn published(&self, opened: &Opened) -> Opened {
        let ending = self.reporting.publish(&opened.head.id, opened.version.number).await;
        assert_eq!(ending, Ending::Done("published".into()));
        self.reporting.open(&opened.head.id).await.unwrap()
    }

    async fn objects(&self) -> usize {
        studies::members(&self.reporting.parts.db, &self.study).await.unwrap().len()
    }
}

fn ana() -> Author {
    Author { actor: Actor::program("ana"), id: "u1".into(), name: "Ana Ruiz".into() }
}

fn seen(opened: &Opened) -> Expected {
    Expected::Revisions(vec![opened.head.revision])
}

fn text(impression: &str) -> Edit {
    Edit::Text(TextChanges { impression: Some(impression.into()), ..TextChanges::default() })
}

fn nodule() -> Words {
    Words {
        finding: "pulmonary nodule".into(),
        location: "left upper lobe".into(),
        laterality: Laterality::Left,
        certainty: Certainty::Definite,
        severity: None,
        sentence: None,
        code: None,
        image: None,
        region: None,
        measurements: Vec::new(),
    }
}

#[tokio::test]
async fn of_two_editors_one_is_told_that_the_other_was_first() {
    let bench = Bench::new().await;
    let begun = bench.begun().await;
    let (one, other) = tokio::join!(bench.edit(&begun, text("One.")), bench.edit(&begun, text("Other.")));
    assert!(matches!(
        (&one, &other),
        (Ok(_), Err(ReportingError::Stale)) | (Err(ReportingError::Stale), Ok(_))
    ));
    let won = one.or(other).unwrap();
    assert_eq!((won.status, won.version.number), (Status::Edited, 2));
    let first = bench.reporting.content(&begun.head.id, 1).await.unwrap().1;
    assert_eq!(first.sections.impression, "Normal.");
}

#[tokio::test]
async fn what_is_signed_stays_and_its_documents_come_once() {
    let bench = Bench::new().await;
    let begun = bench.begun().await;
    let signed = bench.sign(&begun).await.unwrap();
    assert_eq!((signed.status, bench.objects().await), (Status::Signed, 1));
    assert!(matches!(bench.edit(&signed, text("No.")).await, Err(ReportingError::NotAllowed { .. })));
    let published = bench.published(&signed).await;
    assert_eq!((published.version.published_at.is_some(), bench.objects().await), (true, 3));
    assert_eq!(published.head.objects, published.version.objects);
    let again = bench.reporting.publish(&begun.head.id, 2).await;
    assert_eq!((again, bench.objects().await), (Ending::Done("published before".into()), 3));
}

#[tokio::test]
async fn a_stop_between_the_objects_and_their_rows_loses_and_doubles_nothing() {
    let bench = Bench::new().await;
    let begun = bench.begun().await;
    let signed = bench.sign(&begun).await.unwrap();
    bench.published(&signed).await;
    let forget = Statement::named("forget", "update report_version set published_at = null");
    bench.reporting.parts.db.run(Batch::new().then(forget)).await.unwrap();
    assert_eq!(bench.reporting.resume().await.unwrap(), 1);
    bench.published(&signed).await;
    assert_eq!(bench.objects().await, 3);
}

#[tokio::test]
async fn an_addendum_is_signed_too_and_takes_the_place_of_what_was() {
    let bench = Bench::new().await;
    let begun = bench.begun().await;
    let signed = bench.published(&bench.sign(&begun).await.unwrap()).await;
    let adding = bench.edit(&signed, Edit::Addendum { text: "More.".into() }).await.unwrap();
    assert_eq!((adding.status, adding.version.follows), (Status::Addending, Some(2)));
    let added = bench.published(&bench.sign(&adding).await.unwrap()).await;
    assert_eq!((added.status, bench.objects().await), (Status::Addended, 5));
    let replaced = bench.reporting.content(&begun.head.id, 2).await.unwrap().0;
    assert_eq!(replaced.superseded_by, Some(added.version.number));
}

#[tokio::test]
async fn a_correction_that_is_given_up_leaves_the_signed_version_in_force() {
    let bench = Bench::new().await;
    let signed = bench.sign(&bench.begun().await).await.unwrap();
    let correcting = bench.edit(&signed, Edit::Correct).await.unwrap();
    let changed = bench.edit(&correcting, text("Wrong.")).await.unwrap();
    let back = bench.reporting.discard(&ana(), &changed.head.id, &seen(&changed)).await.unwrap();
    assert_eq!((back.status, back.version.number, back.head.versions), (Status::Signed, 2, 4));
    assert_eq!(back.content.sections.impression, "Normal.");
    let anew = bench.edit(&back, Edit::Correct).await.unwrap();
    assert_eq!(anew.version.number, 5);
}

#[tokio::test]
async fn versions_and_findings_have_a_limit() {
    let bench = Bench::new().await;
    let mut opened = bench.begun().await;
    for _ in 0..4 {
        opened = bench.edit(&opened, Edit::AddFinding(nodule())).await.unwrap();
    }
    let fifth = bench.edit(&opened, Edit::AddFinding(nodule())).await;
    assert!(matches!(fifth, Err(ReportingError::Faults(_))));
    while let Ok(next) = bench.edit(&opened, text("Again.")).await {
        opened = next;
    }
    assert_eq!(opened.head.versions, 12);
}

#[tokio::test]
async fn nothing_is_signed_without_an_impression() {
    let bench = Bench::new().await;
    let begun = bench.begun().await;
    let empty = bench.edit(&begun, text(" ")).await.unwrap();
    assert!(matches!(bench.sign(&empty).await, Err(ReportingError::Faults(_))));
}

#[tokio::test]
async fn a_report_of_no_study_cannot_be_begun() {
    let bench = Bench::new().await;
    let begun = bench.reporting.begin(&ana(), &"1.9".parse().unwrap(), &Beginning::default()).await;
    assert!(matches!(begun, Err(ReportingError::UnknownStudy)));
}
