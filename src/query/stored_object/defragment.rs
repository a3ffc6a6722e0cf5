//! The values of pixel data fragments without the headers between them (PS3.5 A.4).

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt};

use super::Chunks;
use crate::ingest::layout::ITEM_HEADER_BYTES;

const HEADER: usize = ITEM_HEADER_BYTES as usize;

/// Where a reader of fragments stands.
#[derive(Default)]
struct Defragment {
    /// The part of a header that the chunks so far held.
    header: Vec<u8>,
    /// Bytes that are still to come of the value.
    value: usize,
}

impl Defragment {
    /// The pieces of values in a chunk.
    fn feed(&mut self, mut chunk: Bytes) -> Vec<Bytes> {
        let mut values = Vec::new();
        while !chunk.is_empty() {
            if self.value > 0 {
                let value = chunk.split_to(self.value.min(chunk.len()));
                self.value -= value.len();
                values.push(value);
                continue;
            }
            let missing = HEADER - self.header.len();
            self.header.extend_from_slice(&chunk.split_to(missing.min(chunk.len())));
            if let Ok(header) = <[u8; HEADER]>::try_from(self.header.as_slice()) {
                self.value = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
                self.header.clear();
            }
        }
        values
    }
}

/// The stream begins at the header of a fragment and ends with a fragment.
pub(super) fn values(chunks: Chunks) -> Chunks {
    let mut state = Defragment::default();
    let values = chunks.map(move |chunk| match chunk {
        Ok(chunk) => stream::iter(state.feed(chunk).into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => stream::iter(vec![Err(error)]),
    });
    values.flatten().boxed()
}

pub(super) fn joined(fragments: Bytes) -> Bytes {
    let mut joined = BytesMut::with_capacity(fragments.len());
    Defragment::default().feed(fragments).iter().for_each(|value| joined.extend_from_slice(value));
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAGMENTS: &[u8] =
        &[0xFE, 0xFF, 0, 0xE0, 2, 0, 0, 0, 1, 2, 0xFE, 0xFF, 0, 0xE0, 4, 0, 0, 0, 3, 4, 5, 6];

    #[test]
    fn headers_go_and_values_stay() {
        assert_eq!(joined(Bytes::from_static(FRAGMENTS)), vec![1, 2, 3, 4, 5, 6]);
    }

    #[tokio::test]
    async fn a_header_may_be_cut_by_chunks_anywhere_w14b() {
        for size in 1..FRAGMENTS.len() {
            let chunks = FRAGMENTS.chunks(size).map(|chunk| Ok(Bytes::from_static(chunk)));
            let values: Vec<_> = values(stream::iter(chunks.collect::<Vec<_>>()).boxed()).collect().await;
            let joined: Vec<u8> = values.into_iter().flat_map(|value| value.unwrap()).collect();
            assert_eq!(joined, [1, 2, 3, 4, 5, 6], "{size}");
        }
    }
}
