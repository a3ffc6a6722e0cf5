use dicom_dictionary_std::uids;

use super::*;
use crate::volume::pixels::{Colours, EncodedFrame, ImageDescription, PlanarConfiguration};

fn image(samples: usize, allocated: u16, stored: u16, signed: bool) -> ImageDescription {
    ImageDescription {
        rows: 13,
        columns: 21,
        samples_per_pixel: samples,
        bits_allocated: allocated,
        bits_stored: stored,
        high_bit: stored - 1,
        signed,
        planar_configuration: PlanarConfiguration::ByPixel,
        photometric: if samples == 3 { Photometric::Rgb } else { Photometric::Monochrome2 },
        palette: None,
    }
}

/// Runs, ramps and jumps over the whole range.
fn raster(image: &ImageDescription) -> Raster {
    let value = |at: usize| match at / 40 % 3 {
        0 => 0,
        1 => at as u32 * 3,
        _ => (at as u32).wrapping_mul(2_654_435_761) >> 7,
    };
    let width = usize::from(image.bits_allocated / 8);
    let mask = u32::MAX >> (32 - image.bits_stored);
    let words = (0..image.samples()).map(|at| value(at) & mask);
    let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes().into_iter().take(width)).collect();
    let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, &bytes);
    Raster::decode(image, frame, Colours::Decoded).unwrap()
}

#[track_caller]
fn survives(encoding: Encoding, image: &ImageDescription) {
    let raster = raster(image);
    let bytes = encode(&raster, encoding).unwrap();
    assert_eq!(bytes.len() % 2, 0);
    let image = ImageDescription { photometric: raster.photometric, ..image.clone() };
    let again =
        Raster::decode(&image, EncodedFrame::new(encoding.transfer_syntax(), &bytes), Colours::Decoded);
    let again = again.unwrap();
    let bits = image.bits_stored;
    assert!(again.words(bits).eq(raster.words(bits)), "{encoding:?} {image:?}");
    assert_eq!((again.bits_stored, again.high_bit), (bits, image.high_bit), "{encoding:?}");
}

#[test]
fn lossless_encodings_give_back_every_sample() {
    let lossless = Encoding::COMPRESSED.into_iter().filter(|encoding| !encoding.is_lossy());
    for encoding in lossless.filter(|encoding| encoding.is_available()) {
        for signed in [false, true] {
            survives(encoding, &image(1, 8, 8, signed));
            survives(encoding, &image(1, 16, 12, signed));
            survives(encoding, &image(1, 16, 16, signed));
        }
        survives(encoding, &image(3, 8, 8, false));
    }
    survives(Encoding::RleLossless, &image(1, 32, 32, false));
    survives(Encoding::DeflatedFrame, &image(1, 32, 32, true));
}

#[test]
fn what_lies_in_unused_bits_is_kept() {
    let image = ImageDescription { rows: 1, columns: 2, ..image(1, 16, 12, false) };
    let bytes = [0x34, 0x12, 0x01, 0x80];
    let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, &bytes);
    let raster = Raster::decode(&image, frame, Colours::Decoded).unwrap();
    assert_eq!(raster.native(), bytes);
    for encoding in [Encoding::RleLossless, Encoding::DeflatedFrame] {
        let encoded = encode(&raster, encoding).unwrap();
        let frame = EncodedFrame::new(encoding.transfer_syntax(), &encoded);
        assert_eq!(Raster::decode(&image, frame, Colours::Decoded).unwrap().native(), bytes);
    }
    assert_eq!((raster.precision(), raster.codec_words(12)), (12, vec![0x234, 0x001]));
}

#[test]
fn single_bits_are_deflated_and_nothing_else() {
    let image = ImageDescription { bits_stored: 1, high_bit: 0, ..image(1, 1, 1, false) };
    let bytes: Vec<u8> = (0..35).map(|at| at * 7).collect();
    let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, &bytes);
    let raster = Raster::decode(&image, frame, Colours::Decoded).unwrap();
    let deflated = encode(&raster, Encoding::DeflatedFrame).unwrap();
    let frame = EncodedFrame::new(uids::DEFLATED_IMAGE_FRAME_COMPRESSION, &deflated);
    assert_eq!(Raster::decode(&image, frame, Colours::Decoded).unwrap(), raster);
    for encoding in [Encoding::RleLossless, Encoding::JpegLossless, Encoding::JpegXlLossless] {
        assert!(encode(&raster, encoding).is_err(), "{encoding:?}");
    }
}

#[test]
fn lossy_jpeg_takes_eight_bits_and_stays_close() {
    assert!(encode(&raster(&image(1, 16, 12, false)), Encoding::JpegBaseline).is_err());
    let image = ImageDescription { rows: 16, columns: 16, ..image(1, 8, 8, false) };
    let bytes: Vec<u8> = (0..=255).collect();
    let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, &bytes);
    let raster = Raster::decode(&image, frame, Colours::Decoded).unwrap();
    let jpeg = encode(&raster, Encoding::JpegBaseline).unwrap();
    let frame = EncodedFrame::new(uids::JPEG_BASELINE8_BIT, &jpeg);
    let again = Raster::decode(&image, frame, Colours::Decoded).unwrap();
    assert!(again.values.iter().zip(&raster.values).all(|(a, b)| a.abs_diff(*b) < 12));
}

#[test]
fn shared_chrominance_is_kept_for_who_reads_the_metadata() {
    let image = ImageDescription {
        photometric: Photometric::YbrFull422,
        columns: 2,
        rows: 1,
        ..image(3, 8, 8, false)
    };
    let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[10, 20, 100, 200]);
    let raster = Raster::decode(&image, frame, Colours::AsDescribed).unwrap();
    assert_eq!(raster.native(), [10, 100, 200, 20, 100, 200]);
    assert_eq!(raster.native_as_described(&image), [10, 20, 100, 200]);
}
