use super::*;
use crate::db::migration;
use crate::db::tables::tables;

/// Rows of many tables: text with everything in it, bytes, numbers, nothing.
const ROWS: &[&str] = &[
    "insert into patient (id, issuer, patient_id, name, name_folded, birth_date, sex, created_at, updated_at)
     values (7, '', 'P', 'Grün^Ä', 'GRUN', '19700101', 'F', 1, 2)",
    "insert into study (id, patient, study_uid, study_date, study_time, accession_number, study_id, description,
        referring_physician, referring_folded, attributes, last_instance_at, created_at, updated_at, series_count)
     values (3, 7, '1.2', '', '', '', '', 'thorax', '', '', x'00ff10', 5, 5, 5, 4)",
    "insert into analysis (id, study_uid, pipeline, content_sha256, state, trigger_kind, queued_at)
     values ('a', '1.2', 'ct', 'c', 'done', 'rule', 1)",
    "insert into finding (id, analysis, ordinal, finding, location, laterality, certainty)
     values ('f', 'a', 0, 'nodule', 'lung', 'left', 'likely')",
    "insert into measurement (id, analysis, finding, name, value, unit, method)
     values ('m', 'a', 'f', 'length', 3.0, 'mm', 'model-estimate')",
    "insert into account (id, name, name_key, display_name, roles, must_change, disabled, created_at, updated_at, version)
     values ('u', 'n', 'n', 'N', ' reader ', 0, 0, 1, 1, 1)",
    "insert into session (id, account, means, client, created_at, auth_time, last_used_at, expires_at)
     values ('s', 'u', 'password', '::1', 1, 1, 1, 9)",
    "insert into refresh_token (digest, session, issued_at, expires_at) values (x'0a0b', 's', 1, 2)",
    "insert into event (at, kind) values (1, 'study-received')",
];

struct Bench {
    _dirs: [tempfile::TempDir; 2],
    /// In SQLite, whatever the other one is.
    from: Db,
    to: Db,
}

impl Bench {
    async fn new() -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let from = Db::sqlite_for_test(dirs[0].path());
        for sql in ROWS {
            from.run(Batch::new().then(Statement::fixture(sql))).await.unwrap();
        }
        let to = match Db::for_test(dirs[1].path()) {
            Db::Sqlite(_) => {
                let settings = crate::db::SqliteSettings { readers: 2, group_max: 1 };
                Db::open_sqlite_to_fill(&dirs[1].path().join("index.sqlite"), settings).unwrap()
            }
            postgres => postgres,
        };
        Self { _dirs: dirs, from, to }
    }

    async fn carry(from: &Db, to: &Db) {
        for table in tables(from).await.unwrap() {
            empty(to, &table).await.unwrap();
            let mut after = None;
            while let Some(page) = page(from, &table, after.as_ref()).await.unwrap() {
                after = Some(page.last.clone());
                fill(to, &table, page).await.unwrap();
            }
            let number =
                highest_number(from, &table).await.unwrap().max(highest_key(from, &table).await.unwrap());
            go_on_behind(to, &table, number.unwrap_or(0)).await.unwrap();
        }
    }

    async fn differences(from: &Db, to: &Db) -> Vec<String> {
        let mut found = Vec::new();
        for table in tables(from).await.unwrap() {
            if contents(from, &table, drop).await.unwrap() != contents(to, &table, drop).await.unwrap() {
                found.push(table.name);
            }
        }
        found
    }
}

#[tokio::test]
async fn every_row_comes_over_and_back_as_it_was() {
    let bench = Bench::new().await;
    assert!(!Bench::differences(&bench.from, &bench.to).await.is_empty());
    Bench::carry(&bench.from, &bench.to).await;
    assert_eq!(Bench::differences(&bench.from, &bench.to).await, Vec::<String>::new());
    let back = tempfile::tempdir().unwrap();
    let settings = crate::db::SqliteSettings { readers: 2, group_max: 1 };
    let back_db = Db::open_sqlite_to_fill(&back.path().join("index.sqlite"), settings).unwrap();
    Bench::carry(&bench.to, &back_db).await;
    assert_eq!(Bench::differences(&bench.from, &back_db).await, Vec::<String>::new());
}

#[tokio::test]
async fn one_value_that_differs_is_seen() {
    let bench = Bench::new().await;
    Bench::carry(&bench.from, &bench.to).await;
    for (change, table) in [
        ("update measurement set value = 3.5", "measurement"),
        ("update study set attributes = x'00ff11'", "study"),
        ("update finding set severity = ''", "finding"),
        ("delete from refresh_token", "refresh_token"),
    ] {
        bench.to.run(Batch::new().then(Statement::fixture(change))).await.unwrap();
        assert!(Bench::differences(&bench.from, &bench.to).await.contains(&table.to_owned()), "{table}");
    }
}

#[tokio::test]
async fn new_rows_get_numbers_behind_those_that_were_ever_given() {
    let bench = Bench::new().await;
    let forget = Batch::new().then(Statement::named("forget", "delete from event"));
    bench.from.run(forget).await.unwrap();
    Bench::carry(&bench.from, &bench.to).await;
    for sql in
        [ROWS[8], "insert into decision (study_uid, at, verdict, rule, reason) values ('1', 1, '', '', '')"]
    {
        bench.to.run(Batch::new().then(Statement::fixture(sql))).await.unwrap();
    }
    let number = first_int(&bench.to, Statement::named("number", "select sequence from event")).await;
    assert_eq!(number.unwrap(), Some(2));
    let study =
        "insert into patient (issuer, patient_id, name, name_folded, birth_date, sex, created_at, updated_at)
        values ('', 'Q', '', '', '', '', 1, 1)";
    bench.to.run(Batch::new().then(Statement::fixture(study))).await.unwrap();
    let highest = Statement::named("highest", "select max(id) from patient");
    assert_eq!(first_int(&bench.to, highest).await.unwrap(), Some(8));
}

#[tokio::test]
async fn long_rows_make_short_pages_and_none_is_left_out() {
    let bench = Bench::new().await;
    let tables = tables(&bench.from).await.unwrap();
    let wide = tables.iter().find(|table| table.name == "idempotency").unwrap();
    for key in 0..7_i64 {
        let row = Statement::named(
            "row",
            "insert into idempotency (caller, endpoint, key, claim, body_sha256,
            state, answer, at) values ('c', 'e', $1, '', $2, 'done', $3, 1)",
        );
        let row = row.bind(key.to_string()).bind(vec![0]).bind(vec![7; 2 << 20]);
        bench.from.run(Batch::new().then(row)).await.unwrap();
    }
    let (mut after, mut pages) = (None, Vec::new());
    while let Some(page) = page(&bench.from, wide, after.as_ref()).await.unwrap() {
        pages.push(page.rows());
        after = Some(page.last.clone());
        fill(&bench.to, wide, page).await.unwrap();
    }
    assert_eq!((pages.iter().sum::<u64>(), pages.iter().max()), (7, Some(&1)));
    assert_eq!(migration::last(&bench.to, "idempotency").await.unwrap(), after);
    assert_eq!(count(&bench.to, wide).await.unwrap(), 7);
}
