use super::*;
use crate::db::Statement;

struct Bench {
    _dir: tempfile::TempDir,
    db: Db,
}

impl Bench {
    /// With the study 1.1.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        for sql in [
            "insert into patient (id, issuer, patient_id, name, name_folded, birth_date, sex, created_at, updated_at)
             values (1, '', 'P1', '', '', '', '', 0, 0)",
            "insert into study (id, patient, study_uid, study_date, study_time, accession_number, study_id,
                description, referring_physician, referring_folded, attributes, last_instance_at, created_at,
                updated_at)
             values (1, 1, '1.1', '', '', '', '', '', '', '', x'00', 0, 0, 0)",
        ] {
            db.run(Batch::new().then(Statement::fixture(sql))).await.unwrap();
        }
        Self { _dir: dir, db }
    }

    async fn place(&self, study: &str, reason: &str, at: i64) -> Result<(), DbError> {
        let batch = place(&study.parse().unwrap(), reason, &Actor::program("Ada"), Timestamp(at));
        self.db.run(batch).await.map(drop)
    }

    async fn release(&self) -> Result<(), DbError> {
        let batch = release(&"1.1".parse().unwrap(), &Actor::program("Bob"), Timestamp(9));
        self.db.run(batch).await.map(drop)
    }

    async fn standing(&self) -> Option<Hold> {
        of(&self.db, &"1.1".parse().unwrap()).await.unwrap()
    }

    async fn listed(&self, released: Option<bool>) -> Vec<String> {
        let page = Page::first("hold.id", false, 10);
        let found = list(&self.db, &Reach::Everything, released, &page).await.unwrap();
        found.items.into_iter().map(|hold| hold.reason).collect()
    }
}

#[tokio::test]
async fn a_hold_stands_until_it_is_released_and_is_told_of_for_ever() {
    let bench = Bench::new().await;
    bench.place("1.1", "a trial", 5).await.unwrap();
    let hold = bench.standing().await.unwrap();
    assert_eq!((hold.reason.as_str(), hold.actor.as_str(), hold.at), ("a trial", "Ada", Timestamp(5)));
    assert_eq!(hold.released, None);
    bench.release().await.unwrap();
    assert_eq!(bench.standing().await, None);
    assert_eq!(bench.listed(Some(true)).await, ["a trial"]);
    assert_eq!(bench.listed(Some(false)).await, [""; 0]);
}

#[tokio::test]
async fn another_reason_takes_the_place_of_the_first_which_stays_in_the_list() {
    let bench = Bench::new().await;
    bench.place("1.1", "a trial", 5).await.unwrap();
    bench.place("1.1", "a complaint", 6).await.unwrap();
    assert_eq!(bench.standing().await.unwrap().reason, "a complaint");
    assert_eq!(bench.listed(None).await, ["a trial", "a complaint"]);
    assert_eq!(bench.listed(Some(true)).await, ["a trial"]);
}

#[tokio::test]
async fn nothing_is_held_that_is_not_there_and_nothing_released_that_is_free() {
    let bench = Bench::new().await;
    let refused = bench.place("1.9", "a trial", 5).await.unwrap_err();
    assert!(matches!(refused, DbError::Affected { statement: PLACE, .. }), "{refused}");
    let refused = bench.release().await.unwrap_err();
    assert!(matches!(refused, DbError::Affected { statement: RELEASE, .. }), "{refused}");
    assert_eq!(bench.listed(None).await, [""; 0]);
}
