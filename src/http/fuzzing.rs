//! What the fuzz targets reach of the parsers of this module; see `fuzz/`. Nothing else calls it.
//!
//! Each takes whatever bytes a peer may send, checks what must hold of the outcome, and returns.

use std::io;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::header::{ACCEPT, ACCEPT_CHARSET, FORWARDED, HeaderMap, HeaderValue, IF_NONE_MATCH, RANGE};
use http::{Method, Uri};

use super::coding::Marked;
use super::endpoint::Endpoint;
use super::forwarded::Forwarded;
use super::multipart::Parts;
use super::negotiation::{Accept, MediaType, Offer};
use super::query_string::QueryString;
use super::{Settings, charset, dicomweb};
use crate::dicom::attributes::Level;

const BOUNDARY: &str = "b";

/// Headers that are read as lists: one line each, `Accept` first.
pub fn headers(input: &[u8]) {
    let mut headers = HeaderMap::new();
    let names = [ACCEPT, ACCEPT_CHARSET, FORWARDED, IF_NONE_MATCH, RANGE];
    for (name, line) in names.into_iter().zip(input.split(|&byte| byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.insert(name, value);
        }
    }
    let offers = [
        Offer::multipart("application/dicom").in_syntax("1.2.840.10008.1.2.4.50"),
        Offer::single("application/octet-stream").in_syntax("1.2.840.10008.1.2.1"),
        Offer::single("application/dicom+json"),
        Offer::single("image/jpeg"),
    ];
    // Refusals are outcomes like others.
    let _ = Accept::of(&headers, None).choose(&offers);
    let _ = charset::check(&headers, &QueryString::default());
    let trusted = ["0.0.0.0/0", "::/0"].map(|network| network.parse()).into_iter().flatten();
    Forwarded::of(&headers, &trusted.collect::<Vec<_>>());
    Marked::take_off(&mut headers);
}

/// A request line: what it asks for, its parameters, and the search they would be.
pub fn target(input: &[u8]) {
    let Ok(uri) = Uri::try_from(input) else { return };
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let _ = Endpoint::parse(&method, uri.path());
    }
    let Ok(query) = QueryString::parse(uri.query().unwrap_or("")) else { return };
    let _ = Accept::of(&HeaderMap::new(), query.get("accept")).choose(&[Offer::single("image/png")]);
    for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
        let _ = dicomweb::parse_search(level, (None, None), &query, &Settings::default());
    }
}

/// A multipart body that arrives in pieces of the size of its first byte.
pub fn multipart(input: &[u8]) {
    let Some((&size, body)) = input.split_first() else { return };
    let pieces: Vec<io::Result<Bytes>> =
        body.chunks(usize::from(size).max(1)).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    futures::executor::block_on(read_parts(super::body::Inbound::of(stream::iter(pieces), 0), body.len()));
    let content_type = String::from_utf8_lossy(body);
    let boundary =
        MediaType::parse(&content_type).and_then(|parsed| parsed.parameter("boundary").map(str::len));
    assert!(boundary.is_none_or(|length| length <= content_type.len()));
}

async fn read_parts(body: super::body::Inbound, bytes: usize) {
    let mut parts = Parts::of(body, BOUNDARY);
    let mut read = 0;
    while let Ok(Some(_)) = parts.next().await {
        let mut content = parts.content();
        while let Some(Ok(chunk)) = content.next().await {
            assert!(!chunk.is_empty(), "an empty piece says nothing");
            read += chunk.len();
        }
    }
    assert!(read <= bytes, "more came out than went in");
}
