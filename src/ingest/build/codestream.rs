//! Still pictures that are kept as they came: which transfer syntax they are, and what their
//! headers say.

use std::io::Read;

use dicom_dictionary_std::uids;
use jxl_oxide::{InitializeResult, JxlImage, PixelFormat};

use super::bulk::{BulkType, BulkValue, Content};
use super::pixels::Description;
use crate::ingest::Refusal;
use crate::volume::pixels::headers::{self, Header};

/// Headers of codestreams end within this many bytes, profiles and thumbnails included.
const HEAD_BYTES_MAX: u64 = 1 << 20;
const JPEG_XL_STEP: u64 = 1 << 16;

pub(super) struct Codestream {
    pub(super) description: Description,
    pub(super) transfer_syntax: String,
    pub(super) content: Content,
}

pub(super) fn read(value: &BulkValue) -> Result<Codestream, Refusal> {
    let (description, natural, allowed): (_, _, &[&str]) = match value.media_type {
        BulkType::JpegXl => (
            jpeg_xl(value)?,
            uids::JPEGXL,
            &[uids::JPEGXL, uids::JPEGXL_LOSSLESS, uids::JPEGXLJPEG_RECOMPRESSION],
        ),
        BulkType::Jpeg | BulkType::JpegLs => {
            let header = headers::jpeg_header(&value.head(HEAD_BYTES_MAX)?).ok_or_else(unreadable)?;
            (described(&header, jpeg_photometric(&header))?, jpeg_syntax(value.media_type, &header)?, &[])
        }
        _ => {
            let header = headers::jpeg_2000_header(&value.head(HEAD_BYTES_MAX)?).ok_or_else(unreadable)?;
            let (natural, allowed) = jpeg_2000_syntax(value.media_type, &header);
            (described(&header, jpeg_2000_photometric(&header))?, natural, allowed)
        }
    };
    let transfer_syntax = match &value.transfer_syntax {
        None => natural,
        Some(uid) if uid.as_str() == natural || allowed.contains(&uid.as_str()) => uid.as_str(),
        Some(uid) => return Err(Refusal::TransferSyntaxNotAccepted(uid.to_string())),
    };
    Ok(Codestream { description, transfer_syntax: transfer_syntax.to_owned(), content: bare(value)? })
}

fn unreadable() -> Refusal {
    Refusal::PixelDataNotAccepted("the picture has no header that its media type has")
}

fn described(header: &Header, photometric: &'static str) -> Result<Description, Refusal> {
    if !matches!(header.components, 1 | 3) || !(1..=16).contains(&header.precision) {
        return Err(Refusal::PixelDataNotAccepted("a picture has one or three components of 1 to 16 bits"));
    }
    Ok(Description {
        rows: header.rows as u64,
        columns: header.columns as u64,
        samples: header.components as u64,
        bits_allocated: if header.precision <= 8 { 8 } else { 16 },
        bits_stored: header.precision.into(),
        signed: header.signed,
        photometric,
        lossy: (!header.reversible).then(|| lossy_method(header.marker)),
    })
}

/// PS3.3 C.7.6.1.1.5.1.
fn lossy_method(marker: u8) -> &'static str {
    match marker {
        0x51 => "ISO_15444_1",
        0xF7 => "ISO_14495_1",
        _ => "ISO_10918_1",
    }
}

/// By the coding process in the frame marker, ITU-T T.81 Table B.1.
fn jpeg_syntax(media_type: BulkType, header: &Header) -> Result<&'static str, Refusal> {
    match (media_type, header.marker) {
        (BulkType::JpegLs, 0xF7) if header.reversible => Ok(uids::JPEGLS_LOSSLESS),
        (BulkType::JpegLs, 0xF7) => Ok(uids::JPEGLS_NEAR_LOSSLESS),
        (BulkType::Jpeg, 0xC0) => Ok(uids::JPEG_BASELINE8_BIT),
        (BulkType::Jpeg, 0xC1) => Ok(uids::JPEG_EXTENDED12_BIT),
        (BulkType::Jpeg, 0xC3) if header.predictor == 1 => Ok(uids::JPEG_LOSSLESS_SV1),
        (BulkType::Jpeg, 0xC3) => Ok(uids::JPEG_LOSSLESS),
        _ => Err(Refusal::PixelDataNotAccepted("this JPEG process has no transfer syntax")),
    }
}

