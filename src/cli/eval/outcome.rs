//! All studies together.

use std::collections::BTreeMap;

use super::answers::Answer;
use super::index::Known;
use crate::ai::ModelIdentity;
use crate::report::evaluation::Name;
use crate::report::evaluation::figures::Figures;
use crate::report::evaluation::judge::{Counts, Judged, Threshold, judge};

/// A study with its answer, or why there is none.
pub(super) struct Outcome {
    pub(super) known: Known,
    pub(super) answer: Result<Answer, String>,
}

/// One finding over all studies that have an answer.
pub(super) struct Row {
    pub(super) name: Name,
    pub(super) counts: Counts,
    pub(super) figures: Figures,
}

/// Seconds of the studies that were answered.
#[derive(serde::Serialize)]
pub(super) struct Times {
    pub(super) median: f64,
    pub(super) longest: f64,
    pub(super) total: f64,
}

pub(super) struct Evaluation {
    pub(super) model: Option<ModelIdentity>,
    /// In the folder, with those of which nothing is known.
    pub(super) studies: usize,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) rows: Vec<Row>,
    /// All findings together.
    pub(super) all: Row,
    /// Found where nothing was known about it: how often.
    pub(super) unjudged: BTreeMap<Name, usize>,
    pub(super) times: Option<Times>,
}

impl Evaluation {
    pub(super) fn of(
        outcomes: Vec<Outcome>,
        studies: usize,
        threshold: Threshold,
        model: Option<ModelIdentity>,
    ) -> Self {
        let mut counts: BTreeMap<Name, Counts> = BTreeMap::new();
        let (mut all, mut unjudged) = (Counts::default(), BTreeMap::new());
        for judged in outcomes.iter().filter_map(|outcome| outcome.judged(threshold)) {
            for (name, own) in judged.counts {
                counts.entry(name).or_default().add(&own);
                all.add(&own);
            }
            judged.unjudged.into_iter().for_each(|name| *unjudged.entry(name).or_default() += 1);
        }
        let rows = counts.into_iter().map(|(name, counts)| Row::new(name, counts)).collect();
        let all = Row::new(Name { scheme: String::new(), value: String::new(), meaning: ALL.into() }, all);
        let times = times(&outcomes);
        Self { model, studies, outcomes, rows, all, unjudged, times }
    }

    /// Studies of which something is known.
    pub(super) fn asked(&self) -> usize {
        self.outcomes.len()
    }

    pub(super) fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.answer.is_err()).count()
    }
}

const ALL: &str = "all findings";

impl Outcome {
    fn judged(&self, threshold: Threshold) -> Option<Judged> {
        self.answer.as_ref().ok().map(|answer| judge(&self.known.truths, &answer.seen, threshold))
    }
}

impl Row {
    fn new(name: Name, counts: Counts) -> Self {
        let figures = Figures::of(&counts);
        Self { name, counts, figures }
    }
}

fn times(outcomes: &[Outcome]) -> Option<Times> {
    let answered = outcomes.iter().filter_map(|outcome| outcome.answer.as_ref().ok());
    let mut seconds: Vec<f64> = answered.map(|answer| answer.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let median = *seconds.get(seconds.len() / 2)?;
    let longest = *seconds.last()?;
    Some(Times { median, longest, total: seconds.iter().sum() })
}
