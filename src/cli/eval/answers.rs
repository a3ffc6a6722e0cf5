//! Answers that were given, one line of JSON each: what a stopped run has done is not done again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::CliError;
use crate::dicom::uid::StudyUid;
use crate::report::evaluation::Seen;

const FILE: &str = "answers.jsonl";

/// What was seen in a study; the key names images, model, prompt and settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) key: String,
    pub(super) study: StudyUid,
    pub(super) seconds: f64,
    pub(super) seen: Vec<Seen>,
}

pub(super) type Kept = HashMap<String, Answer>;

pub(super) struct Answers {
    path: PathBuf,
    file: File,
    kept: Kept,
}

impl Answers {
    /// Makes the folder where it is not there.
    pub(super) fn open(dir: &Path) -> Result<Self, CliError> {
        let path = dir.join(FILE);
        let failed = |error: io::Error| unusable(&path, &error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let whole = whole_lines(&text);
        if whole.len() < text.len() {
            file.set_len(whole.len() as u64).map_err(failed)?;
        }
        let kept = read(whole).map_err(|(line, error)| {
            CliError::Eval(format!("{}: line {line}: no answer of this program: {error}", path.display()))
        })?;
        Ok(Self { path, file, kept })
    }

    pub(super) fn clone_kept(&self) -> Kept {
        self.kept.clone()
    }

    /// Known ones are not written again.
    pub(super) fn keep(&mut self, answer: &Answer) -> Result<(), CliError> {
        if self.kept.contains_key(&answer.key) {
            return Ok(());
        }
        let line = serde_json::to_string(answer).map_err(|error| CliError::Eval(error.to_string()))?;
        self.file.write_all(format!("{line}\n").as_bytes()).map_err(|error| unusable(&self.path, &error))?;
        self.kept.insert(answer.key.clone(), answer.clone());
        Ok(())
    }
}

/// A line without an end was being written when the program was stopped.
fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

fn read(text: &str) -> Result<Kept, (usize, serde_json::Error)> {
    let answer = |(line, text): (usize, &str)| serde_json::from_str(text).map_err(|error| (line, error));
    let answers = (1..).zip(text.lines()).map(answer);
    answers.map(|answer| answer.map(|answer: Answer| (answer.key.clone(), answer))).collect()
}

fn unusable(path: &Path, error: &io::Error) -> CliError {
    CliError::Eval(format!("{} cannot be used: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(key: &str) -> Answer {
        Answer { key: key.into(), study: "1.2".parse().unwrap(), seconds: 0.5, seen: Vec::new() }
    }

    #[test]
    fn answers_are_there_after_a_stop_in_the_middle_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut answers = Answers::open(dir.path()).unwrap();
        answers.keep(&answer("a")).unwrap();
        answers.file.write_all(b"{\"key\": \"b\", \"stu").unwrap();
        let mut answers = Answers::open(dir.path()).unwrap();
        assert_eq!(answers.clone_kept().into_keys().collect::<Vec<_>>(), ["a"]);
        answers.keep(&answer("c")).unwrap();
        assert_eq!(Answers::open(dir.path()).unwrap().kept.len(), 2);
    }

    #[test]
    fn a_file_of_something_else_is_refused_and_left() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{\"a\": 1}\n").unwrap();
        let error = Answers::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("line 1"), "{error}");
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap(), "{\"a\": 1}\n");
    }
}