fn jpeg_photometric(header: &Header) -> &'static str {
    let named_rgb = header.component_ids == *b"RGB";
    match header.components {
        1 => "MONOCHROME2",
        _ if header.marker == 0xF7 || header.marker == 0xC3 => "RGB",
        _ if named_rgb || header.adobe_transform == Some(0) => "RGB",
        _ => "YBR_FULL_422",
    }
}

/// The natural syntax, and others that a sender may know better.
fn jpeg_2000_syntax(media_type: BulkType, header: &Header) -> (&'static str, &'static [&'static str]) {
    match (media_type, header.reversible) {
        (BulkType::HighThroughputJpeg2000, true) => {
            (uids::HTJ2K_LOSSLESS, &[uids::HTJ2K_LOSSLESS_RPCL, uids::HTJ2K])
        }
        (BulkType::HighThroughputJpeg2000, false) => (uids::HTJ2K, &[]),
        (BulkType::Jpeg2000Part2, true) => (uids::JPEG2000MC_LOSSLESS, &[uids::JPEG2000MC]),
        (BulkType::Jpeg2000Part2, false) => (uids::JPEG2000MC, &[]),
        // A reversible transform may have been cut short.
        (_, true) => (uids::JPEG2000_LOSSLESS, &[uids::JPEG2000]),
        (_, false) => (uids::JPEG2000, &[]),
    }
}

/// PS3.5 8.2.4.
fn jpeg_2000_photometric(header: &Header) -> &'static str {
    match (header.components, header.component_transform, header.reversible) {
        (1, ..) => "MONOCHROME2",
        (_, false, _) => "RGB",
        (_, true, true) => "YBR_RCT",
        (_, true, false) => "YBR_ICT",
    }
}

/// A JP2 file is its boxes and a codestream; DICOM keeps the codestream alone (PS3.5 8.2.4).
fn bare(value: &BulkValue) -> Result<Content, Refusal> {
    const JP2_SIGNATURE: &[u8] = b"\0\0\0\x0CjP  \r\n\x87\n";
    let is_jpeg_2000 = matches!(
        value.media_type,
        BulkType::Jpeg2000 | BulkType::Jpeg2000Part2 | BulkType::HighThroughputJpeg2000
    );
    if !is_jpeg_2000 || !value.head(JP2_SIGNATURE.len() as u64)?.starts_with(JP2_SIGNATURE) {
        return Ok(value.whole());
    }
    let mut file = value.open()?;
    let found = super::video::boxes(&mut file, 0..value.length())?;
    let codestream = found.into_iter().find(|found| &found.kind == b"jp2c").ok_or_else(unreadable)?;
    Ok(value.part(codestream.content))
}

/// Feeds the decoder until it has the image header.
fn jpeg_xl(value: &BulkValue) -> Result<Description, Refusal> {
    let mut file = value.open()?.take(HEAD_BYTES_MAX);
    let mut image = JxlImage::builder().build_uninit();
    let mut pending = Vec::new();
    loop {
        let before = pending.len();
        (&mut file).take(JPEG_XL_STEP).read_to_end(&mut pending).map_err(Refusal::Storage)?;
        if pending.len() == before {
            return Err(unreadable());
        }
        let consumed = image.feed_bytes(&pending).map_err(|_| unreadable())?;
        pending.drain(..consumed);
        match image.try_init().map_err(|_| unreadable())? {
            InitializeResult::NeedMoreData(more) => image = more,
            InitializeResult::Initialized(image) => return jpeg_xl_described(&image),
        }
    }
}

fn jpeg_xl_described(image: &JxlImage) -> Result<Description, Refusal> {
    let metadata = &image.image_header().metadata;
    let bits = metadata.bit_depth.bits_per_sample();
    let (samples, color) = match image.pixel_format() {
        PixelFormat::Gray => (1, "MONOCHROME2"),
        PixelFormat::Rgb => (3, if metadata.xyb_encoded { "XYB" } else { "RGB" }),
        _ => return Err(Refusal::PixelDataNotAccepted("a picture has one or three components")),
    };
    if !(1..=16).contains(&bits) {
        return Err(Refusal::PixelDataNotAccepted("a picture has 1 to 16 bits"));
    }
    Ok(Description {
        rows: image.height().into(),
        columns: image.width().into(),
        samples,
        bits_allocated: if bits <= 8 { 8 } else { 16 },
        bits_stored: bits.into(),
        signed: false,
        photometric: color,
        lossy: metadata.xyb_encoded.then_some("ISO_18181_1"),
    })
}
