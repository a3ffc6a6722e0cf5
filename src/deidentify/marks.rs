//! What a de-identified object says about itself (PS3.15 E.1.1, PS3.3 C.7.1.1 and C.12.1).

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::options::{FULL_DATES, MODIFIED_DATES, Options};
use crate::dicom::reencode::Edits;
use crate::report::codes::Code;

pub(super) fn edits(options: Options, pseudonym: &str) -> Edits {
    let mut edits = Edits::default();
    edits.text(tags::PATIENT_NAME, VR::PN, pseudonym);
    edits.text(tags::PATIENT_ID, VR::LO, pseudonym);
    edits.text(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES");
    edits.text(tags::DEIDENTIFICATION_METHOD, VR::LO, "PS3.15 Basic Application Confidentiality Profile");
    let codes = options.codes().map(|code| coded(&code)).collect();
    edits.items(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, codes);
    edits.text(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, longitudinal(options));
    edits
}

fn longitudinal(options: Options) -> &'static str {
    match (options.has(FULL_DATES), options.has(MODIFIED_DATES)) {
        (true, _) => "UNMODIFIED",
        (_, true) => "MODIFIED",
        _ => "REMOVED",
    }
}

fn coded(code: &Code) -> Edits {
    let mut item = Edits::default();
    item.text(tags::CODE_VALUE, VR::SH, &code.value);
    item.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, &code.scheme);
    item.text(tags::CODE_MEANING, VR::LO, &code.meaning);
    item
}
