//! `blobs`
