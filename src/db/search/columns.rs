//! Where values lie: columns, and what is computed of columns.

use std::borrow::Cow;

use crate::auth::Reach;
use crate::db::groups;
use crate::dicom::attributes::{Held, Level};

/// A column, or the expression that stands behind its name. What is counted is in reach.
pub(super) fn expression(held: Held, reach: &Reach) -> Cow<'static, str> {
    let sum = |column: &str| {
        let counted = groups::of_contents(reach, "own", column);
        let sum = format!("cast(coalesce(sum({counted}), 0) as bigint)");
        of_patient(&sum, reach, "").into()
    };
    match held.column() {
        // Patients without an ID are told apart by a text of our own.
        "patient.issuer" => "case when patient.patient_id = '' then '' else patient.issuer end".into(),
        "patient.study_count" => of_patient("count(*)", reach, "").into(),
        "patient.series_count" => sum("series_count"),
        "patient.instance_count" => sum("instance_count"),
        "study.series_count" => groups::of_contents(reach, "study", "series_count").into(),
        "study.instance_count" => groups::of_contents(reach, "study", "instance_count").into(),
        "study.modalities" => groups::of_contents(reach, "study", "modalities").into(),
        "study.sop_classes" => sop_classes(reach).into(),
        "study.referring" => "study.referring_physician".into(),
        column => column.into(),
    }
}

fn sop_classes(reach: &Reach) -> String {
    let released = groups::released(reach, "held.series_uid").map(|released| {
        format!(" and exists (select 1 from series held where held.id = instance.series and {released})")
    });
    groups::listed(&format!(
        "select distinct instance.sop_class_uid as item from instance where instance.study = study.id{}",
        released.unwrap_or_default()
    ))
}

/// Something of the studies of a patient, as far as they are in reach.
fn of_patient(selected: &str, reach: &Reach, rest: &str) -> String {
    let in_reach = groups::and_condition(reach, "own.study_uid");
    format!("(select {selected} from study own where own.patient = patient.id{in_reach}{rest})")
}

/// The folded groups of a name.
pub(super) fn of_groups(prefix: &str) -> [String; 3] {
    ["folded", "ideographic", "phonetic"].map(|group| format!("{prefix}_{group}"))
}

/// The stored attributes of a level, the levels above first.
pub(super) fn documents(level: Level, reach: &Reach) -> Vec<Cow<'static, str>> {
    match level {
        Level::Patient => vec![of_patient("own.attributes", reach, " order by own.id desc limit 1").into()],
        Level::Study => vec!["study.attributes".into()],
        Level::Series => vec!["study.attributes".into(), "series.attributes".into()],
        // Metadata is the whole object.
        Level::Instance => vec!["instance.metadata".into()],
    }
}

/// What names an entity of a level, and those above it.
pub(super) fn identifiers(level: Level) -> &'static [&'static str] {
    const ALL: [&str; 3] = ["study.study_uid", "series.series_uid", "instance.sop_instance_uid"];
    match level {
        Level::Patient => &[],
        Level::Study => &ALL[..1],
        Level::Series => &ALL[..2],
        Level::Instance => &ALL,
    }
}

pub(super) fn table(level: Level) -> &'static str {
    match level {
        Level::Patient => "patient",
        Level::Study => "study",
        Level::Series => "series",
        Level::Instance => "instance",
    }
}
