use super::*;
use crate::db::Value;
use crate::db::page::Key;

struct Bench {
    _dir: tempfile::TempDir,
    db: Db,
    totals: Totals,
}

impl Bench {
    /// Two studies of one patient and one of another.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        Self::filled(dir, db).await
    }

    async fn filled(dir: tempfile::TempDir, db: Db) -> Self {
        let bench = Self { _dir: dir, db, totals: Totals::default() };
        bench
            .sql(
                "insert into patient (id, issuer, patient_id, name, name_folded, name_words, birth_date, sex,
                    created_at, updated_at)
                 values (1, '', 'P1', 'Müller^Jo', '', ' MULLER JO ', '', '', 0, 0),
                    (2, '', 'P2', 'Doe^Jane', '', ' DOE JANE ', '', '', 0, 0)",
            )
            .await;
        for (id, patient, date) in [(1, 1, "20260101"), (2, 1, "20260201"), (3, 2, "20260301")] {
            bench.study(id, patient, date).await;
        }
        bench
    }

    async fn sql(&self, sql: &str) {
        self.db.run(Batch::new().then(Statement::fixture(sql))).await.unwrap();
    }

    async fn study(&self, id: i64, patient: i64, date: &str) {
        let sql = format!(
            "insert into study (id, patient, study_uid, study_date, study_time, accession_number, study_id,
                description, referring_physician, referring_folded, attributes, last_instance_at, created_at,
                updated_at, modalities, search_words)
             values ({id}, {patient}, '1.{id}', '{date}', '', '', '', '', '', '', x'00', 0, {id}, 0, '\\CT\\SR\\',
                ' P{patient} CHEST ')"
        );
        self.sql(&sql).await;
    }

    async fn found(&self, filter: Filter) -> Vec<String> {
        let reach = Reach::Everything;
        let order = vec![Key { column: "worklist.study", descending: false }];
        let page = Page { order, after: None, limit: 10 };
        let found = list(&self.db, &self.totals, &reach, &filter, &page).await.unwrap();
        assert_eq!(found.total, found.items.len() as i64);
        found.items.iter().map(|entry| entry.study.to_string()).collect()
    }

    async fn status(&self) -> String {
        one(&self.db, &Reach::Everything, &"1.1".parse().unwrap()).await.unwrap().unwrap().status
    }
}

#[tokio::test]
async fn the_status_follows_analyses_and_reports() {
    let bench = Bench::new().await;
    let mut seen = vec![bench.status().await];
    for sql in [
        "insert into analysis (id, study_uid, pipeline, content_sha256, state, trigger_kind, queued_at)
         values ('a', '1.1', 'cxr', 'x', 'queued', 'rule', 1)",
        "update analysis set state = 'failed'",
        "update analysis set state = 'done'",
    ] {
        bench.sql(sql).await;
        seen.push(bench.status().await);
    }
    assert_eq!(seen, ["received", "analysing", "received", "received"]);
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let bench = Bench::new().await;
    let text = |text: &str| Filter { text: Some(text.into()), ..Filter::default() };
    assert_eq!(bench.found(Filter::default()).await, ["1.1", "1.2", "1.3"]);
    assert_eq!(bench.found(text("mül p1")).await, ["1.1", "1.2"]);
    assert_eq!(bench.found(text("uller")).await, [""; 0]);
    assert_eq!(bench.found(text("jane chest")).await, ["1.3"]);
    let modality = |one: &str| Filter { modalities: vec![one.into()], ..Filter::default() };
    assert_eq!(bench.found(modality("SR")).await.len(), 3);
    assert_eq!(bench.found(modality("S")).await.len(), 0);
    let dates =
        Filter { date_from: Some("20260201".into()), date_to: Some("20260228".into()), ..Filter::default() };
    assert_eq!(bench.found(dates).await, ["1.2"]);
    let before = Filter { before: Some("1.2".parse().unwrap()), ..Filter::default() };
    assert_eq!(bench.found(before).await, ["1.1"]);
}

#[tokio::test]
async fn findings_are_found_by_their_code() {
    let bench = Bench::new().await;
    bench
        .sql(
            "insert into analysis (id, study_uid, pipeline, content_sha256, state, trigger_kind, queued_at)
             values ('a', '1.1', 'cxr', 'x', 'done', 'rule', 1)",
        )
        .await;
    bench
        .sql(
            "insert into finding (id, analysis, ordinal, finding, location, laterality, certainty, code)
             values ('f', 'a', 0, 'effusion', 'pleura', 'left', 'definite', 'SCT|60046008|Pleural effusion')",
        )
        .await;
    let of = |scheme: Option<&str>, value: &str| {
        let code = Code { scheme: scheme.map(str::to_owned), value: value.into() };
        Filter { finding: Some(code), ..Filter::default() }
    };
    assert_eq!(bench.found(of(Some("SCT"), "60046008")).await, ["1.1"]);
    assert_eq!(bench.found(of(None, "60046008")).await, ["1.1"]);
    assert_eq!(bench.found(of(Some("SCT"), "6004600")).await, [""; 0]);
    assert_eq!(bench.found(of(None, "6004600")).await, [""; 0]);
}

#[tokio::test]
async fn a_total_is_counted_anew_when_the_list_changes() {
    let bench = Bench::new().await;
    assert_eq!(bench.found(Filter::default()).await.len(), 3);
    bench.study(4, 2, "20260401").await;
    assert_eq!(bench.found(Filter::default()).await.len(), 4);
    bench.sql("delete from study where id = 4").await;
    assert_eq!(bench.found(Filter::default()).await.len(), 3);
}

#[tokio::test]
async fn a_change_that_was_overtaken_changes_nothing() {
    let bench = Bench::new().await;
    let study = "1.1".parse().unwrap();
    let (actor, actions) = (Actor::system(), [Action::AssignStudy]);
    let wanted = |version| Change {
        study: &study,
        version,
        priority: 2,
        assignee: "u1",
        actor: &actor,
        actions: &actions,
    };
    bench.db.run(change(&wanted(1), Timestamp(1))).await.unwrap();
    let again = bench.db.run(change(&wanted(1), Timestamp(1))).await;
    assert!(matches!(again, Err(DbError::Affected { statement: CHANGE, .. })));
    let urgent = Filter { priorities: vec![2], assignee: Some("u1".into()), ..Filter::default() };
    assert_eq!(bench.found(urgent).await, ["1.1"]);
}

/// Pages are walked along an index, whatever else narrows them.
#[tokio::test]
async fn the_common_orders_have_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::sqlite_for_test(dir.path());
    let bench = Bench::filled(dir, db).await;
    for column in ["arrived_at", "study_date"] {
        let sql = format!(
            "explain query plan select {} from {FROM}
             order by worklist.{column} desc, worklist.study desc limit 10",
            columns(&Reach::Everything)
        );
        let rows = bench.db.read(Statement::named("plan", sql)).await.unwrap();
        let plan: Vec<&Value> = rows.iter().map(|row| &row.values[3]).collect();
        let plan = format!("{plan:?}");
        assert!(
            !plan.contains("USE TEMP B-TREE FOR ORDER BY\")") || !plan.contains("SCAN worklist\""),
            "{plan}"
        );
    }
}
