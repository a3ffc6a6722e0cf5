use super::*;
use crate::query::rendering::{Format, Rendering, draw};
use crate::volume::pixels::EncodedFrame;
use crate::volume::testing::{object, with, with_items};

const IMAGE: &str = "1.2.3";

fn state(values: &[(Tag, &str)]) -> InMemDicomObject {
    object(values)
}

fn drawable(object: InMemDicomObject) -> PresentationState {
    PresentationState::new(uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE, object).unwrap()
}

/// 4 columns and 2 rows of 8 bits, the level ten times the row plus the column.
fn image() -> (InMemDicomObject, [u8; 8]) {
    let attributes = object(&[
        (tags::ROWS, "2"),
        (tags::COLUMNS, "4"),
        (tags::BITS_ALLOCATED, "8"),
        (tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
    ]);
    (attributes, [0, 1, 2, 3, 10, 11, 12, 13])
}

/// What is seen of the image, row by row.
fn seen(object: InMemDicomObject) -> (u32, u32, Vec<u8>) {
    let (attributes, pixels) = image();
    let view = drawable(object).view(&IMAGE.parse().unwrap(), 1).unwrap();
    let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, &pixels);
    let rendering = Rendering::plain(Format::Png);
    let picture = draw(&attributes, 0, frame, &rendering, Some(&view)).unwrap().picture;
    (picture.width(), picture.height(), picture.into_bytes())
}

/// Shows every level as it is stored.
fn identity() -> InMemDicomObject {
    let window = object(&[
        (tags::WINDOW_CENTER, "127.5"),
        (tags::WINDOW_WIDTH, "255"),
        (tags::VOILUT_FUNCTION, "LINEAR_EXACT"),
    ]);
    with_items(
        state(&[(tags::PRESENTATION_LUT_SHAPE, "IDENTITY")]),
        tags::SOFTCOPY_VOILUT_SEQUENCE,
        vec![window],
    )
}

fn area(top_left: &str, bottom_right: &str) -> InMemDicomObject {
    let item = object(&[
        (tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, top_left),
        (tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, bottom_right),
        (tags::PRESENTATION_SIZE_MODE, "SCALE TO FIT"),
    ]);
    with_items(identity(), tags::DISPLAYED_AREA_SELECTION_SEQUENCE, vec![item])
}

#[test]
fn the_window_of_the_state_wins_w34c() {
    assert_eq!(seen(identity()), (4, 2, vec![0, 1, 2, 3, 10, 11, 12, 13]));
    let inverse = with(identity(), tags::PRESENTATION_LUT_SHAPE, "INVERSE");
    assert_eq!(seen(inverse).2[..4], [255, 254, 253, 252]);
}

#[test]
fn the_displayed_area_is_cut_out_or_surrounded_by_black_w34c() {
    assert_eq!(seen(area("2\\1", "3\\2")), (2, 2, vec![1, 2, 11, 12]));
    assert_eq!(seen(area("0\\1", "1\\3")), (2, 3, vec![0, 0, 0, 10, 0, 0]));
}

#[test]
fn an_area_far_larger_than_a_display_is_refused() {
    let (attributes, pixels) = image();
    let view = drawable(area("-16000\\-16000", "16000\\16000")).view(&IMAGE.parse().unwrap(), 1).unwrap();
    let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, &pixels);
    let drawn = draw(&attributes, 0, frame, &Rendering::plain(Format::Png), Some(&view));
    assert!(matches!(drawn, Err(RenderingError::TooLarge)));
}

#[test]
fn images_are_turned_clockwise_and_then_flipped_w34c() {
    let turned = with(identity(), tags::IMAGE_ROTATION, "90");
    assert_eq!(seen(turned.clone()), (2, 4, vec![10, 0, 11, 1, 12, 2, 13, 3]));
    let flipped = with(turned, tags::IMAGE_HORIZONTAL_FLIP, "Y");
    assert_eq!(seen(flipped), (2, 4, vec![0, 10, 1, 11, 2, 12, 3, 13]));
}

fn marked(values: &[(Tag, &str)]) -> InMemDicomObject {
    let layer = object(&[
        (tags::GRAPHIC_LAYER, "MARKS"),
        (tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_GRAYSCALE_VALUE, "51200"),
    ]);
    let graphic = with_items(
        object(&[(tags::GRAPHIC_LAYER, "MARKS")]),
        tags::GRAPHIC_OBJECT_SEQUENCE,
        vec![object(values)],
    );
    let state = with_items(identity(), tags::GRAPHIC_LAYER_SEQUENCE, vec![layer]);
    with_items(state, tags::GRAPHIC_ANNOTATION_SEQUENCE, vec![graphic])
}

#[test]
fn graphics_are_drawn_in_the_level_of_their_layer_w34c() {
    let line = [
        (tags::GRAPHIC_ANNOTATION_UNITS, "PIXEL"),
        (tags::GRAPHIC_TYPE, "POLYLINE"),
        (tags::GRAPHIC_DATA, "1.5\\1.5\\3.5\\1.5"),
    ];
    assert_eq!(seen(marked(&line)).2, [0, 1, 2, 3, 10, 200, 200, 200]);
    let filled = [
        (tags::GRAPHIC_ANNOTATION_UNITS, "DISPLAY"),
        (tags::GRAPHIC_TYPE, "POLYLINE"),
        (tags::GRAPHIC_FILLED, "Y"),
        (tags::GRAPHIC_DATA, "0\\0\\0.5\\0\\0.5\\0.5\\0\\0.5\\0\\0"),
    ];
    assert_eq!(seen(marked(&filled)).2[..2], [200, 200]);
}

#[test]
fn an_item_is_for_the_images_that_it_names_w34c() {
    let reference = |uid: &str| vec![object(&[(tags::REFERENCED_SOP_INSTANCE_UID, uid)])];
    let window = |uid: &str| {
        let item = object(&[(tags::WINDOW_CENTER, "0"), (tags::WINDOW_WIDTH, "1")]);
        vec![with_items(item, tags::REFERENCED_IMAGE_SEQUENCE, reference(uid))]
    };
    let with_window = |uid| with_items(state(&[]), tags::SOFTCOPY_VOILUT_SEQUENCE, window(uid));
    assert_eq!(seen(with_window(IMAGE)).2, [255; 8]);
    assert_eq!(seen(with_window("1.9")).2[..2], [0, 20]);
}

#[test]
fn references_are_read_with_their_frames() {
    let image =
        object(&[(tags::REFERENCED_SOP_INSTANCE_UID, IMAGE), (tags::REFERENCED_FRAME_NUMBER, "2\\5")]);
    let series = with_items(
        object(&[(tags::SERIES_INSTANCE_UID, "1.9")]),
        tags::REFERENCED_IMAGE_SEQUENCE,
        vec![image],
    );
    let state = with_items(state(&[]), tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
    let reference = Reference {
        series: "1.9".parse().unwrap(),
        sop_instance: IMAGE.parse().unwrap(),
        frames: vec![2, 5],
    };
    assert_eq!(drawable(state).references(), [reference]);
}

#[test]
fn what_would_be_shown_otherwise_than_meant_is_refused() {
    let blending = PresentationState::new(uids::BLENDING_SOFTCOPY_PRESENTATION_STATE_STORAGE, state(&[]));
    assert!(matches!(blending, Err(StateError::Class(_))));
    let masked = with_items(state(&[]), tags::MASK_SUBTRACTION_SEQUENCE, vec![object(&[])]);
    let masked = PresentationState::new(uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE, masked);
    assert!(matches!(masked, Err(StateError::Unsupported(_))));
}
