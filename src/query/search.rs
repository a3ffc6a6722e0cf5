//! What a search finds.

use std::collections::BTreeMap;

use dicom_core::Tag;

use crate::dicom::attributes::Attribute;
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};

/// One page of answers.
#[derive(Debug)]
pub struct Page {
    pub found: Vec<Found>,
    /// Matches behind this page.
    pub remaining: u64,
}

/// One match: a study, a series or an instance.
#[derive(Debug)]
pub struct Found {
    pub study: StudyUid,
    pub series: Option<SeriesUid>,
    pub instance: Option<SopInstanceUid>,
    /// The indexed attributes of the level and, where the request did not name the level above,
    /// of the levels above.
    pub values: BTreeMap<Tag, (&'static Attribute, Cell)>,
    /// Stored DICOM JSON of the levels, zstd, when the request includes attributes that have no
    /// column.
    pub json: Vec<Vec<u8>>,
}

/// A value of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Empty,
    Text(String),
    Number(i64),
    /// Several values.
    List(Vec<String>),
}

impl Cell {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Number(_) => false,
        }
    }
}
