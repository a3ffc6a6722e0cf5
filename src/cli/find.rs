//! `radiant find`: asks another archive what it has, by C-FIND.

mod keys;
mod table;

use std::io::{StdoutLock, Write};

use clap::{Args, ValueEnum};
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use super::CliError;
use super::peer::{self, PeerFlags};
use crate::dicom::header::hex;
use crate::dicom::json::with_values;
use crate::export::scu::ScuError;
use crate::export::scu::find::{self, Ending, Finding, Reply, Root, Wishes};

use keys::KeyArgument;
use table::Table;

#[derive(Debug, Args)]
pub(super) struct FindArgs {
    #[command(flatten)]
    peer: PeerFlags,
    /// What one match is about.
    #[arg(long, value_enum, default_value_t = Level::Study)]
    level: Level,
    /// A key to match, or without a value to be shown: PatientName=DOE*, 0010,0020 or
    /// RequestAttributesSequence.RequestedProcedureID=P1. Without any, those that are usual.
    #[arg(short = 'k', long = "key", value_name = "ATTRIBUTE[=VALUE]")]
    keys: Vec<KeyArgument>,
    /// Ask in the patient root; --level patient does so always.
    #[arg(long)]
    patient_root: bool,
    /// Propose relational queries, so that keys of the levels above may be missing.
    #[arg(long)]
    relational: bool,
    /// Propose that names match by their sound and by parts.
    #[arg(long)]
    fuzzy: bool,
    /// Cancel after so many matches.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// One match a line as DICOM JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Patient,
    Study,
    Series,
    #[value(alias = "instance")]
    Image,
}

impl Level {
    fn text(self) -> &'static str {
        match self {
            Self::Patient => "PATIENT",
            Self::Study => "STUDY",
            Self::Series => "SERIES",
            Self::Image => "IMAGE",
        }
    }
}

pub(super) async fn run(args: &FindArgs) -> Result<(), CliError> {
    let called = args.peer.peer()?;
    let root = if args.patient_root || args.level == Level::Patient { Root::Patient } else { Root::Study };
    let keys = args.identifier();
    let wishes = Wishes { relational: args.relational, fuzzy_names: args.fuzzy };
    let failed = |error: ScuError| peer::failure(&called, &error);
    let mut association = find::connect(&called, root, wishes).await.map_err(failed)?;
    let mut finding = Finding::begin(&mut association, root, &keys).await.map_err(failed)?;
    let mut output = Output::new(args.json, &keys);
    let ending = follow(&mut finding, args.limit, &mut output).await?.map_err(failed)?;
    output.finish()?;
    if let Err(error) = association.release().await {
        tracing::debug!(%error, "the peer did not confirm the release");
    }
    judge(&ending, args.limit.is_some_and(|limit| output.matches >= limit))
}

/// Shows the matches as they come. Those that come behind the limit were under way already.
async fn follow<S: crate::ul::connection::Transport>(
    finding: &mut Finding<'_, S>,
    limit: Option<u64>,
    output: &mut Output,
) -> Result<Result<Ending, ScuError>, CliError> {
    loop {
        let found = match finding.next().await {
            Ok(Reply::Match(found)) => found,
            Ok(Reply::Ended(ending)) => return Ok(Ok(ending)),
            Err(error) => return Ok(Err(error)),
        };
        if limit.is_some_and(|limit| output.matches >= limit) {
            continue;
        }
        output.show(found)?;
        if limit == Some(output.matches)
            && let Err(error) = finding.cancel().await
        {
            return Ok(Err(error));
        }
    }
}

fn judge(ending: &Ending, is_enough: bool) -> Result<(), CliError> {
    if ending.is_complete() || (ending.is_cancelled() && is_enough) {
        return Ok(());
    }
    Err(CliError::Peer(words(ending)))
}

/// A status for people, PS3.4 Table C.4-1 and PS3.7 Annex C.
fn words(ending: &Ending) -> String {
    let meaning = match ending.status {
        0xA700..=0xA7FF => "it is out of resources or there are too many matches",
        0xA900..=0xA9FF => "it does not understand the query: a key or the level is not of this model",
        0xC000..=0xCFFF => "it cannot process the query",
        0xFE00 => "it cancelled the query by itself",
        0x0122 => "it does not support the SOP class",
        0x0124 => "it does not let us query",
        0x0211 => "it does not know the operation",
        _ => "it ended with an unusual status",
    };
    let mut words = format!("the query failed with {:04X}: {meaning}", ending.status);
    if let Some(comment) = &ending.comment {
        words.push_str(&format!(" ({comment})"));
    }
    if !ending.offending.is_empty() {
        let tags: Vec<String> = ending.offending.iter().map(|tag| keys::name(*tag)).collect();
        words.push_str(&format!(", because of {}", tags.join(", ")));
    }
    words
}

