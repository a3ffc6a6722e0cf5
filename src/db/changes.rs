//! The changes of the archive in the order of their commits.
//!
//! A reader that asks for what follows the last sequence it saw misses nothing: numbers become
//! visible in their order, because one writer gives and commits them.

use super::page::Conditions;
use super::{Db, DbError, Row, Statement, groups};
use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub sequence: i64,
    pub at: Timestamp,
    /// `instance-stored`, `instance-deleted`, …
    pub kind: String,
    pub study: StudyUid,
    pub series: Option<SeriesUid>,
    pub sop_instance: Option<SopInstanceUid>,
    /// Id of the analysis, report or deletion.
    pub subject: Option<String>,
    /// Whether the instance is there now.
    pub is_current: bool,
}

const CHANGE: &str = "select change.sequence, change.at, change.kind, change.study_uid, change.series_uid,
    change.sop_instance_uid, change.subject, case when instance.id is null then 0 else 1 end
    from change left join instance on instance.sop_instance_uid = change.sop_instance_uid";

/// What follows `after` and may be told to the caller, oldest first.
pub async fn list(db: &Db, reach: &Reach, after: i64, limit: u32) -> Result<Vec<Change>, DbError> {
    let mut conditions = told(reach);
    conditions.and_value("change.sequence > {}", after);
    let limit = conditions.place(i64::from(limit).into());
    let sql = format!("{CHANGE}{} order by change.sequence limit {limit}", conditions.clause());
    db.read(conditions.bind(Statement::named("changes", sql))).await?.iter().map(change).collect()
}

pub async fn latest(db: &Db, reach: &Reach) -> Result<Option<Change>, DbError> {
    let clause = told(reach).clause();
    let statement =
        Statement::named("latest_change", format!("{CHANGE}{clause} order by change.sequence desc limit 1"));
    db.read_one(statement).await?.as_ref().map(change).transpose()
}

/// Of what nobody has signed nothing is told to those who do not see it.
fn told(reach: &Reach) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.and_reach(reach, "change.study_uid");
    if let Some(released) = groups::released(reach, "change.series_uid") {
        conditions.and(released);
        conditions.and("change.kind not like 'analysis-%'");
        conditions
            .and("(change.kind not like 'report-%' or change.kind in ('report-signed', 'report-published'))");
    }
    conditions
}

/// The sequence in front of the first change at or after a time, or the last there is.
pub async fn before(db: &Db, at: Timestamp) -> Result<i64, DbError> {
    let statement = Statement::named(
        "change_before",
        "select coalesce((select min(sequence) - 1 from change where at >= $1),
            (select max(sequence) from change), 0)",
    );
    let row = db.read_one(statement.bind(at)).await?;
    row.map_or(Ok(0), |row| row.int(0))
}

fn change(row: &Row) -> Result<Change, DbError> {
    Ok(Change {
        sequence: row.int(0)?,
        at: Timestamp(row.int(1)?),
        kind: row.text(2)?.to_owned(),
        study: row.parse(3, "a Study Instance UID")?,
        series: optional(row, 4, "a Series Instance UID")?,
        sop_instance: optional(row, 5, "a SOP Instance UID")?,
        subject: row.opt_text(6)?.map(str::to_owned),
        is_current: row.int(7)? == 1,
    })
}

fn optional<T: std::str::FromStr>(
    row: &Row,
    column: usize,
    wanted: &'static str,
) -> Result<Option<T>, DbError> {
    row.opt_text(column)?.map(|_| row.parse(column, wanted)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Batch;

    const WRITERS: i64 = 8;
    const EACH: i64 = 25;

    fn open() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        (dir, db)
    }

    fn write(at: i64) -> Batch {
        let sql = "insert into change (at, kind, study_uid) values ($1, 'study-deleted', '1.2')";
        Batch::new().then(Statement::named("write", sql).bind(at))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_reader_beside_many_writers_misses_nothing() {
        let (_dir, db) = open();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let db = db.clone();
                tokio::spawn(async move {
                    for number in 0..EACH {
                        db.run(write(writer * EACH + number)).await.unwrap();
                    }
                })
            })
            .collect();
        let mut seen: Vec<i64> = Vec::new();
        let mut after = 0;
        while (seen.len() as i64) < WRITERS * EACH {
            for change in list(&db, &Reach::Everything, after, 7).await.unwrap() {
                assert!(change.sequence > after);
                after = change.sequence;
                seen.push(change.at.0);
            }
        }
        futures::future::join_all(writers).await.into_iter().for_each(Result::unwrap);
        seen.sort_unstable();
        assert_eq!(seen, (0..WRITERS * EACH).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_time_leads_to_the_sequence_in_front_of_it() {
        let (_dir, db) = open();
        assert_eq!(
            (before(&db, Timestamp(5)).await.unwrap(), latest(&db, &Reach::Everything).await.unwrap()),
            (0, None)
        );
        for at in [10, 20, 30] {
            db.run(write(at)).await.unwrap();
        }
        let mut found = Vec::new();
        for at in [5, 20, 21, 31] {
            found.push(before(&db, Timestamp(at)).await.unwrap());
        }
        assert_eq!(found, [0, 1, 2, 3]);
        assert_eq!(latest(&db, &Reach::Everything).await.unwrap().unwrap().at, Timestamp(30));
    }
}
