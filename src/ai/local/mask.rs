//! Which keys a query may see.
//!
//! A query sees itself and what lies before it, in a sliding layer at most the last `window`
//! positions. Inside one image block queries also see what lies after them. Either way the keys
//! of a query are one contiguous range, so a mask is two numbers per query and never a matrix.

use std::ops::Range;

use super::blocks::ImageBlocks;
use super::config::{Span, TextConfig};

/// For each query of a chunk, the positions of the keys it sees in one kind of layer.
pub(super) struct Sight(Vec<Range<usize>>);

impl Sight {
    /// `queries` are absolute positions. An image block ends with the chunk that holds it, because
    /// chunks never cut one.
    pub(super) fn new(span: Span, text: &TextConfig, queries: &Range<usize>, images: &ImageBlocks) -> Self {
        let window = match span {
            Span::Sliding => text.window,
            Span::Global => usize::MAX,
        };
        let mut seen: Vec<Range<usize>> = Vec::with_capacity(queries.len());
        let mut end = queries.end;
        for query in queries.clone().rev() {
            if !images.same(query, end.saturating_sub(1)) {
                end = query + 1;
            }
            seen.push(first_key(query, window)..end);
        }
        seen.reverse();
        Self(seen)
    }

    /// What the query in `row` of the chunk sees.
    pub(super) fn of(&self, row: usize) -> Range<usize> {
        self.0[row].clone()
    }

    /// The queries in the chunk.
    pub(super) fn rows(&self) -> usize {
        self.0.len()
    }

    /// All that any of these rows sees.
    pub(super) fn union(&self, rows: Range<usize>) -> Range<usize> {
        let seen = &self.0[rows];
        let start = seen.iter().map(|keys| keys.start).min().unwrap_or(0);
        start..seen.iter().map(|keys| keys.end).max().unwrap_or(0)
    }
}

/// The oldest key that a query at `position` may need.
pub(super) fn first_key(position: usize, window: usize) -> usize {
    (position + 1).saturating_sub(window)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture;
    use super::*;

    fn sight(window: usize, pattern: &str) -> Sight {
        let ids: Vec<u32> = pattern.bytes().map(u32::from).collect();
        let images = ImageBlocks::find(&ids, u32::from(b'i'));
        let text = TextConfig { window, ..fixture::config().text };
        Sight::new(Span::Sliding, &text, &(0..pattern.len()), &images)
    }

    fn seen(window: usize, pattern: &str, query: usize) -> String {
        let keys = sight(window, pattern).of(query);
        (0..pattern.len()).map(|key| if keys.contains(&key) { 'x' } else { '.' }).collect()
    }

    #[test]
    fn text_looks_back_and_an_image_looks_at_all_of_itself() {
        assert_eq!(seen(99, "ttiiitii", 0), "x.......");
        assert_eq!(seen(99, "ttiiitii", 2), "xxxxx...");
        assert_eq!(seen(99, "ttiiitii", 6), "xxxxxxxx");
    }

    #[test]
    fn a_window_of_three_is_three_keys_and_does_not_limit_the_way_forward() {
        assert_eq!(seen(3, "tttttt", 4), "..xxx.");
        assert_eq!(seen(3, "tiiiii", 1), "xxxxxx");
        assert_eq!(seen(3, "tiiiii", 5), "...xxx");
    }

    proptest! {
        /// The rule as the reference writes it, key by key.
        #[test]
        fn ranges_are_the_rule_of_every_pair(pattern in "[ti]{1,24}", window in 1_usize..9) {
            let ids: Vec<u32> = pattern.bytes().map(u32::from).collect();
            let images = ImageBlocks::find(&ids, u32::from(b'i'));
            let sight = sight(window, &pattern);
            for query in 0..ids.len() {
                for key in 0..ids.len() {
                    let rule = key + window > query && (key <= query || images.same(query, key));
                    prop_assert_eq!(sight.of(query).contains(&key), rule, "query {} key {}", query, key);
                }
            }
        }
    }
}
