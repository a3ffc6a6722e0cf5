//! Which SOP classes are storage, and what kind of object they hold.

use dicom_core::dictionary::{UidDictionary, UidType};
use dicom_dictionary_std::sop_class::StandardSopClassDictionary;
use dicom_dictionary_std::uids;

/// Every storage SOP class of the standard, retired ones included.
pub fn is_standard_storage(uid: &str) -> bool {
    StandardSopClassDictionary.by_uid(uid).is_some_and(|entry| {
        entry.r#type == UidType::SopClass
            && entry.alias.contains("Storage")
            && !entry.alias.starts_with("StorageCommitment")
            && uid != uids::MEDIA_STORAGE_DIRECTORY_STORAGE
    })
}

/// Whether objects of a class are stored here: the standard's, and `extra` ones, of which `*` is any.
pub fn is_stored(uid: &str, extra: &[String]) -> bool {
    is_standard_storage(uid) || extra.iter().any(|extra| extra == "*" || extra == uid)
}

/// What an analysis may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    Image,
    /// SR, key objects, presentation states, encapsulated documents …: nothing to look at.
    NotAnImage,
}

/// Prefixes of SOP classes that hold no picture of a patient.
const NOT_IMAGES: [&str; 12] = [
    "1.2.840.10008.5.1.4.1.1.88.",
    "1.2.840.10008.5.1.4.1.1.104.",
    "1.2.840.10008.5.1.4.1.1.11.",
    "1.2.840.10008.5.1.4.1.1.9.",
    "1.2.840.10008.5.1.4.1.1.66",
    "1.2.840.10008.5.1.4.1.1.481.3",
    "1.2.840.10008.5.1.4.1.1.481.4",
    "1.2.840.10008.5.1.4.1.1.481.5",
    "1.2.840.10008.5.1.4.1.1.481.8",
    "1.2.840.10008.5.1.4.1.1.67",
    "1.2.840.10008.5.1.4.1.1.68.",
    "1.2.840.10008.5.1.4.1.1.79",
];

pub fn kind(uid: &str) -> ObjectKind {
    match NOT_IMAGES.iter().any(|prefix| uid.starts_with(prefix)) {
        true => ObjectKind::NotAnImage,
        false => ObjectKind::Image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_storage_from_services() {
        assert!(is_standard_storage(uids::CT_IMAGE_STORAGE));
        assert!(is_standard_storage(uids::ENCAPSULATED_PDF_STORAGE));
        assert!(is_standard_storage(uids::COMPREHENSIVE3_DSR_STORAGE));
        assert!(!is_standard_storage(uids::VERIFICATION));
        assert!(!is_standard_storage(uids::STORAGE_COMMITMENT_PUSH_MODEL));
        assert!(!is_standard_storage("1.2.3.4"));
    }

    #[test]
    fn reports_are_not_images() {
        assert_eq!(kind(uids::COMPREHENSIVE3_DSR_STORAGE), ObjectKind::NotAnImage);
        assert_eq!(kind(uids::ENCAPSULATED_PDF_STORAGE), ObjectKind::NotAnImage);
        assert_eq!(kind(uids::CT_IMAGE_STORAGE), ObjectKind::Image);
        assert_eq!(kind(uids::RT_DOSE_STORAGE), ObjectKind::Image);
    }
}
