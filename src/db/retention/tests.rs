use std::time::Duration;

use super::*;
use crate::config::{Config, Overrides};
use crate::db::Batch;

const DAY: i64 = 24 * 3600 * 1_000_000;

struct Bench {
    _dir: tempfile::TempDir,
    db: Db,
}

impl Bench {
    /// With the study 1.1 of 1 January 1970, one CT image that came from CT1 on day 0.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self { db: Db::for_test(dir.path()), _dir: dir };
        bench
            .sql(
                "insert into patient (id, issuer, patient_id, name, name_folded, birth_date, sex, created_at,
                    updated_at) values (1, '', 'P1', '', '', '', '', 0, 0)",
            )
            .await;
        bench
            .sql(
                "insert into study (id, patient, study_uid, study_date, study_time, accession_number, study_id,
                    description, referring_physician, referring_folded, attributes, last_instance_at,
                    created_at, updated_at, instance_count)
                 values (1, 1, '1.1', '19700101', '', '', '', '', '', '', x'00', 0, 0, 0, 1)",
            )
            .await;
        bench.instance(1, "CT", "dimse", "CT1").await;
        bench
    }

    async fn sql(&self, sql: &str) {
        self.db.run(Batch::new().then(Statement::fixture(sql))).await.unwrap();
    }

    /// In a series of its own.
    async fn instance(&self, id: i64, modality: &str, source: &str, aet: &str) {
        self.sql(&format!(
            "insert into series (id, study, series_uid, modality, description, body_part, performed_start_date,
                performed_start_time, attributes, created_at,
                updated_at) values ({id}, 1, '1.1.{id}', '{modality}', '', '', '', '', x'00', 0, 0)"
        ))
        .await;
        self.sql(&format!(
            "insert into instance (id, series, study, sop_instance_uid, sop_class_uid, transfer_syntax, blob_key,
                size_bytes, sha256, dataset_sha256, layout, metadata, source, source_aet, created_at)
             values ({id}, {id}, 1, '1.1.{id}.1', '1.2', '1.2', 'k{id}', 7, x'00', x'00', x'00', x'00', '{source}',
                '{aet}', 0)"
        ))
        .await;
    }

    /// Which rule is about the study after so many days.
    async fn due(&self, rules: &str, days: u32) -> Option<usize> {
        let keys = vec![("retention.rules", format!("[{rules}]"))];
        let rules = Config::load(&Overrides { file: None, keys }).unwrap().retention.rules;
        let now = Timestamp(1).plus(Duration::from_secs(24 * 3600) * days);
        let settled = Timestamp(now.0 - 7 * DAY);
        let found = due(&self.db, &rules, now, settled, 0).await.unwrap();
        assert!(due(&self.db, &rules, now, settled, 1).await.unwrap().is_empty(), "behind the only row");
        assert!(found.iter().all(|due| due.study.as_str() == "1.1" && due.bytes % 7 == 0));
        found.first().map(|due| due.rule)
    }

    async fn is_due(&self, condition: &str) -> bool {
        self.due(&format!(r#"{{ name = "a", keep_days = 30{condition} }}"#), 31).await.is_some()
    }
}

#[tokio::test]
async fn a_study_is_due_when_its_time_is_over_by_the_first_rule_that_is_about_it() {
    let bench = Bench::new().await;
    let rules = r#"{ name = "mr", keep_days = 10, modality = ["MR"] }, { name = "ct", keep_days = 30 },
        { name = "all", keep_days = 20 }"#;
    assert_eq!(bench.due(rules, 19).await, None);
    assert_eq!(bench.due(rules, 21).await, Some(2));
    assert_eq!(bench.due(rules, 31).await, Some(1));
    assert_eq!(bench.due("", 31).await, None);
}

#[tokio::test]
async fn a_study_is_due_by_its_date_and_never_without_one_nor_before_it_is_settled() {
    let bench = Bench::new().await;
    let rule = r#"{ name = "a", keep_days = 1, age_by = "study-date" }"#;
    assert_eq!(bench.due(rule, 6).await, None, "something came within the week");
    assert_eq!(bench.due(rule, 8).await, Some(0));
    for date in ["", "19700131", "1970.1.1", "0"] {
        bench.sql(&format!("update study set study_date = '{date}'")).await;
        assert_eq!(bench.due(rule, 8).await, None, "{date}");
    }
}

#[tokio::test]
async fn every_series_has_a_modality_and_every_instance_a_source_of_the_rule() {
    let bench = Bench::new().await;
    assert!(bench.is_due(r#", modality = ["CT", "MR"], source_aet = ["CT1"]"#).await);
    assert!(!bench.is_due(r#", modality = ["MR"]"#).await);
    assert!(!bench.is_due(r#", source_aet = ["CT2"]"#).await);
    bench.instance(2, "SR", "analysis", "").await;
    assert!(bench.is_due(r#", modality = ["CT"], source_aet = ["CT1"]"#).await, "results do not count");
    bench.instance(3, "PT", "stow", "").await;
    assert!(!bench.is_due(r#", modality = ["CT"]"#).await);
    assert!(!bench.is_due(r#", source_aet = ["CT1"]"#).await);
    assert!(bench.is_due(r#", modality = ["CT", "PT"], source_aet = ["CT1", ""]"#).await);
}

#[tokio::test]
async fn a_rule_may_ask_how_far_the_work_is() {
    let bench = Bench::new().await;
    assert!(!bench.is_due(r#", status = ["signed"]"#).await);
    bench.sql("update worklist set status = 'signed'").await;
    assert!(bench.is_due(r#", status = ["signed"]"#).await);
}

#[tokio::test]
async fn what_is_held_or_under_way_is_not_due_until_it_is_over() {
    let cases = [
        ("insert into hold (id, study_uid, reason, actor, at) values ('h', '1.1', 'a trial', 'Ada', 0)",
            "update hold set released_at = 1, released_by = 'Ada'"),
        ("insert into analysis (id, study_uid, pipeline, content_sha256, state, trigger_kind, queued_at)
            values ('a', '1.1', 'ct', 'c', 'running', 'rule', 0)", "update analysis set state = 'waiting'"),
        ("insert into job (id, kind, payload, dedupe_key, state, run_after, created_at, updated_at)
            values ('j', 'complete-study', x'00', 'complete-study:1.1', 'queued', 0, 0, 0)",
            "update job set state = 'done'"),
        ("insert into export (destination, subject, study_uid, content, rule, state, due_at, created_at, updated_at)
            values ('d', '1.1.1.1', '1.1', x'00', 'r', 'failed', 0, 0, 0)", "update export set state = 'dead'"),
        ("insert into download (id, owner, form, options, state, studies, instances_total, created_at, updated_at,
                expires_at) values ('d', 'o', 'dicom', x'00', 'queued', 1, 1, 0, 0, 0)",
            "update download set state = 'done'"),
        ("insert into commitment (id, direction, transaction_uid, peer_aet, state, asked_at, updated_at)
            values ('c', 'given', '1.7', 'CT1', 'accepted', 0, 0)", "update commitment set state = 'reported'"),
    ];
    let bench = Bench::new().await;
    for (begin, end) in cases {
        bench.sql(begin).await;
        if begin.starts_with("insert into download") {
            bench
                .sql("insert into download_study (download, ordinal, study_uid) values ('d', 0, '1.1')")
                .await;
        }
        if begin.starts_with("insert into commitment") {
            bench
                .sql(
                    "insert into commitment_instance (commitment, ordinal, sop_class_uid, sop_instance_uid)
                     values ('c', 0, '1.2', '1.1.1.1')",
                )
                .await;
        }
        assert!(!bench.is_due("").await, "{begin}");
        bench.sql(end).await;
        assert!(bench.is_due("").await, "{end}");
    }
}
