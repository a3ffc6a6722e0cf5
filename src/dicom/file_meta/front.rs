//! What stands in front of a data set: kept as it came where it is right, written anew where it is
//! missing or speaks of another object (PS3.10 7.1).

use std::borrow::Cow;

use dicom_dictionary_std::uids;

use super::{Element, FileMeta, FileMetaError, MAGIC, PREAMBLE, TRANSFER_SYNTAX, write};
use crate::dicom::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

const MEDIA_STORAGE_SOP_CLASS: (u16, u16) = (0x0002, 0x0002);
const MEDIA_STORAGE_SOP_INSTANCE: (u16, u16) = (0x0002, 0x0003);
const SOP_CLASS: (u16, u16) = (0x0008, 0x0016);
const SOP_INSTANCE: (u16, u16) = (0x0008, 0x0018);

/// The beginning of a file as it is to be stored.
#[derive(Debug)]
pub struct Front<'a> {
    /// Preamble, prefix and File Meta Information.
    pub bytes: Cow<'a, [u8]>,
    /// Where in the received bytes the data set begins.
    pub data_set_at: usize,
    pub meta: FileMeta,
    /// The File Meta Information is ours, not that of the sender.
    pub rebuilt: bool,
    /// As far as the first bytes tell.
    pub identity: Option<Identity>,
}

impl<'a> Front<'a> {
    /// From the first bytes of what was received, which must hold all of group 0002.
    pub fn of(received: &'a [u8]) -> Result<Self, FileMetaError> {
        let group_at = group_at(received).ok_or(FileMetaError::NoPrefix)?;
        let group = Group::read(received, group_at)?;
        let data_set = &received[group.end..];
        let transfer_syntax = match group.transfer_syntax {
            Some(uid) => uid?,
            None => guessed_syntax(data_set).ok_or(FileMetaError::NoTransferSyntax)?,
        };
        let identity = Identity::peek(data_set, &transfer_syntax);
        let agrees =
            identity.as_ref().is_none_or(|found| found.agrees(&group.sop_class, &group.sop_instance));
        let is_whole = group_at == PREAMBLE + MAGIC.len() && group.has_syntax;
        match identity {
            Some(found) if !is_whole || !agrees => Ok(found.rebuilt(group.end, transfer_syntax)),
            None if !is_whole => Err(FileMetaError::NoTransferSyntax),
            identity => Ok(Self {
                identity,
                bytes: Cow::Borrowed(&received[..group.end]),
                data_set_at: group.end,
                meta: FileMeta { transfer_syntax, dataset_offset: group.end as u64 },
                rebuilt: false,
            }),
        }
    }

    /// A preamble may hold the header of another format, which something else might run or show.
    pub fn clear_preamble(&mut self) {
        if self.bytes.iter().take(PREAMBLE).any(|byte| *byte != 0) {
            self.bytes.to_mut()[..PREAMBLE].fill(0);
        }
    }
}

/// Where the first element lies: behind preamble and prefix, behind the prefix alone, or at the
/// very beginning.
fn group_at(received: &[u8]) -> Option<usize> {
    if received.get(PREAMBLE..PREAMBLE + MAGIC.len()) == Some(MAGIC) {
        return Some(PREAMBLE + MAGIC.len());
    }
    match received.get(..MAGIC.len())? {
        prefix if prefix == MAGIC => Some(MAGIC.len()),
        [2 | 8, 0, _, 0] => Some(0),
        _ => None,
    }
}

/// Group 0002 as far as it is there.
struct Group {
    transfer_syntax: Option<Result<TransferSyntaxUid, FileMetaError>>,
    has_syntax: bool,
    sop_class: String,
    sop_instance: String,
    end: usize,
}

impl Group {
    fn read(received: &[u8], begin: usize) -> Result<Self, FileMetaError> {
        let mut group = Self {
            transfer_syntax: None,
            has_syntax: false,
            sop_class: String::new(),
            sop_instance: String::new(),
            end: begin,
        };
        while let Some(element) = Element::read(&received[group.end..])? {
            let text = || trimmed(element.value);
            match element.tag {
                TRANSFER_SYNTAX => {
                    group.has_syntax = true;
                    group.transfer_syntax = Some(text().parse().map_err(FileMetaError::BadTransferSyntax));
                }
                MEDIA_STORAGE_SOP_CLASS => group.sop_class = text(),
                MEDIA_STORAGE_SOP_INSTANCE => group.sop_instance = text(),
                _ => {}
            }
            group.end += element.size;
        }
        Ok(group)
    }
}

fn trimmed(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_matches(['\0', ' ']).to_owned()
}

/// Who the data set says it is.
#[derive(Debug, Clone)]
pub struct Identity {
    pub sop_class: SopClassUid,
    pub sop_instance: SopInstanceUid,
}

impl Identity {
    /// Looks at the first elements of a little-endian data set.
    fn peek(data_set: &[u8], transfer_syntax: &TransferSyntaxUid) -> Option<Self> {
        let explicit = match transfer_syntax.as_str() {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => false,
            #[expect(deprecated, reason = "retired, and still sent")]
            uids::EXPLICIT_VR_BIG_ENDIAN => return None,
            uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => return None,
            _ => true,
        };
        let (mut sop_class, mut sop_instance) = (None, None);
        let mut at = 0;
        while let Some(element) = Peeked::read(&data_set[at..], explicit) {
            match element.tag {
                SOP_CLASS => sop_class = trimmed(element.value).parse().ok(),
                SOP_INSTANCE => sop_instance = trimmed(element.value).parse().ok(),
                _ => {}
            }
            at += element.size;
        }
        Some(Self { sop_class: sop_class?, sop_instance: sop_instance? })
    }

