//! Values that say nothing, one for each VR.

use dicom_core::VR;

pub(super) const TEXT: &str = "REMOVED";
pub(super) const NAME: &str = "Anonymized";

/// Binary values keep their length where it is short: so many numbers are expected.
const BINARY_BYTES_MAX: usize = 1 << 12;

pub(super) fn value(vr: VR, stored: Option<&[u8]>) -> Vec<u8> {
    use VR::*;
    let text = match vr {
        PN => NAME,
        DA => "19000101",
        TM => "000000",
        DT => "19000101000000",
        AS => "000Y",
        IS | DS => "0",
        UR => "https://removed.invalid",
        AE | CS | LO | LT | SH | ST | UC | UT => TEXT,
        _ => return zeros(vr, stored),
    };
    text.as_bytes().to_vec()
}

fn zeros(vr: VR, stored: Option<&[u8]>) -> Vec<u8> {
    let unit = match vr {
        VR::US | VR::SS | VR::OB | VR::OW | VR::UN => 2,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 4,
    };
    let length = stored.map_or(unit, <[u8]>::len);
    vec![0; if length == 0 || length > BINARY_BYTES_MAX { unit } else { length }]
}
