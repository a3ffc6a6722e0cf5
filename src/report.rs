//! What an analysis says, as values, text, DICOM SR and PDF: pure, values in, dataset or bytes out.

pub mod findings;
