//! Messages cut in every way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream;

use super::*;

fn body(message: &[u8], cut: usize) -> Inbound {
    let chunks: Vec<_> = message.chunks(cut).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Inbound::of(stream::iter(chunks), 0)
}

type Read = Vec<(PartHead, Vec<u8>)>;

async fn read(message: &[u8], cut: usize) -> Result<Read, PartsError> {
    let mut parts = Parts::of(body(message, cut), "b");
    let mut read = Vec::new();
    while let Some(head) = parts.next().await? {
        let mut bytes = Vec::new();
        while let Some(chunk) = parts.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        read.push((head, bytes));
    }
    Ok(read)
}

fn head(content_type: &str) -> PartHead {
    PartHead { content_type: Some(content_type.into()), ..PartHead::default() }
}

#[tokio::test]
async fn parts_are_the_same_however_the_message_is_cut_g14() {
    let message = b"to whom it may concern\r\n--b \t\r\nContent-Type: a/b\r\n\r\none\r\n-\r\n--\r\n--b\r\n\r\n\r\r\n\r\n--b--\r\nthe end";
    let expected = vec![(head("a/b"), b"one\r\n-\r\n--".to_vec()), (PartHead::default(), b"\r\r\n".to_vec())];
    for cut in 1..message.len() {
        assert_eq!(read(message, cut).await.unwrap(), expected, "{cut}");
    }
}

#[tokio::test]
async fn a_message_may_begin_with_its_boundary_and_have_empty_parts() {
    let message = b"--b\r\ncontent-type:\r\n a/b\r\n\r\n\r\n--b--";
    assert_eq!(read(message, 7).await.unwrap(), [(head("a/b"), vec![])]);
}

#[tokio::test]
async fn a_message_that_breaks_off_says_so() {
    let message = b"--b\r\nContent-Location: /x\r\n\r\none\r\n--b--";
    for length in 0..message.len() {
        let error = read(&message[..length], 5).await.unwrap_err();
        assert!(matches!(error, PartsError::Truncated | PartsError::NoBoundary), "{length}: {error}");
    }
    assert!(matches!(read(b"--bc\r\n\r\n", 9).await, Err(PartsError::Delimiter)));
}

#[tokio::test]
async fn a_part_that_is_not_read_is_passed_over() {
    let mut parts = Parts::of(body(b"--b\r\n\r\none\r\n--b\r\nContent-Type: c/d\r\n\r\n\r\n--b--", 3), "b");
    assert_eq!(parts.next().await.unwrap(), Some(PartHead::default()));
    assert_eq!(parts.next().await.unwrap(), Some(head("c/d")));
    assert_eq!(parts.next().await.unwrap(), None);
}

/// How many bytes of an endless body are read before it is given up.
async fn drunk(beginning: &'static [u8]) -> (PartsError, usize) {
    let given = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&given);
    let endless = std::iter::repeat_with(move || {
        counter.fetch_add(1024, Ordering::Relaxed);
        Ok(Bytes::from_static(&[b'-'; 1024]))
    });
    let body = stream::iter(std::iter::once(Ok(Bytes::from_static(beginning))).chain(endless.take(1000)));
    let error = Parts::of(Inbound::of(body, 0), "b").next().await.unwrap_err();
    (error, given.load(Ordering::Relaxed))
}

#[tokio::test]
async fn endless_framing_is_given_up() {
    let (error, bytes) = drunk(b"").await;
    assert!(matches!(error, PartsError::NoBoundary) && bytes <= FRAMING_BYTES_MAX + 2048, "{error} {bytes}");
    let (error, bytes) = drunk(b"--b\r\nContent-Type: ").await;
    assert!(matches!(error, PartsError::LongHeader) && bytes <= FRAMING_BYTES_MAX + 2048, "{error} {bytes}");
}
