//! From received bytes to DICOM JSON and to XML, and back. The first byte chooses the transfer syntax,
//! or that file meta information comes first.
#![no_main]

use std::io::Cursor;

use dicom_encoding::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use libfuzzer_sys::fuzz_target;
use radiant::dicom::file_meta::{FileMeta, Front};
use radiant::dicom::header::{self, Limits};
use radiant::dicom::{json, xml};

const SYNTAXES: [&str; 4] =
    ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.50"];

const LIMITS: Limits = Limits {
    inline_bytes_max: 2048,
    header_bytes_max: 1 << 20,
    depth_max: 40,
    elements_max: 10_000,
    fragments_max: 10_000,
};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    match SYNTAXES.get(usize::from(choice)) {
        Some(syntax) => data_set(rest, syntax),
        None => file(rest),
    }
});

fn file(bytes: &[u8]) {
    let _ = FileMeta::parse(bytes);
    let Ok(front) = Front::of(bytes) else { return };
    assert!(front.data_set_at <= bytes.len());
    data_set(&bytes[front.data_set_at..], front.meta.transfer_syntax.as_str());
}

fn data_set(bytes: &[u8], syntax: &str) {
    let Some(syntax) = TransferSyntaxRegistry.get(syntax) else { return };
    let Ok(header) = header::read(&mut Cursor::new(bytes), syntax, LIMITS) else { return };
    for bulk in &header.bulk {
        assert!(bulk.offset + bulk.length <= bytes.len() as u64, "bulk data outside of the file");
    }
    let paths: Vec<&str> = header.bulk.iter().map(|bulk| bulk.path.as_str()).collect();
    let set = json::object(&header.elements, &paths);
    let text = serde_json::to_string(&set).expect("what was made of a data set is JSON");
    serde_json::from_str::<serde_json::Value>(&text).expect("what was written is read");
    let document = xml::write(&set).expect("memory takes everything");
    let document = String::from_utf8(document).expect("XML is text");
    let limits = xml::Limits { depth_max: LIMITS.depth_max, elements_max: LIMITS.elements_max };
    let _ = xml::read(&document, limits);
}
