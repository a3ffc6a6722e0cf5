//! An index or a bucket that fails in the middle of an analysis: after a restart the study has one analysis with
//! one report, as if nothing had happened.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::blobs::testing::{self, Faults};
use crate::db::testing::faults::{Faulty, Plan};
use crate::jobs::driver::{self, Driver};

const LISTING: &[&str] = &[
    "select modality || ' ' || instance_count from series order by modality",
    "select instance_count || ' ' || modalities from study",
    "select state || ' ' || coalesce(reason, '') || ' ' || pipeline from analysis",
    "select code from finding",
    "select name || ' ' || method from measurement order by name, method",
    "select status || ' ' || version || ' ' || versions from report",
    "select kind from change order by kind, sequence",
    "select kind || ' ' || state from job order by kind",
];
const LEASE: Duration = Duration::from_secs(60);
/// Longer than a lease and every pause between attempts.
const LONG: Duration = Duration::from_secs(4000);

struct Broken {
    bench: Bench,
    index: Arc<Faulty>,
    bucket: Arc<Faults>,
    /// Without faults.
    db: Db,
    blobs: Blobs,
}

impl Broken {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        let (faulty, index) = db.faulty();
        let (blobs, bucket) = bucket(dir.path());
        let bench = Bench::on(dir, faulty, blobs.clone(), ScriptedEngine::always(ANSWER), true);
        Self { bench, index, bucket, db, blobs }
    }

    /// With everything well.
    fn restarted(self) -> Bench {
        self.index.plan(Plan::Nothing);
        self.bucket.plan(testing::Plan::Nothing);
        let Bench { dir, clock, .. } = self.bench;
        let bench = Bench::on(dir, self.db, self.blobs, ScriptedEngine::always(ANSWER), true);
        bench.clock.advance(clock.now().since(bench.clock.now()));
        bench
    }
}

fn bucket(dir: &Path) -> (Blobs, Arc<Faults>) {
    testing::with(dir, |storage| storage.part_bytes = 64 << 20)
}

impl Bench {
    fn driver(&self, kind: JobKind) -> Driver {
        let handler = Arc::clone(&self.analyses) as Arc<dyn crate::jobs::Handler>;
        Driver {
            db: self.db.clone(),
            clock: self.clock.clone(),
            bell: Bell::default(),
            kind,
            handler,
            workers: 1,
            stat_workers: 0,
            lease: LEASE,
            priority_lead: Duration::ZERO,
            attempts_max: 4,
            owner: "test".to_owned(),
        }
    }

    /// Each kind of work as the server does it, until nothing that is due is left.
    async fn work(&self) {
        for kind in [JobKind::CompleteStudy, JobKind::AnalyseStudy] {
            while driver::step(&self.driver(kind)).await.unwrap_or(false) {}
        }
    }

    async fn listing(&self) -> Vec<String> {
        let mut listed = Vec::new();
        for sql in LISTING {
            listed.extend(self.texts(sql).await);
        }
        listed
    }
}

/// The study is there before anything fails.
async fn begun() -> Broken {
    let broken = Broken::new();
    broken.bench.store(&chest().objects, None).await;
    broken.bench.clock.advance(Duration::from_secs(31));
    broken
}

/// After a restart, and when everything that waits is due.
async fn ended(broken: Broken) -> Bench {
    let bench = broken.restarted();
    bench.analyses.begin().await.unwrap();
    for _ in 0..2 {
        bench.clock.advance(LONG);
        bench.work().await;
    }
    bench
}

async fn undisturbed() -> Vec<String> {
    let broken = begun().await;
    broken.bench.work().await;
    ended(broken).await.listing().await
}

/// One object for each row, and none that no row has.
async fn nothing_stray(bench: &Bench) {
    let (later, stop) = (Timestamp(i64::MAX), CancellationToken::new());
    bench.ingest.sweep(later, &stop).await.unwrap();
    let swept = bench.ingest.sweep(later, &stop).await.unwrap();
    let rows = bench.texts("select sop_instance_uid from instance").await.len();
    assert_eq!((swept.examined, swept.deleted), (rows as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_statement_of_an_analysis_fails_there_is_one_report_after_a_restart() {
    let expected = undisturbed().await;
    for plan in [Plan::Statement, Plan::Answer] {
        let mut nth = 1;
        loop {
            let broken = begun().await;
            broken.index.plan(plan(nth));
            broken.bench.work().await;
            let met = broken.index.was_met();
            let bench = ended(broken).await;
            assert_eq!(bench.listing().await, expected, "{:?}", plan(nth));
            nothing_stray(&bench).await;
            if !met {
                break;
            }
            nth += 1;
        }
        assert!(nth > 5, "an analysis has more batches");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_of_the_store_fails_there_is_one_report_after_a_restart() {
    let expected = undisturbed().await;
    for plan in [testing::Plan::Before, testing::Plan::After] {
        let mut nth = 1;
        loop {
            let broken = begun().await;
            broken.bucket.plan(plan(nth));
            broken.bench.work().await;
            let met = nth <= broken.bucket.calls();
            let bench = ended(broken).await;
            assert_eq!(bench.listing().await, expected, "{:?}", plan(nth));
            nothing_stray(&bench).await;
            if !met {
                break;
            }
            nth += 1;
        }
        assert!(nth > 2, "images are read, SR and PDF are written");
    }
}
