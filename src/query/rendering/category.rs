//! What an object is to somebody who wants to see it (PS3.18 8.7.2): it decides which rendered
//! media types there are.

use dicom_dictionary_std::uids;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    SingleFrameImage,
    MultiFrameImage,
    Video,
    /// Structured reports and key object selections.
    Text,
    /// A document in a data set, with the media type that it is given in.
    Document(&'static str),
    PresentationState,
    Other,
}

const STRUCTURED_REPORTS: &str = "1.2.840.10008.5.1.4.1.1.88.";
const PRESENTATION_STATES: &str = "1.2.840.10008.5.1.4.1.1.11.";
const MPEG: &str = "1.2.840.10008.1.2.4.10";

impl Category {
    /// `frames` is zero for an object without pixel data.
    pub fn of(sop_class: &str, transfer_syntax: &str, frames: u64) -> Self {
        match (sop_class, frames) {
            (uids::ENCAPSULATED_PDF_STORAGE, _) => Self::Document("application/pdf"),
            (class, _) if class.starts_with(STRUCTURED_REPORTS) => Self::Text,
            (class, _) if class.starts_with(PRESENTATION_STATES) => Self::PresentationState,
            (_, 0) => Self::Other,
            _ if is_video(transfer_syntax) => Self::Video,
            (_, 1) => Self::SingleFrameImage,
            _ => Self::MultiFrameImage,
        }
    }
}

/// MPEG-2, H.264 and H.265, `.100` to `.108`; a further component makes a syntax fragmentable.
fn is_video(transfer_syntax: &str) -> bool {
    let number = transfer_syntax.strip_prefix(MPEG).and_then(|rest| rest.split('.').next());
    number.is_some_and(|digit| matches!(digit.as_bytes(), [b'0'..=b'8']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CT: &str = uids::CT_IMAGE_STORAGE;
    const NATIVE: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;

    #[track_caller]
    fn check(sop_class: &str, transfer_syntax: &str, frames: u64, expected: Category) {
        assert_eq!(Category::of(sop_class, transfer_syntax, frames), expected);
    }

    #[test]
    fn images_differ_by_their_number_of_frames_w28() {
        check(CT, NATIVE, 1, Category::SingleFrameImage);
        check(CT, NATIVE, 2, Category::MultiFrameImage);
        check(CT, NATIVE, 0, Category::Other);
    }

    #[test]
    fn video_is_known_by_its_transfer_syntax_w28() {
        for syntax in [uids::MPEG2MPML, uids::MPEG4HP41, uids::HEVCMP51, "1.2.840.10008.1.2.4.102.1"] {
            check(uids::VIDEO_ENDOSCOPIC_IMAGE_STORAGE, syntax, 1, Category::Video);
        }
        check(CT, uids::JPEGXL_LOSSLESS, 1, Category::SingleFrameImage);
    }

    #[test]
    fn what_has_no_pixels_is_told_by_its_sop_class_w34b() {
        check(uids::COMPREHENSIVE3_DSR_STORAGE, NATIVE, 0, Category::Text);
        check(uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE, NATIVE, 0, Category::Text);
        check(uids::ENCAPSULATED_PDF_STORAGE, NATIVE, 0, Category::Document("application/pdf"));
        let state = uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE;
        check(state, NATIVE, 0, Category::PresentationState);
    }
}
