//! Matches as columns.

use std::io::{self, Write};

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use super::keys::name;
use crate::dicom::attributes::tag_of_digits;
use crate::dicom::data_set::text_of;
use crate::dicom::header::hex;

/// Rows that are held to find how wide the columns are; later ones have to do with that.
const ROWS_HELD: usize = 100;
const WIDTH_MAX: usize = 64;

pub(super) struct Table {
    columns: Vec<Tag>,
    widths: Option<Vec<usize>>,
    held: Vec<Vec<String>>,
}

impl Table {
    /// A column for each key, in the order of tags.
    pub(super) fn new(keys: &Map<String, Value>) -> Self {
        let mut columns: Vec<Tag> = keys.keys().filter_map(|key| tag_of_digits(key)).collect();
        columns.retain(|tag| *tag != tags::QUERY_RETRIEVE_LEVEL);
        columns.sort();
        Self { columns, widths: None, held: Vec::new() }
    }

    pub(super) fn add(&mut self, found: &Map<String, Value>, out: &mut impl Write) -> io::Result<()> {
        self.held.push(self.columns.iter().map(|tag| shown(found.get(&hex(*tag)))).collect());
        if self.widths.is_some() || self.held.len() == ROWS_HELD {
            self.flush(out)?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        let rows = std::mem::take(&mut self.held);
        let widths = match self.widths.take() {
            Some(widths) => widths,
            None if rows.is_empty() => return Ok(()),
            None => {
                let header: Vec<String> = self.columns.iter().map(|tag| name(*tag)).collect();
                let widths = widths(&header, &rows);
                line(&header, &widths, out)?;
                widths
            }
        };
        for row in &rows {
            line(row, &widths, out)?;
        }
        self.widths = Some(widths);
        Ok(())
    }
}

fn widths(header: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&header[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).min(WIDTH_MAX)
    };
    (0..header.len()).map(width).collect()
}

fn line(cells: &[String], widths: &[usize], out: &mut impl Write) -> io::Result<()> {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    writeln!(out, "{}", padded.join("  ").trim_end())
}

/// In one line: what a peer sends moves no cursor.
fn shown(element: Option<&Value>) -> String {
    let Some(element) = element else { return String::new() };
    let text = match element["vr"].as_str() {
        Some("SQ") => element["Value"].as_array().map_or(String::new(), |items| items_text(items)),
        _ => text_of(element),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn items_text(items: &[Value]) -> String {
    let texts = items.iter().filter_map(Value::as_object).map(|item| {
        let texts: Vec<String> = item.values().map(|element| shown(Some(element))).collect();
        texts.join(" ")
    });
    texts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let keys = json!({"00080052": {"vr": "CS"}, "00100010": {"vr": "PN"}, "00100020": {"vr": "LO"}});
        let mut table = Table::new(keys.as_object().unwrap());
        let mut out = Vec::new();
        for (patient, id) in [("Doe^John", "1"), ("王\u{1b}[2J", "22")] {
            let found = json!({"00100010": {"vr": "PN", "Value": [{"Alphabetic": patient}]},
                "00100020": {"vr": "LO", "Value": [id]}});
            table.add(found.as_object().unwrap(), &mut out).unwrap();
        }
        table.flush(&mut out).unwrap();
        let expected = "PatientName  PatientID\nDoe^John     1\n王 [2J        22\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
