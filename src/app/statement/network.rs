//! Services, associations and resources.

use std::collections::BTreeMap;

use dicom_core::dictionary::UidDictionary;
use dicom_dictionary_std::sop_class::StandardSopClassDictionary;
use dicom_dictionary_std::uids;

use super::{status, table};
use crate::config::Service;
use crate::dicom::commitment::{DataSetError, FailureReason};
use crate::dicom::uid::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use crate::dimse::statement::{self, Served};
use crate::export::scu::commitment::Refusal;
use crate::http::described_resources;

/// What we ask of others, by abstract syntax; storage classes apart.
const ASKED: &[(&str, &str)] = &[
    (uids::VERIFICATION, "`radiant echo`"),
    (uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND, "`radiant find`"),
    (uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND, "`radiant find`"),
    (uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE, "`radiant move`"),
    (uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE, "`radiant move`"),
    (uids::STORAGE_COMMITMENT_PUSH_MODEL, "of what was exported, and of studies on request"),
];

pub(super) fn identity() -> String {
    let rows = [
        ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
        ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME),
        ("Application Context Name", uids::DICOM_APPLICATION_CONTEXT),
    ];
    table(["", "value"], rows.map(|(name, value)| [name.to_owned(), value.to_owned()]))
}

pub(super) fn services() -> String {
    let asked = |uid: &str| {
        let found = ASKED.iter().find(|(known, _)| *known == uid);
        found.map_or("no".to_owned(), |(_, when)| format!("yes: {when}"))
    };
    let mut rows: Vec<[String; 4]> = statement::served()
        .into_iter()
        .map(|served| {
            [
                name(served.abstract_syntax),
                served.abstract_syntax.to_owned(),
                asked(served.abstract_syntax),
                may(served.needs),
            ]
        })
        .collect();
    let storage = "results and studies by rule, `radiant send`, C-MOVE and C-GET";
    rows.push([
        "Storage: each class of section 4.3".to_owned(),
        "see there".to_owned(),
        format!("yes: {storage}"),
        may(Some(Service::Store)),
    ]);
    table(["SOP class", "UID", "user (SCU)", "provider (SCP)"], rows)
}

fn may(needs: Option<Service>) -> String {
    match needs {
        None => "yes".to_owned(),
        Some(service) => format!("yes: who may `{}`", service.name()),
    }
}

pub(super) fn presentation_contexts() -> String {
    let syntaxes = |served: &Served| match served.transfer_syntaxes {
        None => "every one that is proposed, the first well-formed one first".to_owned(),
        Some(syntaxes) => syntaxes.join(", "),
    };
    let rows = statement::served().into_iter().map(|served| {
        let roles = if served.reversible { "SCP; SCU by role selection" } else { "SCP" };
        [name(served.abstract_syntax), syntaxes(&served), roles.to_owned(), served.extended.to_owned()]
    });
    let storage = [
        "storage classes (section 4.3) and `dimse.sop_classes_extra`".to_owned(),
        "every one that is proposed, the first well-formed one first".to_owned(),
        "SCP; SCU by role selection".to_owned(),
        "none".to_owned(),
    ];
    let rows = rows.chain([storage]);
    table(["abstract syntax", "transfer syntaxes", "our role", "extended negotiation"], rows)
}

pub(super) fn rejections() -> String {
    let rows = statement::rejections().into_iter().map(|one| [one.why, one.result, one.source_and_reason]);
    table(["why", "result", "source and reason"], rows)
}

pub(super) fn web_resources() -> String {
    let rows = described_resources().into_iter().map(|one| {
        [one.transaction.to_owned(), format!("`{} {}`", one.method, one.path), one.gives.join(", ")]
    });
    table(["transaction", "resource", "media types of the answer"], rows)
}

pub(super) fn commitment_statuses() -> String {
    let refusals = [
        Refusal::NoSuchInstance,
        Refusal::NoSuchEvent,
        Refusal::WithoutDataSet,
        Refusal::DataSet(DataSetError::Missing("Transaction UID (0008,1195)")),
        Refusal::NoSuchSopClass,
        Refusal::NoSuchAction,
        Refusal::TooLarge,
    ];
    let mut meanings = BTreeMap::from([
        (0x0000, vec!["accepted, and durable; or taken".to_owned()]),
        (0x0110, vec!["the request or report could not be recorded".to_owned()]),
    ]);
    for refusal in refusals {
        meanings.entry(refusal.status()).or_default().push(refusal.to_string());
    }
    let rows = meanings.into_iter().map(|(code, meanings)| [status(code), meanings.join("; ")]);
    table(["status", "meaning"], rows)
}

pub(super) fn commitment_reasons() -> String {
    let rows = FailureReason::ALL.map(|reason| [status(reason.code()), reason.meaning().to_owned()]);
    table(["Failure Reason (0008,1197)", "meaning"], rows)
}

fn name(uid: &str) -> String {
    StandardSopClassDictionary.by_uid(uid).map_or(uid, |entry| entry.name).to_owned()
}
