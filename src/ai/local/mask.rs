//! Which keys a query may see.
//!
//! A query sees itself and what lies before it, in a sliding layer at most the last `window`
//! positions. Inside one image block queries also see what lies after them.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};

use super::blocks::ImageBlocks;
use super::config::{Span, TextConfig};

/// Rows of queries that are scored at a time.
const QUERY_ROWS: usize = 128;

/// The masks of one kind of layer for one chunk of queries.
pub(super) struct Masks(Vec<QueryBlock>);

pub(super) struct QueryBlock {
    /// Rows of the chunk.
    pub(super) rows: Range<usize>,
    /// 0 or minus infinity, `[rows, keys]`; `None` where everything is visible.
    pub(super) mask: Option<Tensor>,
}

impl Masks {
    /// `queries` are absolute positions. The keys are those a layer's cache returns with them:
    /// from the first one that the first query may see to the last query.
    pub(super) fn new(
        span: Span,
        text: &TextConfig,
        queries: &Range<usize>,
        images: &ImageBlocks,
        device: &Device,
    ) -> Result<Self> {
        let window = match span {
            Span::Sliding => text.window,
            Span::Global => usize::MAX,
        };
        let rule = Rule { window, images };
        let keys = first_key(queries.start, window)..queries.end;
        let blocks = (0..queries.len())
            .step_by(QUERY_ROWS)
            .map(|start| {
                rule.block(start..queries.len().min(start + QUERY_ROWS), queries.start, &keys, device)
            })
            .collect::<Result<_>>()?;
        Ok(Self(blocks))
    }

    pub(super) fn blocks(&self) -> &[QueryBlock] {
        &self.0
    }
}

/// The oldest key that a query at `position` may need.
pub(super) fn first_key(position: usize, window: usize) -> usize {
    (position + 1).saturating_sub(window)
}

struct Rule<'a> {
    window: usize,
    images: &'a ImageBlocks,
}

impl Rule<'_> {
    fn sees(&self, query: usize, key: usize) -> bool {
        key >= first_key(query, self.window) && (key <= query || self.images.same(query, key))
    }

    fn block(
        &self,
        rows: Range<usize>,
        first_query: usize,
        keys: &Range<usize>,
        device: &Device,
    ) -> Result<QueryBlock> {
        let queries = rows.start + first_query..rows.end + first_query;
        let seen: Vec<bool> =
            queries.flat_map(|query| keys.clone().map(move |key| self.sees(query, key))).collect();
        if seen.iter().all(|&seen| seen) {
            return Ok(QueryBlock { rows, mask: None });
        }
        let values: Vec<f32> =
            seen.into_iter().map(|seen| if seen { 0.0 } else { f32::NEG_INFINITY }).collect();
        let mask = Tensor::from_vec(values, (rows.len(), keys.len()), device)?;
        Ok(QueryBlock { rows, mask: Some(mask) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(window: usize, pattern: &str, query: usize) -> String {
        let ids: Vec<u32> = pattern.bytes().map(u32::from).collect();
        let images = ImageBlocks::find(&ids, u32::from(b'i'));
        let rule = Rule { window, images: &images };
        (0..pattern.len()).map(|key| if rule.sees(query, key) { 'x' } else { '.' }).collect()
    }

    #[test]
    fn text_looks_back_and_an_image_looks_at_all_of_itself() {
        assert_eq!(seen(usize::MAX, "ttiiitii", 0), "x.......");
        assert_eq!(seen(usize::MAX, "ttiiitii", 2), "xxxxx...");
        assert_eq!(seen(usize::MAX, "ttiiitii", 6), "xxxxxxxx");
    }

    #[test]
    fn a_window_of_three_is_three_keys_and_does_not_limit_the_way_forward() {
        assert_eq!(seen(3, "tttttt", 4), "..xxx.");
        assert_eq!(seen(3, "tiiiii", 1), "xxxxxx");
        assert_eq!(seen(3, "tiiiii", 5), "...xxx");
    }
}
