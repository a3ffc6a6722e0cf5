//! Rows of the trail as text: a line of JSON or of CSV each.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::db::audit::Record;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    JsonLines,
    Csv,
}

/// A row as it leaves; the columns of CSV have the same names.
#[derive(Serialize)]
struct Line<'a> {
    sequence: i64,
    at: String,
    began_at: Option<String>,
    actor_kind: &'a str,
    actor_id: Option<&'a str>,
    actor_name: &'a str,
    actor_roles: &'a str,
    actor_means: &'a str,
    address: Option<&'a str>,
    ae_title: Option<&'a str>,
    action: &'a str,
    study_uid: Option<&'a str>,
    object_kind: Option<&'a str>,
    object_id: Option<&'a str>,
    outcome: &'a str,
    request_id: Option<&'a str>,
    detail: Option<&'a str>,
    sha256: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("a row cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("a row cannot be written as CSV")]
    Csv(#[from] csv::Error),
    #[error("a row cannot be written")]
    Buffer,
}

impl Form {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// Some rows; the names of the columns stand in front of the first.
    pub fn write(self, records: &[Record], is_first: bool) -> Result<Vec<u8>, ExportError> {
        match self {
            Self::JsonLines => {
                let mut text = Vec::new();
                for record in records {
                    serde_json::to_writer(&mut text, &line(record))?;
                    text.push(b'\n');
                }
                Ok(text)
            }
            Self::Csv => {
                let mut writer = csv::WriterBuilder::new().has_headers(is_first).from_writer(Vec::new());
                for record in records {
                    writer.serialize(line(&harmless(record)))?;
                }
                writer.into_inner().map_err(|_| ExportError::Buffer)
            }
        }
    }
}

fn line(record: &Record) -> Line<'_> {
    Line {
        sequence: record.sequence,
        at: record.at.rfc3339(),
        began_at: record.began_at.map(Timestamp::rfc3339),
        actor_kind: &record.actor_kind,
        actor_id: record.actor_id.as_deref(),
        actor_name: &record.actor_name,
        actor_roles: &record.actor_roles,
        actor_means: &record.actor_means,
        address: record.address.as_deref(),
        ae_title: record.ae_title.as_deref(),
        action: &record.action,
        study_uid: record.study_uid.as_deref(),
        object_kind: record.object_kind.as_deref(),
        object_id: record.object_id.as_deref(),
        outcome: &record.outcome,
        request_id: record.request_id.as_deref(),
        detail: record.detail.as_deref(),
        sha256: &record.hash,
    }
}

/// Names and details that others chose are no formulas for a spreadsheet.
fn harmless(record: &Record) -> Record {
    let text = |text: &String| match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.clone(),
    };
    Record {
        actor_name: text(&record.actor_name),
        actor_id: record.actor_id.as_ref().map(text),
        ae_title: record.ae_title.as_ref().map(text),
        object_id: record.object_id.as_ref().map(text),
        detail: record.detail.as_ref().map(text),
        ..record.clone()
    }
}

#[cfg(test)]
pub(crate) fn record(sequence: i64) -> Record {
    Record {
        sequence,
        at: Timestamp(1_000_000),
        began_at: None,
        actor_kind: "node".into(),
        actor_id: None,
        actor_name: "CT1".into(),
        actor_roles: String::new(),
        actor_means: "none".into(),
        address: Some("10.0.0.1".into()),
        ae_title: Some("CT1".into()),
        action: "store-instance".into(),
        study_uid: Some("1.2.3".into()),
        object_kind: Some("instance".into()),
        object_id: Some("1.2.3.4".into()),
        outcome: "success".into(),
        request_id: Some("r1".into()),
        detail: None,
        hash: "00".repeat(32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_once() {
        let first = Form::Csv.write(&[record(1)], true).unwrap();
        let second = Form::Csv.write(&[record(2)], false).unwrap();
        let text = String::from_utf8([first, second].concat()).unwrap();
        assert!(text.starts_with("sequence,at,began_at,actor_kind,"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_name_is_no_formula() {
        let named = Record { actor_name: "=1+1".into(), ..record(1) };
        let csv = String::from_utf8(Form::Csv.write(std::slice::from_ref(&named), true).unwrap()).unwrap();
        assert!(csv.contains("'=1+1"), "{csv}");
        let json = String::from_utf8(Form::JsonLines.write(&[named], true).unwrap()).unwrap();
        assert!(json.contains("\"=1+1\""), "{json}");
    }
}
