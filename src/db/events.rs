//! What happens, for those who watch, in the order of its commits. Never a patient attribute.
//!
//! [`append`] goes into the batch that makes the thing true. Readers ask for what comes after the
//! last sequence they saw; in this process they are woken by the commit ([`super::Db::told`]), and
//! they look again after a while for what other processes wrote.

use serde::{Deserialize, Serialize};

use super::{Db, DbError, Row, Statement, groups};
use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::dicom::uid::StudyUid;

/// What kind of thing happened.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    StudyReceived,
    StudyComplete,
    AnalysisQueued,
    /// It waits for a model.
    AnalysisWaiting,
    /// Images are being read and shown to the model.
    AnalysisLoading,
    /// The model writes its answer.
    AnalysisTokens,
    /// Report, SR and PDF are being made.
    AnalysisParsing,
    AnalysisDone,
    AnalysisFailed,
    AnalysisCancelled,
    ReportDrafted,
    ReportEdited,
    ReportSigned,
    UploadProgress,
    UploadDone,
    ExportProgress,
}

impl EventKind {
    pub const ALL: [Self; 16] = [
        Self::StudyReceived,
        Self::StudyComplete,
        Self::AnalysisQueued,
        Self::AnalysisWaiting,
        Self::AnalysisLoading,
        Self::AnalysisTokens,
        Self::AnalysisParsing,
        Self::AnalysisDone,
        Self::AnalysisFailed,
        Self::AnalysisCancelled,
        Self::ReportDrafted,
        Self::ReportEdited,
        Self::ReportSigned,
        Self::UploadProgress,
        Self::UploadDone,
        Self::ExportProgress,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::StudyReceived => "study-received",
            Self::StudyComplete => "study-complete",
            Self::AnalysisQueued => "analysis-queued",
            Self::AnalysisWaiting => "analysis-waiting",
            Self::AnalysisLoading => "analysis-loading",
            Self::AnalysisTokens => "analysis-tokens",
            Self::AnalysisParsing => "analysis-parsing",
            Self::AnalysisDone => "analysis-done",
            Self::AnalysisFailed => "analysis-failed",
            Self::AnalysisCancelled => "analysis-cancelled",
            Self::ReportDrafted => "report-drafted",
            Self::ReportEdited => "report-edited",
            Self::ReportSigned => "report-signed",
            Self::UploadProgress => "upload-progress",
            Self::UploadDone => "upload-done",
            Self::ExportProgress => "export-progress",
        }
    }

    /// `analysis-done` by its whole name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Something to tell.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    pub kind: EventKind,
    /// Whoever sees the study sees the event.
    pub study: Option<&'a StudyUid>,
    /// Id of the analysis, report, upload or export.
    pub subject: Option<&'a str>,
    /// Whom an event about no study is for (`auth::Subject::key`); `None` is who operates the server.
    pub owner: Option<&'a str>,
    /// Counts, states, reasons of ours: no attribute of a patient, no file name.
    pub detail: Option<&'a serde_json::Value>,
}

impl<'a> Event<'a> {
    /// About a study and something that belongs to it.
    pub fn about(kind: EventKind, study: &'a StudyUid, subject: &'a str) -> Self {
        Self { kind, study: Some(study), subject: Some(subject), owner: None, detail: None }
    }
}

/// The statements whose commit wakes the readers.
pub(super) const APPEND: &str = "append_event";

/// For the batch that makes it true.
pub fn append(event: &Event<'_>, now: Timestamp) -> Statement {
    Statement::named(
        APPEND,
        "insert into event (at, kind, study_uid, subject, owner, detail) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(now)
    .bind(event.kind.as_str())
    .bind(event.study)
    .bind(event.subject)
    .bind(event.owner)
    .bind(event.detail.map(|detail| detail.to_string().into_bytes()))
}

/// Behind the count of an instance: only the first of a study is news.
pub(super) fn study_received(study: &StudyUid, now: Timestamp) -> Statement {
    Statement::named(
        APPEND,
        "insert into event (at, kind, study_uid)
         select $1, 'study-received', study_uid from study where study_uid = $2 and instance_count = 1",
    )
    .bind(now)
    .bind(study)
}

/// An event as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub sequence: i64,
    pub at: Timestamp,
    pub kind: String,
    pub study: Option<StudyUid>,
    pub subject: Option<String>,
    pub owner: Option<String>,
    /// JSON.
    pub detail: Option<Vec<u8>>,
}

/// What of the stream is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub study: Option<StudyUid>,
    pub subject: Option<String>,
}

