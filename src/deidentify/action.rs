//! One action of the table, the options and the IOD.

use dicom_core::Tag;

use super::needs::{Need, need};
use super::options::Options;
use super::table::{D, Row, U, X, XD, XZ, XZD, XZU, Z, ZD, look_up};

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Keep,
    Remove,
    Empty,
    Dummy,
    /// UIDs are replaced, of a sequence those in it.
    Uid,
    Clean,
}

/// The action for an attribute; nothing for one that the table does not have.
pub(super) fn action(tag: Tag, sequence: Option<Tag>, sop_class: &str, options: Options) -> Option<Action> {
    let row = look_up(tag)?;
    // To clean is to retain less.
    if options.has(row.cleaned_by) {
        return Some(Action::Clean);
    }
    if options.has(row.kept_by) {
        return Some(Action::Keep);
    }
    Some(basic(row, sequence, sop_class))
}

fn basic(row: &Row, sequence: Option<Tag>, sop_class: &str) -> Action {
    let sequence = sequence.map(|tag| u32::from(tag.group()) << 16 | u32::from(tag.element()));
    let need = || need(row.tag, sequence, sop_class);
    match row.base {
        X => Action::Remove,
        Z => Action::Empty,
        // A dummy is a value for both types.
        D | ZD => Action::Dummy,
        U => Action::Uid,
        XZ => need().map_or(Action::Remove, |_| Action::Empty),
        XD => need().map_or(Action::Remove, |_| Action::Dummy),
        XZD => match need() {
            Some(Need::One) => Action::Dummy,
            Some(Need::Two) => Action::Empty,
            None => Action::Remove,
        },
        XZU => need().map_or(Action::Remove, |_| Action::Uid),
    }
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::{tags, uids};

    use super::super::options::{DESCRIPTORS, DEVICE, FULL_DATES, MODIFIED_DATES, NONE, UIDS};
    use super::*;

    #[track_caller]
    fn check(tag: Tag, sop_class: &str, options: Options, expected: Action) {
        assert_eq!(action(tag, None, sop_class, options), Some(expected));
    }

    #[test]
    fn combined_actions_follow_the_type_in_the_iod() {
        check(tags::DEVICE_SERIAL_NUMBER, uids::CT_IMAGE_STORAGE, NONE, Action::Remove);
        check(tags::DEVICE_SERIAL_NUMBER, uids::ENHANCED_CT_IMAGE_STORAGE, NONE, Action::Dummy);
        check(tags::OPERATORS_NAME, uids::RT_PLAN_STORAGE, NONE, Action::Empty);
        check(tags::OPERATORS_NAME, uids::CT_IMAGE_STORAGE, NONE, Action::Remove);
        check(tags::SOURCE_IMAGE_SEQUENCE, uids::CT_IMAGE_STORAGE, NONE, Action::Remove);
        check(tags::CONTENT_DATE, uids::CT_IMAGE_STORAGE, NONE, Action::Dummy);
    }

    #[test]
    fn an_attribute_in_an_item_follows_its_sequence() {
        let within = |sequence| action(tags::SERIES_DATE, Some(sequence), uids::CT_IMAGE_STORAGE, NONE);
        assert_eq!(within(tags::SOURCE_SERIES_INFORMATION_SEQUENCE), Some(Action::Dummy));
        assert_eq!(within(tags::REQUEST_ATTRIBUTES_SEQUENCE), Some(Action::Remove));
    }

    #[test]
    fn options_keep_and_clean() {
        let ct = uids::CT_IMAGE_STORAGE;
        check(tags::STUDY_INSTANCE_UID, ct, UIDS, Action::Keep);
        check(tags::STUDY_INSTANCE_UID, ct, DEVICE, Action::Uid);
        check(tags::STUDY_DATE, ct, FULL_DATES, Action::Keep);
        check(tags::STUDY_DATE, ct, MODIFIED_DATES, Action::Clean);
        check(tags::STUDY_DESCRIPTION, ct, DESCRIPTORS, Action::Clean);
        assert_eq!(action(tags::ROWS, None, ct, NONE), None);
    }
}
