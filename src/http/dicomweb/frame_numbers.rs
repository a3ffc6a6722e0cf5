//! Frames by their numbers, which count from 1.

use crate::query::stored_object::StoredObject;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FrameNumbers {
    /// All up to this one: no list, which would grow with the object.
    To(u32),
    These(Vec<u32>),
}

impl FrameNumbers {
    pub(super) fn all_of(object: &StoredObject) -> Self {
        Self::To(u32::try_from(object.layout.frame_count()).unwrap_or(u32::MAX))
    }

    /// The frame, where it is one alone.
    pub(super) fn only(&self) -> Option<u32> {
        match *self {
            Self::To(1) => Some(1),
            Self::These(ref list) if list.len() == 1 => list.first().copied(),
            Self::To(_) | Self::These(_) => None,
        }
    }
}

impl IntoIterator for FrameNumbers {
    type Item = u32;
    type IntoIter = Box<dyn Iterator<Item = u32> + Send>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::To(last) => Box::new(1..=last),
            Self::These(list) => Box::new(list.into_iter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_frames_take_no_room_and_one_is_known() {
        assert_eq!(FrameNumbers::To(u32::MAX).into_iter().nth(9), Some(10));
        assert_eq!(format!("{:?}", FrameNumbers::To(u32::MAX)).len(), "To(4294967295)".len());
        let only =
            [FrameNumbers::To(1), FrameNumbers::These(vec![7]), FrameNumbers::To(2)].map(|one| one.only());
        assert_eq!(only, [Some(1), Some(7), None]);
    }
}
