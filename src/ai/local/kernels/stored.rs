//! A matrix in the narrowest type that holds its numbers.

use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::Lanes;

/// Models are published in bf16 and converted to f16: as f32 they would take twice the memory and
/// say nothing more.
#[derive(Debug, Clone)]
pub(in crate::ai::local) enum Stored {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
}

impl Stored {
    /// Without any loss.
    pub(in crate::ai::local) fn narrowest(numbers: Vec<f32>) -> Self {
        if numbers.iter().all(|x| bf16::from_f32(*x).to_f32() == *x) {
            Self::BF16(numbers.iter().copied().map(bf16::from_f32).collect())
        } else if numbers.iter().all(|x| f16::from_f32(*x).to_f32() == *x) {
            Self::F16(numbers.iter().copied().map(f16::from_f32).collect())
        } else {
            Self::F32(numbers)
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F16(numbers) => numbers.len(),
            Self::BF16(numbers) => numbers.len(),
        }
    }

    /// Rounded, where they are not bf16 already.
    pub(super) fn into_bf16(self, lanes: Lanes) -> Vec<bf16> {
        if let Self::BF16(numbers) = self {
            return numbers;
        }
        let (mut room, mut rounded) = (Vec::new(), vec![bf16::ZERO; self.len()]);
        lanes.round_to_bf16(self.widened(0..self.len(), lanes, &mut room), &mut rounded);
        rounded
    }

    /// A stretch of the numbers as f32; `room` holds them where they are stored otherwise.
    pub(super) fn widened<'a>(
        &'a self,
        stretch: Range<usize>,
        lanes: Lanes,
        room: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        if let Self::F32(numbers) = self {
            return &numbers[stretch];
        }
        room.resize(stretch.len(), 0.0);
        match self {
            Self::F32(_) => {}
            Self::F16(numbers) => numbers[stretch].convert_to_f32_slice(room),
            Self::BF16(numbers) => lanes.widen_bf16(&numbers[stretch], room),
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_narrowest_type_that_holds_them() {
        assert!(matches!(Stored::narrowest(vec![0.5, -96.0, 2f32.powi(100)]), Stored::BF16(_)));
        assert!(matches!(Stored::narrowest(vec![0.5, 1.0009766]), Stored::F16(_)));
        assert!(matches!(Stored::narrowest(vec![2f32.powi(100), 1.0009766]), Stored::F32(_)));
    }

    #[test]
    fn a_stretch_is_the_same_in_every_type() {
        let numbers = [0.5f32, -1.0, 2.0, 0.25, 96.0];
        let all = [
            Stored::F32(numbers.to_vec()),
            Stored::F16(numbers.map(f16::from_f32).to_vec()),
            Stored::BF16(numbers.map(bf16::from_f32).to_vec()),
        ];
        for stored in all {
            let mut room = vec![7.0; 9];
            assert_eq!(stored.widened(1..4, Lanes::detect(), &mut room), [-1.0, 2.0, 0.25], "{stored:?}");
            assert_eq!(stored.into_bf16(Lanes::BASELINE), numbers.map(bf16::from_f32));
        }
    }
}
