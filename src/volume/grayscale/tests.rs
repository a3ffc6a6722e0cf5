use super::*;
use crate::volume::testing::{enhanced, object, with, with_items};
use dicom_core::Tag;
use dicom_object::InMemDicomObject;
use ndarray::{Array1, array};
use voi::VoiFunction;

fn frame(stored: Array2<i32>) -> Frame {
    Frame { rows: stored.nrows(), columns: stored.ncols(), samples: Samples::Gray(stored) }
}

#[track_caller]
fn shows(object: &InMemDicomObject, window: Window, stored: &[i32], expected: &[u8]) {
    let stored = Array1::from_vec(stored.to_vec()).insert_axis(ndarray::Axis(0));
    let picture = display(&frame(stored), &FrameAttributes::new(object, 0), window).unwrap();
    assert_eq!(picture, Picture::Gray(Array1::from_vec(expected.to_vec()).insert_axis(ndarray::Axis(0))));
}

fn explicit(center: f32, width: f32, function: VoiFunction) -> Window {
    Window::Explicit(WindowLevel { center, width, function })
}

fn table(first: &str, bits: &str, data: &str) -> InMemDicomObject {
    let length = data.split('\\').count();
    object(&[(tags::LUT_DESCRIPTOR, &format!("{length}\\{first}\\{bits}")), (tags::LUT_DATA, data)])
}

#[test]
fn rescale_gives_hounsfield_units() {
    let object = object(&[(tags::RESCALE_SLOPE, "2"), (tags::RESCALE_INTERCEPT, "-1024")]);
    let values = modality_values(&frame(array![[-10, 0, 600]]), &FrameAttributes::new(&object, 0));
    assert_eq!(values, Ok(array![[-1044.0, -1024.0, 176.0]]));
}

#[test]
fn padding_is_no_value_to_measure() {
    let padded = [
        (tags::RESCALE_SLOPE, "2"),
        (tags::RESCALE_INTERCEPT, "-1024"),
        (tags::PIXEL_PADDING_VALUE, "0"),
        (tags::PIXEL_PADDING_RANGE_LIMIT, "2"),
    ];
    let object = object(&padded);
    let values = measurable_values(&frame(array![[0, 2, 3]]), &FrameAttributes::new(&object, 0)).unwrap();
    assert!(values[[0, 0]].is_nan() && values[[0, 1]].is_nan());
    assert_eq!(values[[0, 2]], -1018.0);
}

#[test]
fn a_ct_has_hounsfield_units_unless_it_says_otherwise() {
    let is = |values: &[(Tag, &str)]| modality::is_hounsfield(&FrameAttributes::new(&object(values), 0));
    let ct = (tags::MODALITY, "CT");
    assert!(is(&[ct]) && is(&[ct, (tags::RESCALE_TYPE, "HU")]));
    assert!(!is(&[ct, (tags::RESCALE_TYPE, "US")]) && !is(&[(tags::MODALITY, "MR")]));
    assert!(!is(&[ct, (tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\LOCALIZER")]));
}

#[test]
fn enhanced_frames_are_rescaled_by_their_functional_group() {
    let object = enhanced(&[0.0]);
    assert_eq!(modality_values(&frame(array![[5]]), &FrameAttributes::new(&object, 0)), Ok(array![[9.0]]));
}

#[test]
fn a_modality_table_clamps_at_its_ends() {
    let object =
        with_items(object(&[]), tags::MODALITY_LUT_SEQUENCE, vec![table("10", "16", "100\\200\\300")]);
    let values = modality_values(&frame(array![[0, 10, 11, 99]]), &FrameAttributes::new(&object, 0));
    assert_eq!(values, Ok(array![[100.0, 100.0, 200.0, 300.0]]));
}

#[test]
fn a_broken_table_is_refused() {
    let object = with_items(object(&[]), tags::MODALITY_LUT_SEQUENCE, vec![object(&[(tags::LUT_DATA, "1")])]);
    let values = modality_values(&frame(array![[0]]), &FrameAttributes::new(&object, 0));
    assert_eq!(values, Err(GrayscaleError::ModalityTable));
}

/// The worked example of PS3.3 C.11.2.1.2.1: center 2048, width 4096, output 0 to 255.
#[test]
fn linear_window_of_the_standard() {
    let window = explicit(2048.0, 4096.0, VoiFunction::Linear);
    shows(&object(&[]), window, &[-1, 0, 1024, 4095, 4096], &[0, 0, 64, 255, 255]);
    shows(&object(&[]), explicit(0.0, 1.0, VoiFunction::Linear), &[-1, 0, 1], &[0, 255, 255]);
    shows(&object(&[]), explicit(0.0, 100.0, VoiFunction::Linear), &[-50, -49, 48, 49], &[0, 3, 252, 255]);
}

#[test]
fn exact_and_sigmoid_windows() {
    let exact = explicit(0.0, 100.0, VoiFunction::LinearExact);
    shows(&object(&[]), exact, &[-50, -25, 0, 50], &[0, 64, 128, 255]);
    let sigmoid = explicit(0.0, 100.0, VoiFunction::Sigmoid);
    shows(&object(&[]), sigmoid, &[-1000, -50, 0, 50, 1000], &[0, 30, 128, 225, 255]);
}

#[test]
fn the_first_of_several_windows_is_used_in_modality_units() {
    let windows: &[(Tag, &str)] = &[
        (tags::RESCALE_INTERCEPT, "-1000"),
        (tags::WINDOW_CENTER, "0\\500"),
        (tags::WINDOW_WIDTH, "100\\9"),
        (tags::VOILUT_FUNCTION, "LINEAR_EXACT"),
    ];
    shows(&object(windows), Window::First, &[950, 1000, 1050], &[0, 128, 255]);
}

#[test]
fn a_voi_table_is_used_where_there_is_no_window() {
    let object = with_items(object(&[]), tags::VOILUT_SEQUENCE, vec![table("0", "10", "0\\1023\\512")]);
    shows(&object, Window::First, &[0, 1, 2, 3], &[0, 255, 128, 128]);
    shows(
        &with(with(object, tags::WINDOW_CENTER, "2"), tags::WINDOW_WIDTH, "1"),
        Window::First,
        &[0, 3],
        &[0, 255],
    );
}

#[test]
fn padding_does_not_stretch_the_full_range() {
    let padded = with(object(&[]), tags::PIXEL_PADDING_VALUE, "0");
    shows(&padded, Window::First, &[0, 100, 200], &[0, 0, 255]);
    shows(&object(&[]), Window::FullRange, &[7, 7], &[0, 0]);
}

#[test]
fn monochrome1_shows_the_least_value_white_and_once() {
    let inverse = object(&[(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME1")]);
    shows(&inverse, Window::FullRange, &[0, 1, 5], &[255, 204, 0]);
    shows(
        &with(inverse, tags::PRESENTATION_LUT_SHAPE, "INVERSE"),
        Window::FullRange,
        &[0, 1, 5],
        &[255, 204, 0],
    );
}

#[test]
fn color_has_no_modality_values() {
    let frame = Frame { rows: 1, columns: 1, samples: Samples::Rgb(Array3::zeros((1, 1, 3))) };
    let object = object(&[]);
    assert_eq!(modality_values(&frame, &FrameAttributes::new(&object, 0)), Err(GrayscaleError::Color));
}
