//! An evaluation as text, JSON and CSV.

use std::fmt::Write;

use serde_json::{Value, json};

use super::outcome::{Evaluation, Outcome, Row};
use crate::report::evaluation::Name;
use crate::report::evaluation::figures::Share;

const COLUMNS: [&str; 9] = ["finding", "tp", "fp", "fn", "tn", "precision", "recall", "F1", "side"];
const BOX_COLUMNS: [&str; 2] = ["IoU", "IoU>=0.5"];
/// Failures that are told one by one.
const FAILURES_SHOWN: usize = 10;

pub(super) fn text(evaluation: &Evaluation) -> String {
    let mut rows = vec![COLUMNS.iter().chain(&BOX_COLUMNS).map(ToString::to_string).collect::<Vec<_>>()];
    rows.extend(evaluation.rows.iter().chain([&evaluation.all]).map(cells));
    let mut text = heading(evaluation) + &aligned(&rows);
    text += "Intervals are of 95 %: Wilson's; of F1 by that of the share that tp has of tp + fp + fn.\n";
    let without_code: Vec<&Name> = known(evaluation).filter(|name| !name.is_coded()).collect();
    if !without_code.is_empty() {
        let words: Vec<String> = without_code.iter().map(ToString::to_string).collect();
        text += &format!("Without a code, compared by the words alone: {}.\n", words.join(", "));
    }
    for (name, studies) in &evaluation.unjudged {
        text += &format!("Found in {studies} studies, and nothing is known about it there: {name}.\n");
    }
    text + &failures(&evaluation.outcomes)
}

fn known(evaluation: &Evaluation) -> impl Iterator<Item = &Name> {
    evaluation.rows.iter().map(|row| &row.name)
}

fn heading(evaluation: &Evaluation) -> String {
    let (asked, failed) = (evaluation.asked(), evaluation.failed());
    let mut text = String::new();
    if let Some(model) = &evaluation.model {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{} {}, weights {}", model.name, model.version, model.weights_sha256);
    }
    let _ = writeln!(
        text,
        "{} studies, {asked} with something known, {failed} without an answer",
        evaluation.studies
    );
    if let Some(times) = &evaluation.times {
        let _ = writeln!(
            text,
            "{:.2} s a study (median), {:.2} s at most, {:.1} s in all",
            times.median, times.longest, times.total
        );
    }
    text
}

fn cells(row: &Row) -> Vec<String> {
    let (counts, figures) = (&row.counts, &row.figures);
    let share = |share: &Option<Share>| share.map_or("-".to_owned(), interval);
    vec![
        row.name.to_string(),
        counts.true_positive.to_string(),
        counts.false_positive.to_string(),
        counts.false_negative.to_string(),
        counts.true_negative.to_string(),
        share(&figures.precision),
        share(&figures.recall),
        share(&figures.f1),
        share(&figures.side),
        figures.overlap.map_or("-".to_owned(), |mean| format!("{mean:.2} of {}", counts.overlaps.len())),
        share(&figures.overlap_half),
    ]
}

fn interval(share: Share) -> String {
    format!("{:.2} ({:.2} to {:.2})", share.value, share.low, share.high)
}

fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn failures(outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter_map(|one| Some((&one.known.study, one.answer.as_ref().err()?)));
    let mut told: Vec<String> =
        failed.map(|(study, reason)| format!("No answer: {study}: {reason}\n")).collect();
    let more = told.len().saturating_sub(FAILURES_SHOWN);
    told.truncate(FAILURES_SHOWN);
    if more > 0 {
        told.push(format!("No answer: {more} more\n"));
    }
    told.concat()
}

/// One record for each finding, and one for all of them.
pub(super) fn csv(evaluation: &Evaluation) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (index, row) in evaluation.rows.iter().chain([&evaluation.all]).enumerate() {
        let fields = record(row);
        if index == 0 {
            writer.write_record(fields.iter().map(|(name, _)| name))?;
        }
        writer.write_record(fields.iter().map(|(_, value)| value))?;
    }
    let bytes =
        writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn record(row: &Row) -> Vec<(String, String)> {
    let (name, counts, figures) = (&row.name, &row.counts, &row.figures);
    let mut fields: Vec<(String, String)> = [
        ("finding", name.meaning.clone()),
        ("scheme", name.scheme.clone()),
        ("code", name.value.clone()),
        ("true_positive", counts.true_positive.to_string()),
        ("false_positive", counts.false_positive.to_string()),
        ("false_negative", counts.false_negative.to_string()),
        ("true_negative", counts.true_negative.to_string()),
    ]
    .map(|(field, value)| (field.to_owned(), value))
    .into();
    let shares = [
        ("precision", figures.precision),
        ("recall", figures.recall),
        ("specificity", figures.specificity),
        ("f1", figures.f1),
        ("side", figures.side),
        ("overlap_half", figures.overlap_half),
    ];
    for (field, share) in shares {
        let part = |get: fn(Share) -> f64| share.map(get).map_or(String::new(), |value| value.to_string());
        fields.push((field.to_owned(), part(|share| share.value)));
        fields.push((format!("{field}_low"), part(|share| share.low)));
        fields.push((format!("{field}_high"), part(|share| share.high)));
    }
    let overlap = figures.overlap.map_or(String::new(), |mean| mean.to_string());
    fields.push(("overlap".to_owned(), overlap));
    fields
}

/// Everything, with what was seen in each study.
pub(super) fn json(evaluation: &Evaluation) -> Result<String, serde_json::Error> {
    let row = |row: &Row| json!({ "finding": row.name, "counts": row.counts, "figures": row.figures });
    let study = |one: &Outcome| {
        json!({
            "study": one.known.study,
            "seconds": one.answer.as_ref().ok().map(|answer| answer.seconds),
            "seen": one.answer.as_ref().ok().map(|answer| &answer.seen),
            "failure": one.answer.as_ref().err(),
        })
    };
    let value = json!({
        "model": evaluation.model,
        "studies_found": evaluation.studies,
        "studies_asked": evaluation.asked(),
        "studies_failed": evaluation.failed(),
        "seconds": evaluation.times,
        "findings": evaluation.rows.iter().map(row).collect::<Vec<Value>>(),
        "all": row(&evaluation.all),
        "unjudged": evaluation.unjudged.iter().map(|(name, studies)| json!({ "finding": name, "studies": studies })).collect::<Vec<Value>>(),
        "studies": evaluation.outcomes.iter().map(study).collect::<Vec<Value>>(),
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}
