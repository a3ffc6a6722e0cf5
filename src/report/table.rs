//! Findings as rows of a table (RFC 4180), one for each measurement.
//!
//! Spreadsheets run what begins like a formula: text that does gets an apostrophe in front.

use csv::{Terminator, WriterBuilder};
use serde_json::Value;

/// A finding of a report.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    pub study: &'a str,
    pub report: &'a str,
    pub status: &'a str,
    pub version: i64,
    pub finding: &'a str,
    pub words: &'a str,
    /// `scheme|value|meaning`.
    pub code: Option<&'a str>,
    pub location: &'a str,
    pub laterality: &'a str,
    pub certainty: &'a str,
    pub severity: Option<&'a str>,
    pub sop_instance: Option<&'a str>,
    pub frame: Option<i64>,
    /// JSON `{left,top,right,bottom}`.
    pub region: Option<&'a str>,
    /// Who says so: a model, or a person who looked at it.
    pub source: &'a str,
    pub estimate: Option<Estimate<'a>>,
}

#[derive(Debug, Clone)]
pub struct Estimate<'a> {
    pub quantity: &'a str,
    pub value: f64,
    /// UCUM.
    pub unit: &'a str,
    pub method: &'a str,
    /// What a length or area taken on a region rests on.
    pub spacing: Option<&'a str>,
}

const COLUMNS: [&str; 25] = [
    "study_uid",
    "report",
    "status",
    "version",
    "finding",
    "words",
    "scheme",
    "code",
    "meaning",
    "location",
    "laterality",
    "certainty",
    "severity",
    "sop_instance_uid",
    "frame",
    "x0",
    "y0",
    "x1",
    "y1",
    "quantity",
    "value",
    "unit",
    "method",
    "source",
    "spacing",
];

pub fn head() -> Result<Vec<u8>, csv::Error> {
    written([COLUMNS.map(str::to_owned).to_vec()].into_iter())
}

pub fn rows<'a>(rows: impl Iterator<Item = Row<'a>>) -> Result<Vec<u8>, csv::Error> {
    written(rows.map(|row| cells(&row)))
}

fn written(rows: impl Iterator<Item = Vec<String>>) -> Result<Vec<u8>, csv::Error> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))
}

fn cells(row: &Row<'_>) -> Vec<String> {
    let mut code = row.code.unwrap_or_default().splitn(3, '|').map(safe);
    let mut part = || code.next().unwrap_or_default();
    let (scheme, value, meaning) = (part(), part(), part());
    let number = |number: Option<String>| number.unwrap_or_default();
    let region: Value = row.region.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let edge = |name: &str| number(region[name].as_f64().map(|edge| edge.to_string()));
    let estimate = row.estimate.as_ref();
    let of_estimate = |text: fn(&Estimate<'_>) -> String| number(estimate.map(text));
    vec![
        safe(row.study),
        safe(row.report),
        safe(row.status),
        row.version.to_string(),
        safe(row.finding),
        safe(row.words),
        scheme,
        value,
        meaning,
        safe(row.location),
        safe(row.laterality),
        safe(row.certainty),
        safe(row.severity.unwrap_or_default()),
        safe(row.sop_instance.unwrap_or_default()),
        number(row.frame.map(|frame| frame.to_string())),
        edge("left"),
        edge("top"),
        edge("right"),
        edge("bottom"),
        of_estimate(|estimate| safe(estimate.quantity)),
        of_estimate(|estimate| estimate.value.to_string()),
        of_estimate(|estimate| safe(estimate.unit)),
        of_estimate(|estimate| safe(estimate.method)),
        safe(row.source),
        of_estimate(|estimate| safe(estimate.spacing.unwrap_or_default())),
    ]
}

/// No text is a formula.
fn safe(text: &str) -> String {
    let begins_formula =
        |c: char| matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠');
    match text.trim_start_matches(' ').starts_with(begins_formula) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row<'static> {
        Row {
            study: "1.2",
            report: "r",
            status: "draft",
            version: 1,
            finding: "f",
            words: "nodule, \"solid\"",
            code: Some("SCT|27925004|Nodule"),
            location: "=HYPERLINK(\"x\")",
            laterality: "left",
            certainty: "probable",
            severity: None,
            sop_instance: Some("1.3"),
            frame: Some(1),
            region: Some("{\"left\":1,\"top\":2,\"right\":3,\"bottom\":4.5}"),
            source: "model",
            estimate: Some(Estimate {
                quantity: "attenuation",
                value: -30.0,
                unit: "[hnsf'U]",
                method: "m",
                spacing: Some("imager-pixel-spacing"),
            }),
        }
    }

    #[test]
    fn rows_read_back_with_what_they_say() {
        let bytes = [head().unwrap(), rows([row()].into_iter()).unwrap()].concat();
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let read: Vec<std::collections::HashMap<String, String>> =
            reader.deserialize().collect::<Result<_, _>>().unwrap();
        assert_eq!(read[0]["words"], "nodule, \"solid\"");
        assert_eq!((read[0]["code"].as_str(), read[0]["value"].as_str()), ("27925004", "-30"));
        assert_eq!((read[0]["x0"].as_str(), read[0]["y1"].as_str()), ("1", "4.5"));
        assert_eq!((read[0]["method"].as_str(), read[0]["spacing"].as_str()), ("m", "imager-pixel-spacing"));
        assert!(bytes.windows(2).any(|pair| pair == b"\r\n"));
    }

    #[test]
    fn text_that_begins_like_a_formula_is_none() {
        for text in ["=1+1", "+1", "-1", "@x", "\tx", " =x", "＝x"] {
            assert!(safe(text).starts_with('\''), "{text:?}");
        }
        assert_eq!(safe("left lower lobe"), "left lower lobe");
        let text = String::from_utf8(rows([row()].into_iter()).unwrap()).unwrap();
        assert!(text.contains("\"'=HYPERLINK(\"\"x\"\")\""));
    }
}
