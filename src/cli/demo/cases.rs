//! Which synthetic studies are sent: one of each kind by turns, none that is there already.

use crate::db::{Db, results};
use crate::dicom::uid::{StudyUid, UidError};
use crate::phantom::{self, Kind, Options};
use crate::report::findings::Answer;

use super::DemoError;

/// Seeds that are looked at for each study.
const SEEDS: u64 = 5_000;
/// What a phantom shows does not depend on its size, so candidates are drawn small.
const LOOK_MATRIX: u16 = 96;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    NormalChest,
    Effusion,
    EnlargedHeart,
    Ct,
}

const CASES: [Case; 4] = [Case::NormalChest, Case::Effusion, Case::EnlargedHeart, Case::Ct];

pub(super) struct DemoStudy {
    pub(super) uid: StudyUid,
    /// For people.
    pub(super) title: String,
    pub(super) phantom: phantom::Study,
}

/// Draws the studies.
pub(super) async fn choose(db: &Db, count: u64) -> Result<Vec<DemoStudy>, DemoError> {
    let mut studies: Vec<DemoStudy> = Vec::new();
    let mut seeds = [0; CASES.len()];
    for index in 0..usize::try_from(count).unwrap_or(usize::MAX) {
        let turn = index % CASES.len();
        let seed = next_seed(db, CASES[turn], seeds[turn]).await?;
        seeds[turn] = seed + 1;
        studies.push(draw(CASES[turn], seed).await?);
    }
    Ok(studies)
}

async fn next_seed(db: &Db, case: Case, from: u64) -> Result<u64, DemoError> {
    for seed in from..from + SEEDS {
        if let Some(uid) = case.shown_by(seed)?
            && results::study(db, &uid).await?.is_none()
        {
            return Ok(seed);
        }
    }
    Err(DemoError::NoMoreCases)
}

async fn draw(case: Case, seed: u64) -> Result<DemoStudy, DemoError> {
    let options = Options { kind: case.kind(), ..Options::default() };
    let phantom = tokio::task::spawn_blocking(move || phantom::study(seed, &options)).await;
    let phantom = phantom.map_err(|panic| DemoError::Send(panic.to_string()))??;
    let uid = phantom.study_uid.parse().map_err(|error: UidError| DemoError::Send(error.to_string()))?;
    Ok(DemoStudy { uid, title: format!("{} {seed}", case.title()), phantom })
}

impl Case {
    fn kind(self) -> Kind {
        match self {
            Self::Ct => Kind::Ct,
            Self::NormalChest | Self::Effusion | Self::EnlargedHeart => Kind::Chest,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Ct => "CT phantom",
            Self::NormalChest | Self::Effusion | Self::EnlargedHeart => "Chest radiograph phantom",
        }
    }

    /// The study of the seed, when it shows this case.
    fn shown_by(self, seed: u64) -> Result<Option<StudyUid>, DemoError> {
        let options = Options {
            kind: self.kind(),
            matrix: Some(LOOK_MATRIX),
            shown_slices_only: true,
            ..Options::default()
        };
        let study = phantom::study(seed, &options)?;
        Ok(study.study_uid.parse().ok().filter(|_| self.is_shown(&study.truth)))
    }

    fn is_shown(self, truth: &Answer) -> bool {
        let found: Vec<&str> = truth.findings.iter().map(|finding| finding.finding.as_str()).collect();
        match self {
            Self::NormalChest => found.is_empty(),
            Self::Effusion => found == ["pleural effusion"],
            Self::EnlargedHeart => found == ["cardiomegaly"],
            Self::Ct => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_found_among_the_first_seeds() {
        for case in CASES {
            let shown = (0..60).any(|seed| case.shown_by(seed).unwrap().is_some());
            assert!(shown, "{case:?}");
        }
    }

    #[test]
    fn a_small_drawing_shows_what_the_large_one_does() {
        let small = Options { kind: Kind::Chest, matrix: Some(LOOK_MATRIX), ..Options::default() };
        let large = Options { kind: Kind::Chest, matrix: Some(300), ..Options::default() };
        for seed in 0..8 {
            let truth = |options| phantom::study(seed, options).unwrap().truth;
            let names = |truth: Answer| truth.findings.into_iter().map(|f| f.finding).collect::<Vec<_>>();
            assert_eq!(names(truth(&small)), names(truth(&large)), "seed {seed}");
        }
    }
}
