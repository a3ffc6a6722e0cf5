use super::*;
use crate::volume::testing::object;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use ndarray::array;

fn frame(stored: Array2<i32>) -> Frame {
    Frame { rows: stored.nrows(), columns: stored.ncols(), samples: Samples::Gray(stored) }
}

#[track_caller]
fn pixels(view: ModelView, expected: &[[u8; 3]]) {
    assert_eq!(view.image.data.as_chunks::<3>().0, expected);
}

fn radiograph_of(attributes: &[(Tag, &str)]) -> ModelView {
    let object = object(attributes);
    radiograph(&frame(array![[0, 50], [100, 200]]), &FrameAttributes::new(&object, 0)).unwrap()
}

#[test]
fn a_radiograph_without_window_fills_its_range() {
    pixels(radiograph_of(&[]), &[[0; 3], [64; 3], [128; 3], [255; 3]]);
}

#[test]
fn a_radiograph_uses_its_first_window() {
    let view = radiograph_of(&[(tags::WINDOW_CENTER, "50\\9"), (tags::WINDOW_WIDTH, "101\\9")]);
    pixels(view, &[[0; 3], [128; 3], [255; 3], [255; 3]]);
}

#[test]
fn monochrome1_is_the_negative_of_monochrome2() {
    let view = radiograph_of(&[(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME1")]);
    pixels(view, &[[255; 3], [191; 3], [127; 3], [0; 3]]);
}

#[test]
fn both_renderings_of_one_radiograph_agree() {
    let inverse = object(&[(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME1")]);
    let stored = array![[0, 77], [1000, 4095]];
    let view = |stored, object| radiograph(&frame(stored), &FrameAttributes::new(object, 0)).unwrap();
    assert_eq!(view(stored.mapv(|value| 4095 - value), &inverse), view(stored, &object(&[])));
}

#[test]
fn ct_windows_are_the_three_channels() {
    let object = object(&[(tags::RESCALE_INTERCEPT, "-1024"), (tags::RESCALE_SLOPE, "1")]);
    let stored = frame(array![[0, 1024], [1064, 4000]]);
    let view = ct(&stored, &FrameAttributes::new(&object, 0)).unwrap();
    pixels(view, &[[0, 0, 0], [128, 98, 0], [132, 128, 128], [255, 255, 255]]);
}

#[test]
fn a_volume_range_holds_for_every_slice() {
    let object = object(&[]);
    let attributes = FrameAttributes::new(&object, 0);
    let view = |range| stretched(&frame(array![[10, 20], [20, 30]]), &attributes, range).unwrap();
    pixels(view((10.0, 110.0)), &[[0; 3], [26; 3], [26; 3], [51; 3]]);
    pixels(view((20.0, 20.0)), &[[255; 3]; 4]);
}

#[test]
fn a_wide_frame_is_centred_between_black() {
    let object = object(&[]);
    let view = radiograph(&frame(array![[1, 1, 2]]), &FrameAttributes::new(&object, 0)).unwrap();
    assert_eq!(view.square, PaddedSquare { rows: 1, columns: 3, side: 3, top: 1, left: 0 });
    assert_eq!(
        (view.image.data[9..18].to_vec(), view.image.data.len()),
        (vec![0, 0, 0, 0, 0, 0, 255, 255, 255], 27)
    );
}
