//! What an analysis says, as values, text, DICOM SR and PDF: pure, values in, dataset or bytes out.
//!
//! The way through: [`parse`] checks what the model wrote, [`document`] joins it with the study it
//! is about, [`narrative`] puts it into sentences, [`sr`] and [`encapsulated`] into DICOM objects,
//! [`pdf`] onto paper. Words become codes in [`codes`] alone.

pub mod codes;
pub mod document;
mod elements;
pub mod encapsulated;
pub mod findings;
pub mod narrative;
pub mod parse;
pub mod pdf;
pub mod region;
#[cfg(test)]
mod samples;
pub mod sr;
pub mod uids;
