//! Shares of counts, each with the interval that holds it with a confidence of 95 %.

use serde::Serialize;

use super::judge::Counts;

/// Of the standard normal distribution, at a confidence of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// An overlap from here on is a hit.
const HIT: f64 = 0.5;

/// A share of so many, by Wilson's score interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub of: usize,
}

impl Share {
    /// `None` of nothing.
    pub fn new(count: usize, of: usize) -> Option<Self> {
        if of == 0 {
            return None;
        }
        let (n, p) = (of as f64, count as f64 / of as f64);
        let scale = 1.0 + Z * Z / n;
        let centre = (p + Z * Z / (2.0 * n)) / scale;
        let reach = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        Some(Self { value: p, low: (centre - reach).max(0.0), high: (centre + reach).min(1.0), of })
    }

    /// F1 is 2J / (1 + J) of the share J that true positives have among all that was present or
    /// found; the interval of J goes the same way, since that is monotone.
    fn f1(counts: &Counts) -> Option<Self> {
        let all = counts.true_positive + counts.false_positive + counts.false_negative;
        let f1 = |share: f64| 2.0 * share / (1.0 + share);
        Self::new(counts.true_positive, all).map(|share| Self {
            value: f1(share.value),
            low: f1(share.low),
            high: f1(share.high),
            of: all,
        })
    }
}

/// What the counts come to; `None` where there is nothing to divide by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    pub precision: Option<Share>,
    pub recall: Option<Share>,
    pub specificity: Option<Share>,
    pub f1: Option<Share>,
    /// Of the findings that were found and whose side is known.
    pub side: Option<Share>,
    /// Mean overlap, of the boxes of findings that were found.
    pub overlap: Option<f64>,
    /// Overlaps of at least a half.
    pub overlap_half: Option<Share>,
}

impl Figures {
    pub fn of(counts: &Counts) -> Self {
        let Counts { true_positive, false_positive, false_negative, true_negative, .. } = *counts;
        let boxes = counts.overlaps.len();
        let hits = counts.overlaps.iter().filter(|overlap| **overlap >= HIT).count();
        Self {
            precision: Share::new(true_positive, true_positive + false_positive),
            recall: Share::new(true_positive, true_positive + false_negative),
            specificity: Share::new(true_negative, true_negative + false_positive),
            f1: Share::f1(counts),
            side: Share::new(counts.sides_right, counts.sides),
            overlap: (boxes > 0).then(|| counts.overlaps.iter().sum::<f64>() / boxes as f64),
            overlap_half: Share::new(hits, boxes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 5e-5, "{value} in place of {expected}");
    }

    /// The ends are where (p - x)^2 = Z^2 x (1 - x) / n, found by bisection.
    #[test]
    fn intervals_are_those_of_wilson() {
        for (count, of, low, high) in
            [(8, 10, 0.490_16, 0.943_32), (0, 10, 0.0, 0.277_53), (40, 40, 0.912_37, 1.0)]
        {
            let share = Share::new(count, of).unwrap();
            close(share.low, low);
            close(share.high, high);
        }
        assert_eq!(Share::new(0, 0), None);
    }

    #[test]
    fn f1_is_that_of_precision_and_recall() {
        let counts = Counts { true_positive: 30, false_positive: 10, false_negative: 5, ..Counts::default() };
        let figures = Figures::of(&counts);
        let (precision, recall) = (30.0 / 40.0, 30.0 / 35.0);
        close(figures.f1.unwrap().value, 2.0 * precision * recall / (precision + recall));
        assert!(figures.f1.unwrap().low < figures.f1.unwrap().value);
        assert_eq!((figures.specificity.unwrap().of, figures.side), (10, None));
    }

    #[test]
    fn overlaps_are_averaged_and_counted_from_a_half() {
        let figures = Figures::of(&Counts { overlaps: vec![0.5, 0.25, 0.0], ..Counts::default() });
        assert_eq!((figures.overlap, figures.overlap_half.unwrap().value), (Some(0.25), 1.0 / 3.0));
    }
}
