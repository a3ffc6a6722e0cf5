//! The attributes of one frame, wherever the object keeps them.
//!
//! Classic objects have them at the top; enhanced multi-frame objects in functional group macros,
//! per frame or shared by all frames (PS3.3 C.7.6.16).

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attributes::items;

/// One frame's view of an object.
#[derive(Debug, Clone, Copy)]
pub struct FrameAttributes<'a> {
    pub object: &'a InMemDicomObject,
    shared: Option<&'a InMemDicomObject>,
    per_frame: Option<&'a InMemDicomObject>,
}

impl<'a> FrameAttributes<'a> {
    /// `frame` counts from 0; a frame without per-frame item sees the shared ones alone.
    pub fn new(object: &'a InMemDicomObject, frame: usize) -> Self {
        Self {
            object,
            shared: items(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first(),
            per_frame: items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(frame),
        }
    }

    /// The first item of a functional group macro; the frame's own wins over the shared one.
    pub fn group(&self, sequence: Tag) -> Option<&'a InMemDicomObject> {
        [self.per_frame, self.shared].into_iter().flatten().find_map(|groups| items(groups, sequence).first())
    }

    /// Where the attributes of a macro are: its item, or the object itself in classic objects.
    pub fn group_or_object(&self, sequence: Tag) -> &'a InMemDicomObject {
        self.group(sequence).unwrap_or(self.object)
    }
}
