//! What stands above the content: who it is about, who answers for it, and who does not.

use dicom_core::dictionary::UidDictionary;
use dicom_dictionary_std::{StandardSopClassDictionary, tags, uids};

use super::attributes::{Attributes, joined};
use super::content::{Content, Item};
use super::moments;

/// A line of the heading.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) value: String,
}

/// Who stands for the document, PS3.3 C.17.2.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// What a reader must know before the first word, the gravest first.
    pub(super) warnings: Vec<String>,
    /// Name, organisation and time of each who verified it.
    pub(super) verified_by: Vec<String>,
    pub(super) completion: String,
    pub(super) verification: String,
    pub(super) preliminary: String,
}

/// DCM 121049, of the language of the content.
const LANGUAGE: &str = "121049";
/// DCM 121005 and 121007: the observer is a device.
const OBSERVER_TYPE: &str = "121005";
const DEVICE: &str = "121007";
const ALGORITHM_NAME: &str = "111001";
/// DCM 121013 and 121015: what the observing device is called, and its model.
const MAKERS: [&str; 3] = ["121013", "121015", ALGORITHM_NAME];

pub(super) fn standing(root: Attributes, content: &Item) -> Standing {
    let verified_by: Vec<String> = root.items(tags::VERIFYING_OBSERVER_SEQUENCE).map(verifier).collect();
    let completion = root.text(tags::COMPLETION_FLAG);
    let verification = root.text(tags::VERIFICATION_FLAG);
    let preliminary = root.text(tags::PRELIMINARY_FLAG);
    let mut warnings = Vec::new();
    if verification != "VERIFIED" && !is_selection(root) {
        warnings.push("UNVERIFIED: nobody has confirmed this document".to_owned());
    }
    warnings.extend(maker(content));
    if preliminary == "PRELIMINARY" {
        warnings.push("Preliminary".to_owned());
    }
    if completion == "PARTIAL" {
        warnings.push("Partial: the document is not complete".to_owned());
        warnings.extend(Some(root.text(tags::COMPLETION_FLAG_DESCRIPTION)).filter(|text| !text.is_empty()));
    }
    Standing { warnings, verified_by, completion, verification, preliminary }
}

/// A key object selection has none of the flags.
fn is_selection(root: Attributes) -> bool {
    root.text(tags::SOP_CLASS_UID) == uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE
}

fn verifier(item: Attributes) -> String {
    let parts = [
        item.text(tags::VERIFYING_OBSERVER_NAME),
        item.text(tags::VERIFYING_ORGANIZATION),
        moments::date_time(&item.text(tags::VERIFICATION_DATE_TIME)),
    ];
    joined(&parts.each_ref().map(String::as_str), ", ")
}

fn is_named(item: &Item, code: &str) -> bool {
    item.name.as_ref().is_some_and(|name| name.is("DCM", code))
}

/// Whether an algorithm is named or a device observes (PS3.16 TID 4019 and 1004), and which.
fn maker(content: &Item) -> Option<String> {
    let has = |is: fn(&Item) -> bool| content.all().any(is);
    let names = named_devices(content);
    match (has(is_algorithm), has(is_observing_device)) {
        (true, _) => Some(joined(&["Made by software", &names], ": ")),
        (false, true) => Some(joined(&["Observed by a device", &names], ": ")),
        (false, false) => None,
    }
}

fn is_algorithm(item: &Item) -> bool {
    is_named(item, ALGORITHM_NAME)
}

fn is_observing_device(item: &Item) -> bool {
    let is_device = matches!(&item.content, Content::Code(Some(value)) if value.is("DCM", DEVICE));
    is_device && is_named(item, OBSERVER_TYPE)
}

fn named_devices(content: &Item) -> String {
    let mut names: Vec<&str> = Vec::new();
    for item in content.all().filter(|item| MAKERS.iter().any(|code| is_named(item, code))) {
        match &item.content {
            Content::Text(name) if !name.is_empty() && !names.contains(&name.as_str()) => names.push(name),
            _ => {}
        }
    }
    names.join(", ")
}

pub(super) fn language(root: &Item) -> Option<String> {
    let stated = root.children.iter().find(|item| is_named(item, LANGUAGE))?;
    let Content::Code(Some(code)) = &stated.content else { return None };
    let is_tag = code.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_tag && !code.value.is_empty()).then(|| code.value.clone())
}

/// What kind of document it is, for one without a title.
pub(super) fn kind(root: Attributes) -> String {
    class_name(&root.text(tags::SOP_CLASS_UID))
}

/// The name of a SOP class without the word that every one ends in.
pub(super) fn class_name(uid: &str) -> String {
    let name = StandardSopClassDictionary.by_uid(uid).map(|entry| entry.name);
    name.map_or_else(|| uid.to_owned(), |name| name.trim_end_matches(" Storage").to_owned())
}

/// The documents that this one takes the place of, PS3.3 C.17.2.
fn predecessors(root: Attributes) -> Vec<String> {
    let studies = root.items(tags::PREDECESSOR_DOCUMENTS_SEQUENCE);
    let series = studies.flat_map(|study| study.items(tags::REFERENCED_SERIES_SEQUENCE));
    let objects = series.flat_map(|series| series.items(tags::REFERENCED_SOP_SEQUENCE));
    objects.map(|object| object.text(tags::REFERENCED_SOP_INSTANCE_UID)).collect()
}

pub(super) fn facts(root: Attributes) -> Vec<Fact> {
    let text = |tag| root.text(tag);
    let moment = |day, clock| joined(&[&moments::date(&text(day)), &moments::time(&text(clock))], " ");
    let made_by = [text(tags::MANUFACTURER), text(tags::MANUFACTURER_MODEL_NAME)];
    let authors = root.items(tags::AUTHOR_OBSERVER_SEQUENCE).map(|author| author.text(tags::PERSON_NAME));
    let completion = match root.text(tags::COMPLETION_FLAG).as_str() {
        "COMPLETE" => joined(&["Complete", &text(tags::COMPLETION_FLAG_DESCRIPTION)], ": "),
        _ => String::new(),
    };
    let all = [
        ("Patient", text(tags::PATIENT_NAME)),
        ("Patient ID", text(tags::PATIENT_ID)),
        ("Born", moments::date(&text(tags::PATIENT_BIRTH_DATE))),
        ("Sex", text(tags::PATIENT_SEX)),
        ("Study", text(tags::STUDY_DESCRIPTION)),
        ("Study date", moment(tags::STUDY_DATE, tags::STUDY_TIME)),
        ("Accession number", text(tags::ACCESSION_NUMBER)),
        ("Referring physician", text(tags::REFERRING_PHYSICIAN_NAME)),
        ("Institution", text(tags::INSTITUTION_NAME)),
        ("Document", kind(root)),
        ("Completion", completion),
        ("Replaces", predecessors(root).join(", ")),
        ("Written", moment(tags::CONTENT_DATE, tags::CONTENT_TIME)),
        ("Author", authors.filter(|name| !name.is_empty()).collect::<Vec<_>>().join("; ")),
        ("Equipment", joined(&made_by.each_ref().map(String::as_str), " ")),
    ];
    let present = all.into_iter().filter(|(_, value)| !value.is_empty());
    present.map(|(label, value)| Fact { label, value }).collect()
}
