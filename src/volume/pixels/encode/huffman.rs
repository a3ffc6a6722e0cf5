//! A Huffman code for the categories of lossless JPEG, fitted to the frame (ITU-T T.81 K.2).

/// Categories 0 to 16 of a difference (H.1.2.2).
pub(super) const CATEGORIES: usize = 17;

/// Takes the code of ones alone, which no category may have (T.81 C).
const RESERVED: usize = CATEGORIES;
const LENGTH_MAX: u8 = 16;

pub(super) struct Huffman {
    /// Codes and their lengths by category; length 0 where the category does not occur.
    pub(super) codes: [(u32, u8); CATEGORIES],
    /// The categories by length, then value: the order of a DHT segment.
    order: Vec<usize>,
    lengths: [u8; CATEGORIES + 1],
}

impl Huffman {
    pub(super) fn fitted(counts: &[u64; CATEGORIES]) -> Self {
        let lengths = limited_lengths(counts);
        let mut order: Vec<usize> = (0..=RESERVED).filter(|&symbol| lengths[symbol] > 0).collect();
        order.sort_by_key(|&symbol| (lengths[symbol], symbol));
        let (mut code, mut length) = (0_u32, 0_u8);
        let mut codes = [(0, 0); CATEGORIES];
        for &symbol in order.iter().filter(|&&symbol| symbol != RESERVED) {
            code <<= lengths[symbol] - length;
            length = lengths[symbol];
            codes[symbol] = (code, length);
            code += 1;
        }
        order.retain(|&symbol| symbol != RESERVED);
        Self { codes, order, lengths }
    }

    /// The content of a DHT segment behind its table number.
    pub(super) fn table(&self) -> Vec<u8> {
        let count =
            |length: u8| self.order.iter().filter(|&&symbol| self.lengths[symbol] == length).count() as u8;
        let counts = (1..=LENGTH_MAX).map(count);
        counts.chain(self.order.iter().map(|&symbol| symbol as u8)).collect()
    }
}

/// Flattens the counts until no code is too long.
fn limited_lengths(counts: &[u64; CATEGORIES]) -> [u8; CATEGORIES + 1] {
    let mut counts = *counts;
    loop {
        let lengths = lengths(&counts);
        if lengths.iter().all(|length| *length <= LENGTH_MAX) {
            return lengths;
        }
        counts.iter_mut().filter(|count| **count > 0).for_each(|count| *count = count.div_ceil(2) + 1);
    }
}

fn lengths(counts: &[u64; CATEGORIES]) -> [u8; CATEGORIES + 1] {
    let used = (0..CATEGORIES).filter(|&symbol| counts[symbol] > 0);
    let mut trees: Vec<(u64, Vec<usize>)> = used.map(|symbol| (counts[symbol], vec![symbol])).collect();
    trees.push((0, vec![RESERVED]));
    let mut lengths = [0; CATEGORIES + 1];
    while trees.len() > 1 {
        trees.sort_by_key(|tree| std::cmp::Reverse(tree.0));
        let (Some(least), Some(next)) = (trees.pop(), trees.pop()) else { break };
        let symbols = [least.1, next.1].concat();
        symbols.iter().for_each(|&symbol| lengths[symbol] += 1);
        trees.push((least.0 + next.0, symbols));
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_category_has_the_shortest_code_and_none_is_all_ones() {
        let mut counts = [0; CATEGORIES];
        (counts[0], counts[3], counts[16]) = (100, 10, 1);
        let huffman = Huffman::fitted(&counts);
        assert_eq!((huffman.codes[0], huffman.codes[3]), ((0, 1), (0b10, 2)));
        assert_eq!(huffman.codes[16], (0b110, 3));
        assert_eq!(huffman.table()[..3], [1, 1, 1]);
        assert_eq!(huffman.table()[16..], [0, 3, 16]);
    }

    #[test]
    fn codes_have_sixteen_bits_at_most() {
        let mut counts = [1_u64; CATEGORIES];
        for at in 2..CATEGORIES {
            counts[at] = counts[at - 1] + counts[at - 2];
        }
        let huffman = Huffman::fitted(&counts);
        assert!(huffman.codes.iter().all(|(_, length)| (1..=LENGTH_MAX).contains(length)));
    }
}
