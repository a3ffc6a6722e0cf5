//! A CT series from its files to a volume and to what the model sees.

use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use radiant::phantom::{Kind, Options, ct, study};
use radiant::volume::assemble::{Volume, assemble};
use radiant::volume::description::VolumeDescription;
use radiant::volume::functional_groups::FrameAttributes;
use radiant::volume::geometry::AnatomicalPlane;
use radiant::volume::grayscale::modality_values;
use radiant::volume::model_view;
use radiant::volume::pixels::{EncodedFrame, Frame, ImageDescription, decode};
use radiant::volume::selection::select;
use radiant::volume::series::{SliceFrame, Stack, stacks};

const SEED: u64 = 7;
const BYTES_MAX: usize = 64 << 20;

/// The files of a series in an order that says nothing; the phantom writes them head to feet.
fn shuffled() -> Vec<DefaultDicomObject> {
    let options = Options { kind: Kind::Ct, ..Options::default() };
    let mut objects = study(SEED, &options).unwrap().objects;
    objects.reverse();
    objects.rotate_left(7);
    objects
}

fn frame(object: &DefaultDicomObject) -> Frame {
    let bytes = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
    let image = ImageDescription::from_object(object).unwrap();
    decode(&image, EncodedFrame::new(object.meta().transfer_syntax(), &bytes)).unwrap()
}

fn only_stack(objects: &[DefaultDicomObject]) -> Stack {
    let frames: Vec<_> =
        objects.iter().map(|object| SliceFrame::of(&FrameAttributes::new(object, 0), 0)).collect();
    let [stack] = stacks(&frames).stacks.try_into().unwrap();
    stack
}

fn volume(objects: &[DefaultDicomObject], stack: &Stack) -> Volume {
    let slice = |at: &usize| {
        let object = &objects[*at];
        modality_values(&frame(object), &FrameAttributes::new(object, 0)).unwrap()
    };
    assemble(stack, stack.order.iter().map(slice), BYTES_MAX).unwrap()
}

#[test]
fn a_shuffled_ct_becomes_its_hounsfield_volume() {
    let (objects, phantom) = (shuffled(), ct::ct(SEED, ct::CtOptions::default()));
    let stack = only_stack(&objects);
    let volume = volume(&objects, &stack);
    assert_eq!(volume.values.dim(), (phantom.slices, 256, 256));
    for (index, slice) in volume.values.outer_iter().enumerate() {
        let drawn = phantom.slice(index);
        assert!(slice.iter().zip(drawn).all(|(found, drawn)| *found == f32::from(drawn)), "{index}");
    }
}

#[test]
fn its_description_has_the_phantoms_geometry_and_no_issue() {
    let phantom = ct::ct(SEED, ct::CtOptions::default());
    let description = VolumeDescription::of(&only_stack(&shuffled()));
    let spacing = [phantom.slice_spacing_mm, phantom.pixel_spacing_mm, phantom.pixel_spacing_mm];
    assert_eq!((description.plane, description.issues), (AnatomicalPlane::Axial, vec![]));
    let close = |(found, drawn): (f64, f64)| (found - drawn).abs() < 1e-3;
    assert!(description.geometry.spacing_mm.into_iter().zip(spacing).all(close));
}

#[test]
fn the_model_sees_the_slices_the_phantom_counts() {
    let (objects, phantom) = (shuffled(), ct::ct(SEED, ct::CtOptions::default()));
    let stack = only_stack(&objects);
    assert_eq!(select(stack.order.len(), ct::SHOWN), ct::shown(phantom.slices));
    for index in ct::shown(phantom.slices) {
        let object = &objects[stack.order[index]];
        let view = model_view::ct(&frame(object), &FrameAttributes::new(object, 0)).unwrap();
        let wide = |hounsfield: i16| ((f32::from(hounsfield) + 1024.0) / 2048.0 * 255.0).round() as i32;
        let reds = view.image.data.iter().step_by(3);
        let drawn = phantom.slice(index);
        assert!(reds.zip(drawn).all(|(red, drawn)| (i32::from(*red) - wide(drawn).min(255)).abs() <= 1));
    }
}
