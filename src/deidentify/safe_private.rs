//! Private attributes that are known to be safe, PS3.15 Table E.3.10-1.

use dicom_core::Tag;

/// Group, creator, and the last two digits of the elements. Compared row by row with a public copy of the
/// published table. Left out are its sequences, its binary values (the note below the table calls such
/// values particularly unsafe) and its UIDs: what is replaced elsewhere would be told here.
const TABLE: &[(u16, &str, &[u8])] = &[
    (0x7053, "Philips PET Private Group", &[0x00, 0x09]),
    (0x00E1, "ELSCINT1", &[0x21, 0x50]),
    (0x01E1, "ELSCINT1", &[0x26]),
    (0x01F1, "ELSCINT1", &[0x01, 0x07, 0x26, 0x27]),
    (0x0019, "GEMS_ACQU_01", &[0x23, 0x24, 0x27, 0x9E]),
    (0x0025, "GEMS_SERS_01", &[0x07]),
    (0x0043, "GEMS_PARM_01", &[0x27, 0x39, 0x6F]),
    (0x0045, "GEMS_HELIOS_01", &[0x01, 0x02]),
    (0x0903, "GEIIS PACS", &[0x10, 0x11, 0x12]),
    (0x2001, "Philips Imaging DD 001", &[0x03, 0x04]),
    (0x2005, "Philips MR Imaging DD 001", &[0x0D, 0x0E]),
    (0x0019, "SIEMENS MR HEADER", &[0x0C, 0x0D, 0x0E, 0x27]),
    (0x7E01, "HOLOGIC, Inc.", &[0x01, 0x02]),
    (0x0099, "NQHeader", &[0x04, 0x05, 0x10, 0x20, 0x21]),
    (0x0199, "NQLeft", VOLUMES),
    (0x0299, "NQRight", VOLUMES),
    (0x0119, SC2000, &[0x00, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11, 0x12, 0x13, 0x21]),
    (0x0129, SC2000, &[0x03, 0x04, 0x05, 0x30]),
    (0x0139, SC2000, &[0x01]),
    (0x0149, SC2000, &[0x01, 0x02, 0x03]),
];

const SC2000: &str = "SIEMENS Ultrasound SC2000";
/// Of the structures of one side of a brain.
const VOLUMES: &[u8] = &[
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11,
    0x12, 0x13, 0x14, 0x15, 0x16,
];

/// Whether anything of this creator in the group is safe.
pub(super) fn has_creator(group: u16, creator: &str) -> bool {
    TABLE.iter().any(|(known, name, _)| *known == group && *name == creator)
}

pub(super) fn has(tag: Tag, creator: &str) -> bool {
    let element = (tag.element() & 0xFF) as u8;
    let of_creator = TABLE.iter().filter(|(group, name, _)| *group == tag.group() && *name == creator);
    of_creator.flat_map(|(.., elements)| elements.iter()).any(|known| *known == element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acquisition_duration_of_elscint_lies_in_the_lower_group() {
        assert!(has(Tag(0x00E1, 0x1050), "ELSCINT1") && !has(Tag(0x01E1, 0x1050), "ELSCINT1"));
        assert!(has(Tag(0x2005, 0x100E), "Philips MR Imaging DD 001"));
    }

    #[test]
    fn uids_sequences_and_binary_values_are_not_kept() {
        for (tag, creator) in [
            (Tag(0x0099, 0x1002), "NQHeader"),
            (Tag(0x7E01, 0x1012), "HOLOGIC, Inc."),
            (Tag(0x0119, 0x1002), SC2000),
            (Tag(0x0129, 0x1002), SC2000),
        ] {
            assert!(!has(tag, creator), "{tag}");
        }
    }
}
