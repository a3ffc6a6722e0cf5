//! Notices that an answer has fallen into a loop.

/// A loop is the same stretch of tokens this many times in a row …
const TIMES: usize = 4;
/// … and at least this many tokens altogether, so that a row of equal digits is none.
const SPAN: usize = 40;
/// The longest stretch looked for: about one finding with its box and measurements.
const STRETCH_MAX: usize = 96;

pub(super) fn is_looping(tokens: &[u32]) -> bool {
    (1..=STRETCH_MAX).any(|stretch| ends_in_copies(tokens, stretch, TIMES.max(SPAN.div_ceil(stretch))))
}

fn ends_in_copies(tokens: &[u32], stretch: usize, times: usize) -> bool {
    let Some(start) = tokens.len().checked_sub(stretch * times) else { return false };
    let tail = &tokens[start..];
    tail.iter().zip(&tail[stretch..]).all(|(one, next)| one == next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(stretch: u32, times: usize) -> Vec<u32> {
        let copies = (0..times).flat_map(|_| 100..100 + stretch);
        (0..30).chain(copies).collect()
    }

    #[test]
    fn four_copies_of_a_long_stretch_are_a_loop_and_three_are_not() {
        assert!(is_looping(&repeated(25, 4)));
        assert!(!is_looping(&repeated(25, 3)));
    }

    #[test]
    fn a_short_stretch_must_fill_forty_tokens() {
        assert!(is_looping(&repeated(1, 40)));
        assert!(!is_looping(&repeated(1, 39)));
    }

    #[test]
    fn a_loop_that_was_left_again_is_none() {
        let mut tokens = repeated(25, 4);
        tokens.push(7);
        assert!(!is_looping(&tokens));
    }
}
