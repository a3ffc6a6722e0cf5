//! A volume of modality values from the slices of a stack.

use ndarray::{Array2, Array3, Axis};

use super::geometry::VolumeGeometry;
use super::series::Stack;

/// Voxels with their place in the patient. Axes are slice, row, column.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// In the units of the modality, for CT Hounsfield units.
    pub values: Array3<f32>,
    pub geometry: VolumeGeometry,
    /// The distance of each slice from the first, in mm: even where slices are missing.
    pub depths_mm: Vec<f64>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AssembleError {
    #[error("the volume needs {needed} bytes and the limit is {limit}")]
    TooLarge { needed: usize, limit: usize },
    #[error("slice {at} is {found:?} (rows, columns) in a stack of {expected:?}")]
    SliceSize { at: usize, found: (usize, usize), expected: (usize, usize) },
    #[error("{found} slices were given for a stack of {expected}")]
    SliceCount { found: usize, expected: usize },
}

/// Puts slices together, one at a time, so that only one of them is held beside the volume.
#[derive(Debug)]
pub struct Assembly {
    volume: Volume,
    filled: usize,
}

impl Assembly {
    /// Refuses a stack whose volume would take more than `bytes_max`.
    pub fn new(stack: &Stack, bytes_max: usize) -> Result<Self, AssembleError> {
        let shape = (stack.order.len(), stack.plane.rows, stack.plane.columns);
        within(shape, bytes_max)?;
        let volume = Volume {
            values: Array3::zeros(shape),
            geometry: stack.geometry(),
            depths_mm: stack.depths_mm.clone(),
        };
        Ok(Self { volume, filled: 0 })
    }

    /// Adds the next slice of the stack's order.
    pub fn push(&mut self, slice: &Array2<f32>) -> Result<(), AssembleError> {
        let (slices, rows, columns) = self.volume.values.dim();
        if self.filled == slices {
            return Err(AssembleError::SliceCount { found: slices + 1, expected: slices });
        }
        if slice.dim() != (rows, columns) {
            let (at, found, expected) = (self.filled, slice.dim(), (rows, columns));
            return Err(AssembleError::SliceSize { at, found, expected });
        }
        self.volume.values.index_axis_mut(Axis(0), self.filled).assign(slice);
        self.filled += 1;
        Ok(())
    }

    /// The volume, once every slice is there.
    pub fn finish(self) -> Result<Volume, AssembleError> {
        match self.volume.values.dim().0 {
            expected if expected != self.filled => {
                Err(AssembleError::SliceCount { found: self.filled, expected })
            }
            _ => Ok(self.volume),
        }
    }
}

/// Assembles slices that are given in the stack's order.
pub fn assemble(
    stack: &Stack,
    slices: impl IntoIterator<Item = Array2<f32>>,
    bytes_max: usize,
) -> Result<Volume, AssembleError> {
    let mut assembly = Assembly::new(stack, bytes_max)?;
    slices.into_iter().try_for_each(|slice| assembly.push(&slice))?;
    assembly.finish()
}

/// Refuses an array of 32-bit voxels that does not fit the limit.
pub(super) fn within(
    (slices, rows, columns): (usize, usize, usize),
    limit: usize,
) -> Result<(), AssembleError> {
    let needed = [rows, columns, size_of::<f32>()].into_iter().fold(slices, usize::saturating_mul);
    if needed > limit { Err(AssembleError::TooLarge { needed, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::functional_groups::FrameAttributes;
    use crate::volume::series::{SliceFrame, stacks};
    use crate::volume::testing::slice;

    fn stack() -> Stack {
        let frames = [-4.0, 0.0, -2.0].map(|z| SliceFrame::of(&FrameAttributes::new(&slice(z), 0), 0));
        stacks(&frames).stacks.remove(0)
    }

    fn flat(value: f32) -> Array2<f32> {
        Array2::from_elem((4, 5), value)
    }

    #[test]
    fn slices_lie_in_the_order_of_the_stack() {
        let stack = stack();
        let values = [40.0, 0.0, 20.0];
        let volume = assemble(&stack, stack.order.iter().map(|at| flat(values[*at])), 1 << 20).unwrap();
        assert_eq!(volume.values.slice(ndarray::s![.., 3, 4]).to_vec(), [0.0, 20.0, 40.0]);
        assert_eq!((volume.geometry.spacing_mm, volume.depths_mm), ([2.0, 0.5, 0.75], vec![0.0, 2.0, 4.0]));
    }

    #[test]
    fn a_slice_too_many_too_few_or_of_another_size_is_refused() {
        let count = |n: usize| assemble(&stack(), vec![flat(1.0); n], 1 << 20).unwrap_err();
        assert_eq!(count(2), AssembleError::SliceCount { found: 2, expected: 3 });
        assert_eq!(count(4), AssembleError::SliceCount { found: 4, expected: 3 });
        let other = assemble(&stack(), [Array2::zeros((5, 4))], 1 << 20).unwrap_err();
        assert_eq!(other, AssembleError::SliceSize { at: 0, found: (5, 4), expected: (4, 5) });
    }

    #[test]
    fn the_memory_limit_holds_before_allocation() {
        let error = Assembly::new(&stack(), 239).unwrap_err();
        assert_eq!(error, AssembleError::TooLarge { needed: 240, limit: 239 });
    }
}
