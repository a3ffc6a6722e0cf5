//! The attributes that the index knows, by level.

use super::table;
use crate::dicom::attributes::{ATTRIBUTES, Attribute, Held, Level, Returned};

pub(super) fn all() -> String {
    let rows = ATTRIBUTES.iter().map(row);
    table(["level", "attribute", "tag", "VR", "matching", "returned"], rows)
}

fn row(attribute: &Attribute) -> [String; 6] {
    [
        level(attribute.level).to_owned(),
        attribute.keyword.to_owned(),
        attribute.tag.to_string(),
        attribute.vr.to_string().to_owned(),
        matching(attribute).to_owned(),
        returned(attribute.returned).to_owned(),
    ]
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Patient => "PATIENT",
        Level::Study => "STUDY",
        Level::Series => "SERIES",
        Level::Instance => "IMAGE",
    }
}

/// PS3.4 C.2.2.2; universal matching holds for all.
fn matching(attribute: &Attribute) -> &'static str {
    match (attribute.vr.to_string(), attribute.held) {
        ("UI", _) => "single value, list of UIDs",
        ("DA" | "TM", _) => "single value, range",
        ("PN", _) => "single value, wildcard, fuzzy",
        (_, Held::Number(_)) => "single value",
        (_, Held::List(_)) => "any of its values, wildcard",
        (_, Held::Element(_)) => "sequence",
        _ => "single value, wildcard",
    }
}

fn returned(returned: Returned) -> &'static str {
    match returned {
        Returned::Always => "always",
        Returned::IfPresent => "where it has a value",
        Returned::OnRequest => "on request",
    }
}
