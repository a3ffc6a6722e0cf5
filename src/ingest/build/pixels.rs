//! Pixel Data of a built object: kept as it came where DICOM has a transfer syntax for it, made
//! native where it has none, described where the metadata leaves that out (PS3.18 10.5.2, PS3.3
//! C.7.6.3).

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};

use super::Builder;
use super::attributes::Attributes;
use super::bulk::{BulkType, BulkValue, Content};
use super::data_set::Value;
use super::{codestream, picture, video};
use crate::ingest::Refusal;

pub(super) struct BuiltPixels {
    pub(super) value: Value,
    pub(super) transfer_syntax: String,
}

/// What encoded pixels say of themselves: the Image Pixel Description macro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) rows: u64,
    pub(super) columns: u64,
    pub(super) samples: u64,
    pub(super) bits_allocated: u64,
    pub(super) bits_stored: u64,
    pub(super) signed: bool,
    pub(super) photometric: &'static str,
    /// Lossy Image Compression Method (0028,2114) of what cannot be undone.
    pub(super) lossy: Option<&'static str>,
}

pub(super) fn build(
    builder: &Builder,
    received: &[BulkValue],
    attributes: &mut Attributes,
) -> Result<BuiltPixels, Refusal> {
    let first = received.first().ok_or(Refusal::MissingBulkData)?;
    if received.iter().any(|value| value.media_type != first.media_type) {
        return Err(Refusal::PixelDataNotAccepted("the frames are not all of one media type"));
    }
    match first.media_type {
        BulkType::Octets => native(received, attributes),
        BulkType::Gif | BulkType::Png => converted(builder, received, attributes),
        BulkType::Mpeg2 | BulkType::Mp4 => filmed(received, attributes),
        BulkType::RunLength => run_length(received, attributes),
        BulkType::Document(_) => Err(Refusal::PixelDataNotAccepted("a document is no picture")),
        _ => compressed(received, attributes),
    }
}

/// Little endian as it is; it must be as long as its description says.
fn native(received: &[BulkValue], attributes: &mut Attributes) -> Result<BuiltPixels, Refusal> {
    let [value] = received else {
        return Err(Refusal::PixelDataNotAccepted("uncompressed frames are one value"));
    };
    let asked = value.transfer_syntax.as_ref().map(|uid| uid.as_str());
    if let Some(uid) = asked
        && uid != uids::EXPLICIT_VR_LITTLE_ENDIAN
        && uid != uids::IMPLICIT_VR_LITTLE_ENDIAN
    {
        return Err(Refusal::TransferSyntaxNotAccepted(uid.to_owned()));
    }
    let bits_allocated = required(attributes, tags::BITS_ALLOCATED, "Bits Allocated")?;
    let factors = [
        required(attributes, tags::ROWS, "Rows")?,
        required(attributes, tags::COLUMNS, "Columns")?,
        required(attributes, tags::SAMPLES_PER_PIXEL, "Samples per Pixel")?,
        attributes.number(tags::NUMBER_OF_FRAMES).unwrap_or(1).max(1),
        bits_allocated,
    ];
    let bits = factors.into_iter().try_fold(1_u64, u64::checked_mul);
    let bytes = bits.map(|bits| bits.div_ceil(8));
    let padded = bytes.map(|bytes| bytes.next_multiple_of(2));
    // 4:2:2 has two samples less for each two pixels.
    let subsampled = attributes.text(tags::PHOTOMETRIC_INTERPRETATION).contains("_422");
    if !subsampled && bytes != Some(value.length()) && padded != Some(value.length()) {
        return Err(Refusal::PixelDataMismatch { attribute: "length" });
    }
    let value = Value::Native(value.whole(), native_vr(bits_allocated));
    Ok(BuiltPixels { value, transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned() })
}

/// PS3.5 A.2.
fn native_vr(bits_allocated: u64) -> VR {
    if bits_allocated > 8 { VR::OW } else { VR::OB }
}

fn required(attributes: &Attributes, tag: dicom_core::Tag, name: &'static str) -> Result<u64, Refusal> {
    attributes.number(tag).ok_or(Refusal::MissingAttribute(name))
}

/// GIF and PNG have no transfer syntax: their pixels are stored uncompressed, and described as
/// they are now.
fn converted(
    builder: &Builder,
    received: &[BulkValue],
    attributes: &mut Attributes,
) -> Result<BuiltPixels, Refusal> {
    let [value] = received else {
        return Err(Refusal::PixelDataNotAccepted("a GIF or PNG is one value"));
    };
    let ingest = &builder.ingest;
    let mut native = picture::Native::begin(&ingest.blobs, ingest.policy.picture_bytes_max)?;
    let description = native.add(value)?;
    redescribe(attributes, &description);
    time_frames(attributes, &native);
    let vr = native_vr(description.bits_allocated);
    let (staged, length) = native.finish()?;
    let value = Value::Native(Content::of(staged, length), vr);
    Ok(BuiltPixels { value, transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned() })
}

