//! One study at a time: what is found, missed, made up, on which side and where.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Name, Place, Seen};
use crate::report::findings::{Certainty, Laterality};

/// What is known of a study about one finding.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Truth {
    pub present: bool,
    /// Every side that is named; empty where none is, and sides are not judged.
    pub sides: Vec<Laterality>,
    pub places: Vec<Place>,
}

/// What is known of a study, by finding. What is not in it is not judged.
pub type Truths = BTreeMap<Name, Truth>;

/// From which certainty on a finding counts as found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Threshold {
    #[default]
    Possible,
    Probable,
    Definite,
}

impl Threshold {
    fn holds(self, certainty: Certainty) -> bool {
        match certainty {
            Certainty::Absent => false,
            Certainty::Possible => self == Self::Possible,
            Certainty::Probable => self != Self::Definite,
            Certainty::Definite => true,
        }
    }
}

/// Over studies, of one finding.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Counts {
    pub true_positive: usize,
    pub false_positive: usize,
    pub false_negative: usize,
    pub true_negative: usize,
    /// Of the true positives whose side is known.
    pub sides: usize,
    pub sides_right: usize,
    /// Of each box of a true positive, its overlap with the box that was found; 0 without one.
    pub overlaps: Vec<f64>,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
        self.true_negative += other.true_negative;
        self.sides += other.sides;
        self.sides_right += other.sides_right;
        self.overlaps.extend(&other.overlaps);
    }
}

/// What became of one study.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judged {
    pub counts: BTreeMap<Name, Counts>,
    /// Found, and nothing was known about it.
    pub unjudged: Vec<Name>,
}

pub fn judge(truths: &Truths, seen: &[Seen], threshold: Threshold) -> Judged {
    let found: Vec<(Name, &Seen)> = seen
        .iter()
        .filter(|one| threshold.holds(one.certainty))
        .map(|one| (Name::of(&one.finding), one))
        .collect();
    let of = |name: &Name| found.iter().filter(|(own, _)| own.is(name)).map(|(_, one)| *one).collect();
    let counts = truths.iter().map(|(name, truth)| (name.clone(), count(truth, of(name)))).collect();
    let is_judged = |name: &Name| truths.keys().any(|known| known.is(name));
    let mut unjudged: Vec<Name> =
        found.iter().map(|(name, _)| name.clone()).filter(|name| !is_judged(name)).collect();
    unjudged.sort();
    unjudged.dedup();
    Judged { counts, unjudged }
}

fn count(truth: &Truth, found: Vec<&Seen>) -> Counts {
    let is_found = !found.is_empty();
    let mut counts = Counts {
        true_positive: usize::from(truth.present && is_found),
        false_positive: usize::from(!truth.present && is_found),
        false_negative: usize::from(truth.present && !is_found),
        true_negative: usize::from(!truth.present && !is_found),
        ..Counts::default()
    };
    if counts.true_positive == 1 {
        if !truth.sides.is_empty() {
            counts.sides = 1;
            let stated = found.iter().map(|one| one.laterality);
            counts.sides_right = usize::from(Sides::of(truth.sides.iter().copied()) == Sides::of(stated));
        }
        counts.overlaps = overlaps(&truth.places, &found);
    }
    counts
}

/// Sides together: left and right are both sides, however they were told.
#[derive(Debug, PartialEq, Eq, Default)]
struct Sides {
    left: bool,
    right: bool,
    midline: bool,
}

impl Sides {
    fn of(sides: impl Iterator<Item = Laterality>) -> Self {
        sides.fold(Self::default(), |mut all, side| {
            all.left |= matches!(side, Laterality::Left | Laterality::Bilateral);
            all.right |= matches!(side, Laterality::Right | Laterality::Bilateral);
            all.midline |= side == Laterality::Midline;
            all
        })
    }
}

