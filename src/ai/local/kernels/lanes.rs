//! Passes over rows of numbers, compiled for three widths of vectors and chosen at run time.
//!
//! The bodies are plain loops that the compiler vectorises; what differs is which instructions it
//! may use. Without optimisation they are slow, which is why small towers do not come here.

use half::bf16;

/// Which vector instructions this processor has. Only detection makes one, so that a value is the
/// proof that its instructions are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ai::local) struct Lanes(Width);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Baseline,
    Avx2,
    Avx512,
}

/// Sums are kept in as many parts as the widest vector has lanes, so that the order of additions,
/// and with it the result, does not depend on the processor's width.
const PARTS: usize = 16;

impl Lanes {
    /// What every processor of the architecture has.
    pub(in crate::ai::local) const BASELINE: Self = Self(Width::Baseline);

    #[cfg(target_arch = "x86_64")]
    pub(in crate::ai::local) fn detect() -> Self {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            Self(Width::Avx512)
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            Self(Width::Avx2)
        } else {
            Self::BASELINE
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(in crate::ai::local) fn detect() -> Self {
        Self::BASELINE
    }

    pub(in crate::ai::local) fn name(self) -> &'static str {
        match self.0 {
            Width::Baseline => "baseline",
            Width::Avx2 => "avx2",
            Width::Avx512 => "avx512",
        }
    }
}

/// How `a * b + c` is said: only with its own instruction is it one, else it is a call of a library.
trait Arithmetic {
    fn fused(a: f32, b: f32, c: f32) -> f32;
}

struct Separate;
struct Fused;

impl Arithmetic for Separate {
    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

impl Arithmetic for Fused {
    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// A method of [`Lanes`] for each body, with the three ways it was compiled.
macro_rules! compiled_thrice {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) $(-> $out:ty)? = $body:ident;)*) => {
        impl Lanes {$(
            $(#[$doc])*
            pub(in crate::ai::local) fn $name(self, $($arg: $kind),*) $(-> $out)? {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
                fn avx512($($arg: $kind),*) $(-> $out)? {
                    $body::<Fused>($($arg),*)
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $kind),*) $(-> $out)? {
                    $body::<Fused>($($arg),*)
                }
                match self.0 {
                    // SAFETY: detection has seen these instructions, and nothing else makes the value
                    #[cfg(target_arch = "x86_64")]
                    Width::Avx512 => unsafe { avx512($($arg),*) },
                    // SAFETY: as above
                    #[cfg(target_arch = "x86_64")]
                    Width::Avx2 => unsafe { avx2($($arg),*) },
                    _ => $body::<Separate>($($arg),*),
                }
            }
        )*}
    };
}

compiled_thrice! {
    /// `out = (row - mean) / deviation * weight + bias`
    layer_norm(row: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) = layer_norm;
    /// `row = (row + bias) * factor`
    shift_and_scale(row: &mut [f32], bias: &[f32], factor: f32) = shift_and_scale;
    /// `row = gelu(row + bias)`, in the tanh form.
    gelu(row: &mut [f32], bias: &[f32]) = gelu;
    /// `sum = sum + row + bias`
    add(sum: &mut [f32], row: &[f32], bias: &[f32]) = add;
    /// `row = row * factor`
    scale(row: &mut [f32], factor: f32) = scale;
    largest(row: &[f32]) -> f32 = largest;
    /// `row = 2 ^ (row - shift)`; returns the sum.
    exponentiate(row: &mut [f32], shift: f32) -> f32 = exponentiate;
    /// As `exponentiate`, the powers rounded to bf16.
    exponentiate_to_bf16(row: &[f32], shift: f32, out: &mut [bf16]) -> f32 = exponentiate_to_bf16;
    /// To the nearest bf16, ties to even. Infinities stay; a NaN need not keep its payload.
    round_to_bf16(row: &[f32], out: &mut [bf16]) = round_to_bf16;
    widen_bf16(row: &[bf16], out: &mut [f32]) = widen_bf16;
}

#[inline(always)]
fn layer_norm<A: Arithmetic>(row: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let width = row.len() as f32;
    let mean = sum_of(row, |x| x) / width;
    let variance = sum_of(row, |x| (x - mean) * (x - mean)) / width;
    let factor = 1.0 / (variance + eps).sqrt();
    for (((out, x), weight), bias) in out.iter_mut().zip(row).zip(weight).zip(bias) {
        *out = A::fused((x - mean) * factor, *weight, *bias);
    }
}

#[inline(always)]
fn sum_of(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut parts = [0f32; PARTS];
    let chunks = row.chunks_exact(PARTS);
    let rest: f32 = chunks.remainder().iter().map(|&x| term(x)).sum();
    for chunk in chunks {
        for (part, &x) in parts.iter_mut().zip(chunk) {
            *part += term(x);
        }
    }
    parts.iter().sum::<f32>() + rest
}

