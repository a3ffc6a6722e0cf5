//! A Basic Directory as a file (PS3.3 F.3, PS3.10 8.6): records of known size first, then the
//! offsets that link them.

use dicom_core::header::Length;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use serde_json::json;

use super::file_set::FileSet;
use crate::dicom::charset::Encoder;
use crate::dicom::data_set::{self, WriteError};
use crate::dicom::file_meta;
use crate::dicom::header::hex;
use crate::dicom::reencode::{ITEM, write_header, write_item_header};
use crate::ids;

/// Where the values of Offset of the Next Directory Record and Offset of Referenced Lower-Level
/// Directory Entity lie in a record: they and Record In-use Flag are its first elements.
const NEXT_AT: usize = 8;
const LOWER_AT: usize = 12 + 10 + 8;

const ITEM_HEADER_BYTES: usize = 8;

pub(super) fn write(set: &FileSet) -> Result<Vec<u8>, WriteError> {
    let order = in_order(set);
    let mut records = Vec::with_capacity(order.len());
    for node in &order {
        records.push(record(set, *node)?);
    }
    let mut file = front()?;
    let head = root_elements(0, 0);
    let total: usize = records.iter().map(|record| record.len() + ITEM_HEADER_BYTES).sum();
    // The header of a sequence has twelve bytes.
    let mut at = file.len() + head.len() + 12;
    let mut offsets = vec![0_u32; set.nodes.len()];
    for (node, record) in order.iter().zip(&records) {
        offsets[*node] = at as u32;
        at += record.len() + ITEM_HEADER_BYTES;
    }
    link(set, &order, &offsets, &mut records);
    let end = |node: Option<&usize>| node.map_or(0, |node| offsets[*node]);
    file.extend_from_slice(&root_elements(end(set.roots.first()), end(set.roots.last())));
    write_header(&mut file, tags::DIRECTORY_RECORD_SEQUENCE, VR::SQ, Length(total as u32));
    for record in records {
        write_item_header(&mut file, ITEM, record.len() as u32);
        file.extend_from_slice(&record);
    }
    Ok(file)
}

/// A record before those below it.
fn in_order(set: &FileSet) -> Vec<usize> {
    let mut order = Vec::with_capacity(set.nodes.len());
    let mut open: Vec<usize> = set.roots.iter().rev().copied().collect();
    while let Some(node) = open.pop() {
        order.push(node);
        open.extend(set.nodes[node].children.iter().rev());
    }
    order
}

fn record(set: &FileSet, node: usize) -> Result<Vec<u8>, WriteError> {
    let mut elements = set.nodes[node].elements.clone();
    let mut put = |tag: Tag, vr: &str, value: u32| {
        elements.insert(hex(tag), json!({ "vr": vr, "Value": [value] }));
    };
    put(tags::OFFSET_OF_THE_NEXT_DIRECTORY_RECORD, "UL", 0);
    put(tags::RECORD_IN_USE_FLAG, "US", 0xFFFF);
    put(tags::OFFSET_OF_REFERENCED_LOWER_LEVEL_DIRECTORY_ENTITY, "UL", 0);
    let syntax = TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    data_set::write(&elements, syntax.ok_or(WriteError::TransferSyntax)?, &Encoder::utf8())
}

fn link(set: &FileSet, order: &[usize], offsets: &[u32], records: &mut [Vec<u8>]) {
    let mut next = vec![0_u32; set.nodes.len()];
    let families = set.nodes.iter().map(|node| &node.children).chain([&set.roots]);
    for family in families {
        family.windows(2).for_each(|pair| next[pair[0]] = offsets[pair[1]]);
    }
    for (node, record) in order.iter().zip(records) {
        let lower = set.nodes[*node].children.first().map_or(0, |first| offsets[*first]);
        record[NEXT_AT..NEXT_AT + 4].copy_from_slice(&next[*node].to_le_bytes());
        record[LOWER_AT..LOWER_AT + 4].copy_from_slice(&lower.to_le_bytes());
    }
}

/// Preamble to File Meta Information.
fn front() -> Result<Vec<u8>, WriteError> {
    let uid = |text: &str| text.to_owned();
    let class = uid(uids::MEDIA_STORAGE_DIRECTORY_STORAGE).parse();
    let (class, instance) = (class.ok(), ids::new_uid().parse().ok());
    let syntax = uids::EXPLICIT_VR_LITTLE_ENDIAN.parse().ok();
    match (class, instance, syntax) {
        (Some(class), Some(instance), Some(syntax)) => Ok(file_meta::write(&class, &instance, &syntax)),
        _ => Err(WriteError::TransferSyntax),
    }
}

