//! Streams of the compressed transfer syntaxes: whole, damaged and cut.

use proptest::prelude::*;

use super::*;

#[test]
fn damaged_codestreams_are_errors_and_never_panics() {
    let object = gray(["8", "8", "7"]);
    let garbage = [
        0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0, 2, 0, 2, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 1,
        2,
    ];
    for syntax in [
        uids::JPEG_BASELINE8_BIT,
        uids::JPEG_LOSSLESS_SV1,
        uids::JPEG2000,
        uids::JPEGLS_LOSSLESS,
        uids::JPEGXL,
    ] {
        for end in 0..garbage.len() {
            assert!(read(&object, syntax, &garbage[..end]).is_err(), "{syntax} {end}");
        }
    }
    assert_eq!(read(&object, uids::MPEG4HP41, &[]), Err(PixelError::TransferSyntax(uids::MPEG4HP41.into())));
}

#[test]
fn a_codestream_of_another_size_is_refused_before_it_is_decoded() {
    let frame = [0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 0x11, 0];
    let scan = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0];
    let large = [&frame[..], &scan].concat();
    let error = read(&gray(["8", "8", "7"]), uids::JPEG_BASELINE8_BIT, &large).unwrap_err();
    assert_eq!(error, PixelError::Mismatch { found: "65535x65535x1".into(), expected: "2x2x1".into() });
}

/// The picture in `tests/it/golden/ramp-*`: 33 rows, 64 columns, 60 more per column and 5 per row.
fn ramp(first: i32) -> ndarray::Array2<i32> {
    ndarray::Array2::from_shape_fn((33, 64), |(row, column)| first + 60 * column as i32 + 5 * row as i32)
}

fn ramp_attributes(signed: &str) -> InMemDicomObject {
    let object = with(gray(["16", "12", "11"]), tags::ROWS, "33");
    with(with(object, tags::COLUMNS, "64"), tags::PIXEL_REPRESENTATION, signed)
}

#[test]
fn lossless_streams_of_other_makers_give_signed_12_bit_values_back() {
    let streams: [(&str, &[u8]); 3] = [
        (uids::JPEG_LOSSLESS_SV1, include_bytes!("../../../../tests/it/golden/ramp-jpeg-lossless.jpg")),
        (uids::JPEGLS_LOSSLESS, include_bytes!("../../../../tests/it/golden/ramp-jpeg-ls.jls")),
        (uids::JPEG2000_LOSSLESS, include_bytes!("../../../../tests/it/golden/ramp-jpeg-2000.j2k")),
    ];
    for (syntax, stream) in streams {
        let expected = match cfg!(feature = "jpeg-ls") || syntax != uids::JPEGLS_LOSSLESS {
            true => Ok(Samples::Gray(ramp(-1960))),
            false => Err(PixelError::TransferSyntax(syntax.to_owned())),
        };
        assert_eq!(read(&ramp_attributes("1"), syntax, stream), expected, "{syntax}");
    }
}

#[test]
fn lossy_12_bit_jpeg_is_close() {
    let stream = include_bytes!("../../../../tests/it/golden/ramp-jpeg-extended-12.jpg");
    let Ok(Samples::Gray(values)) = read(&ramp_attributes("0"), uids::JPEG_EXTENDED12_BIT, stream) else {
        panic!("no gray frame")
    };
    let worst = values.iter().zip(&ramp(0)).map(|(value, expected)| (value - expected).abs()).max();
    assert!(worst <= Some(8), "{worst:?}");
}

#[test]
fn a_12_bit_jpeg_that_is_cut_anywhere_is_refused() {
    let stream = include_bytes!("../../../../tests/it/golden/ramp-jpeg-extended-12.jpg");
    for end in 0..stream.len() - 4 {
        let read = read(&ramp_attributes("0"), uids::JPEG_EXTENDED12_BIT, &stream[..end]);
        assert!(matches!(read, Err(PixelError::Codestream { .. })), "{end}: {read:?}");
    }
}

#[test]
fn jpeg_xl_keeps_all_16_bits() {
    use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
    let object = with(with(gray(["16", "16", "15"]), tags::ROWS, "33"), tags::COLUMNS, "64");
    let plain: Vec<u8> = ramp(60_000).iter().flat_map(|value| (*value as u16).to_le_bytes()).collect();
    let image = ImageDescription::from_object(&object).unwrap();
    let source = registry::OneFrame::native(&image, &plain);
    let syntax = dicom_transfer_syntax_registry::TransferSyntaxRegistry.get(uids::JPEGXL_LOSSLESS).unwrap();
    let mut stream = Vec::new();
    let writer = syntax.pixel_data_writer().unwrap();
    writer.encode_frame(&source, 0, Default::default(), &mut stream).unwrap();
    assert_eq!(read(&object, uids::JPEGXL_LOSSLESS, &stream), Ok(Samples::Gray(ramp(60_000))));
}

fn ramp_of_16_bits(signed: &str) -> InMemDicomObject {
    let object = with(with(gray(["16", "16", "15"]), tags::ROWS, "33"), tags::COLUMNS, "64");
    with(object, tags::PIXEL_REPRESENTATION, signed)
}

