//! DICOM vocabulary of this server: typed UIDs, the attribute table, names, header parsing, DICOM JSON
//! and XML.

pub mod attributes;
pub mod charset;
pub mod commitment;
pub mod data_set;
pub mod file_meta;
pub mod fragments;
pub mod header;
pub mod json;
pub mod packed;
pub mod person_name;
pub mod reencode;
pub mod sop_class;
pub mod temporal;
pub mod uid;
pub mod xml;
