use super::*;

const NOISE: fn(usize) -> u8 = |at| (at.wrapping_mul(2_654_435_761) >> 13) as u8;

/// What two decoders that others wrote make of the file; both say the same.
fn decoded(levels: &[u8], columns: u16, rows: u16, quality: u8) -> Vec<u8> {
    let file = encode(levels, columns, rows, quality);
    let mut decoder = jpeg_decoder::Decoder::new(&file[..]);
    let pixels = decoder.decode().unwrap();
    let info = decoder.info().unwrap();
    assert_eq!((info.width, info.height, info.pixel_format), (columns, rows, jpeg_decoder::PixelFormat::L8));
    let other = image::load_from_memory(&file).unwrap().into_luma8().into_raw();
    assert!(pixels.iter().zip(&other).all(|(a, b)| a.abs_diff(*b) <= 2));
    pixels
}

#[track_caller]
fn check(level: impl Fn(usize) -> u8, columns: u16, rows: u16, quality: u8, off_max: u8) {
    let levels: Vec<u8> = (0..usize::from(columns) * usize::from(rows)).map(level).collect();
    let pixels = decoded(&levels, columns, rows, quality);
    let off = levels.iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(off <= Some(off_max), "{columns}x{rows} at {quality}: {off:?}");
}

#[test]
fn pictures_of_any_size_come_back_w28() {
    for (columns, rows) in [(1, 1), (7, 9), (8, 8), (17, 3), (64, 40), (513, 2)] {
        check(|at| (at % 256) as u8, columns, rows, 100, 2);
        check(NOISE, columns, rows, 100, 2);
    }
}

#[test]
fn every_level_and_the_hardest_edges_come_back_w28() {
    for level in [0, 1, 127, 128, 254, 255] {
        check(|_| level, 16, 16, 90, 1);
    }
    check(|at| if at % 2 == 0 { 0 } else { 255 }, 64, 64, 100, 2);
    check(|at| if (at / 64 + at) % 2 == 0 { 255 } else { 0 }, 64, 64, 100, 2);
}

#[test]
fn lower_quality_is_shorter_and_still_near_w34c() {
    let wave = |at: usize| (128.0 + 90.0 * ((at % 128) as f64 / 9.0).sin()) as u8;
    check(wave, 128, 128, 90, 8);
    check(wave, 128, 128, 50, 30);
    let levels: Vec<u8> = (0..128 * 128).map(NOISE).collect();
    let lengths = [1, 30, 60, 90, 100].map(|quality| encode(&levels, 128, 128, quality).len());
    assert!(lengths.is_sorted() && lengths[0] * 10 < lengths[4], "{lengths:?}");
}

#[test]
fn tables_and_files_are_those_of_a_library() {
    let levels: Vec<u8> = (0..96 * 64).map(NOISE).collect();
    let ours = encode(&levels, 96, 64, 85);
    let mut theirs = Vec::new();
    let library = jpeg_encoder::Encoder::new(&mut theirs, 85);
    library.encode(&levels, 96, 64, jpeg_encoder::ColorType::Luma).unwrap();
    let table = |file: &[u8]| {
        let at = file.windows(2).position(|pair| pair == [0xFF, 0xDB]).unwrap();
        file[at + 5..at + 69].to_vec()
    };
    assert_eq!(table(&ours), table(&theirs));
    assert!(ours.len().abs_diff(theirs.len()) < theirs.len() / 50);
}
