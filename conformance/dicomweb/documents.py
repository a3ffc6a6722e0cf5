"""Objects that are no images: SR, key objects, presentation states, encapsulated PDF."""

from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
)

from dataset import changed, code, header, items, of_the_study_of, uid

SENTENCE = "No focal consolidation; Größe unverändert, μέγεθος αμετάβλητο."
PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj
xref
0 4
0000000000 65535 f \n0000000009 00000 n \n0000000053 00000 n \n0000000103 00000 n \ntrailer<</Size 4/Root 1 0 R>>
startxref
163
%%EOF
"""


def content_item(value_type, name, **elements):
    made = changed(Dataset(), RelationshipType="CONTAINS", ValueType=value_type, ConceptNameCodeSequence=name)
    return changed(made, **elements)


def document(made, title):
    made.ContentDate, made.ContentTime = "20240210", "101600"
    made.ValueType, made.ConceptNameCodeSequence, made.ContinuityOfContent = "CONTAINER", title, "SEPARATE"
    made.CompletionFlag, made.VerificationFlag = "COMPLETE", "UNVERIFIED"
    return made


def structured_report(**elements):
    made = document(header(BasicTextSRStorage, "SR"), code("18748-4", "LN", "Diagnostic imaging report"))
    finding = content_item("TEXT", code("121071", "DCM", "Finding"), TextValue=SENTENCE)
    heading = content_item(
        "CONTAINER", code("121070", "DCM", "Findings"), ContinuityOfContent="SEPARATE", ContentSequence=[finding]
    )
    made.ContentSequence = [heading]
    return changed(made, **elements)


def reference(image):
    return {"ReferencedSOPClassUID": image.SOPClassUID, "ReferencedSOPInstanceUID": image.SOPInstanceUID}


def key_objects(image):
    made = document(header(KeyObjectSelectionDocumentStorage, "KO"), code("113000", "DCM", "Of Interest"))
    note = content_item(
        "TEXT", code("113012", "DCM", "Key Object Description"), TextValue="the nodule of the left lung"
    )
    shown = changed(
        Dataset(), RelationshipType="CONTAINS", ValueType="IMAGE", ReferencedSOPSequence=items(reference(image))
    )
    made.ContentSequence = [note, shown]
    of_the_study_of(image, made)
    series = {"SeriesInstanceUID": image.SeriesInstanceUID, "ReferencedSOPSequence": items(reference(image))}
    study = {"StudyInstanceUID": image.StudyInstanceUID, "ReferencedSeriesSequence": items(series)}
    made.CurrentRequestedProcedureEvidenceSequence = items(study)
    return made


def presentation_state(image, centre, width, **elements):
    """Shows the image with another window, unless elements say more."""
    made = of_the_study_of(image, header(GrayscaleSoftcopyPresentationStateStorage, "PR"))
    made.ContentLabel, made.ContentDescription, made.ContentCreatorName = "WINDOW", "", ""
    made.PresentationCreationDate, made.PresentationCreationTime = "20240210", "101700"
    series = {"SeriesInstanceUID": image.SeriesInstanceUID, "ReferencedImageSequence": items(reference(image))}
    made.ReferencedSeriesSequence = items(series)
    made.SoftcopyVOILUTSequence = items({"WindowCenter": centre, "WindowWidth": width})
    area = {
        "DisplayedAreaTopLeftHandCorner": [1, 1],
        "PresentationSizeMode": "SCALE TO FIT",
        "DisplayedAreaBottomRightHandCorner": [image.Columns, image.Rows],
        "PresentationPixelAspectRatio": [1, 1],
    }
    made.DisplayedAreaSelectionSequence = items(area)
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = 0, 1, "US"
    made.PresentationLUTShape = "IDENTITY"
    return changed(made, **elements)


def pdf(data=PDF, **elements):
    made = header(EncapsulatedPDFStorage, "DOC")
    made.ConversionType, made.BurnedInAnnotation, made.DocumentTitle = "WSD", "YES", "Report"
    made.ContentDate, made.ContentTime, made.AcquisitionDateTime = "20240210", "101600", ""
    made.ConceptNameCodeSequence = code("18748-4", "LN", "Diagnostic imaging report")
    made.MIMETypeOfEncapsulatedDocument, made.EncapsulatedDocumentLength = "application/pdf", len(data)
    made.EncapsulatedDocument = data + bytes(len(data) % 2)
    return changed(made, **elements)


def unknown_study():
    return f"/studies/{uid()}"
