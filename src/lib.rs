//! `radiant`: a DICOMweb-native imaging server with a medical vision-language model inside.
//!
//! The layers, and what may depend on what, are drawn in `docs/ARCHITECTURE.md` and held by
//! `tests/it/tidy.rs`.

pub mod ai;
pub mod analysis;
pub mod app;
pub mod audit;
pub mod auth;
pub mod blobs;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod deidentify;
pub mod dicom;
pub mod dimse;
pub mod export;
pub mod fhir;
pub mod http;
pub mod hub;
pub mod ids;
pub mod ingest;
pub mod jobs;
pub mod json;
pub mod lifecycle;
pub mod media;
pub mod outbound;
pub mod phantom;
pub mod query;
pub mod report;
pub mod reporting;
pub mod telemetry;
pub mod tls;
pub mod ul;
pub mod upkeep;
pub mod uploads;
pub mod volume;
