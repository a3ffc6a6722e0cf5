//! The PDF as an Encapsulated PDF object in the study it is about, PS3.3 A.45.1.

use dicom_core::VR;
use dicom_core::value::PrimitiveValue;
use dicom_dictionary_std::{tags, uids as sop_classes};
use dicom_object::{FileDicomObject, WithMetaError};

use super::codes::Code;
use super::document::{Draft, ImageReference, Report};
use super::elements::{self, Dataset, ObjectIdentity, Origin, put, put_items};
use super::signed::Signed;
use super::uids::{self, Role};

/// Series Number of the series of documents; next to that of the SR.
const SERIES_NUMBER: &str = "9902";
const SIGNED_SERIES_NUMBER: &str = "9912";

/// PS3.16 CID 7000 Diagnostic Imaging Report Document Titles.
const TITLE: Code = Code::ln("18748-4", "Diagnostic Imaging Report");

#[derive(Debug, thiserror::Error)]
pub enum EncapsulateError {
    #[error("the document is longer than an element can be")]
    TooLong,
    #[error("the Encapsulated PDF lacks an attribute of the File Meta Information")]
    Meta(#[source] WithMetaError),
}

/// The PDF of `report` as an object; equal reports and PDFs give equal objects.
pub fn write(report: &Report, pdf: Vec<u8>) -> Result<FileDicomObject<Dataset>, EncapsulateError> {
    let draft = report.draft();
    let mut dataset = elements::common(&Origin::of(draft), &identity(draft));
    let document = Document {
        title: elements::title(draft),
        verification: "UNVERIFIED",
        evidence: &draft.evidence,
        pdf,
    };
    document.put_into(&mut dataset)?;
    elements::with_meta(dataset).map_err(EncapsulateError::Meta)
}

/// The PDF of a signed version.
pub fn write_signed(
    signed: &Signed,
    series: &str,
    instance: &str,
    pdf: Vec<u8>,
) -> Result<FileDicomObject<Dataset>, EncapsulateError> {
    let identity = ObjectIdentity {
        sop_class: sop_classes::ENCAPSULATED_PDF_STORAGE,
        sop_instance: instance.to_owned(),
        series: series.to_owned(),
        series_number: SIGNED_SERIES_NUMBER,
        series_description: "Signed report (PDF)".into(),
        instance_number: signed.version,
        modality: "DOC",
    };
    let mut dataset = elements::common(&signed.origin(), &identity);
    let document =
        Document { title: signed.title(), verification: "VERIFIED", evidence: &signed.content.evidence, pdf };
    document.put_into(&mut dataset)?;
    let predecessors: Vec<_> = signed.earlier.iter().map(|earlier| &earlier.pdf).collect();
    if !predecessors.is_empty() {
        let items = elements::predecessors(&signed.subject.study, &predecessors);
        put_items(&mut dataset, tags::PREDECESSOR_DOCUMENTS_SEQUENCE, items);
    }
    elements::with_meta(dataset).map_err(EncapsulateError::Meta)
}

fn identity(draft: &Draft) -> ObjectIdentity<'static> {
    let analysis = &draft.provenance.analysis_id;
    ObjectIdentity {
        sop_class: sop_classes::ENCAPSULATED_PDF_STORAGE,
        sop_instance: uids::derive(analysis, Role::PdfInstance),
        series: uids::derive(analysis, Role::PdfSeries),
        series_number: SERIES_NUMBER,
        series_description: elements::title(draft),
        instance_number: 1,
        modality: "DOC",
    }
}

/// What the modules of encapsulated documents say.
struct Document<'a> {
    title: String,
    verification: &'static str,
    evidence: &'a [ImageReference],
    pdf: Vec<u8>,
}

impl Document<'_> {
    /// SC Equipment and Encapsulated Document Module, PS3.3 C.8.6.1 and C.24.2.
    fn put_into(mut self, dataset: &mut Dataset) -> Result<(), EncapsulateError> {
        let length = u32::try_from(self.pdf.len()).map_err(|_| EncapsulateError::TooLong)?;
        if self.pdf.len() % 2 == 1 {
            self.pdf.push(0);
        }
        let images = elements::distinct_instances(self.evidence).into_iter();
        let images =
            images.map(|i| elements::sop_reference(i.sop_class.as_str(), i.sop_instance.as_str())).collect();
        put(dataset, tags::CONVERSION_TYPE, VR::CS, "WSD");
        put(dataset, tags::ACQUISITION_DATE_TIME, VR::DT, ());
        put(dataset, tags::BURNED_IN_ANNOTATION, VR::CS, "YES");
        put(dataset, tags::RECOGNIZABLE_VISUAL_FEATURES, VR::CS, "NO");
        put_items(dataset, tags::SOURCE_INSTANCE_SEQUENCE, images);
        put(dataset, tags::DOCUMENT_TITLE, VR::ST, self.title);
        put_items(dataset, tags::CONCEPT_NAME_CODE_SEQUENCE, elements::coded(&TITLE));
        put(dataset, tags::VERIFICATION_FLAG, VR::CS, self.verification);
        put(dataset, tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf");
        put(dataset, tags::ENCAPSULATED_DOCUMENT, VR::OB, PrimitiveValue::from(self.pdf));
        put(dataset, tags::ENCAPSULATED_DOCUMENT_LENGTH, VR::UL, length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn object(pdf: &[u8]) -> Dataset {
        let report = samples::report(samples::ct_draft());
        write(&report, pdf.to_vec()).expect("written").into_inner()
    }

    #[test]
    fn an_odd_document_is_padded_and_keeps_its_length() {
        let dataset = object(b"%PDF-1.3\n");
        let bytes = dataset.element(tags::ENCAPSULATED_DOCUMENT).expect("present").to_bytes().expect("bytes");
        assert_eq!(bytes.as_ref(), b"%PDF-1.3\n\0");
        let length = dataset.element(tags::ENCAPSULATED_DOCUMENT_LENGTH).expect("present").to_int::<u32>();
        assert_eq!(length.expect("a number"), 9);
    }

    #[test]
    fn the_images_it_is_made_from_are_named() {
        let dataset = object(b"%PDF");
        let items = dataset.element(tags::SOURCE_INSTANCE_SEQUENCE).expect("present").items().expect("items");
        assert_eq!(items.len(), 4);
    }

    #[test]
    fn document_and_sr_stand_in_series_of_their_own() {
        let report = samples::report(samples::ct_draft());
        let sr = crate::report::sr::write(&report).expect("written").into_inner();
        let document = object(b"%PDF");
        for tag in [tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID] {
            let uid = |dataset: &Dataset| {
                dataset.element(tag).expect("present").to_str().expect("a UID").into_owned()
            };
            assert_ne!(uid(&sr), uid(&document));
        }
    }
}