#[inline(always)]
fn shift_and_scale<A: Arithmetic>(row: &mut [f32], bias: &[f32], factor: f32) {
    for (x, bias) in row.iter_mut().zip(bias) {
        *x = (*x + bias) * factor;
    }
}

#[inline(always)]
fn gelu<A: Arithmetic>(row: &mut [f32], bias: &[f32]) {
    // x/2 (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)
    const LINEAR: f32 = -2.302_208_2; // -2 sqrt(2/pi) log2(e)
    const CUBIC: f32 = LINEAR * 0.044715;
    for (x, bias) in row.iter_mut().zip(bias) {
        let y = *x + bias;
        let power = exp2::<A>(y * A::fused(CUBIC, y * y, LINEAR));
        *x = y / (1.0 + power);
    }
}

#[inline(always)]
fn add<A: Arithmetic>(sum: &mut [f32], row: &[f32], bias: &[f32]) {
    for ((sum, x), bias) in sum.iter_mut().zip(row).zip(bias) {
        *sum += x + bias;
    }
}

#[inline(always)]
fn scale<A: Arithmetic>(row: &mut [f32], factor: f32) {
    row.iter_mut().for_each(|x| *x *= factor);
}

#[inline(always)]
fn largest<A: Arithmetic>(row: &[f32]) -> f32 {
    // not f32::max, whose care for NaN costs three instructions
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut parts = [f32::NEG_INFINITY; PARTS];
    let chunks = row.chunks_exact(PARTS);
    let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |a, &b| larger(a, b));
    for chunk in chunks {
        for (part, &x) in parts.iter_mut().zip(chunk) {
            *part = larger(*part, x);
        }
    }
    parts.iter().fold(rest, |a, &b| larger(a, b))
}

#[inline(always)]
fn exponentiate<A: Arithmetic>(row: &mut [f32], shift: f32) -> f32 {
    let mut parts = [0f32; PARTS];
    let mut chunks = row.chunks_exact_mut(PARTS);
    for chunk in &mut chunks {
        for (part, x) in parts.iter_mut().zip(chunk) {
            *x = exp2::<A>(*x - shift);
            *part += *x;
        }
    }
    let mut rest = 0.0;
    for x in chunks.into_remainder() {
        *x = exp2::<A>(*x - shift);
        rest += *x;
    }
    parts.iter().sum::<f32>() + rest
}

#[inline(always)]
fn exponentiate_to_bf16<A: Arithmetic>(row: &[f32], shift: f32, out: &mut [bf16]) -> f32 {
    let mut parts = [0f32; PARTS];
    let mut rest = 0.0;
    for (from, to) in row.chunks(PARTS).zip(out.chunks_mut(PARTS)) {
        let (Ok(from), Ok(to)) = (<&[f32; PARTS]>::try_from(from), <&mut [bf16; PARTS]>::try_from(&mut *to))
        else {
            for (x, out) in from.iter().zip(to) {
                let power = exp2::<A>(x - shift);
                rest += power;
                *out = nearest(power);
            }
            break;
        };
        for lane in 0..PARTS {
            let power = exp2::<A>(from[lane] - shift);
            parts[lane] += power;
            to[lane] = nearest(power);
        }
    }
    parts.iter().sum::<f32>() + rest
}

#[inline(always)]
fn round_to_bf16<A: Arithmetic>(row: &[f32], out: &mut [bf16]) {
    round(row, out);
}

#[inline(always)]
fn widen_bf16<A: Arithmetic>(row: &[bf16], out: &mut [f32]) {
    widen(row, out);
}

/// As [`Lanes::round_to_bf16`], by the instructions of whoever calls.
#[inline(always)]
pub(in crate::ai::local) fn round(row: &[f32], out: &mut [bf16]) {
    for (x, out) in row.iter().zip(out) {
        *out = nearest(*x);
    }
}

/// As [`Lanes::widen_bf16`], by the instructions of whoever calls.
#[inline(always)]
pub(in crate::ai::local) fn widen(row: &[bf16], out: &mut [f32]) {
    for (x, out) in row.iter().zip(out) {
        // the upper half of an f32
        *out = f32::from_bits(u32::from(x.to_bits()) << 16);
    }
}

#[inline(always)]
fn nearest(x: f32) -> bf16 {
    let bits = x.to_bits();
    bf16::from_bits((bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16) as u16)
}