/// Says of native pixels what they are now, whatever the metadata said of the picture.
fn redescribe(attributes: &mut Attributes, made: &Description) {
    attributes.set_number(tags::ROWS, made.rows);
    attributes.set_number(tags::COLUMNS, made.columns);
    attributes.set_number(tags::SAMPLES_PER_PIXEL, made.samples);
    attributes.set_text(tags::PHOTOMETRIC_INTERPRETATION, made.photometric);
    attributes.set_number(tags::BITS_ALLOCATED, made.bits_allocated);
    attributes.set_number(tags::BITS_STORED, made.bits_stored);
    attributes.set_number(tags::HIGH_BIT, made.bits_stored - 1);
    attributes.set_number(tags::PIXEL_REPRESENTATION, 0);
    if made.samples > 1 {
        attributes.set_number(tags::PLANAR_CONFIGURATION, 0);
    }
}

/// Frames of an animation follow each other in time (PS3.3 C.7.6.6).
fn time_frames(attributes: &mut Attributes, native: &picture::Native) {
    if native.frames > 1 || attributes.number(tags::NUMBER_OF_FRAMES).is_some() {
        attributes.set_number(tags::NUMBER_OF_FRAMES, native.frames);
    }
    if native.frames > 1 && attributes.text(tags::FRAME_INCREMENT_POINTER).is_empty() {
        attributes.fill_text(tags::FRAME_TIME, &native.frame_time_ms.to_string());
        let pointer = PrimitiveValue::Tags([tags::FRAME_TIME].into_iter().collect());
        attributes.put(DataElement::new(tags::FRAME_INCREMENT_POINTER, VR::AT, pointer));
    }
}

/// Codestreams that DICOM has a transfer syntax for, one part for each frame.
fn compressed(received: &[BulkValue], attributes: &mut Attributes) -> Result<BuiltPixels, Refusal> {
    let read: Vec<codestream::Codestream> =
        received.iter().map(codestream::read).collect::<Result<_, _>>()?;
    let first = read.first().ok_or(Refusal::MissingBulkData)?;
    if read.iter().any(|other| other.description != first.description) {
        return Err(Refusal::PixelDataNotAccepted("the frames are not all alike"));
    }
    describe(attributes, &first.description)?;
    count_frames(attributes, read.len() as u64)?;
    let transfer_syntax = first.transfer_syntax.clone();
    let frames = read.into_iter().map(|codestream| codestream.content).collect();
    Ok(BuiltPixels { value: Value::Encapsulated(frames), transfer_syntax })
}

/// Run lengths describe nothing of themselves.
fn run_length(received: &[BulkValue], attributes: &mut Attributes) -> Result<BuiltPixels, Refusal> {
    for (tag, name) in [
        (tags::ROWS, "Rows"),
        (tags::COLUMNS, "Columns"),
        (tags::SAMPLES_PER_PIXEL, "Samples per Pixel"),
        (tags::BITS_ALLOCATED, "Bits Allocated"),
    ] {
        required(attributes, tag, name)?;
    }
    count_frames(attributes, received.len() as u64)?;
    let frames = received.iter().map(BulkValue::whole).collect();
    Ok(BuiltPixels { value: Value::Encapsulated(frames), transfer_syntax: uids::RLE_LOSSLESS.to_owned() })
}

/// All frames of a video are one stream and one fragment, PS3.5 8.2.5 to 8.2.8.
fn filmed(received: &[BulkValue], attributes: &mut Attributes) -> Result<BuiltPixels, Refusal> {
    let [value] = received else {
        return Err(Refusal::PixelDataNotAccepted("a video is one value"));
    };
    let video = video::read(value)?;
    describe(attributes, &video.description)?;
    match video.frames {
        Some(frames) => attributes.agree(tags::NUMBER_OF_FRAMES, "Number of Frames", frames)?,
        None => drop(required(attributes, tags::NUMBER_OF_FRAMES, "Number of Frames")?),
    }
    let value = Value::Encapsulated(vec![value.whole()]);
    Ok(BuiltPixels { value, transfer_syntax: video.transfer_syntax.to_owned() })
}

/// Adds what the metadata leaves out. What it says of the size must be so.
fn describe(attributes: &mut Attributes, found: &Description) -> Result<(), Refusal> {
    attributes.agree(tags::ROWS, "Rows", found.rows)?;
    attributes.agree(tags::COLUMNS, "Columns", found.columns)?;
    attributes.agree(tags::SAMPLES_PER_PIXEL, "Samples per Pixel", found.samples)?;
    attributes.fill_text(tags::PHOTOMETRIC_INTERPRETATION, found.photometric);
    attributes.fill_number(tags::BITS_ALLOCATED, found.bits_allocated);
    attributes.fill_number(tags::BITS_STORED, found.bits_stored);
    attributes.fill_number(tags::HIGH_BIT, found.bits_stored - 1);
    attributes.fill_number(tags::PIXEL_REPRESENTATION, u64::from(found.signed));
    if found.samples > 1 {
        attributes.fill_number(tags::PLANAR_CONFIGURATION, 0);
    }
    if let Some(method) = found.lossy {
        attributes.fill_text(tags::LOSSY_IMAGE_COMPRESSION, "01");
        attributes.fill_text(tags::LOSSY_IMAGE_COMPRESSION_METHOD, method);
    }
    Ok(())
}

/// An image of one frame need not say so.
fn count_frames(attributes: &mut Attributes, frames: u64) -> Result<(), Refusal> {
    match attributes.number(tags::NUMBER_OF_FRAMES) {
        None if frames == 1 => Ok(()),
        _ => attributes.agree(tags::NUMBER_OF_FRAMES, "Number of Frames", frames),
    }
}
