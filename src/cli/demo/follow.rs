//! Waits until every study has a report, or a reason why it has none.
//!
//! The index is the truth; events only say how far the model has come.

use std::time::Duration;

use tokio::sync::broadcast;

use super::DemoError;
use super::board::Board;
use super::cases::DemoStudy;
use crate::ai::Progress;
use crate::analysis::Event;
use crate::db::{Db, DbError, results};
use crate::dicom::uid::StudyUid;

/// A slow machine without an accelerator still answers within this.
const MINUTES_MAX: u64 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(250);
const QUEUED: &str = "waits for the model";

/// How a study's analysis ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Reported { analysis: String, report: String },
    Failed(String),
}

impl Fate {
    /// Why there is no report.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Reported { .. } => None,
            Self::Failed(reason) => Some(reason),
        }
    }
}

/// In the order of the studies.
pub(super) async fn follow(
    db: &Db,
    events: &mut broadcast::Receiver<Event>,
    studies: &[DemoStudy],
    board: &Board,
) -> Result<Vec<Fate>, DemoError> {
    let mut fates: Vec<Option<Fate>> = studies.iter().map(|_| None).collect();
    let waiting = async {
        while fates.iter().any(Option::is_none) {
            listen(events, studies, board).await;
            for (index, open) in fates.iter_mut().enumerate().filter(|(_, fate)| fate.is_none()) {
                *open = fate(db, &studies[index].uid).await?;
                open.iter().for_each(|fate| board.end(index, last_word(fate)));
            }
        }
        Ok::<_, DbError>(())
    };
    let timeout = tokio::time::timeout(Duration::from_secs(MINUTES_MAX * 60), waiting).await;
    match timeout {
        Ok(outcome) => outcome?,
        Err(_) => return Err(timed_out(db, studies).await?),
    }
    Ok(fates.into_iter().flatten().collect())
}

fn last_word(fate: &Fate) -> &str {
    fate.reason().unwrap_or("report stored as DICOM SR and PDF")
}

/// Passes events on for a moment.
async fn listen(events: &mut broadcast::Receiver<Event>, studies: &[DemoStudy], board: &Board) {
    let pass_on = async {
        loop {
            match events.recv().await {
                Ok(event) => tell(&event, studies, board),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    let _: Result<(), _> = tokio::time::timeout(LOOK_EVERY, pass_on).await;
}

fn tell(event: &Event, studies: &[DemoStudy], board: &Board) {
    let line = |study: &StudyUid| studies.iter().position(|known| known.uid == *study);
    match event {
        Event::Progress { study, stage, .. } => {
            line(study).inspect(|&index| board.pass(index, &stage_words(*stage)));
        }
        other => {
            let said = milestone(other).and_then(|(study, text)| Some((line(study)?, text)));
            said.inspect(|(index, text)| board.say(*index, text));
        }
    }
}

/// What an event means for people; ends are told from the index.
fn milestone(event: &Event) -> Option<(&StudyUid, &str)> {
    match event {
        Event::Decided { study, reason, .. } => Some((study, reason)),
        Event::Waiting { study, reason, .. } => Some((study, reason)),
        Event::Queued { study, .. } => Some((study, QUEUED)),
        Event::Progress { .. } | Event::Done { .. } | Event::Failed { .. } | Event::Cancelled { .. } => None,
    }
}

fn stage_words(stage: Progress) -> String {
    match stage {
        Progress::Queued | Progress::Waiting { ahead: 0 } => QUEUED.to_owned(),
        Progress::Waiting { ahead } => format!("{QUEUED} behind {ahead}"),
        Progress::EncodedImages { done, of } => format!("image {done}/{of} encoded"),
        Progress::Prefilled { tokens } => format!("{tokens} tokens read"),
        Progress::Decoded { tokens } => format!("{tokens} tokens written"),
    }
}

async fn fate(db: &Db, study: &StudyUid) -> Result<Option<Fate>, DbError> {
    let Some(analysis) = results::analyses_of(db, study).await?.into_iter().next() else {
        let decisions = results::decisions(db, study).await?;
        let skipped = decisions.into_iter().next_back().filter(|decision| decision.verdict == "skip");
        return Ok(skipped.map(|decision| Fate::Failed(format!("not analysed: {}", decision.reason))));
    };
    Ok(match (analysis.state.as_str(), analysis.report) {
        ("done", Some(report)) => Some(Fate::Reported { analysis: analysis.id, report }),
        ("failed" | "cancelled", _) => {
            Some(Fate::Failed(analysis.reason.unwrap_or_else(|| "the analysis failed".to_owned())))
        }
        _ => None,
    })
}

async fn timed_out(db: &Db, studies: &[DemoStudy]) -> Result<DemoError, DbError> {
    let mut states = Vec::new();
    for study in studies {
        let summary = results::study(db, &study.uid).await?;
        let state =
            summary.and_then(|summary| summary.analysis_state).unwrap_or_else(|| "not decided".to_owned());
        states.push(format!("{} is {state}", study.title));
    }
    Ok(DemoError::TimedOut { minutes: MINUTES_MAX, state: states.join(", ") })
}
