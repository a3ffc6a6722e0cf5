//! Which studies the rules of the retention are about, in SQL.

use super::holds::IS_FREE;
use super::page::Conditions;
use super::{Db, DbError, Row, Statement, Value};
use crate::clock::Timestamp;
use crate::config::{AgeBy, RetentionRule};
use crate::dicom::uid::StudyUid;

/// A study whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub row: i64,
    pub study: StudyUid,
    /// The first rule that is about it, by its place in the list.
    pub rule: usize,
    pub study_date: String,
    pub last_instance_at: Timestamp,
    pub instances: i64,
    pub bytes: u64,
}

/// Studies that are found at a time.
const PAGE: i64 = 100;

/// Nothing is under way with a row of `study`: it is complete, and no analysis, export, download or
/// commitment needs it any more. An analysis that waits for a model does not count, since there may
/// never be any.
pub(super) const IS_IDLE: &str =
    "not exists (select 1 from analysis where analysis.study_uid = study.study_uid
        and analysis.deletion is null and analysis.state in ('queued', 'running'))
    and not exists (select 1 from job where job.dedupe_key = 'complete-study:' || study.study_uid
        and job.state in ('queued', 'leased'))
    and not exists (select 1 from export where export.study_uid = study.study_uid
        and export.state in ('queued', 'sending', 'failed'))
    and study.study_uid not in (select download_study.study_uid from download
        join download_study on download_study.download = download.id
        where download.state in ('queued', 'running'))
    and not exists (select 1 from instance member
        join commitment_instance on commitment_instance.sop_instance_uid = member.sop_instance_uid
        join commitment on commitment.id = commitment_instance.commitment
        where member.study = study.id and commitment.state in ('accepted', 'checked', 'asking', 'awaited'))";

/// Studies behind the row `after` that a rule is about and that nobody holds or needs, whose last
/// instance came before `settled`.
pub async fn due(
    db: &Db,
    rules: &[RetentionRule],
    now: Timestamp,
    settled: Timestamp,
    after: i64,
) -> Result<Vec<Due>, DbError> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = Conditions::default();
    let cases: Vec<String> = rules
        .iter()
        .enumerate()
        .map(|(at, rule)| format!("when {} then {at}", condition(&mut values, rule, rule.before(now))))
        .collect();
    let [settled, after, limit] =
        [settled.into(), after.into(), PAGE.into()].map(|one: Value| values.place(one));
    // Only of what a rule is about it is asked whether anybody needs it: that costs far more.
    let sql = format!(
        "select study.id, study.study_uid, study.rule, study.study_date, study.last_instance_at,
            study.instance_count,
            (select cast(coalesce(sum(instance.size_bytes), 0) as bigint) from instance
             where instance.study = study.id)
         from (select study.id, study.study_uid, study.study_date, study.last_instance_at,
                study.instance_count, case {} end as rule
            from study where study.last_instance_at < {settled} and study.id > {after}) study
         where case when study.rule is not null then {IS_FREE} and {IS_IDLE} else 1 = 0 end
         order by study.id limit {limit}",
        cases.join(" ")
    );
    db.search(values.bind(Statement::named("due_studies", sql))).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Due, DbError> {
    Ok(Due {
        row: row.int(0)?,
        study: row.parse(1, "a Study Instance UID")?,
        rule: usize::try_from(row.int(2)?).unwrap_or(usize::MAX),
        study_date: row.text(3)?.to_owned(),
        last_instance_at: Timestamp(row.int(4)?),
        instances: row.int(5)?,
        bytes: row.int(6)?.unsigned_abs(),
    })
}

/// That a rule is about a row of `study`.
fn condition(values: &mut Conditions, rule: &RetentionRule, before: Timestamp) -> String {
    let mut all = vec![match rule.age_by {
        AgeBy::Arrival => format!("study.last_instance_at < {}", values.place(before.into())),
        // What is no date as PS3.5 writes it says nothing about an age.
        AgeBy::StudyDate => format!(
            "study.study_date < {} and study.study_date >= '18000101' and length(study.study_date) = 8
                and study.study_date not like '%.%'",
            values.place(before.dicom_date().into())
        ),
    }];
    if !rule.modality.is_empty() {
        all.push(every_series(&listed(values, rule.modality.iter().map(String::as_str))));
    }
    if !rule.source_aet.is_empty() {
        let aets = listed(values, rule.source_aet.iter().map(String::as_str));
        all.push(format!(
            "not exists (select 1 from instance where instance.study = study.id
                and instance.source <> 'analysis' and instance.source_aet not in {aets})"
        ));
    }
    if !rule.status.is_empty() {
        let statuses = listed(values, rule.status.iter().map(|status| status.as_str()));
        all.push(format!(
            "(select worklist.status from worklist where worklist.study = study.id) in {statuses}"
        ));
    }
    all.join(" and ")
}

/// A study of which one series is of another modality is none of the rule's; results that were made
/// here do not count.
fn every_series(modalities: &str) -> String {
    format!(
        "exists (select 1 from series where series.study = study.id and series.modality in {modalities})
         and not exists (select 1 from series join instance on instance.series = series.id
            where series.study = study.id and series.modality not in {modalities} and instance.source <> 'analysis')"
    )
}

fn listed<'a>(values: &mut Conditions, words: impl Iterator<Item = &'a str>) -> String {
    let places: Vec<String> = words.map(|word| values.place(word.into())).collect();
    format!("({})", places.join(", "))
}

#[cfg(test)]
mod tests;
