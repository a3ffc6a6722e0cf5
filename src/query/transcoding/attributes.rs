//! What the attributes of an object say after its pixels went through a codec.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use crate::dicom::reencode::Edits;
use crate::dicom::uid::SopInstanceUid;
use crate::ids::derived_uid;
use crate::query::retrieve::StoredInstance;
use crate::volume::attributes::{text, texts};
use crate::volume::pixels::Raster;
use crate::volume::pixels::encode::Encoding;

/// The Image Pixel module of what a raster becomes (PS3.3 C.7.6.3).
pub(super) fn image_pixel(raster: &Raster, encoding: Encoding) -> Edits {
    let mut edits = Edits::default();
    edits.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, encoding.photometric(raster).name());
    edits.unsigned_short(tags::SAMPLES_PER_PIXEL, raster.samples_per_pixel as u16);
    match raster.samples_per_pixel {
        1 => edits.remove(tags::PLANAR_CONFIGURATION),
        _ => edits.unsigned_short(tags::PLANAR_CONFIGURATION, 0),
    }
    edits.unsigned_short(tags::BITS_ALLOCATED, raster.bits_allocated);
    edits.unsigned_short(tags::BITS_STORED, raster.bits_stored);
    edits.unsigned_short(tags::HIGH_BIT, encoding.high_bit(raster));
    // They speak of the stored fragments.
    edits.remove(tags::EXTENDED_OFFSET_TABLE);
    edits.remove(tags::EXTENDED_OFFSET_TABLE_LENGTHS);
    edits.remove(tags::ENCAPSULATED_PIXEL_DATA_VALUE_TOTAL_LENGTH);
    edits
}

/// Once lossy, always said to be (C.7.6.1.1.5).
pub(super) fn keep_lossy(edits: &mut Edits, stored_syntax: &str, object: &InMemDicomObject) {
    if is_lossy(stored_syntax) && text(object, tags::LOSSY_IMAGE_COMPRESSION).is_none() {
        edits.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
    }
}

/// MPEG-2, MPEG-4 and HEVC end in 100 to 108.
const VIDEO: &str = "1.2.840.10008.1.2.4.10";

/// Syntaxes whose frames need not be what the modality saw.
#[expect(deprecated, reason = "archives still hold and send objects in retired transfer syntaxes")]
pub(in crate::query) fn is_lossy(transfer_syntax: &str) -> bool {
    matches!(
        transfer_syntax,
        uids::JPEG_BASELINE8_BIT
            | uids::JPEG_EXTENDED12_BIT
            | uids::JPEG_FULL_PROGRESSION_NON_HIERARCHICAL1012
            | uids::JPEG_SPECTRAL_SELECTION_NON_HIERARCHICAL68
            | uids::JPEGLS_NEAR_LOSSLESS
            | uids::JPEG2000
            | uids::HTJ2K
            | uids::JPEGXLJPEG_RECOMPRESSION
            | uids::JPEGXL
    ) || transfer_syntax.starts_with(VIDEO)
}

/// A lossy copy is an object of its own, derived from the stored one (C.7.6.1.1.5, PS3.4 B.4.1).
/// Its UID depends on nothing but the stored one and the encoding.
pub(super) fn derive(
    edits: &mut Edits,
    instance: &StoredInstance,
    object: &InMemDicomObject,
    encoding: Encoding,
    ratio: f64,
) -> Option<SopInstanceUid> {
    let uid = derived_uid(&[instance.sop_instance.as_str(), encoding.transfer_syntax()]);
    let mut image_type = texts(object, tags::IMAGE_TYPE);
    match image_type.first_mut() {
        Some(first) => "DERIVED".clone_into(first),
        None => image_type.extend(["DERIVED".to_owned(), "SECONDARY".to_owned()]),
    }
    edits.text(tags::IMAGE_TYPE, VR::CS, &image_type.join("\\"));
    edits.text(tags::SOP_INSTANCE_UID, VR::UI, &uid);
    edits.text(tags::DERIVATION_DESCRIPTION, VR::ST, "Lossy compression, JPEG Baseline");
    edits.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
    let appended = |tag, value: &str| {
        let known = texts(object, tag).into_iter().filter(|known| !known.is_empty());
        known.chain([value.to_owned()]).collect::<Vec<_>>().join("\\")
    };
    let ratio = appended(tags::LOSSY_IMAGE_COMPRESSION_RATIO, &format!("{ratio:.3}"));
    edits.text(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, &ratio);
    let method = appended(tags::LOSSY_IMAGE_COMPRESSION_METHOD, "ISO_10918_1");
    edits.text(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, &method);
    let mut source = Edits::default();
    source.text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, instance.sop_class.as_str());
    source.text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance.sop_instance.as_str());
    edits.item(tags::SOURCE_IMAGE_SEQUENCE, source);
    uid.parse().ok()
}
