//! Products of f32 matrices that lie in slices.

use gemm::Parallelism;

/// A matrix in a slice: element `(row, column)` is at `row * rows_apart + column * columns_apart`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) rows_apart: usize,
    pub(super) columns_apart: usize,
}

impl<'a> View<'a> {
    pub(super) fn new(numbers: &'a [f32], rows_apart: usize) -> Self {
        Self { numbers, rows_apart, columns_apart: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self { rows_apart: self.columns_apart, columns_apart: self.rows_apart, ..self }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.rows_apart + (columns - 1) * self.columns_apart < self.numbers.len()
    }
}

/// Rows, inner dimension, columns.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
}

/// `out = left * right`, or `out += left * right`; `out` in rows of `out_apart` numbers.
pub(super) fn multiply(
    size: Size,
    left: View<'_>,
    right: View<'_>,
    out: &mut [f32],
    out_apart: usize,
    add: bool,
) {
    let Size { rows, inner, columns } = size;
    assert!(left.holds(rows, inner) && right.holds(inner, columns), "operands of a product are too short");
    assert!(View::new(out, out_apart).holds(rows, columns), "the result of a product has no room");
    assert!(columns <= out_apart, "rows of the result overlap");
    // SAFETY: all elements that the sizes and distances reach are inside the slices, as asserted;
    // the rows of `out`, which is borrowed for writing, do not overlap.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            out_apart as isize,
            add,
            left.numbers.as_ptr(),
            left.columns_apart as isize,
            left.rows_apart as isize,
            right.numbers.as_ptr(),
            right.columns_apart as isize,
            right.rows_apart as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_views_are_those_of_the_definition() {
        let (left, right) = ([1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0, 9.0], [1.0, 0.5, -1.0, 2.0, 0.0, 1.0]);
        let size = Size { rows: 2, inner: 3, columns: 2 };
        let mut out = [1.0f32; 6];
        multiply(size, View::new(&left, 4), View::new(&right, 3).transposed(), &mut out, 3, false);
        assert_eq!(out, [-1.0, 5.0, 1.0, 0.5, 14.0, 1.0]);
        multiply(size, View::new(&left, 4), View::new(&right, 2), &mut out, 3, true);
        assert_eq!(out, [-2.0, 12.5, 1.0, -0.5, 32.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "too short")]
    fn a_slice_that_is_too_short_is_not_read_beyond() {
        let size = Size { rows: 2, inner: 2, columns: 2 };
        multiply(size, View::new(&[1.0; 3], 2), View::new(&[1.0; 4], 2), &mut [0.0; 4], 2, false);
    }
}
