//! Storage: classes, transfer syntaxes, statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;

use dicom_core::dictionary::{UidDictionary, UidDictionaryEntryRef};
use dicom_dictionary_std::sop_class::StandardSopClassDictionary;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::{status, table};
use crate::dicom::sop_class::is_standard_storage;
use crate::dicom::uid::UidError;
use crate::ingest::{Refusal, Warning};
use crate::volume::pixels::encode::Encoding;
use crate::volume::pixels::is_decodable;

/// Under which roots storage classes are registered, and how far: the greatest number of each arc.
const ROOTS: &[(&str, &[u32])] = &[
    ("1.2.840.10008.5.1.4.1.1", &[700]),
    ("1.2.840.10008.5.1.4.1.1", &[700, 130]),
    ("1.2.840.10008.5.1.4.1.1", &[700, 130, 9]),
    ("1.2.840.10008.5.1.4.1.1.77", &[9, 9, 9]),
    ("1.2.840.10008.5.1.4", &[60, 30]),
    ("1.2.840.10008.5.1.1", &[60]),
];

pub(super) fn sop_classes() -> String {
    let mut found = BTreeSet::new();
    for (root, arcs) in ROOTS {
        probe(&mut (*root).to_owned(), arcs, &mut found);
    }
    let rows = found.into_iter().filter_map(|uid| StandardSopClassDictionary.by_uid(&uid)).map(row);
    table(["SOP class", "UID"], rows)
}

/// The dictionary does not list its entries: those that storage takes are found by their numbers.
fn probe(uid: &mut String, arcs: &[u32], found: &mut BTreeSet<String>) {
    let Some((most, deeper)) = arcs.split_first() else {
        if is_standard_storage(uid) {
            found.insert(uid.clone());
        }
        return;
    };
    let length = uid.len();
    for arc in 1..=*most {
        // Writing to a text does not fail.
        let _ = write!(uid, ".{arc}");
        probe(uid, deeper, found);
        uid.truncate(length);
    }
}

fn row(entry: &UidDictionaryEntryRef<'static>) -> [String; 2] {
    [entry.name.to_owned(), entry.uid.to_owned()]
}

/// Syntaxes that are no form of pixel data in a file.
const WITHOUT_PIXELS: [&str; 3] = ["JPIP", "SMPTE", "MIME"];

pub(super) fn transfer_syntaxes() -> String {
    let mut known: Vec<_> =
        TransferSyntaxRegistry.iter().map(|syntax| (syntax.uid(), syntax.name())).collect();
    known.sort_unstable();
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let rows = known.into_iter().map(|(uid, name)| {
        let has_pixels = !WITHOUT_PIXELS.iter().any(|word| name.contains(word));
        [
            name.to_owned(),
            uid.to_owned(),
            yes(has_pixels && is_decodable(uid)),
            yes(Encoding::of(uid).is_some()),
        ]
    });
    table(["transfer syntax", "UID", "frames decoded", "made of others"], rows)
}

/// One of each refusal that a C-STORE can be answered with.
fn refusals() -> Vec<Refusal> {
    let io = || io::Error::from(io::ErrorKind::Other);
    vec![
        Refusal::Interrupted(io()),
        Refusal::Truncated("…".to_owned()),
        Refusal::Unparsable("…".to_owned()),
        Refusal::MissingAttribute("SOP Instance UID"),
        Refusal::BadUid { attribute: "Study Instance UID", source: UidError::LeadingZero },
        Refusal::CommandMismatch { attribute: "SOP Class UID" },
        Refusal::SeriesOfAnotherStudy,
        Refusal::SopClassNotAccepted("…".to_owned()),
        Refusal::TransferSyntaxNotAccepted("…".to_owned()),
        Refusal::Conflict,
        Refusal::Held,
        Refusal::TooLarge { limit_bytes: 0 },
        Refusal::LimitExceeded { what: "the size of the header", limit: 0 },
        Refusal::OutOfSpace(io()),
        Refusal::StoreAway(io()),
        Refusal::Storage(io()),
        Refusal::Stopping,
    ]
}

pub(super) fn statuses() -> String {
    let mut meanings: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    meanings.insert(0x0000, vec!["stored, and durable; or the same data set was stored before".to_owned()]);
    let kept = "another data set with this SOP Instance UID is stored, and is kept";
    meanings.insert(Warning::ElementsDiscarded.code(), vec![kept.to_owned()]);
    for refusal in refusals() {
        meanings.entry(refusal.dimse_status()).or_default().push(general(&refusal));
    }
    let rows = meanings.into_iter().map(|(code, meanings)| [status(code), meanings.join("; ")]);
    table(["status", "meaning"], rows)
}

/// Without the limit of the moment.
fn general(refusal: &Refusal) -> String {
    match refusal {
        Refusal::TooLarge { .. } => "the object is larger than `ingest.instance_bytes_max`".to_owned(),
        Refusal::LimitExceeded { .. } => "the header is beyond a limit of `[ingest]`".to_owned(),
        other => other.to_string(),
    }
}