impl FindArgs {
    fn identifier(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        let level = with_values("CS", vec![self.level.text().into()]);
        keys.insert(hex(tags::QUERY_RETRIEVE_LEVEL), level);
        let usual = if self.keys.is_empty() { self.level.usual() } else { &[] };
        for tag in usual.iter().chain([&self.level.unique()]) {
            KeyArgument::to_show(*tag).put(&mut keys);
        }
        self.keys.iter().for_each(|key| key.put(&mut keys));
        keys
    }
}

impl Level {
    fn unique(self) -> dicom_core::Tag {
        match self {
            Self::Patient => tags::PATIENT_ID,
            Self::Study => tags::STUDY_INSTANCE_UID,
            Self::Series => tags::SERIES_INSTANCE_UID,
            Self::Image => tags::SOP_INSTANCE_UID,
        }
    }

    fn usual(self) -> &'static [dicom_core::Tag] {
        match self {
            Self::Patient => &[tags::PATIENT_NAME, tags::PATIENT_BIRTH_DATE],
            Self::Study => {
                &[tags::STUDY_DATE, tags::MODALITIES_IN_STUDY, tags::PATIENT_NAME, tags::PATIENT_ID]
            }
            Self::Series => &[tags::MODALITY, tags::SERIES_NUMBER, tags::SERIES_DESCRIPTION],
            Self::Image => &[tags::SOP_CLASS_UID, tags::INSTANCE_NUMBER],
        }
    }
}

struct Output {
    /// None for JSON.
    table: Option<Table>,
    matches: u64,
}

impl Output {
    fn new(json: bool, keys: &Map<String, Value>) -> Self {
        Self { table: (!json).then(|| Table::new(keys)), matches: 0 }
    }

    fn show(&mut self, found: Map<String, Value>) -> std::io::Result<()> {
        self.matches += 1;
        let mut out: StdoutLock<'_> = std::io::stdout().lock();
        match &mut self.table {
            Some(table) => table.add(&found, &mut out),
            None => writeln!(out, "{}", Value::Object(found)),
        }
    }

    fn finish(&mut self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match &mut self.table {
            Some(table) => {
                table.flush(&mut out)?;
                let noun = if self.matches == 1 { "match" } else { "matches" };
                writeln!(out, "{} {noun}", self.matches)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        find: FindArgs,
    }

    fn find(arguments: &[&str]) -> FindArgs {
        Line::try_parse_from([&["find", "host", "104"], arguments].concat()).unwrap().find
    }

    #[test]
    fn without_keys_the_usual_ones_are_shown_and_the_unique_one_always() {
        let usual = Value::Object(find(&["--level", "series"]).identifier());
        let expected = json!({"00080052": {"vr": "CS", "Value": ["SERIES"]}, "00080060": {"vr": "CS"},
            "0008103E": {"vr": "LO"}, "0020000E": {"vr": "UI"}, "00200011": {"vr": "IS"}});
        assert_eq!(usual, expected);
        let asked = find(&["-k", "StudyInstanceUID=1.2", "-k", "PatientID"]).identifier();
        let keys: BTreeSet<&str> = asked.keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["00080052", "00100020", "0020000D"]));
        assert_eq!(asked["0020000D"]["Value"], json!(["1.2"]));
    }

    #[test]
    fn a_refusal_is_told_in_words() {
        let ending = Ending {
            status: 0xA900,
            comment: Some("0020000D: one value".to_owned()),
            offending: vec![tags::STUDY_INSTANCE_UID],
        };
        let expected = "the query failed with A900: it does not understand the query: a key or the level is not of \
                        this model (0020000D: one value), because of StudyInstanceUID";
        assert_eq!(words(&ending), expected);
    }

    #[test]
    fn a_cancelled_query_is_done_only_when_enough_has_come() {
        let cancelled = Ending { status: 0xFE00, comment: None, offending: Vec::new() };
        assert!(judge(&cancelled, true).is_ok() && judge(&cancelled, false).is_err());
    }
}
