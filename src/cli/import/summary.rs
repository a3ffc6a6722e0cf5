//! What became of every file, for people. Names of files only: nothing out of the objects.

use std::collections::BTreeMap;
use std::fmt;

/// Of one reason, so many files are named.
const NAMES_MAX: usize = 20;

/// What became of one file or zip entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Report {
    pub(in crate::cli) name: String,
    pub(in crate::cli) verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Verdict {
    Stored,
    AlreadyThere,
    /// It was not an object; the sentence says what.
    Skipped(&'static str),
    /// The sentence says why.
    Refused(String),
}

impl Report {
    /// Names come from file systems and zips: what would move the cursor is escaped.
    pub(in crate::cli) fn new(name: impl fmt::Display, verdict: Verdict) -> Self {
        let name = name.to_string().chars().flat_map(printable).collect();
        Self { name, verdict }
    }
}

fn printable(character: char) -> Vec<char> {
    match character.is_control() {
        true => character.escape_default().collect(),
        false => vec![character],
    }
}

#[derive(Debug, Default)]
pub(super) struct Summary {
    stored: usize,
    already_there: usize,
    skipped: BTreeMap<String, Names>,
    refused: BTreeMap<String, Names>,
}

#[derive(Debug, Default)]
struct Names {
    first: Vec<String>,
    count: usize,
}

impl Summary {
    pub(super) fn add(&mut self, report: Report) {
        match report.verdict {
            Verdict::Stored => self.stored += 1,
            Verdict::AlreadyThere => self.already_there += 1,
            Verdict::Skipped(reason) => self.skipped.entry(reason.to_owned()).or_default().add(report.name),
            Verdict::Refused(reason) => self.refused.entry(reason).or_default().add(report.name),
        }
    }

    pub(super) fn refused(&self) -> usize {
        count(&self.refused)
    }
}

impl Names {
    fn add(&mut self, name: String) {
        self.count += 1;
        if self.first.len() < NAMES_MAX {
            self.first.push(name);
        }
    }
}

fn count(reasons: &BTreeMap<String, Names>) -> usize {
    reasons.values().map(|names| names.count).sum()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "stored         {}", self.stored)?;
        writeln!(f, "already there  {}", self.already_there)?;
        writeln!(f, "refused        {}", self.refused())?;
        write_reasons(f, &self.refused)?;
        writeln!(f, "skipped        {}", count(&self.skipped))?;
        write_reasons(f, &self.skipped)
    }
}

fn write_reasons(f: &mut fmt::Formatter<'_>, reasons: &BTreeMap<String, Names>) -> fmt::Result {
    for (reason, names) in reasons {
        writeln!(f, "  {reason} ({})", names.count)?;
        for name in &names.first {
            writeln!(f, "    {name}")?;
        }
        if names.count > names.first.len() {
            writeln!(f, "    … and {} more", names.count - names.first.len())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_gathered_by_reason_and_named() {
        let mut summary = Summary::default();
        summary.add(Report::new("a.dcm", Verdict::Stored));
        for number in 0..22 {
            summary.add(Report::new(
                format!("{number:02}\u{1b}[2J"),
                Verdict::Refused("it is truncated".into()),
            ));
        }
        let text = summary.to_string();
        assert!(text.contains("stored         1\n") && text.contains("refused        22\n"), "{text}");
        assert!(text.contains("  it is truncated (22)\n    00\\u{1b}[2J\n"), "{text}");
        assert!(text.contains("    … and 2 more\n"), "{text}");
    }
}
