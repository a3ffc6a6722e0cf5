mod codestreams;

use super::*;
use crate::volume::testing::{object, with};
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use ndarray::array;

const EXPLICIT: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;

fn gray(bits: [&str; 3]) -> InMemDicomObject {
    object(&[
        (tags::ROWS, "2"),
        (tags::COLUMNS, "2"),
        (tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
        (tags::SAMPLES_PER_PIXEL, "1"),
        (tags::BITS_ALLOCATED, bits[0]),
        (tags::BITS_STORED, bits[1]),
        (tags::HIGH_BIT, bits[2]),
    ])
}

fn color(photometric: &str) -> InMemDicomObject {
    let object = with(gray(["8", "8", "7"]), tags::SAMPLES_PER_PIXEL, "3");
    with(object, tags::PHOTOMETRIC_INTERPRETATION, photometric)
}

fn signed(object: InMemDicomObject) -> InMemDicomObject {
    with(object, tags::PIXEL_REPRESENTATION, "1")
}

fn read(object: &InMemDicomObject, transfer_syntax: &str, bytes: &[u8]) -> Result<Samples, PixelError> {
    let image = ImageDescription::from_object(object)?;
    decode(&image, EncodedFrame::new(transfer_syntax, bytes)).map(|frame| frame.samples)
}

#[track_caller]
fn is_gray(object: &InMemDicomObject, transfer_syntax: &str, bytes: &[u8], expected: [[i32; 2]; 2]) {
    assert_eq!(read(object, transfer_syntax, bytes), Ok(Samples::Gray(ndarray::arr2(&expected))));
}

#[track_caller]
fn is_refused(values: &[(Tag, &str)], expected: &str) {
    let object =
        values.iter().fold(gray(["16", "12", "11"]), |object, (tag, value)| with(object, *tag, value));
    assert_eq!(read(&object, EXPLICIT, &[0; 8]).unwrap_err().to_string(), expected);
}

#[test]
fn unused_high_bits_are_masked() {
    is_gray(
        &gray(["16", "12", "11"]),
        EXPLICIT,
        &[0x01, 0xF0, 0xFF, 0x0F, 0xFF, 0xFF, 0x00, 0x08],
        [[1, 4095], [4095, 2048]],
    );
}

#[test]
fn signed_values_extend_from_bits_stored() {
    let object = signed(gray(["16", "12", "11"]));
    is_gray(&object, EXPLICIT, &[0x01, 0xF0, 0xFF, 0x07, 0xFF, 0x0F, 0x00, 0x08], [[1, 2047], [-1, -2048]]);
}

#[test]
fn values_may_sit_above_the_low_bits() {
    is_gray(
        &gray(["16", "12", "15"]),
        EXPLICIT,
        &[0x1F, 0x00, 0xF0, 0xFF, 0, 0, 0x20, 0x00],
        [[1, 4095], [0, 2]],
    );
}

#[test]
fn eight_and_thirty_two_bits() {
    is_gray(&gray(["8", "8", "7"]), EXPLICIT, &[0, 1, 128, 255, 99], [[0, 1], [128, 255]]);
    is_gray(&signed(gray(["8", "8", "7"])), EXPLICIT, &[0, 1, 128, 255], [[0, 1], [-128, -1]]);
    let bytes: Vec<u8> = [0_u32, 1, 1 << 31, u32::MAX].into_iter().flat_map(u32::to_le_bytes).collect();
    is_gray(&signed(gray(["32", "32", "31"])), EXPLICIT, &bytes, [[0, 1], [i32::MIN, -1]]);
    let wide = Samples::WideGray(array![[0, 1], [1 << 31, u32::MAX]]);
    assert_eq!(read(&gray(["32", "32", "31"]), EXPLICIT, &bytes), Ok(wide));
}

#[test]
fn single_bits_begin_at_the_least_significant() {
    is_gray(&gray(["1", "1", "0"]), EXPLICIT, &[0b0000_1101], [[1, 0], [1, 1]]);
    let image = ImageDescription::from_object(&gray(["1", "1", "0"])).unwrap();
    let across = EncodedFrame { first_bit: 6, ..EncodedFrame::new(EXPLICIT, &[0b1000_0000, 0b0000_0001]) };
    assert_eq!(decode(&image, across).unwrap().samples, Samples::Gray(array![[0, 1], [1, 0]]));
}

#[test]
#[expect(deprecated, reason = "retired, and still to be read")]
fn big_endian_samples_are_swapped() {
    let big = uids::EXPLICIT_VR_BIG_ENDIAN;
    is_gray(&gray(["16", "16", "15"]), big, &[0, 1, 1, 0, 0, 2, 0, 3], [[1, 256], [2, 3]]);
    is_gray(&gray(["8", "8", "7"]), big, &[1, 2, 3, 4], [[1, 2], [3, 4]]);
    let image = ImageDescription::from_object(&gray(["8", "8", "7"])).unwrap();
    let words = EncodedFrame { held_in: HeldIn::Words, ..EncodedFrame::new(big, &[1, 2, 3, 4]) };
    assert_eq!(decode(&image, words).unwrap().samples, Samples::Gray(array![[2, 1], [4, 3]]));
}

#[test]
fn planes_become_pixels() {
    let planar = with(color("RGB"), tags::PLANAR_CONFIGURATION, "1");
    let by_plane = read(&planar, EXPLICIT, &[1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12]);
    let by_pixel = read(&color("RGB"), EXPLICIT, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(by_pixel, Ok(Samples::Rgb(array![[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]])));
    assert_eq!(by_plane, by_pixel);
}

#[test]
fn ybr_becomes_rgb() {
    let red = [76, 85, 255];
    let ybr: Vec<u8> = [red, [255, 128, 128], [0, 128, 128], red].concat();
    let expected = Samples::Rgb(array![[[254, 0, 0], [255, 255, 255]], [[0, 0, 0], [254, 0, 0]]]);
    assert_eq!(read(&color("YBR_FULL"), EXPLICIT, &ybr), Ok(expected));
}

#[test]
fn subsampled_chroma_is_shared_by_two_pixels() {
    let bytes = [76, 76, 85, 255, 0, 255, 128, 128];
    let expected = Samples::Rgb(array![[[254, 0, 0], [254, 0, 0]], [[0, 0, 0], [255, 255, 255]]]);
    assert_eq!(read(&color("YBR_FULL_422"), EXPLICIT, &bytes), Ok(expected));
}

fn palette(bits: &str, descriptor: &str, data: [&str; 3]) -> InMemDicomObject {
    let object = with(gray([bits, bits, "7"]), tags::PHOTOMETRIC_INTERPRETATION, "PALETTE COLOR");
    let descriptors = [
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    ];
    let tables = [
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ];
    let object = descriptors.into_iter().fold(object, |object, tag| with(object, tag, descriptor));
    tables.into_iter().zip(data).fold(object, |object, (tag, data)| with(object, tag, data))
}

#[test]
fn a_palette_gives_colors_and_clamps() {
    let object = palette("8", "3\\10\\16", ["256\\512\\65535", "0\\0\\0", "65280\\1\\2"]);
    let expected = Samples::Rgb(array![[[1, 0, 255], [1, 0, 255]], [[2, 0, 0], [255, 0, 0]]]);
    assert_eq!(read(&object, EXPLICIT, &[0, 10, 11, 200]), Ok(expected));
}

#[test]
fn packed_and_shallow_palettes() {
    let packed = palette("8", "4\\0\\8", ["513\\1027", "0\\0", "0\\0"]);
    let expected = Samples::Rgb(array![[[1, 0, 0], [2, 0, 0]], [[3, 0, 0], [4, 0, 0]]]);
    assert_eq!(read(&packed, EXPLICIT, &[0, 1, 2, 3]), Ok(expected.clone()));
    let shallow = palette("8", "4\\0\\16", ["1\\2\\3\\4", "0\\0\\0\\0", "0\\0\\0\\0"]);
    assert_eq!(read(&shallow, EXPLICIT, &[0, 1, 2, 3]), Ok(expected));
}

#[test]
fn segmented_palettes_expand() {
    let object = palette("8", "4\\0\\16", ["", "", ""].map(|_| "0"));
    let object = [
        (tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA),
        (tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA, tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA),
        (tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA, tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA),
    ]
    .into_iter()
    .fold(object, |mut object, (plain, segmented)| {
        object.remove_element(plain);
        with(object, segmented, "0\\1\\0\\1\\3\\768")
    });
    let expected = Samples::Rgb(array![[[0, 0, 0], [1, 1, 1]], [[2, 2, 2], [3, 3, 3]]]);
    assert_eq!(read(&object, EXPLICIT, &[0, 1, 2, 3]), Ok(expected));
}

fn rle(segments: &[&[u8]]) -> Vec<u8> {
    let mut header = vec![segments.len() as u32];
    let mut body = Vec::new();
    for segment in segments {
        header.push(64 + body.len() as u32);
        body.extend_from_slice(segment);
    }
    header.resize(16, 0);
    header.into_iter().flat_map(u32::to_le_bytes).chain(body).collect()
}

#[test]
fn rle_runs_and_literals() {
    let bytes = rle(&[&[0xFD, 1], &[3, 1, 2, 3, 4]]);
    is_gray(&gray(["16", "16", "15"]), uids::RLE_LOSSLESS, &bytes, [[257, 258], [259, 260]]);
    let bytes = rle(&[&[0xFD, 9], &[0xFD, 8], &[3, 1, 2, 3, 4]]);
    let expected = Samples::Rgb(array![[[9, 8, 1], [9, 8, 2]], [[9, 8, 3], [9, 8, 4]]]);
    assert_eq!(read(&color("RGB"), uids::RLE_LOSSLESS, &bytes), Ok(expected));
}

fn reals(bits: &str, held_in: HeldIn, bytes: &[u8]) -> Result<Samples, PixelError> {
    let mut object = with(gray([bits, bits, "0"]), tags::ROWS, "1");
    object.remove_element(tags::HIGH_BIT);
    let image = ImageDescription::from_object(&object).unwrap();
    decode(&image, EncodedFrame { held_in, ..EncodedFrame::new(EXPLICIT, bytes) }).map(|frame| frame.samples)
}

#[test]
fn float_and_double_pixels_are_read_as_they_are() {
    let floats: Vec<u8> = [1.5_f32, -2e9].into_iter().flat_map(f32::to_le_bytes).collect();
    assert_eq!(reals("32", HeldIn::Floats, &floats), Ok(Samples::Real(array![[1.5, -2e9]])));
    let doubles: Vec<u8> = [0.1_f64, 1e300].into_iter().flat_map(f64::to_le_bytes).collect();
    assert_eq!(reals("64", HeldIn::Doubles, &doubles), Ok(Samples::Real(array![[0.1, 1e300]])));
    assert_eq!(
        reals("64", HeldIn::Doubles, &doubles[1..]),
        Err(PixelError::Truncated { found: 15, needed: 16 })
    );
    assert!(matches!(reals("64", HeldIn::Words, &doubles), Err(PixelError::Unsupported { .. })));
}

#[test]
fn studio_range_colors_are_stretched() {
    let bytes = [16, 235, 128, 128, 16, 16, 128, 128];
    let expected = Samples::Rgb(array![[[0, 0, 0], [255, 255, 255]], [[0, 0, 0], [0, 0, 0]]]);
    assert_eq!(read(&color("YBR_PARTIAL_422"), EXPLICIT, &bytes), Ok(expected));
}

#[test]
fn retired_color_spaces_are_refused_by_name() {
    for name in ["ARGB", "CMYK", "HSV"] {
        let expected = format!("Photometric Interpretation is {name}, which is not supported");
        assert_eq!(read(&color(name), EXPLICIT, &[0; 16]).unwrap_err().to_string(), expected);
    }
    assert!(read(&color("YBR_PARTIAL_420"), EXPLICIT, &[0; 12]).is_err());
}

#[test]
fn damaged_rle_is_refused() {
    let refused =
        |bytes: &[u8]| read(&gray(["8", "8", "7"]), uids::RLE_LOSSLESS, bytes).unwrap_err().to_string();
    assert_eq!(refused(&[1, 0]), "the frame has 2 bytes and needs 64");
    let short = "the RLE codestream is invalid: a segment ends before the last pixel";
    assert_eq!(refused(&rle(&[&[1, 7, 7]])), short);
    let mut outside = rle(&[&[0xFD, 1]]);
    outside[4] = 200;
    assert_eq!(refused(&outside), "the RLE codestream is invalid: a segment lies outside the frame");
    assert_eq!(refused(&rle(&[&[], &[]])), "the RLE codestream is invalid: 2 segments where 1 are needed");
}

#[test]
fn what_cannot_be_decoded_is_named() {
    is_refused(&[(tags::BITS_ALLOCATED, "12")], "Bits Allocated is 12, which is not supported");
    is_refused(&[(tags::BITS_STORED, "17")], "Bits Stored is 17, which is not supported");
    is_refused(&[(tags::HIGH_BIT, "16")], "High Bit is 16, which is not supported");
    is_refused(&[(tags::ROWS, "0")], "Rows is 0, which is not supported");
    is_refused(&[(tags::SAMPLES_PER_PIXEL, "2")], "Samples per Pixel is 2, which is not supported");
    is_refused(&[(tags::ROWS, "3")], "the frame has 8 bytes and needs 12");
    let huge = [(tags::ROWS, "65535"), (tags::COLUMNS, "65535")];
    is_refused(&huge, "the frame has 4294836225 samples and the limit is 134217728");
}
