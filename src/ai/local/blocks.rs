//! Where the images lie in a prompt, and how the prompt is cut for prefilling.

use std::ops::Range;

/// For each prompt position, the number of the image block it belongs to.
///
/// A block is one contiguous run of `<image_soft_token>`; the tokens that open and close an image
/// are text. Positions past the prompt are text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageBlocks(Vec<Option<usize>>);

impl ImageBlocks {
    pub(super) fn find(ids: &[u32], image_token: u32) -> Self {
        let mut blocks: Vec<Option<usize>> = Vec::with_capacity(ids.len());
        let mut next = 0;
        for &id in ids {
            let open = blocks.last().copied().flatten();
            let block = (id == image_token).then(|| open.unwrap_or(next));
            next = block.map_or(next, |block| block + 1);
            blocks.push(block);
        }
        Self(blocks)
    }

    pub(super) fn same(&self, one: usize, other: usize) -> bool {
        let of = |position: usize| self.0.get(position).copied().flatten();
        of(one).is_some_and(|block| of(other) == Some(block))
    }

    /// Image positions before `position`: the row of the image features that belongs there.
    pub(super) fn features_before(&self, position: usize) -> usize {
        self.0[..position].iter().flatten().count()
    }

    /// Image blocks that begin before `position`.
    pub(super) fn images_before(&self, position: usize) -> usize {
        self.0.iter().take(position).flatten().max().map_or(0, |last| last + 1)
    }

    /// From the beginning of the first image to the end of the last.
    pub(super) fn images(&self) -> Option<Range<usize>> {
        let first = self.0.iter().position(Option::is_some)?;
        let last = self.0.iter().rposition(Option::is_some)?;
        Some(first..last + 1)
    }

    /// The maximal stretches of text and of image inside `range`, in order.
    pub(super) fn runs(&self, range: Range<usize>) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for position in range {
            let image = self.0.get(position).copied().flatten().is_some();
            match runs.last_mut() {
                Some(run) if run.image == image => run.positions.end += 1,
                _ => runs.push(Run { image, positions: position..position + 1 }),
            }
        }
        runs
    }

    /// `range` in chunks of at most `tokens_max` tokens. An image block is never cut, because its first
    /// tokens attend to its last: a block longer than `tokens_max` is a chunk of its own size.
    pub(super) fn chunks(&self, range: Range<usize>, tokens_max: usize) -> Vec<Range<usize>> {
        let mut chunks: Vec<Range<usize>> = Vec::new();
        for unit in self.units(range) {
            match chunks.last_mut() {
                Some(chunk) if chunk.len() + unit.len() <= tokens_max => chunk.end = unit.end,
                _ => chunks.push(unit),
            }
        }
        chunks
    }

    /// What must stay together: an image block, or a single token of text.
    fn units(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut units: Vec<Range<usize>> = Vec::new();
        for position in range {
            match units.last_mut() {
                Some(unit) if self.same(unit.start, position) => unit.end += 1,
                _ => units.push(position..position + 1),
            }
        }
        units
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) image: bool,
    pub(super) positions: Range<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks(pattern: &str) -> ImageBlocks {
        ImageBlocks::find(&pattern.bytes().map(u32::from).collect::<Vec<_>>(), u32::from(b'i'))
    }

    #[test]
    fn each_run_of_image_tokens_is_a_block() {
        let blocks = blocks("tiiitii");
        assert!(blocks.same(1, 3) && blocks.same(5, 6));
        assert!(!blocks.same(3, 5) && !blocks.same(0, 4) && !blocks.same(0, 0));
        assert!(!blocks.same(90, 90));
        assert_eq!(blocks.features_before(6), 4);
        assert_eq!(
            [0, 1, 2, 4, 5, 6, 7].map(|position| blocks.images_before(position)),
            [0, 0, 1, 1, 1, 2, 2]
        );
    }

    #[test]
    fn a_chunk_ends_before_the_image_that_does_not_fit() {
        assert_eq!(blocks("ttiiitt").chunks(0..7, 4), [0..2, 2..6, 6..7]);
        assert_eq!(blocks("tiiiiit").chunks(0..7, 3), [0..1, 1..6, 6..7]);
        assert_eq!(blocks("ttiiitt").chunks(1..7, 4), [1..5, 5..7]);
    }

    proptest! {
        #[test]
        fn chunks_cover_the_prompt_and_cut_no_block(pattern in "[ti]{1,40}", tokens_max in 1_usize..12) {
            let blocks = blocks(&pattern);
            let chunks = blocks.chunks(0..pattern.len(), tokens_max);
            prop_assert_eq!(chunks.iter().flat_map(|chunk| chunk.clone()).collect::<Vec<_>>(), (0..pattern.len()).collect::<Vec<_>>());
            for pair in chunks.windows(2) {
                prop_assert!(!blocks.same(pair[0].end - 1, pair[1].start));
            }
        }
    }
}
