//! Products and attention of both formats against plain sums, at sizes that no block divides.

use std::ops::Range;

use super::*;

/// The head width of the real tower, more keys than one block has, and no whole number of tiles.
const SHAPE: Shape = Shape { patches: 549, heads: 2, width: 72 };

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|n| ((n * 7919 + seed * 31) % 1009) as f32 / 504.5 - 1.0).collect()
}

/// `rows` of `width` numbers in a buffer of the format.
fn filled<F: Format>(format: &F, rows: &[f32], width: usize) -> Vec<F::Number> {
    let mut buffer = F::buffer(rows.len() / width, width);
    for (row, out) in rows.chunks_exact(width).zip(buffer.chunks_mut(F::padded(width))) {
        format.store(row, out);
    }
    buffer
}

fn dot(a: impl Iterator<Item = f32>, b: impl Iterator<Item = f32>) -> f64 {
    a.zip(b).map(|(a, b)| f64::from(a) * f64::from(b)).sum()
}

#[track_caller]
fn check_product<F: Format>(format: &F, rows: usize, inner: usize, outputs: usize, tolerance: f64) {
    let (input, weights) = (numbers(rows * inner, 1), numbers(outputs * inner, 2));
    let matrix = format.matrix(Stored::narrowest(weights.clone()), outputs);
    let mut ours = vec![f32::NAN; rows * outputs];
    format.product(
        &matrix,
        &filled(format, &input, inner),
        rows,
        &mut |row, columns: Range<usize>, values| {
            ours[row * outputs..][columns].copy_from_slice(values);
        },
    );
    for (n, ours) in ours.iter().enumerate() {
        let row = input[n / outputs * inner..].iter().take(inner).copied();
        let exact = dot(row, weights[n % outputs * inner..].iter().copied());
        let distance = (f64::from(*ours) - exact).abs() / (inner as f64).sqrt();
        assert!(distance < tolerance, "{rows} x {inner} x {outputs}: {ours} is not {exact}");
    }
}

#[track_caller]
fn check_attention<F: Readable>(format: &F, tolerance: f64) {
    let (hidden, stride) = (SHAPE.hidden(), F::padded(SHAPE.hidden()));
    let mut queries = numbers(SHAPE.patches * hidden, 3);
    queries.iter_mut().for_each(|x| *x *= 6.0 * SHAPE.query_scale());
    let (keys, values) = (numbers(SHAPE.patches * hidden, 4), numbers(SHAPE.patches * hidden, 5));
    let in_format = |rows: &[f32]| filled(format, rows, hidden);
    let (packed_keys, packed_values) = (in_format(&keys), in_format(&values));
    let heads: Vec<_> =
        (0..SHAPE.heads).map(|n| format.head(&packed_keys, &packed_values, &SHAPE, n)).collect();
    let (first, rows) = (F::ROWS, 37);
    let mut out = F::buffer(rows, hidden);
    let packed_queries = in_format(&queries);
    Attention::new(SHAPE).attend(format, &packed_queries[first * stride..], rows, &heads, &mut out);
    for row in [0, 17, 36] {
        for column in [0, 71, 72, 143] {
            let expected = attended(&queries[(first + row) * hidden..], &keys, &values, column);
            let ours = format.number(out[row * stride + column]);
            assert!((ours - expected).abs() < tolerance, "{row} {column}: {ours} is not {expected}");
        }
    }
}

/// One number of what attention gives for one row of queries, by the definition.
fn attended(queries: &[f32], keys: &[f32], values: &[f32], column: usize) -> f64 {
    let (hidden, head) = (SHAPE.hidden(), SHAPE.columns(column / SHAPE.width));
    let powers: Vec<f64> = keys
        .chunks_exact(hidden)
        .map(|key| dot(queries[head.clone()].iter().copied(), key[head.clone()].iter().copied()).exp2())
        .collect();
    let mixed: f64 =
        powers.iter().zip(values.chunks_exact(hidden)).map(|(p, v)| p * f64::from(v[column])).sum();
    mixed / powers.iter().sum::<f64>()
}

/// So that results of both formats can be read.
trait Readable: Format {
    fn number(&self, number: Self::Number) -> f64;
}

impl Readable for Exact {
    fn number(&self, number: f32) -> f64 {
        number.into()
    }
}

impl Readable for Rounded {
    fn number(&self, number: half::bf16) -> f64 {
        number.into()
    }
}

#[test]
fn products_in_f32_are_exact_at_any_size() {
    for (rows, inner, outputs) in [(1, 1, 1), (37, 72, 45), (5, 301, 400), (33, 32, 769)] {
        check_product(&Exact(Lanes::detect()), rows, inner, outputs, 4e-6);
        check_product(&Exact(Lanes::BASELINE), rows, inner, outputs, 4e-6);
    }
}

#[test]
fn products_in_bf16_are_near_at_any_size() {
    let Some(rounded) = Rounded::new(Lanes::detect()) else { return eprintln!("no tiles here") };
    for (rows, inner, outputs) in [(1, 1, 1), (37, 72, 45), (5, 301, 40), (64, 1153, 33), (33, 4304, 3)] {
        check_product(&rounded, rows, inner, outputs, 6e-3);
    }
}

#[test]
fn attention_is_that_of_the_definition() {
    check_attention(&Exact(Lanes::detect()), 1e-5);
    check_attention(&Exact(Lanes::BASELINE), 1e-5);
    if let Some(rounded) = Rounded::new(Lanes::detect()) {
        check_attention(&rounded, 1e-2);
    }
}

#[test]
fn what_computes_is_named() {
    let text = describe("vision f32");
    assert!(text.starts_with("products ") && text.contains("quantised ") && text.ends_with("vision f32"));
}
