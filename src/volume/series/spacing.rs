//! How far apart the slices of an ordered stack are, and what is odd about it.

use super::Issue;
use crate::volume::geometry::{SlicePlane, advance, dot};

/// A step longer than this many median steps is a gap.
const GAP_STEPS: f64 = 1.5;
/// Steps that differ by more than this fraction of the median are irregular.
const IRREGULAR_FRACTION: f64 = 0.1;
/// Positions that drift from the normal by more than this are sheared.
const SHEAR_DEGREES: f64 = 1.0;

/// The median distance between neighbours.
pub(super) fn median_mm(planes: &[&SlicePlane]) -> Option<f64> {
    let mut steps = steps(planes);
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied()
}

pub(super) fn issues(planes: &[&SlicePlane]) -> Vec<Issue> {
    let Some(spacing_mm) = median_mm(planes) else {
        return Vec::new();
    };
    let steps = steps(planes);
    let mut issues = gaps(&steps, spacing_mm);
    issues.extend(irregular(&steps, spacing_mm));
    issues.extend(thickness(planes[0].thickness_mm, spacing_mm));
    issues.extend(shear(planes));
    issues
}

fn steps(planes: &[&SlicePlane]) -> Vec<f64> {
    planes.windows(2).map(|pair| pair[1].depth_mm() - pair[0].depth_mm()).collect()
}

fn gaps(steps: &[f64], spacing_mm: f64) -> Vec<Issue> {
    let long = steps.iter().enumerate().filter(|(_, step)| **step > GAP_STEPS * spacing_mm);
    let issue = |(after, step): (usize, &f64)| {
        let missing = ((step / spacing_mm).round() as usize).saturating_sub(1).max(1);
        Issue::Gap { after, missing, distance_mm: *step }
    };
    long.map(issue).collect()
}

fn irregular(steps: &[f64], spacing_mm: f64) -> Option<Issue> {
    let regular = steps.iter().copied().filter(|step| *step <= GAP_STEPS * spacing_mm);
    let (least_mm, greatest_mm) =
        regular.fold((f64::MAX, f64::MIN), |(l, g), step| (l.min(step), g.max(step)));
    let spread = (spacing_mm - least_mm).max(greatest_mm - spacing_mm);
    (spread > IRREGULAR_FRACTION * spacing_mm).then_some(Issue::IrregularSpacing { least_mm, greatest_mm })
}

fn thickness(thickness_mm: Option<f64>, spacing_mm: f64) -> Option<Issue> {
    match thickness_mm? {
        thickness_mm if thickness_mm > 1.1 * spacing_mm => {
            Some(Issue::Overlapping { thickness_mm, spacing_mm })
        }
        thickness_mm if thickness_mm < 0.9 * spacing_mm => {
            Some(Issue::InterSliceGap { thickness_mm, spacing_mm })
        }
        _ => None,
    }
}

fn shear(planes: &[&SlicePlane]) -> Option<Issue> {
    let (first, last) = (planes.first()?, planes.last()?);
    let travel = advance(last.position, first.position, -1.0);
    let along = dot(travel, first.reading_direction());
    let degrees = (along / dot(travel, travel).sqrt()).clamp(-1.0, 1.0).acos().to_degrees();
    (degrees > SHEAR_DEGREES).then_some(Issue::Sheared { degrees })
}
