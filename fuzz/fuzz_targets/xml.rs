//! The Native DICOM Model as a client may send it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use radiant::dicom::xml::{self, Limits};

fuzz_target!(|input: &[u8]| {
    let Ok(document) = std::str::from_utf8(input) else { return };
    let Ok(set) = xml::read(document, Limits { depth_max: 40, elements_max: 10_000 }) else { return };
    xml::write(&set).expect("what was read can be written");
});
