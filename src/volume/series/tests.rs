use super::*;
use crate::volume::testing::{enhanced, slice, with};

/// `down` is the distance towards the feet.
fn frame(down: f64, instance_number: i64) -> SliceFrame {
    SliceFrame {
        instance_number: Some(instance_number),
        ..SliceFrame::of(&FrameAttributes::new(&slice(-down), 0), 0)
    }
}

fn frames(places: &[f64]) -> Vec<SliceFrame> {
    places.iter().zip(1..).map(|(z, number)| frame(*z, number)).collect()
}

#[track_caller]
fn only_stack(frames: &[SliceFrame]) -> Stack {
    let [stack] = stacks(frames).stacks.try_into().unwrap();
    stack
}

#[test]
fn position_orders_and_instance_number_does_not() {
    let stack = only_stack(&frames(&[5.0, -5.0, 10.0, 0.0]));
    assert_eq!((stack.order, stack.spacing_mm), (vec![1, 3, 0, 2], Some(5.0)));
    assert_eq!(stack.issues, []);
}

#[test]
fn frames_of_an_enhanced_object_are_ordered_alike() {
    let object = enhanced(&[-4.0, 0.0, -2.0]);
    let frames: Vec<_> =
        (0..3).map(|frame| SliceFrame::of(&FrameAttributes::new(&object, frame), frame)).collect();
    assert_eq!(only_stack(&frames).order, [1, 2, 0]);
}

#[test]
fn a_gap_says_where_and_how_many() {
    let stack = only_stack(&frames(&[0.0, 1.0, 2.0, 5.0, 6.0]));
    assert_eq!(stack.issues, [Issue::Gap { after: 2, missing: 2, distance_mm: 3.0 }]);
}

#[test]
fn uneven_steps_are_irregular_and_no_gap() {
    let stack = only_stack(&frames(&[0.0, 1.0, 2.0, 3.25]));
    assert_eq!(stack.issues, [Issue::IrregularSpacing { least_mm: 1.0, greatest_mm: 1.25 }]);
}

#[test]
fn a_duplicate_keeps_the_first_instance() {
    let stack = only_stack(&frames(&[0.0, 1.0, 1.0, 2.0]));
    assert_eq!(stack.order, [0, 1, 3]);
    assert_eq!(stack.issues, [Issue::DuplicatePositions { frames: 1 }]);
}

#[test]
fn phases_at_every_position_make_a_stack_each() {
    let mut frames = frames(&[0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
    frames[..3].iter_mut().for_each(|frame| frame.phase = [2, 0, 0]);
    frames[3..].iter_mut().for_each(|frame| frame.phase = [1, 0, 0]);
    let stacks = stacks(&frames).stacks;
    assert_eq!(stacks.iter().map(|stack| stack.order.clone()).collect::<Vec<_>>(), [[3, 4, 5], [0, 1, 2]]);
    assert_eq!(stacks[0].issues, [Issue::RepeatedPositions { times: 2 }]);
}

#[test]
fn localizers_and_frames_without_a_plane_are_set_aside() {
    let mut frames = frames(&[0.0, 1.0, 2.0]);
    let localizer = with(slice(9.0), tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\LOCALIZER");
    frames[0] = SliceFrame::of(&FrameAttributes::new(&localizer, 0), 0);
    frames[2].plane = None;
    let result = stacks(&frames);
    assert_eq!(result.issues, [Issue::Localizers { frames: 1 }, Issue::WithoutPlane { frames: 1 }]);
    assert_eq!((result.set_aside, result.stacks[0].order.clone()), (vec![2, 0], vec![1]));
}

#[test]
fn another_orientation_is_another_stack() {
    let mut frames = frames(&[0.0, 1.0, 2.0]);
    let coronal = with(slice(0.0), tags::IMAGE_ORIENTATION_PATIENT, "1\\0\\0\\0\\0\\-1");
    frames.push(SliceFrame::of(&FrameAttributes::new(&coronal, 0), 0));
    let result = stacks(&frames);
    assert_eq!(result.issues, [Issue::MixedOrientation { orientations: 2 }]);
    assert_eq!(result.stacks.iter().map(|stack| stack.order.len()).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn another_matrix_is_another_stack() {
    let mut frames = frames(&[0.0, 1.0]);
    frames.push(SliceFrame::of(&FrameAttributes::new(&with(slice(2.0), tags::ROWS, "8"), 0), 0));
    assert_eq!(stacks(&frames).issues, [Issue::MixedMatrix { sizes: 2 }]);
}

#[test]
fn thickness_is_compared_with_spacing() {
    let thick = |mm: &str| {
        let frames: Vec<_> = [0.0, 2.0]
            .map(|z| SliceFrame::of(&FrameAttributes::new(&with(slice(z), tags::SLICE_THICKNESS, mm), 0), 0))
            .into();
        only_stack(&frames).issues
    };
    assert_eq!(thick("2"), []);
    assert_eq!(thick("5"), [Issue::Overlapping { thickness_mm: 5.0, spacing_mm: 2.0 }]);
    assert_eq!(thick("1"), [Issue::InterSliceGap { thickness_mm: 1.0, spacing_mm: 2.0 }]);
}

#[test]
fn positions_that_drift_are_sheared() {
    let mut frames = frames(&[0.0, 10.0]);
    frames[1].plane.as_mut().unwrap().position[1] += 10.0;
    let issues = only_stack(&frames).issues;
    assert!(
        matches!(issues[..], [Issue::Sheared { degrees }] if (degrees - 45.0).abs() < 1e-9),
        "{issues:?}"
    );
}
