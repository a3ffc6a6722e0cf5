//! What an analysis says, as values, text, DICOM SR and PDF: pure, values in, dataset or bytes out.
//!
//! The way through: [`parse`] checks what the model wrote, [`document`] joins it with the study it
//! is about, [`narrative`] puts it into sentences, [`sr`] and [`encapsulated`] into DICOM objects,
//! [`pdf`] onto paper. Words become codes in [`codes`] alone.

pub mod codes;
pub mod content;
pub mod document;
mod elements;
pub mod encapsulated;
pub mod evaluation;
pub mod findings;
pub mod measure;
pub mod narrative;
pub mod parse;
pub mod pdf;
pub mod region;
#[cfg(test)]
pub(crate) mod samples;
pub mod signed;
pub mod sr;
pub mod table;
pub mod uids;
pub mod words;

use std::io::Cursor;

use dicom_dictionary_std::{tags, uids as sop_classes};
use dicom_object::{FileDicomObject, InMemDicomObject, WriteError};
use serde_json::Value;

use crate::dicom::header::hex;
use document::Device;

/// Why a report did not become its documents.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("the PDF could not be made")]
    Pdf(#[from] pdf::PdfError),
    #[error("the SR could not be made")]
    Sr(#[from] sr::SrError),
    #[error("the PDF could not be put into DICOM")]
    Encapsulate(#[from] encapsulated::EncapsulateError),
    #[error("an object could not be written")]
    Write(#[from] Box<WriteError>),
}

/// An object as the bytes of its file (PS3.10).
pub fn file(object: &FileDicomObject<InMemDicomObject>) -> Result<Vec<u8>, Box<WriteError>> {
    let mut bytes = Cursor::new(Vec::new());
    object.write_all(&mut bytes)?;
    Ok(bytes.into_inner())
}

/// Whether objects of this class may be results.
pub fn is_class_of_results(sop_class: &str) -> bool {
    [sop_classes::COMPREHENSIVE3_DSR_STORAGE, sop_classes::ENCAPSULATED_PDF_STORAGE].contains(&sop_class)
}

/// Whether the metadata of an object (DICOM JSON) say that a server of this kind made it: this one
/// or another.
pub fn is_of_our_kind(metadata: &Value) -> bool {
    let ours = Device::radiant("");
    let text = |tag| metadata[hex(tag)]["Value"][0].as_str();
    text(tags::MANUFACTURER) == Some(&ours.manufacturer)
        && text(tags::MANUFACTURER_MODEL_NAME) == Some(&ours.model)
}
