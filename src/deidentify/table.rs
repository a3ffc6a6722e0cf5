//! Table E.1-1 of PS3.15 (2026c): one row per attribute, in the order of their tags.

mod acquisition;
mod procedure;
mod radiotherapy;
mod subject;

use dicom_core::Tag;

use super::options::{GRAPHICS, NONE, Options};

/// The column Basic Profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// A dummy value.
    D,
    /// No value, or a dummy.
    Z,
    /// Gone.
    X,
    /// Another UID, always the same.
    U,
    /// The first, unless the IOD needs the next.
    ZD,
    XZ,
    XD,
    XZD,
    /// Gone, unless the IOD needs references, whose UIDs are then replaced.
    XZU,
}

pub(super) use Base::{D, U, X, XD, XZ, XZD, XZU, Z, ZD};

#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) tag: u32,
    pub(super) base: Base,
    /// Options with a K.
    pub(super) kept_by: Options,
    /// Options with a C.
    pub(super) cleaned_by: Options,
}

const fn row(tag: u32, base: Base, kept_by: Options, cleaned_by: Options) -> Row {
    Row { tag, base, kept_by, cleaned_by }
}

const PARTS: [&[Row]; 4] = [subject::ROWS, acquisition::ROWS, procedure::ROWS, radiotherapy::ROWS];

/// (50xx,xxxx), (60xx,3000) and (60xx,4000). The rest of an overlay plane means nothing without its
/// data and goes with them.
const REPEATING: Row = row(0, X, NONE, GRAPHICS);

pub(super) fn look_up(tag: Tag) -> Option<&'static Row> {
    if matches!(tag.group(), 0x5000..=0x50FF | 0x6000..=0x60FF) {
        return Some(&REPEATING);
    }
    let number = u32::from(tag.group()) << 16 | u32::from(tag.element());
    let find = |part: &&'static [Row]| part.binary_search_by_key(&number, |row| row.tag).ok();
    PARTS.iter().find_map(|part| find(part).map(|at| &part[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_their_tags_once() {
        for part in PARTS {
            assert!(part.windows(2).all(|pair| pair[0].tag < pair[1].tag));
        }
        assert_eq!(PARTS.iter().map(|part| part.len()).sum::<usize>(), 652);
    }

    #[test]
    fn every_row_is_found() {
        for row in PARTS.iter().flat_map(|part| part.iter()) {
            let tag = Tag((row.tag >> 16) as u16, row.tag as u16);
            assert_eq!(look_up(tag).map(|found| found.base), Some(row.base), "{tag}");
        }
        assert!(look_up(Tag(0x0028, 0x0010)).is_none());
        assert_eq!(look_up(Tag(0x6002, 0x3000)).map(|row| row.base), Some(X));
    }
}