fn colors_attributes(photometric: &str) -> InMemDicomObject {
    with(with(color(photometric), tags::ROWS, "33"), tags::COLUMNS, "64")
}

/// The picture in `tests/it/golden/colors-*`.
fn colors() -> ndarray::Array3<u8> {
    ndarray::Array3::from_shape_fn((33, 64, 3), |(row, column, channel)| {
        [3 * column, 255 - 3 * column, 7 * row][channel] as u8
    })
}

#[test]
fn high_throughput_streams_are_decoded_in_all_three_syntaxes() {
    let plain = include_bytes!("../../../../tests/it/golden/ramp-htj2k.jhc");
    let signed = include_bytes!("../../../../tests/it/golden/ramp-htj2k-signed.jhc");
    let rgb = include_bytes!("../../../../tests/it/golden/colors-htj2k.jhc");
    for syntax in [uids::HTJ2K_LOSSLESS, uids::HTJ2K_LOSSLESS_RPCL, uids::HTJ2K] {
        assert_eq!(read(&ramp_of_16_bits("0"), syntax, plain), Ok(Samples::Gray(ramp(0))));
        assert_eq!(read(&ramp_of_16_bits("1"), syntax, signed), Ok(Samples::Gray(ramp(-1960))));
        assert_eq!(read(&colors_attributes("YBR_RCT"), syntax, rgb), Ok(Samples::Rgb(colors())));
    }
}

#[track_caller]
fn is_close_to_the_ramp(syntax: &str, stream: &[u8], farthest: i32) {
    let Ok(Samples::Gray(values)) = read(&ramp_of_16_bits("0"), syntax, stream) else {
        panic!("no gray frame")
    };
    let worst = values.iter().zip(&ramp(0)).map(|(value, expected)| (value - expected).abs()).max();
    assert!(worst <= Some(farthest), "{worst:?}");
}

#[test]
fn lossy_streams_of_16_bits_are_close() {
    let high_throughput = include_bytes!("../../../../tests/it/golden/ramp-htj2k-lossy.jhc");
    is_close_to_the_ramp(uids::HTJ2K, high_throughput, 70);
    is_close_to_the_ramp(uids::JPEGXL, include_bytes!("../../../../tests/it/golden/ramp-lossy.jxl"), 200);
}

#[track_caller]
fn colors_of(photometric: &str, syntax: &str, stream: &[u8]) -> ndarray::Array3<u8> {
    match read(&colors_attributes(photometric), syntax, stream) {
        Ok(Samples::Rgb(values)) => values,
        other => panic!("{other:?}"),
    }
}

fn farthest(a: &ndarray::Array3<u8>, b: &ndarray::Array3<u8>) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn a_recompressed_jpeg_is_the_jpeg() {
    let jpeg = include_bytes!("../../../../tests/it/golden/colors-jpeg.jpg");
    let recompressed = include_bytes!("../../../../tests/it/golden/colors-jpeg-recompressed.jxl");
    let jpeg = colors_of("YBR_FULL_422", uids::JPEG_BASELINE8_BIT, jpeg);
    let jxl = colors_of("YBR_FULL_422", uids::JPEGXLJPEG_RECOMPRESSION, recompressed);
    assert!(farthest(&jpeg, &jxl) <= 2, "{}", farthest(&jpeg, &jxl));
}

#[test]
fn lossy_jpeg_xl_gives_its_colors_back() {
    let stream = include_bytes!("../../../../tests/it/golden/colors-lossy.jxl");
    let found = colors_of("XYB", uids::JPEGXL, stream);
    assert!(farthest(&found, &colors()) <= 24, "{}", farthest(&found, &colors()));
}

const STREAMS: [(&str, &[u8]); 5] = [
    (uids::HTJ2K_LOSSLESS, include_bytes!("../../../../tests/it/golden/ramp-htj2k-signed.jhc")),
    (uids::JPEG_EXTENDED12_BIT, include_bytes!("../../../../tests/it/golden/ramp-jpeg-extended-12.jpg")),
    (uids::JPEG_LOSSLESS_SV1, include_bytes!("../../../../tests/it/golden/ramp-jpeg-lossless.jpg")),
    (uids::JPEGLS_LOSSLESS, include_bytes!("../../../../tests/it/golden/ramp-jpeg-ls.jls")),
    (uids::JPEG2000_LOSSLESS, include_bytes!("../../../../tests/it/golden/ramp-jpeg-2000.j2k")),
];

proptest! {
    #[test]
    fn changed_bytes_give_a_frame_or_an_error(codec in 0..STREAMS.len(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (syntax, stream) = STREAMS[codec];
        let mut stream = stream.to_vec();
        changes.into_iter().for_each(|(at, byte)| *at.get_mut(&mut stream) = byte);
        if let Ok(samples) = read(&ramp_attributes("1"), syntax, &stream) {
            prop_assert!(matches!(samples, Samples::Gray(values) if values.dim() == (33, 64)));
        }
    }
}
