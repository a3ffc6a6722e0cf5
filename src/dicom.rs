//! `dicom`
