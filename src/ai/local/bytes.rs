//! The bytes of a model file, mapped and never copied.

use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, UncheckedAdvice};

/// A stretch of a file that others may share. It lives as long as any of them.
#[derive(Clone)]
pub(super) struct Bytes {
    whole: Arc<Whole>,
    range: Range<usize>,
}

enum Whole {
    Mapped(Mmap),
    Program(&'static [u8]),
}

impl Bytes {
    #[expect(unsafe_code, reason = "reading a file of gigabytes would hold it in memory twice")]
    pub(super) fn map(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::File::open(path)?;
        // SAFETY: a model file that somebody rewrites while it is in use is outside what this
        // program can defend against; every value in it is a number, none is trusted as an address.
        let mapping = unsafe { Mmap::map(&file)? };
        let range = 0..mapping.len();
        Ok(Self { whole: Arc::new(Whole::Mapped(mapping)), range })
    }

    pub(super) fn of_program(bytes: &'static [u8]) -> Self {
        Self { whole: Arc::new(Whole::Program(bytes)), range: 0..bytes.len() }
    }

    /// Whether the bytes are a file's, which begin at a page, and not the program's, which may lie anywhere.
    pub(super) fn is_mapped(&self) -> bool {
        matches!(self.whole.as_ref(), Whole::Mapped(_))
    }

    /// `None` where the range leaves this stretch.
    pub(super) fn part(&self, range: Range<usize>) -> Option<Self> {
        self.get(range.clone())?;
        let start = self.range.start;
        Some(Self { whole: Arc::clone(&self.whole), range: start + range.start..start + range.end })
    }

    /// The range of `part`, which is a slice of this stretch.
    pub(super) fn range_of(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = (part.as_ptr() as usize).checked_sub(self.as_ptr() as usize)?;
        (start + part.len() <= self.len()).then(|| start..start + part.len())
    }

    /// Gives the memory of these pages back; whoever reads them again reads the file again.
    #[expect(unsafe_code, reason = "the packed copy of a matrix would otherwise stay beside the original")]
    pub(super) fn release(&self) {
        let Whole::Mapped(mapping) = self.whole.as_ref() else { return };
        let (start, length) = (self.range.start, self.range.len());
        // SAFETY: the mapping is of a file and never written to, so its pages come back as they were.
        let released = unsafe { mapping.unchecked_advise_range(UncheckedAdvice::DontNeed, start, length) };
        if let Err(error) = released {
            tracing::debug!(%error, "the pages of a model file stay in memory");
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let whole: &[u8] = match self.whole.as_ref() {
            Whole::Mapped(mapping) => mapping,
            Whole::Program(bytes) => bytes,
        };
        &whole[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_pages_come_back_as_they_were() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        std::fs::write(file.path(), &content).unwrap();
        let bytes = Bytes::map(file.path()).unwrap();
        let part = bytes.part(5000..60_000).unwrap();
        part.release();
        assert_eq!(&part[..], &content[5000..60_000]);
        assert_eq!(bytes.range_of(&part), Some(5000..60_000));
    }

    #[test]
    fn a_part_outside_is_none() {
        let bytes = Bytes::of_program(b"0123456789").part(2..8).unwrap();
        assert_eq!(&bytes.part(1..3).unwrap()[..], b"34");
        assert!(bytes.part(3..7).is_none());
    }
}
