//! A trail is written through the writer and spoilt beside it.

use rusqlite::Connection;

use super::chain::{COLUMNS, Head, ORIGIN};
use super::*;
use crate::db::{Batch, Db, SqliteSettings};

struct Trail {
    dir: tempfile::TempDir,
    db: Db,
}

impl Trail {
    async fn of(rows: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = SqliteSettings { readers: 1, group_max: 8 };
        let db = Db::open_sqlite(&dir.path().join("index.sqlite"), settings).unwrap();
        let trail = Self { dir, db };
        for at in 1..=rows {
            trail.append(at).await;
        }
        trail
    }

    async fn append(&self, at: i64) {
        let actor = Actor::node("CT1", Some([10, 0, 0, 1].into())).in_request("r1");
        let study = "1.2.3".parse().unwrap();
        let entry = Entry::new(&actor, Action::StoreInstance).study(&study).detail("three objects");
        let entry = Entry { began_at: Some(Timestamp(at)), ..entry.object(ObjectKind::Instance, "1.2.3.4") };
        self.db.run(Batch::new().then(append(&entry, Timestamp(at)))).await.unwrap();
    }

    fn raw(&self) -> Connection {
        Connection::open(self.dir.path().join("index.sqlite")).unwrap()
    }

    /// As somebody would who can write the file.
    fn spoil(&self, sql: &str) {
        let raw = self.raw();
        for trigger in ["audit_is_not_changed", "audit_is_not_shortened", "audit_has_no_gaps"] {
            raw.execute_batch(&format!("drop trigger if exists {trigger}")).unwrap();
        }
        raw.execute_batch(sql).unwrap();
    }

    async fn flaws(&self, heads: &[Head]) -> Vec<Flaw> {
        verify(&self.db, heads).await.unwrap().flaws
    }

    async fn end(&self) -> Head {
        verify(&self.db, &[]).await.unwrap().end
    }
}

#[tokio::test]
async fn a_trail_as_written_has_no_flaw() {
    let trail = Trail::of(5).await;
    let verified = verify(&trail.db, &[ORIGIN]).await.unwrap();
    assert_eq!((verified.rows, verified.end.sequence, verified.flaws), (5, 5, vec![]));
}

#[tokio::test]
async fn a_change_of_any_column_is_found() {
    for column in COLUMNS.split(", ").filter(|column| *column != "sequence").chain(["hash"]) {
        for value in ["null", "'x'", "77", "x'0102'"] {
            let trail = Trail::of(3).await;
            let relaxed = "pragma ignore_check_constraints = on; pragma writable_schema = on;
                update sqlite_master set sql = replace(sql, ' not null', '') where name = 'audit';";
            trail.spoil(relaxed);
            let before: String = changes(&trail, column);
            trail.spoil(&format!("update audit set {column} = {value} where sequence = 2"));
            if changes(&trail, column) == before {
                continue;
            }
            let flaws = trail.flaws(&[]).await;
            assert_eq!(flaws.first(), Some(&Flaw::Changed { sequence: 2 }), "{column} = {value}");
        }
    }
}

fn changes(trail: &Trail, column: &str) -> String {
    let sql = format!("select typeof({column}) || quote({column}) from audit where sequence = 2");
    trail.raw().query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn missing_rows_are_named() {
    let trail = Trail::of(6).await;
    trail.spoil("delete from audit where sequence in (1, 3, 4)");
    let missing = |from, to| Flaw::Missing { from, to };
    assert_eq!(trail.flaws(&[]).await, [missing(1, 1), missing(3, 4)]);
}

#[tokio::test]
async fn rows_that_change_places_are_found() {
    let trail = Trail::of(4).await;
    trail.spoil(
        "update audit set sequence = 99 where sequence = 2; update audit set sequence = 2 where sequence = 3;
         update audit set sequence = 3 where sequence = 99",
    );
    let changed = |sequence| Flaw::Changed { sequence };
    assert_eq!(trail.flaws(&[]).await, [changed(2), changed(3), changed(4)]);
}

#[tokio::test]
async fn an_end_that_is_cut_off_is_found_by_a_head() {
    let trail = Trail::of(4).await;
    let head = trail.end().await;
    trail.spoil("delete from audit where sequence > 2");
    assert_eq!(trail.flaws(&[]).await, []);
    assert_eq!(trail.flaws(&[head]).await, [Flaw::Truncated { end: 2, sequence: 4 }]);
}

#[tokio::test]
async fn a_trail_that_was_written_anew_is_found_by_a_head() {
    let trail = Trail::of(3).await;
    let head = trail.end().await;
    trail.spoil("delete from audit where sequence = 3");
    trail.append(77).await;
    assert_eq!(trail.flaws(&[]).await, []);
    assert_eq!(trail.flaws(&[head]).await, [Flaw::Rewritten { sequence: 3 }]);
}

#[tokio::test]
async fn the_schema_refuses_what_is_no_appending() {
    let trail = Trail::of(3).await;
    for sql in [
        "update audit set detail = 'x'",
        "delete from audit where sequence = 1",
        "insert or replace into audit select * from audit where sequence = 2",
        "insert into audit_anchor values (2, x'00', 1)",
    ] {
        assert!(trail.raw().execute_batch(sql).is_err(), "{sql}");
    }
}

#[tokio::test]
async fn what_retention_leaves_still_verifies() {
    let trail = Trail::of(5).await;
    assert_eq!(prune(&trail.db, Timestamp(4), None, Timestamp(9)).await.unwrap(), 3);
    let verified = verify(&trail.db, &[]).await.unwrap();
    assert_eq!((verified.rows, verified.anchor.sequence, verified.end.sequence), (3, 3, 6));
    assert_eq!(verified.flaws, []);
    assert_eq!(prune(&trail.db, Timestamp(4), None, Timestamp(9)).await.unwrap(), 0);
    prune(&trail.db, Timestamp(100), None, Timestamp(101)).await.unwrap();
    trail.append(102).await;
    assert_eq!(trail.flaws(&[]).await, []);
}

#[tokio::test]
async fn what_a_collector_has_not_taken_stays() {
    let trail = Trail::of(5).await;
    assert_eq!(prune(&trail.db, Timestamp(4), Some(2), Timestamp(9)).await.unwrap(), 2);
    assert_eq!(trail.flaws(&[]).await, []);
}

#[tokio::test]
async fn an_anchor_that_nothing_tells_of_is_found() {
    let trail = Trail::of(3).await;
    trail.spoil(
        "insert into audit_anchor select sequence, hash, 1 from audit where sequence = 2;
         delete from audit where sequence <= 2",
    );
    assert_eq!(trail.flaws(&[]).await, [Flaw::UntoldAnchor { sequence: 2 }]);
}

#[tokio::test]
async fn a_batch_that_fails_leaves_no_gap() {
    let trail = Trail::of(1).await;
    let system = Actor::system();
    let entry = append(&Entry::new(&system, Action::Query), Timestamp(2));
    let guard = Statement::named("guard", "update study set updated_at = 1");
    assert!(trail.db.run(Batch::new().then(entry).then_exactly(1, guard)).await.is_err());
    trail.append(3).await;
    assert_eq!((trail.end().await.sequence, trail.flaws(&[]).await), (2, vec![]));
}
