//! The inverse discrete cosine transform of an 8 by 8 block (ITU-T T.81 A.3.3).

use std::sync::LazyLock;

/// `[x][u]`: half of C(u) cos((2x + 1) u pi / 16).
static BASIS: LazyLock<[[f32; 8]; 8]> = LazyLock::new(|| {
    std::array::from_fn(|x| {
        std::array::from_fn(|u| {
            let scale = if u == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
            let angle = (2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0;
            (scale * angle.cos() / 2.0) as f32
        })
    })
});

/// Coefficients in row-major order to values around 0.
pub(super) fn idct(coefficients: &[f32; 64]) -> [f32; 64] {
    transposed_lines(&transposed_lines(coefficients))
}

/// Transforms each line and writes it as a column, so that two passes transform both directions.
fn transposed_lines(block: &[f32; 64]) -> [f32; 64] {
    let mut out = [0.0; 64];
    for (line, values) in block.chunks_exact(8).enumerate() {
        for (x, basis) in BASIS.iter().enumerate() {
            out[x * 8 + line] = values.iter().zip(basis).map(|(value, weight)| value * weight).sum();
        }
    }
    out
}
