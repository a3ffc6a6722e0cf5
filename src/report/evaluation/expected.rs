//! Expected findings, from CSV or JSON. What is wrong is told by its line, and nothing is guessed.

use serde::Deserialize;

use super::{Name, Place};
use crate::report::findings::Laterality;
use crate::report::region::Region;

/// One statement about one study.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    pub line: usize,
    pub key: Key,
    pub name: Name,
    pub presence: Presence,
    pub side: Option<Laterality>,
    /// The image is named by its path or its SOP Instance UID.
    pub place: Option<Place>,
}

/// How a statement names its study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Study Instance UID, or path of the folder that holds the study and nothing else.
    Study(String),
    /// Path of a file of it.
    File(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    Present,
    Absent,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Fault {
    pub line: usize,
    pub reason: String,
}

impl Fault {
    pub fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

/// As it is written: a record of CSV, or an object of JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    study: Option<String>,
    #[serde(default)]
    file: Option<String>,
    finding: String,
    presence: Option<Presence>,
    #[serde(default)]
    side: Option<Laterality>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    left: Option<f32>,
    #[serde(default)]
    top: Option<f32>,
    #[serde(default)]
    right: Option<f32>,
    #[serde(default)]
    bottom: Option<f32>,
}

/// A table with a header; `#` begins a comment.
pub fn from_csv(text: &str) -> Result<Vec<Expectation>, Fault> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
    let fault = |error: csv::Error| Fault::new(line_of(text, error.position()), in_words(&error));
    let headers = reader.headers().map_err(fault)?.clone();
    let mut expectations = Vec::new();
    for record in reader.records() {
        let record = record.map_err(fault)?;
        let line = line_of(text, record.position());
        let row = record.deserialize(Some(&headers)).map_err(|error| Fault::new(line, in_words(&error)))?;
        expectations.push(checked(line, row)?);
    }
    Ok(expectations)
}

/// A position is the end of the record before: comments and empty lines follow it.
fn line_of(text: &str, position: Option<&csv::Position>) -> usize {
    let at = position.map_or(0, |position| position.byte() as usize);
    let before = text.get(..at).unwrap_or_default().matches('\n').count();
    let passed = |line: &&str| line.starts_with('#') || line.trim().is_empty();
    before + text.get(at..).unwrap_or_default().lines().take_while(passed).count() + 1
}