/// Pairs of boxes, the best first, none of them twice.
fn overlaps(expected: &[Place], found: &[&Seen]) -> Vec<f64> {
    let boxes: Vec<&Place> = found.iter().filter_map(|one| one.place.as_ref()).collect();
    let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
    for (index, own) in expected.iter().enumerate() {
        let on_it = boxes.iter().enumerate().filter(|(_, other)| same_image(own, other));
        pairs.extend(on_it.map(|(at, other)| (own.region.intersection_over_union(&other.region), index, at)));
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut best = vec![0.0; expected.len()];
    let (mut taken, mut used) = (vec![false; expected.len()], vec![false; boxes.len()]);
    for (overlap, index, at) in pairs {
        if !taken[index] && !used[at] {
            (best[index], taken[index], used[at]) = (overlap, true, true);
        }
    }
    best
}

fn same_image(expected: &Place, found: &Place) -> bool {
    expected.sop_instance.is_none() || expected.sop_instance == found.sop_instance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::region::Region;

    fn place(left: f32) -> Place {
        Place { sop_instance: None, region: Region { left, top: 0.0, right: left + 10.0, bottom: 10.0 } }
    }

    fn seen(finding: &str, laterality: Laterality, certainty: Certainty) -> Seen {
        Seen { finding: finding.into(), laterality, certainty, place: None }
    }

    fn truths(finding: &str, truth: Truth) -> Truths {
        Truths::from([(Name::of(finding), truth)])
    }

    #[track_caller]
    fn counted(truth: Truth, seen: &[Seen]) -> Counts {
        let judged = judge(&truths("pleural effusion", truth), seen, Threshold::Probable);
        judged.counts.into_values().next().unwrap()
    }

    #[test]
    fn each_study_is_one_of_four() {
        let four = |present, seen: &[Seen]| {
            let counts = counted(Truth { present, ..Truth::default() }, seen);
            [counts.true_positive, counts.false_positive, counts.false_negative, counts.true_negative]
        };
        let effusion = |certainty| [seen("Pleural effusions", Laterality::Left, certainty)];
        assert_eq!(four(true, &effusion(Certainty::Probable)), [1, 0, 0, 0]);
        assert_eq!(four(false, &effusion(Certainty::Definite)), [0, 1, 0, 0]);
        assert_eq!(four(true, &effusion(Certainty::Absent)), [0, 0, 1, 0]);
        assert_eq!(four(true, &effusion(Certainty::Possible)), [0, 0, 1, 0]);
        assert_eq!(four(false, &[]), [0, 0, 0, 1]);
    }

    #[test]
    fn both_sides_are_left_and_right() {
        let sides = |known: &[Laterality], stated: &[Laterality]| {
            let truth = Truth { present: true, sides: known.to_vec(), places: Vec::new() };
            let seen: Vec<Seen> =
                stated.iter().map(|side| seen("pleural effusion", *side, Certainty::Definite)).collect();
            let counts = counted(truth, &seen);
            (counts.sides, counts.sides_right)
        };
        use Laterality::{Bilateral, Left, Right};
        assert_eq!(sides(&[Left], &[Left]), (1, 1));
        assert_eq!(sides(&[Left], &[Right]), (1, 0));
        assert_eq!(sides(&[Left], &[Left, Right]), (1, 0));
        assert_eq!(sides(&[Bilateral], &[Left, Right]), (1, 1));
        assert_eq!(sides(&[], &[Left]), (0, 0));
        assert_eq!(sides(&[Left], &[]), (0, 0));
    }

    #[test]
    fn each_box_is_paired_once_and_a_missing_one_is_zero() {
        let at = |left: f32| Seen {
            place: Some(place(left)),
            ..seen("pleural effusion", Laterality::None, Certainty::Definite)
        };
        let truth = |lefts: &[f32]| Truth {
            present: true,
            sides: Vec::new(),
            places: lefts.iter().map(|left| place(*left)).collect(),
        };
        assert_eq!(counted(truth(&[0.0]), &[at(5.0), at(0.0)]).overlaps, [1.0]);
        assert_eq!(counted(truth(&[5.0, 0.0]), &[at(0.0)]).overlaps, [0.0, 1.0]);
        let without = [seen("pleural effusion", Laterality::None, Certainty::Definite)];
        assert_eq!(counted(truth(&[0.0]), &without).overlaps, [0.0]);
        assert_eq!(counted(truth(&[0.0]), &[]).overlaps, [0.0; 0]);
    }

    #[test]
    fn what_nothing_is_known_about_is_not_judged() {
        let other = seen("cardiomegaly", Laterality::None, Certainty::Definite);
        let judged = judge(&truths("pleural effusion", Truth::default()), &[other], Threshold::Possible);
        assert_eq!(judged.unjudged, [Name::of("enlarged heart")]);
        assert_eq!(judged.counts.len(), 1);
    }
}
