//! File Meta Information, PS3.10 7.1: read leniently, written exactly.

mod front;

use super::uid::{
    IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, SopClassUid, SopInstanceUid, TransferSyntaxUid,
    UidError,
};

pub use front::{Front, Identity};

const PREAMBLE: usize = 128;
const MAGIC: &[u8; 4] = b"DICM";
const TRANSFER_SYNTAX: (u16, u16) = (0x0002, 0x0010);

/// What the file meta of a received file tells that its data set does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    pub transfer_syntax: TransferSyntaxUid,
    /// Where the data set begins in the file.
    pub dataset_offset: u64,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FileMetaError {
    #[error("there is no DICM prefix after the preamble")]
    NoPrefix,
    #[error("the file meta information ends in the middle of an element")]
    Truncated,
    #[error("the file meta information has no Transfer Syntax UID")]
    NoTransferSyntax,
    #[error("the Transfer Syntax UID is malformed: {0}")]
    BadTransferSyntax(UidError),
}

impl FileMeta {
    /// Reads group 0002 from the start of a file by its elements; the group length is not
    /// trusted, for many writers get it wrong.
    pub fn parse(file: &[u8]) -> Result<Self, FileMetaError> {
        if file.get(PREAMBLE..PREAMBLE + 4) != Some(MAGIC.as_slice()) {
            return Err(FileMetaError::NoPrefix);
        }
        let mut offset = PREAMBLE + MAGIC.len();
        let mut transfer_syntax = None;
        while let Some(element) = Element::read(&file[offset..])? {
            if element.tag == TRANSFER_SYNTAX {
                let text = String::from_utf8_lossy(element.value);
                transfer_syntax = Some(text.parse().map_err(FileMetaError::BadTransferSyntax)?);
            }
            offset += element.size;
        }
        Ok(Self {
            transfer_syntax: transfer_syntax.ok_or(FileMetaError::NoTransferSyntax)?,
            dataset_offset: offset as u64,
        })
    }
}

/// One element of group 0002, Explicit VR Little Endian.
struct Element<'a> {
    tag: (u16, u16),
    value: &'a [u8],
    size: usize,
}

impl<'a> Element<'a> {
    /// `None` where another group or the end begins.
    fn read(bytes: &'a [u8]) -> Result<Option<Self>, FileMetaError> {
        if bytes.len() < 2 || bytes[..2] != [2, 0] {
            return Ok(None);
        }
        let header = bytes.get(..8).ok_or(FileMetaError::Truncated)?;
        let tag = (2, u16::from_le_bytes([header[2], header[3]]));
        let long = matches!(&header[4..6], b"OB" | b"OW" | b"UN" | b"SQ" | b"UT" | b"OF");
        let (start, length) = if long {
            let length = bytes.get(8..12).ok_or(FileMetaError::Truncated)?;
            (12, u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize)
        } else {
            (8, usize::from(u16::from_le_bytes([header[6], header[7]])))
        };
        let end = start + length;
        let value = bytes.get(start..end).ok_or(FileMetaError::Truncated)?;
        Ok(Some(Self { tag, value, size: end }))
    }
}

/// Preamble, prefix and file meta for a data set that came without them.
pub fn write(
    sop_class: &SopClassUid,
    sop_instance: &SopInstanceUid,
    transfer_syntax: &TransferSyntaxUid,
) -> Vec<u8> {
    let mut group = Vec::with_capacity(256);
    group.extend_from_slice(&[2, 0, 1, 0, b'O', b'B', 0, 0, 2, 0, 0, 0, 0, 1]);
    push(&mut group, 0x0002, b"UI", sop_class.as_str());
    push(&mut group, 0x0003, b"UI", sop_instance.as_str());
    push(&mut group, 0x0010, b"UI", transfer_syntax.as_str());
    push(&mut group, 0x0012, b"UI", IMPLEMENTATION_CLASS_UID);
    push(&mut group, 0x0013, b"SH", IMPLEMENTATION_VERSION_NAME);
    let mut file = vec![0; PREAMBLE];
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&[2, 0, 0, 0, b'U', b'L', 4, 0]);
    file.extend_from_slice(&(group.len() as u32).to_le_bytes());
    file.extend_from_slice(&group);
    file
}

fn push(group: &mut Vec<u8>, element: u16, vr: &[u8; 2], value: &str) {
    let padding = value.len() % 2;
    group.extend_from_slice(&[2, 0]);
    group.extend_from_slice(&element.to_le_bytes());
    group.extend_from_slice(vr);
    group.extend_from_slice(&((value.len() + padding) as u16).to_le_bytes());
    group.extend_from_slice(value.as_bytes());
    if padding == 1 {
        group.push(if vr == b"UI" { 0 } else { b' ' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        write(
            &"1.2.840.10008.5.1.4.1.1.2".parse().unwrap(),
            &"1.2.3".parse().unwrap(),
            &"1.2.840.10008.1.2.1".parse().unwrap(),
        )
    }

    #[test]
    fn reads_what_it_writes_and_finds_the_data_set() {
        let mut file = sample();
        let meta = FileMeta::parse(&file).unwrap();
        assert_eq!(meta.transfer_syntax.as_str(), "1.2.840.10008.1.2.1");
        assert_eq!(meta.dataset_offset, file.len() as u64);
        file.extend_from_slice(&[8, 0, 5, 0]);
        assert_eq!(FileMeta::parse(&file).unwrap(), meta);
    }

    #[test]
    fn dicom_rs_reads_it_too() {
        let table = dicom_object::FileMetaTable::from_reader(&sample()[128..]).unwrap();
        assert_eq!(table.media_storage_sop_instance_uid(), "1.2.3");
        assert_eq!(table.implementation_class_uid(), IMPLEMENTATION_CLASS_UID);
    }

    #[test]
    fn ignores_a_wrong_group_length() {
        let mut file = sample();
        file[140] = 7;
        assert_eq!(FileMeta::parse(&file).unwrap().dataset_offset, file.len() as u64);
    }

    #[test]
    fn says_what_is_missing() {
        assert_eq!(FileMeta::parse(b"%PDF"), Err(FileMetaError::NoPrefix));
        assert_eq!(FileMeta::parse(&sample()[..150]), Err(FileMetaError::Truncated));
        assert_eq!(FileMeta::parse(&sample()[..132]), Err(FileMetaError::NoTransferSyntax));
    }
}