    /// What the file meta leaves out contradicts nothing.
    fn agrees(&self, sop_class: &str, sop_instance: &str) -> bool {
        [(sop_class, self.sop_class.as_str()), (sop_instance, self.sop_instance.as_str())]
            .iter()
            .all(|(meta, found)| meta.is_empty() || meta == found)
    }

    fn rebuilt(self, data_set_at: usize, transfer_syntax: TransferSyntaxUid) -> Front<'static> {
        let bytes = write(&self.sop_class, &self.sop_instance, &transfer_syntax);
        let meta = FileMeta { transfer_syntax, dataset_offset: bytes.len() as u64 };
        Front { bytes: Cow::Owned(bytes), data_set_at, meta, rebuilt: true, identity: Some(self) }
    }
}

/// A data set that begins with a VR is explicit; little end first, for nothing else comes bare.
fn guessed_syntax(data_set: &[u8]) -> Option<TransferSyntaxUid> {
    let is_explicit = data_set.get(4..6)?.iter().all(u8::is_ascii_uppercase);
    let uid = if is_explicit { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { uids::IMPLICIT_VR_LITTLE_ENDIAN };
    uid.parse().ok()
}

/// One element up to SOP Instance UID.
struct Peeked<'a> {
    tag: (u16, u16),
    value: &'a [u8],
    size: usize,
}

impl<'a> Peeked<'a> {
    fn read(bytes: &'a [u8], explicit: bool) -> Option<Self> {
        let header = bytes.get(..8)?;
        let tag = (u16::from_le_bytes([header[0], header[1]]), u16::from_le_bytes([header[2], header[3]]));
        let long = matches!(&header[4..6], b"OB" | b"OW" | b"UN" | b"SQ" | b"UT" | b"UC" | b"UR");
        let (start, length) = match (explicit, long) {
            (false, _) => (8, u32::from_le_bytes([header[4], header[5], header[6], header[7]])),
            (true, false) => (8, u16::from_le_bytes([header[6], header[7]]).into()),
            (true, true) => (12, u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?)),
        };
        let end = start + usize::try_from(length).ok()?;
        let value = bytes.get(start..end).filter(|_| tag <= SOP_INSTANCE)?;
        Some(Self { tag, value, size: end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::uid::IMPLEMENTATION_CLASS_UID;

    const SYNTAX: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;
    const DATA_SET: &[u8] = b"\x08\0\x16\0UI\x06\x001.2.3\0\x08\0\x18\0UI\x06\x001.2.4\0";
    const IMPLICIT: &[u8] = b"\x08\0\x16\0\x06\0\0\x001.2.3\0\x08\0\x18\0\x06\0\0\x001.2.4\0";

    fn meta(instance: &str) -> Vec<u8> {
        write(&"1.2.3".parse().unwrap(), &instance.parse().unwrap(), &SYNTAX.parse().unwrap())
    }

    #[track_caller]
    fn check(received: &[u8], syntax: &str, rebuilt: bool) {
        let front = Front::of(received).unwrap();
        assert_eq!((front.meta.transfer_syntax.as_str(), front.rebuilt), (syntax, rebuilt));
        assert_eq!(received.len() - front.data_set_at, DATA_SET.len());
        let table = dicom_object::FileMetaTable::from_reader(&front.bytes[PREAMBLE..]).unwrap();
        assert_eq!(table.media_storage_sop_instance_uid(), "1.2.4");
        assert_eq!(table.implementation_class_uid(), IMPLEMENTATION_CLASS_UID);
        assert_eq!(front.meta.dataset_offset, front.bytes.len() as u64);
    }

    #[test]
    fn file_meta_that_is_missing_or_wrong_is_rebuilt_s22() {
        check(&[&meta("1.2.4"), DATA_SET].concat(), SYNTAX, false);
        check(&[&meta("1.2.5"), DATA_SET].concat(), SYNTAX, true);
        check(&[&meta("1.2.4")[PREAMBLE..], DATA_SET].concat(), SYNTAX, true);
        check(&[&meta("1.2.4")[PREAMBLE + 4..], DATA_SET].concat(), SYNTAX, true);
        check(&[&meta("1.2.4")[..PREAMBLE + 4], DATA_SET].concat(), SYNTAX, true);
        check(DATA_SET, SYNTAX, true);
        check(IMPLICIT, uids::IMPLICIT_VR_LITTLE_ENDIAN, true);
    }

    #[test]
    fn what_does_not_say_who_it_is_is_no_object() {
        for received in [&b""[..], b"%PDF-1.7", &DATA_SET[..14], &[0; 200]] {
            assert!(Front::of(received).is_err());
        }
    }

    #[test]
    fn a_preamble_is_cleared_where_the_policy_says_so_s22() {
        let mut received = [&meta("1.2.4"), DATA_SET].concat();
        received[..4].copy_from_slice(b"II*\0");
        let mut front = Front::of(&received).unwrap();
        assert_eq!(front.bytes[..4], *b"II*\0");
        front.clear_preamble();
        assert_eq!((&front.bytes[..4], &front.bytes[PREAMBLE..]), (&[0; 4][..], &meta("1.2.4")[PREAMBLE..]));
    }
}
