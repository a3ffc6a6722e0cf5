//! Where values lie: columns, and what is computed of columns.

use crate::dicom::attributes::{Held, Level};

/// A column, or the expression that stands behind its name.
pub(super) fn expression(held: Held) -> &'static str {
    match held.column() {
        // Patients without an ID are told apart by a text of our own.
        "patient.issuer" => "case when patient.patient_id = '' then '' else patient.issuer end",
        "patient.study_count" => "(select count(*) from study own where own.patient = patient.id)",
        "patient.series_count" => {
            "(select cast(coalesce(sum(own.series_count), 0) as bigint) from study own \
             where own.patient = patient.id)"
        }
        "patient.instance_count" => {
            "(select cast(coalesce(sum(own.instance_count), 0) as bigint) from study own \
             where own.patient = patient.id)"
        }
        "study.sop_classes" => {
            "coalesce((select '\\' || string_agg(one.sop_class_uid, '\\' order by one.sop_class_uid) || '\\' \
             from (select distinct sop_class_uid from instance where instance.study = study.id) one), '')"
        }
        "study.referring" => "study.referring_physician",
        column => column,
    }
}

/// The folded groups of a name.
pub(super) fn of_groups(prefix: &str) -> [String; 3] {
    ["folded", "ideographic", "phonetic"].map(|group| format!("{prefix}_{group}"))
}

/// The stored attributes of a level, the levels above first.
pub(super) fn documents(level: Level) -> &'static [&'static str] {
    match level {
        Level::Patient => &[
            "(select own.attributes from study own where own.patient = patient.id order by own.id desc limit 1)",
        ],
        Level::Study => &["study.attributes"],
        Level::Series => &["study.attributes", "series.attributes"],
        // Metadata is the whole object.
        Level::Instance => &["instance.metadata"],
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
