use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::clock::Timestamp;
use crate::db::Statement;
use crate::jobs::{HandlerFuture, Task};

struct Bench {
    _dir: tempfile::TempDir,
    db: Db,
    clock: Clock,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        Self { _dir: dir, db, clock: Clock::manual(Timestamp(1_000_000_000)) }
    }

    async fn enqueue(&self, name: &str) {
        let now = self.clock.now();
        let task = Task::AnalyseStudy { analysis: name.to_owned() };
        self.db.run(Batch::new().then(jobs::enqueue(&task, now, now))).await.unwrap();
    }

    async fn claim(&self, owner: &str) -> Option<Job> {
        let now = self.clock.now();
        let (lease_until, priority_lead) = (now.plus(Duration::from_secs(60)), Duration::ZERO);
        let claim = jobs::Claim { owner, now, lease_until, priority_lead, priority_least: 0 };
        jobs::claim(&self.db, JobKind::AnalyseStudy, claim).await.unwrap()
    }

    async fn states(&self) -> Vec<String> {
        let statement = Statement::named("states", "select state from job order by id");
        let rows = self.db.read(statement).await.unwrap();
        rows.iter().map(|row| row.text(0).unwrap().to_owned()).collect()
    }

    fn driver(&self, handler: Arc<dyn Handler>) -> Driver {
        Driver {
            db: self.db.clone(),
            clock: self.clock.clone(),
            bell: Bell::default(),
            kind: JobKind::AnalyseStudy,
            handler,
            workers: 2,
            stat_workers: 0,
            lease: Duration::from_secs(60),
            priority_lead: Duration::ZERO,
            attempts_max: 2,
            owner: "a".to_owned(),
        }
    }
}

/// Ends every job the same way and counts them.
struct Always(Ending, AtomicUsize);

impl Handler for Always {
    fn run<'a>(&'a self, _job: &'a Job) -> HandlerFuture<'a> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let ending = self.0.clone();
        Box::pin(async move { ending })
    }

    fn gave_up<'a>(
        &'a self,
        _job: &'a Job,
        _reason: &'a str,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.1.fetch_add(100, Ordering::SeqCst);
        Box::pin(async {})
    }
}

#[tokio::test]
async fn a_job_is_claimed_once_until_its_lease_ends() {
    let bench = Bench::new();
    bench.enqueue("x").await;
    bench.enqueue("x").await;
    assert!(bench.claim("a").await.is_some());
    assert!(bench.claim("b").await.is_none());
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(bench.claim("b").await.unwrap().attempts, 2);
}

#[tokio::test]
async fn a_job_asked_for_while_it_runs_runs_again() {
    let bench = Bench::new();
    bench.enqueue("x").await;
    let job = bench.claim("a").await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    bench.enqueue("x").await;
    bench.db.run(jobs::finish(&job, "a", "done", bench.clock.now())).await.unwrap();
    assert_eq!(bench.states().await, ["queued"]);
}

#[tokio::test]
async fn a_job_asked_for_while_it_fails_for_good_runs_again() {
    let bench = Bench::new();
    bench.enqueue("x").await;
    let job = bench.claim("a").await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    bench.enqueue("x").await;
    bench.db.run(jobs::give_up(&job, "a", "broken", bench.clock.now())).await.unwrap();
    assert_eq!(bench.states().await, ["queued"]);
    assert_eq!(bench.claim("a").await.unwrap().attempts, 1);
}

#[tokio::test]
async fn a_job_that_takes_its_process_down_is_given_up_too() {
    let bench = Bench::new();
    bench.enqueue("x").await;
    for _ in 0..2 {
        bench.claim("a").await.unwrap();
        bench.clock.advance(Duration::from_secs(61));
    }
    let handler = Arc::new(Always(Ending::Done(String::new()), AtomicUsize::new(0)));
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(bench.driver(Arc::clone(&handler) as Arc<dyn Handler>), stop.clone()));
    while !["dead", "done"].contains(&bench.states().await[0].as_str()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!((bench.states().await[0].as_str(), handler.1.load(Ordering::SeqCst)), ("dead", 100));
}

#[tokio::test]
async fn a_bell_rung_before_the_wait_begins_is_heard() {
    let bell = Bell::default();
    let heard = bell.heard();
    bell.ring();
    assert!(tokio::time::timeout(Duration::from_secs(5), heard).await.is_ok());
}

#[tokio::test]
async fn only_the_owner_ends_a_job() {
    let bench = Bench::new();
    bench.enqueue("x").await;
    let job = bench.claim("a").await.unwrap();
    let stranger = bench.db.run(jobs::finish(&job, "b", "done", bench.clock.now())).await;
    assert!(matches!(stranger, Err(DbError::Affected { .. })));
    assert_eq!(bench.states().await, ["leased"]);
}

#[tokio::test]
async fn failures_are_tried_again_and_then_given_up() {
    let bench = Bench::new();
    bench.enqueue("x").await;
    let handler = Arc::new(Always(Ending::Retry("no luck".to_owned()), AtomicUsize::new(0)));
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(bench.driver(Arc::clone(&handler) as Arc<dyn Handler>), stop.clone()));
    while bench.states().await != ["dead"] {
        bench.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(handler.1.load(Ordering::SeqCst), 102);
}
