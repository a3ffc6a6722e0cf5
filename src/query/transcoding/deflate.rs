//! Deflated Explicit VR Little Endian, PS3.5 A.5: the data set as one raw deflate stream.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use futures::stream::{self, StreamExt};

use crate::query::stored_object::Chunks;

/// Where a stream that is being deflated stands.
struct Deflating {
    chunks: Chunks,
    encoder: DeflateEncoder<Vec<u8>>,
    length: u64,
}

/// Each chunk is deflated off the async threads.
pub(super) fn deflated(chunks: Chunks) -> Chunks {
    let encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let deflating = Deflating { chunks, encoder, length: 0 };
    stream::try_unfold(Some(deflating), |state| async {
        match state {
            Some(state) => next(state).await.map(Some),
            None => Ok(None),
        }
    })
    .boxed()
}

async fn next(mut state: Deflating) -> io::Result<(Bytes, Option<Deflating>)> {
    match state.chunks.next().await {
        Some(chunk) => {
            let chunk = chunk?;
            let deflate = move || {
                state.encoder.write_all(&chunk)?;
                let bytes = std::mem::take(state.encoder.get_mut());
                state.length += bytes.len() as u64;
                Ok((bytes.into(), Some(state)))
            };
            tokio::task::spawn_blocking(deflate).await.map_err(io::Error::other)?
        }
        None => {
            let mut bytes = state.encoder.finish()?;
            // An odd number of bytes is padded with one zero (A.5).
            if (state.length + bytes.len() as u64) % 2 == 1 {
                bytes.push(0);
            }
            Ok((bytes.into(), None))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn what_is_deflated_inflates_and_has_an_even_length() {
        for size in [0, 1, 5000] {
            let data: Vec<u8> = (0..size).map(|at: u32| (at % 7) as u8).collect();
            let chunks: Vec<_> = data.chunks(999).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
            let out: Vec<_> = deflated(stream::iter(chunks).boxed()).collect().await;
            let out: Vec<u8> = out.into_iter().flat_map(|chunk| chunk.unwrap()).collect();
            let mut again = Vec::new();
            flate2::read::DeflateDecoder::new(out.as_slice()).read_to_end(&mut again).unwrap();
            assert_eq!((again, out.len() % 2), (data, 0));
        }
    }
}
