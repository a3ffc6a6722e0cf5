//! The part of a data set that is in memory.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

/// Runs of bytes; between them lie large values, left in the file.
#[derive(Debug, Default)]
pub struct Sparse {
    runs: BTreeMap<u64, Bytes>,
    length: u64,
}

impl Sparse {
    /// `length` is that of the whole data set.
    pub fn new(length: u64) -> Self {
        Self { runs: BTreeMap::new(), length }
    }

    pub fn insert(&mut self, offset: u64, bytes: Bytes) {
        self.runs.insert(offset, bytes);
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// What is known from an offset on; `None` within a hole.
    pub(super) fn from(&self, offset: u64) -> Option<&[u8]> {
        let (start, run) = self.runs.range(..=offset).next_back()?;
        run.get(usize::try_from(offset - start).ok()?..).filter(|rest| !rest.is_empty())
    }

    pub(super) fn get(&self, range: &Range<u64>) -> Option<&[u8]> {
        let length = usize::try_from(range.end - range.start).ok()?;
        match length {
            0 => Some(&[]),
            _ => self.from(range.start)?.get(..length),
        }
    }
}