/// Without the position, which the fault has.
fn in_words(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields in place of the {expected_len} of the header")
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// A list of objects with the names of the columns.
pub fn from_json(text: &str) -> Result<Vec<Expectation>, Fault> {
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    let mut at = skip_space(text, 0);
    if !text[at..].starts_with('[') {
        return Err(Fault::new(line_of(at), "a list of objects is expected"));
    }
    let mut expectations = Vec::new();
    at = skip_space(text, at + 1);
    while !text[at..].starts_with(']') {
        let line = line_of(at);
        let mut rows = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Row>();
        let row = rows.next().ok_or_else(|| Fault::new(line, "the list does not end"))?;
        let row = row.map_err(|error| Fault::new(line + error.line() - 1, error.to_string()))?;
        expectations.push(checked(line, row)?);
        at = skip_space(text, at + rows.byte_offset());
        match text[at..].chars().next() {
            Some(',') => at = skip_space(text, at + 1),
            Some(']') => {}
            _ => return Err(Fault::new(line_of(at), "a comma or the end of the list is expected")),
        }
    }
    match skip_space(text, at + 1) {
        end if end == text.len() => Ok(expectations),
        rest => Err(Fault::new(line_of(rest), "nothing is expected after the list")),
    }
}

fn skip_space(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start().len()
}

fn checked(line: usize, row: Row) -> Result<Expectation, Fault> {
    let fault = |reason: &str| Err(Fault::new(line, reason));
    let key = match (row.study, row.file) {
        (Some(study), None) if !study.is_empty() => Key::Study(study),
        (None, Some(file)) if !file.is_empty() => Key::File(file),
        _ => return fault("either study or file names what it is about"),
    };
    let Some(presence) = row.presence else { return fault("presence is present or absent") };
    if !(3..=120).contains(&row.finding.chars().count()) {
        return fault("finding has 3 to 120 characters");
    }
    let region = match (row.left, row.top, row.right, row.bottom) {
        (None, None, None, None) => None,
        (Some(left), Some(top), Some(right), Some(bottom)) => Some(Region { left, top, right, bottom }),
        _ => return fault("a box has left, top, right and bottom"),
    };
    let is_sound = |region: &Region| {
        region.has_area()
            && region.left >= 0.0
            && region.top >= 0.0
            && region.right.is_finite()
            && region.bottom.is_finite()
    };
    if region.is_some_and(|region| !is_sound(&region)) {
        return fault("a box has an area, in pixels from the upper left corner of the image");
    }
    if presence == Presence::Absent && (row.side.is_some() || region.is_some()) {
        return fault("what is absent has no side and no box");
    }
    if region.is_none() && row.image.is_some() {
        return fault("an image is named for a box, and there is none");
    }
    let place = region.map(|region| Place { sop_instance: row.image, region });
    Ok(Expectation { line, key, name: Name::of(&row.finding), presence, side: row.side, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "study,file,finding,presence,side,image,left,top,right,bottom\n";

    #[track_caller]
    fn refused(record: &str, reason: &str) {
        let text = format!("{HEAD}1.2,,cardiomegaly,absent,,,,,,\n{record}\n");
        let fault = from_csv(&text).unwrap_err();
        assert_eq!(fault.line, 3, "{fault}");
        assert!(fault.reason.contains(reason), "{fault}");
    }

    #[test]
    fn a_table_says_what_is_there_and_where() {
        let text =
            format!("{HEAD}# told by two readers\n,a/1.dcm,Pleural effusion,present,left,,1,2,30.5,40\n");
        let [one] = &from_csv(&text).unwrap()[..] else { panic!("one row") };
        assert_eq!((&one.key, one.line), (&Key::File("a/1.dcm".into()), 3));
        assert_eq!((one.name.value.as_str(), one.side), ("60046008", Some(Laterality::Left)));
        assert_eq!(one.place.as_ref().map(|place| place.region.right), Some(30.5));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line() {
        refused("1.2,x,nodule,present,,,,,,", "either study or file");
        refused(",,nodule,present,,,,,,", "either study or file");
        refused("1.2,,nodule,maybe,,,,,,", "maybe");
        refused("1.2,,nodule,,,,,,,", "present or absent");
        refused("1.2,,nodule,present,sinister,,,,,", "sinister");
        refused("1.2,,nodule,present,,,1,2,3,", "left, top, right and bottom");
        refused("1.2,,nodule,present,,,9,2,3,4", "an area");
        refused("1.2,,nodule,absent,left,,,,,", "absent");
        refused("1.2,,nodule,present,,a.dcm,,,,", "there is none");
        refused("1.2,,nodule,present", "4 fields");
        let other = from_csv("study,finding,presence,size\n1.2,nodule,present,3\n").unwrap_err();
        assert!(other.reason.contains("size"), "{other}");
    }

    #[test]
    fn a_list_of_objects_says_the_same() {
        let text = "[\n {\"study\": \"1.2\", \"finding\": \"nodule\", \"presence\": \"present\"},\n\n {\"study\": \"1.3\", \"finding\": \"nodule\", \"presence\": \"absent\"}\n]\n";
        let read = from_json(text).unwrap();
        assert_eq!(read.iter().map(|one| one.line).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(from_json("[]").unwrap(), []);
    }

    #[test]
    fn a_broken_list_is_told_by_its_line() {
        let line = |text: &str| from_json(text).unwrap_err().line;
        assert_eq!(line("\n{}"), 2);
        assert_eq!(line("[\n{\"study\": 3}]"), 2);
        assert_eq!(line("[\n{\"study\":\"1\",\n\"finding\":\"nodule\",\"present\":1}]"), 3);
        let one = "{\"study\":\"1\",\"finding\":\"nodule\",\"presence\":\"absent\"}";
        assert_eq!(line(&format!("[{one}\n{one}]")), 2);
        assert_eq!(line(&format!("[{one},\n\n")), 3);
        assert_eq!(line(&format!("[{one}]\nx")), 2);
    }
}