/// What follows `after` up to and with `through`, about studies in reach or about none, oldest
/// first.
pub async fn list(
    db: &Db,
    wanted: &Wanted,
    reach: &Reach,
    after: i64,
    through: i64,
    limit: u32,
) -> Result<Vec<Told>, DbError> {
    let mut sql = "select sequence, at, kind, study_uid, subject, owner, detail from event
        where sequence > $1 and sequence <= $2"
        .to_owned();
    let mut values = Vec::new();
    for (column, value) in
        [("study_uid", wanted.study.as_ref().map(ToString::to_string)), ("subject", wanted.subject.clone())]
    {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" and {column} = ${}", values.len() + 2));
        }
    }
    if let Some(condition) = groups::condition(reach, "event.study_uid") {
        sql.push_str(&format!(" and (study_uid is null or {condition})"));
    }
    sql.push_str(&format!(" order by sequence limit ${}", values.len() + 3));
    let statement = Statement::named("events", sql).bind(after).bind(through);
    let statement = values.into_iter().fold(statement, Statement::bind).bind(i64::from(limit));
    db.read(statement).await?.iter().map(told).collect()
}

fn told(row: &Row) -> Result<Told, DbError> {
    let study = row.opt_text(3)?.map(|_| row.parse(3, "a Study Instance UID")).transpose()?;
    Ok(Told {
        sequence: row.int(0)?,
        at: Timestamp(row.int(1)?),
        kind: row.text(2)?.to_owned(),
        study,
        subject: row.opt_text(4)?.map(str::to_owned),
        owner: row.opt_text(5)?.map(str::to_owned),
        detail: row.opt_bytes(6)?.map(<[u8]>::to_vec),
    })
}

/// The oldest sequence that is kept and the newest; `None` before anything happened.
pub async fn kept(db: &Db) -> Result<Option<(i64, i64)>, DbError> {
    let sql = "select min(sequence), max(sequence) from event";
    let Some(row) = db.read_one(Statement::named("kept_events", sql)).await? else { return Ok(None) };
    Ok(row.opt_int(0)?.zip(row.opt_int(1)?))
}

/// Lets go of what is older than `before`. The newest stays: by it a reader knows where it stands.
pub async fn forget(db: &Db, before: Timestamp) -> Result<usize, DbError> {
    let statement = Statement::named(
        "forget_events",
        "delete from event where at < $1 and sequence < (select max(sequence) from event)",
    );
    let effects = db.run(super::Batch::new().then(statement.bind(before))).await?;
    Ok(effects.first().map_or(0, |effect| effect.affected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Batch;

    fn open() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        (dir, db)
    }

    async fn tell(db: &Db, study: &str, subject: &str, at: i64) {
        let study = study.parse().unwrap();
        let detail = serde_json::json!({ "tokens": 3 });
        let event =
            Event { detail: Some(&detail), ..Event::about(EventKind::AnalysisTokens, &study, subject) };
        db.run(Batch::new().then(append(&event, Timestamp(at)))).await.unwrap();
    }

    #[tokio::test]
    async fn events_come_in_order_and_by_what_is_wanted() {
        let (_dir, db) = open();
        for (study, subject) in [("1.2", "a"), ("1.3", "b"), ("1.2", "c")] {
            tell(&db, study, subject, 10).await;
        }
        let sequences = async |wanted: Wanted, after| {
            let found = list(&db, &wanted, &Reach::Everything, after, i64::MAX, 10).await.unwrap();
            found.iter().map(|told| told.sequence).collect::<Vec<_>>()
        };
        let of_study = Wanted { study: Some("1.2".parse().unwrap()), ..Wanted::default() };
        let of_subject = Wanted { subject: Some("b".into()), ..Wanted::default() };
        assert_eq!(sequences(Wanted::default(), 1).await, [2, 3]);
        assert_eq!(sequences(of_study, 0).await, [1, 3]);
        assert_eq!(sequences(of_subject, 0).await, [2]);
    }

    #[tokio::test]
    async fn what_is_forgotten_leaves_the_place_of_the_newest() {
        let (_dir, db) = open();
        assert_eq!(kept(&db).await.unwrap(), None);
        for at in [10, 20, 30] {
            tell(&db, "1.2", "a", at).await;
        }
        assert_eq!(forget(&db, Timestamp(20)).await.unwrap(), 1);
        assert_eq!(kept(&db).await.unwrap(), Some((2, 3)));
        assert_eq!(forget(&db, Timestamp(99)).await.unwrap(), 1);
        assert_eq!(kept(&db).await.unwrap(), Some((3, 3)));
    }

    #[tokio::test]
    async fn a_commit_that_tells_something_wakes_those_who_watch() {
        let (_dir, db) = open();
        let woken = db.told();
        let mut woken = std::pin::pin!(woken.notified());
        woken.as_mut().enable();
        db.run(Batch::new().then(study_received(&"1.2".parse().unwrap(), Timestamp(1)))).await.unwrap();
        assert!(futures::poll!(woken.as_mut()).is_pending(), "nothing was told");
        tell(&db, "1.2", "a", 1).await;
        assert!(futures::poll!(woken.as_mut()).is_ready());
    }

    #[test]
    fn every_kind_has_the_name_that_json_gives_it() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(EventKind::named(kind.as_str()), Some(kind));
        }
    }
}
