//! Searches: what the index can tell it tells, the rest is compared with stored attributes.

use std::collections::HashSet;
use std::sync::Arc;

use dicom_core::Tag;
use serde_json::{Map, Value};

use super::matching;
use super::request::{Key, SearchRequest, Zone};
use crate::db::search::{Candidate, Places, Plan};
use crate::db::{Db, DbError};
use crate::dicom::attributes::Attribute;
use crate::dicom::packed;
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};
use crate::telemetry::limits;

/// One page of answers.
#[derive(Debug)]
pub struct Page {
    pub found: Vec<Found>,
    /// Matches behind this page.
    pub remaining: u64,
}

/// One match: a patient, a study, a series or an instance.
#[derive(Debug)]
pub struct Found {
    pub study: Option<StudyUid>,
    pub series: Option<SeriesUid>,
    pub instance: Option<SopInstanceUid>,
    /// The indexed attributes of the level and, where the request did not name the level above,
    /// of the levels above.
    pub values: Vec<(&'static Attribute, Cell)>,
    /// Stored DICOM JSON of the levels, zstd, when the request includes attributes that have no
    /// column.
    pub json: Vec<Vec<u8>>,
}

impl Found {
    pub fn value(&self, tag: Tag) -> Option<&Cell> {
        self.values.iter().find(|(attribute, _)| attribute.tag == tag).map(|(_, cell)| cell)
    }
}

/// A value of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Empty,
    Text(String),
    Number(i64),
    /// Several values.
    List(Vec<String>),
    /// A DICOM JSON element, '' for none.
    Element(String),
}

impl Cell {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(text) | Self::Element(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Number(_) => false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("the index failed")]
    Index(#[from] DbError),
    /// PS3.18 10.6.3.1.
    #[error(
        "more than {scan_max} candidates would have to be looked at one by one: \
         add a key that the index holds, such as an identifier, a name or a date"
    )]
    TooBroad { scan_max: usize },
    #[error("stored attributes cannot be read")]
    Stored(#[source] std::io::Error),
    #[error("matching stopped unexpectedly")]
    Stopped,
}

/// One page. Keys that no column holds are compared with the stored attributes of what the other
/// keys leave, `scan_max` entities at most.
pub async fn search(
    db: &Db,
    places: &Places,
    request: &SearchRequest,
    scan_max: usize,
) -> Result<Page, SearchError> {
    let plan = Plan::of(request);
    match plan.residual().is_empty() {
        true => indexed(db, places, request, &plan).await,
        false => scanned(db, request, &plan, scan_max).await,
    }
}

async fn indexed(
    db: &Db,
    places: &Places,
    request: &SearchRequest,
    plan: &Plan<'_>,
) -> Result<Page, SearchError> {
    let rows = plan.page(db, places).await?;
    let remaining = match rows.more {
        true => (plan.count(db, places, &rows).await?)
            .saturating_sub(u64::from(request.offset))
            .saturating_sub(u64::from(request.limit)),
        false => 0,
    };
    Ok(Page { found: rows.found, remaining })
}

async fn scanned(
    db: &Db,
    request: &SearchRequest,
    plan: &Plan<'_>,
    scan_max: usize,
) -> Result<Page, SearchError> {
    let matched = compared(db, request, plan, scan_max).await?;
    let behind = matched.iter().copied().skip(request.offset as usize);
    let page: Vec<i64> = behind.clone().take(request.limit as usize).collect();
    let remaining = behind.count() - page.len();
    Ok(Page { found: plan.named(db, &page).await?, remaining: remaining as u64 })
}

/// Of the rows that SQL leaves, `scan_max` at most, those whose attributes match the other keys.
async fn compared(
    db: &Db,
    request: &SearchRequest,
    plan: &Plan<'_>,
    scan_max: usize,
) -> Result<Vec<i64>, SearchError> {
    /// Held in memory with their attributes at once.
    const CHUNK: usize = 256;
    let rows = plan.candidates(db, scan_max.saturating_add(1)).await?;
    if rows.len() > scan_max {
        limits::hit("http.search_scan_max");
        return Err(SearchError::TooBroad { scan_max });
    }
    let keys: Arc<[Key]> = plan.residual().into();
    let mut matched = Vec::new();
    for rows in rows.chunks(CHUNK) {
        let candidates = plan.documents(db, rows).await?;
        let (keys, zone) = (Arc::clone(&keys), request.zone);
        let filtered = tokio::task::spawn_blocking(move || filter(&candidates, &keys, zone)).await;
        let kept = filtered.map_err(|_| SearchError::Stopped)?.map_err(SearchError::Stored)?;
        matched.extend(rows.iter().copied().filter(|row| kept.contains(row)));
    }
    Ok(matched)
}

/// Every match by its row in the index, in the order of the pages, for those who take them some at a
/// time: what is stored or deleted meanwhile moves none from one page to another. The limit and the
/// offset of the request do not count.
pub async fn rows(
    db: &Db,
    request: &SearchRequest,
    scan_max: usize,
    rows_max: usize,
) -> Result<Vec<i64>, SearchError> {
    let plan = Plan::of(request);
    let mut rows = match plan.residual().is_empty() {
        true => plan.candidates(db, rows_max).await?,
        false => compared(db, request, &plan, scan_max).await?,
    };
    rows.truncate(rows_max);
    Ok(rows)
}

/// The answers for some of these rows, in their order, without what has been deleted since.
pub async fn named(db: &Db, request: &SearchRequest, rows: &[i64]) -> Result<Vec<Found>, SearchError> {
    Ok(Plan::of(request).named(db, rows).await?)
}

/// The rows whose attributes match.
fn filter(candidates: &[Candidate], keys: &[Key], zone: Zone) -> std::io::Result<HashSet<i64>> {
    let mut kept = HashSet::new();
    for candidate in candidates {
        if matching::matches(&attributes(&candidate.documents)?, keys, zone) {
            kept.insert(candidate.row);
        }
    }
    Ok(kept)
}

/// Stored attributes of several levels as one data set.
pub fn attributes(documents: &[Vec<u8>]) -> std::io::Result<Map<String, Value>> {
    let mut whole = Map::new();
    for document in documents {
        let json = packed::unpack(document)?;
        whole.extend(serde_json::from_slice::<Map<String, Value>>(&json)?);
    }
    Ok(whole)
}