/// What stands in front of the records.
fn root_elements(first: u32, last: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_header(&mut bytes, tags::FILE_SET_ID, VR::CS, Length(0));
    for (tag, offset) in [
        (tags::OFFSET_OF_THE_FIRST_DIRECTORY_RECORD_OF_THE_ROOT_DIRECTORY_ENTITY, first),
        (tags::OFFSET_OF_THE_LAST_DIRECTORY_RECORD_OF_THE_ROOT_DIRECTORY_ENTITY, last),
    ] {
        write_header(&mut bytes, tag, VR::UL, Length(4));
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    write_header(&mut bytes, tags::FILE_SET_CONSISTENCY_FLAG, VR::US, Length(2));
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::super::file_set::Object;
    use super::*;

    fn object(patient: &str, study: &str, series: &str, number: u32) -> Object {
        let text = |vr: &str, value: &str| json!({ "vr": vr, "Value": [value] });
        let mut attributes = Map::new();
        attributes.insert("00100020".into(), text("LO", patient));
        attributes.insert("00100010".into(), json!({ "vr": "PN", "Value": [{ "Alphabetic": "Möller" }] }));
        attributes.insert("0020000D".into(), text("UI", study));
        attributes.insert("0020000E".into(), text("UI", series));
        attributes.insert("00080060".into(), text("CS", "CT"));
        attributes.insert("00200013".into(), json!({ "vr": "IS", "Value": [number] }));
        Object {
            sop_class: uids::CT_IMAGE_STORAGE.parse().unwrap(),
            sop_instance: format!("{series}.{number}").parse().unwrap(),
            transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.parse().unwrap(),
            attributes,
        }
    }

    /// The type at each place of the file, and where it leads.
    fn records(file: &[u8]) -> Vec<(u32, String, u32, u32)> {
        let read = dicom_object::from_reader(&file[128..]).unwrap();
        let items = read.element(tags::DIRECTORY_RECORD_SEQUENCE).unwrap().items().unwrap().to_vec();
        let types = items.iter().map(|item| {
            let number = |tag| item.element(tag).unwrap().to_int::<u32>().unwrap();
            let kind = item.element(tags::DIRECTORY_RECORD_TYPE).unwrap().to_str().unwrap().into_owned();
            let next = number(tags::OFFSET_OF_THE_NEXT_DIRECTORY_RECORD);
            (kind, next, number(tags::OFFSET_OF_REFERENCED_LOWER_LEVEL_DIRECTORY_ENTITY))
        });
        let places = file.windows(8).enumerate().filter(|(_, bytes)| {
            bytes[..4] == [0xFE, 0xFF, 0, 0xE0] && bytes[4..] != [0xFF; 4] && bytes[6..] == [0, 0]
        });
        places.map(|(at, _)| at as u32).zip(types).map(|(at, (k, n, l))| (at, k, n, l)).collect()
    }

    #[test]
    fn offsets_lead_to_the_next_record_and_to_the_first_below() {
        let mut set = FileSet::default();
        let paths: Vec<String> = [
            object("A", "1.1", "1.1.1", 1),
            object("A", "1.1", "1.1.1", 2),
            object("A", "1.1", "1.1.2", 1),
            object("B", "1.2", "1.2.1", 1),
        ]
        .iter()
        .map(|object| set.add(object))
        .collect();
        assert_eq!(paths[1], "PA000001/ST000001/SE000001/IM000002");
        assert_eq!(paths[3], "PA000002/ST000001/SE000001/IM000001");
        let found = records(&set.directory().unwrap());
        let kinds: Vec<&str> = found.iter().map(|(_, kind, ..)| kind.as_str()).collect();
        assert_eq!(kinds[..5], ["PATIENT", "STUDY", "SERIES", "IMAGE", "IMAGE"]);
        assert_eq!(kinds[7..], ["PATIENT", "STUDY", "SERIES", "IMAGE"]);
        assert_eq!((found[0].2, found[0].3), (found[7].0, found[1].0));
        assert_eq!((found[2].2, found[2].3), (found[5].0, found[3].0));
        assert_eq!((found[4].2, found[4].3), (0, 0));
    }
}