/// `2 ^ x` to a relative error of 2e-7; 0 where that is below the normal numbers.
#[inline(always)]
fn exp2<A: Arithmetic>(x: f32) -> f32 {
    // 1.5 * 2^23: what is added to it is rounded to a whole number, found in the lowest bits
    const ROUNDER: f32 = 12_582_912.0;
    let x = if x < -126.0 { -127.0 } else { x };
    let x = if x > 127.0 { 127.0 } else { x };
    let rounded = x + ROUNDER;
    let rest = x - (rounded - ROUNDER);
    let exponent = (rounded.to_bits().wrapping_add(127)) << 23;
    let mut power = 1.540_353e-4;
    for coefficient in [1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 2.402_265e-1, 6.931_472e-1, 1.0] {
        power = A::fused(power, rest, coefficient);
    }
    power * f32::from_bits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(check: impl Fn(Lanes)) {
        [Lanes::BASELINE, Lanes::detect()].into_iter().for_each(check);
    }

    fn numbers(count: usize, spread: f32) -> Vec<f32> {
        (0..count).map(|n| ((n * 37 % 101) as f32 / 50.0 - 1.0) * spread).collect()
    }

    #[track_caller]
    fn near(ours: &[f32], theirs: impl Iterator<Item = f64>, tolerance: f64) {
        for (n, (a, b)) in ours.iter().zip(theirs).enumerate() {
            assert!((f64::from(*a) - b).abs() <= tolerance * b.abs().max(1.0), "{n}: {a} is not {b}");
        }
    }

    #[test]
    fn powers_of_two_are_those_of_the_library_and_vanish_far_below() {
        both(|lanes| {
            let exact = numbers(1151, 120.0);
            let mut row = exact.clone();
            let sum = lanes.exponentiate(&mut row, 1.5);
            for (power, x) in row.iter().zip(&exact) {
                let expected = f64::from(x - 1.5).exp2();
                assert!((f64::from(*power) / expected - 1.0).abs() < 4e-7, "2 ^ {x}");
            }
            assert!((sum / row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let mut low = [-300.0, f32::NEG_INFINITY, -127.0];
            assert_eq!((lanes.exponentiate(&mut low, 0.0), low), (0.0, [0.0; 3]));
        });
    }

    #[test]
    fn rounded_powers_are_the_nearest_bf16() {
        both(|lanes| {
            let exact = numbers(77, 9.0);
            let (mut row, mut rounded) = (exact.clone(), vec![bf16::ZERO; 77]);
            let sum = lanes.exponentiate_to_bf16(&exact, 0.25, &mut rounded);
            assert!((sum / lanes.exponentiate(&mut row, 0.25) - 1.0).abs() < 1e-6);
            assert!(row.iter().zip(&rounded).all(|(power, ours)| bf16::from_f32(*power) == *ours));
        });
    }

    #[test]
    fn rounding_to_bf16_is_to_the_nearest_and_even() {
        both(|lanes| {
            let row = [1.0, 1.003_906_3, 1.011_718_8, -3.3e38, 1e-40, f32::INFINITY, 0.1];
            let mut ours = [bf16::ZERO; 7];
            lanes.round_to_bf16(&row, &mut ours);
            assert_eq!(ours, row.map(bf16::from_f32));
        });
    }

    #[test]
    fn a_row_is_normed_with_its_own_mean_and_deviation() {
        both(|lanes| {
            let (row, weight, bias) = (numbers(1151, 3.0), numbers(1151, 2.0), numbers(1151, 0.5));
            let mut out = vec![0.0; row.len()];
            lanes.layer_norm(&row, &weight, &bias, 1e-6, &mut out);
            let count = row.len() as f64;
            let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
            let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
            let normed = |x: f32| (f64::from(x) - mean) / (variance + 1e-6).sqrt();
            let terms = row.iter().zip(&weight).zip(&bias);
            near(&out, terms.map(|((&x, &w), &b)| normed(x) * f64::from(w) + f64::from(b)), 1e-5);
        });
    }

    #[test]
    fn gelu_is_the_tanh_form_also_far_out() {
        both(|lanes| {
            let (mut row, bias) = (numbers(333, 30.0), numbers(333, 0.3));
            let exact: Vec<f64> = row.iter().zip(&bias).map(|(x, b)| f64::from(x + b)).collect();
            lanes.gelu(&mut row, &bias);
            let inner = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            near(&row, exact.iter().map(|&x| 0.5 * x * (1.0 + inner(x).tanh())), 1e-6);
        });
    }

    #[test]
    fn sums_scales_and_largest_take_every_element() {
        both(|lanes| {
            let mut row = numbers(45, 1.0);
            row[44] = 7.0;
            assert_eq!(lanes.largest(&row), 7.0);
            assert_eq!(lanes.largest(&[]), f32::NEG_INFINITY);
            let mut sum = vec![1.0; 45];
            lanes.add(&mut sum, &row, &[0.5; 45]);
            assert_eq!(sum[44], 8.5);
            lanes.shift_and_scale(&mut sum, &[-0.5; 45], 2.0);
            lanes.scale(&mut sum, 0.5);
            assert_eq!(sum[44], 8.0);
        });
    }
}
