//! Half-precision weights against f32 activations, with the instructions the processor has.

use half::{bf16, f16};

/// Independent sums, so that additions need not wait for one another.
const LANES: usize = 8;

pub(super) fn bf16(weights: &[bf16], x: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        #[expect(unsafe_code, reason = "the plain loop is a third as fast")]
        // SAFETY: the processor has just said that it has the instructions.
        return unsafe { avx::bf16(weights, x) };
    }
    plain(weights, x, |weight| weight.to_f32())
}

pub(super) fn f16(weights: &[f16], x: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
    {
        #[expect(unsafe_code, reason = "the plain loop converts in software")]
        // SAFETY: the processor has just said that it has the instructions.
        return unsafe { avx::f16(weights, x) };
    }
    plain(weights, x, |weight| weight.to_f32())
}

fn plain<T: Copy>(weights: &[T], x: &[f32], widen: impl Fn(T) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    for (weights, x) in weights.chunks(LANES).zip(x.chunks(LANES)) {
        for (sum, (&weight, x)) in sums.iter_mut().zip(weights.iter().zip(x)) {
            *sum += widen(weight) * x;
        }
    }
    sums.iter().sum()
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions load through pointers")]
mod avx {
    use std::arch::x86_64::{
        __m128i, __m256, _mm_loadu_si128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps,
        _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_storeu_ps,
    };

    use half::{bf16, f16};

    use super::{LANES, plain};

    /// Sums that are under way at once.
    const SUMS: usize = 4;

    /// The product of a type whose eight values become f32 in a register.
    macro_rules! product {
        ($kind:ident, $features:literal, $wide:expr) => {
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $kind(weights: &[$kind], x: &[f32]) -> f32 {
                let whole = weights.len().min(x.len()) / (SUMS * LANES) * (SUMS * LANES);
                let mut sums = [_mm256_setzero_ps(); SUMS];
                for start in (0..whole).step_by(SUMS * LANES) {
                    for (n, sum) in sums.iter_mut().enumerate() {
                        let at = start + n * LANES;
                        // SAFETY: `at + LANES` is at most `whole`, which neither slice is shorter than.
                        let (half, x) =
                            unsafe { (eight(weights.as_ptr().add(at)), _mm256_loadu_ps(x.as_ptr().add(at))) };
                        *sum = _mm256_fmadd_ps($wide(half), x, *sum);
                    }
                }
                total(&sums) + plain(&weights[whole..], &x[whole..], |weight| weight.to_f32())
            }
        };
    }

    product!(bf16, "avx2,fma", |half| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(
        half
    ))));
    product!(f16, "avx2,fma,f16c", |half| _mm256_cvtph_ps(half));

    /// Eight values of sixteen bits.
    unsafe fn eight<T>(start: *const T) -> __m128i {
        // SAFETY: the caller has sixteen readable bytes there; the load asks for no alignment.
        unsafe { _mm_loadu_si128(start.cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn total(sums: &[__m256; SUMS]) -> f32 {
        let mut lanes = [[0.0_f32; LANES]; SUMS];
        for (lanes, sum) in lanes.iter_mut().zip(sums) {
            // SAFETY: the array has room for the eight values of the register.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), *sum) };
        }
        lanes.iter().flatten().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fast way and the plain one, at lengths around the width of the registers.
    #[test]
    fn both_ways_give_the_same_sum() {
        for length in [0, 1, 31, 32, 33, 200] {
            let x: Vec<f32> = (0..length).map(|n| (n as f32).sin()).collect();
            let exact: f32 = x.iter().map(|x| 0.5 * x).sum();
            assert!((bf16(&vec![bf16::from_f32(0.5); length], &x) - exact).abs() < 1e-4);
            assert!((f16(&vec![f16::from_f32(0.5); length], &x) - exact).abs() < 1e-4);
            assert!((plain(&vec![0.5_f32; length], &x, |weight| weight) - exact).abs() < 1e-4);
        }
    }
}
