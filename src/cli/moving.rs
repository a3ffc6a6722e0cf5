//! `radiant move`: has an archive send studies, series or instances to an application entity.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use dicom_dictionary_std::tags;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::peer::{PeerFlags, failure};
use super::{CliError, statuses};
use crate::dicom::header::hex;
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};
use crate::export::scu::find::Root;
use crate::export::scu::moving::{self, Progress};
use crate::export::scu::{ScuError, association::Patience};

/// Not every archive tells how it goes before it has come to the end.
const PATIENCE: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(super) struct MoveArgs {
    #[command(flatten)]
    peer: PeerFlags,
    /// AE title that is sent to, as the archive knows it.
    #[arg(long, value_name = "AE")]
    to: String,
    /// Patient ID; with nothing else, all of the patient.
    #[arg(long, value_name = "ID", required_unless_present = "study")]
    patient: Option<String>,
    /// Study Instance UID; several, with commas, where no series is named.
    #[arg(long, value_name = "UID", value_delimiter = ',')]
    study: Vec<StudyUid>,
    /// Series Instance UID; several, with commas, where no instance is named.
    #[arg(long, value_name = "UID", value_delimiter = ',', requires = "study")]
    series: Vec<SeriesUid>,
    /// SOP Instance UIDs, with commas between.
    #[arg(long, value_name = "UID", value_delimiter = ',', requires = "series")]
    instance: Vec<SopInstanceUid>,
    /// The last response as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &MoveArgs) -> Result<(), CliError> {
    let mut peer = args.peer.peer()?;
    peer.patience = Patience { response: PATIENCE, ..peer.patience };
    let failed = |error: ScuError| failure(&peer, &error);
    let (root, keys) = (args.root(), args.identifier());
    let mut association = moving::connect(&peer, root).await.map_err(failed)?;
    let bar = progress_bar();
    let told = moving::move_to(&mut association, root, args.to.trim(), &keys, |told| show(&bar, told));
    let last = told.await.map_err(failed)?;
    bar.finish_and_clear();
    if let Err(error) = association.release().await {
        tracing::debug!(%error, "the peer did not confirm the release");
    }
    let line = if args.json { as_json(&last) } else { sentence(&last) };
    writeln!(std::io::stdout(), "{line}")?;
    match last.status {
        0 => Ok(()),
        status => Err(CliError::Peer(refusal(status, last.comment.as_deref()))),
    }
}

impl MoveArgs {
    /// A patient alone is of the patient root; so is one that is named beside a study.
    fn root(&self) -> Root {
        if self.patient.is_some() { Root::Patient } else { Root::Study }
    }

    fn identifier(&self) -> Map<String, Value> {
        let level = match (self.study.is_empty(), self.series.is_empty(), self.instance.is_empty()) {
            (true, ..) => "PATIENT",
            (_, true, _) => "STUDY",
            (_, _, true) => "SERIES",
            _ => "IMAGE",
        };
        let mut keys = Map::new();
        let mut put = |tag, vr: &str, values: Vec<String>| {
            if !values.is_empty() {
                keys.insert(hex(tag), json!({"vr": vr, "Value": values}));
            }
        };
        put(tags::QUERY_RETRIEVE_LEVEL, "CS", vec![level.to_owned()]);
        put(tags::PATIENT_ID, "LO", self.patient.iter().cloned().collect());
        put(tags::STUDY_INSTANCE_UID, "UI", self.study.iter().map(ToString::to_string).collect());
        put(tags::SERIES_INSTANCE_UID, "UI", self.series.iter().map(ToString::to_string).collect());
        put(tags::SOP_INSTANCE_UID, "UI", self.instance.iter().map(ToString::to_string).collect());
        keys
    }
}

/// Hidden by itself when stderr is no terminal.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, told: &Progress) {
    let done = [told.completed, told.failed, told.warnings].into_iter().flatten().map(u64::from).sum();
    bar.set_length(done + u64::from(told.remaining.unwrap_or(0)));
    bar.set_position(done);
}

fn sentence(last: &Progress) -> String {
    let count = |count: Option<u16>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let [completed, warnings, failed] = [last.completed, last.warnings, last.failed].map(count);
    format!("{completed} sent, {warnings} taken with a warning, {failed} failed")
}

fn as_json(last: &Progress) -> String {
    json!({
        "status": format!("{:04X}", last.status),
        "completed": last.completed,
        "failed": last.failed,
        "warnings": last.warnings,
        "remaining": last.remaining,
        "comment": last.comment,
    })
    .to_string()
}

fn refusal(status: u16, comment: Option<&str>) -> String {
    let comment = comment.map(|comment| format!(" ({comment})")).unwrap_or_default();
    format!("C-MOVE ended with {}{comment}", statuses::of_move(status))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: MoveArgs,
    }

    #[track_caller]
    fn check(flags: &[&str], level: &str, root: Root) {
        let line = [&["move", "localhost", "104", "--to", "ME"], flags].concat();
        let args = Line::try_parse_from(line).unwrap().args;
        assert_eq!(args.identifier()["00080052"]["Value"][0], level);
        assert_eq!(args.root(), root);
    }

    #[test]
    fn the_lowest_entity_that_is_named_is_the_level() {
        check(&["--patient", "P"], "PATIENT", Root::Patient);
        check(&["--study", "1.2,1.3"], "STUDY", Root::Study);
        check(&["--study", "1.2", "--series", "1.3"], "SERIES", Root::Study);
        let instances = ["--patient", "P", "--study", "1.2", "--series", "1.3", "--instance", "1.4,1.5"];
        check(&instances, "IMAGE", Root::Patient);
        assert!(Line::try_parse_from(["move", "localhost", "104", "--to", "ME"]).is_err());
    }

    #[test]
    fn how_it_ended_is_a_sentence() {
        let told = "C-MOVE ended with A801, it does not know the destination (no such node)";
        assert_eq!(refusal(0xA801, Some("no such node")), told);
    }
}
