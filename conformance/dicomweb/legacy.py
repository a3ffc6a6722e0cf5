"""WADO-URI: PS3.18 chapter 9."""

from io import BytesIO

import numpy
import pydicom
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

import dataset
import documents
import syntaxes
from origin import DICOM, OCTETS, related
from pictures import identity, near, shades
from report import NotApplicable, contains, equal, row


def wado(origin, made, accept="*/*", **query):
    """The request for an object; a parameter that is None is left out."""
    uids = {"studyUID": made.StudyInstanceUID, "seriesUID": made.SeriesInstanceUID, "objectUID": made.SOPInstanceUID}
    asked = {"requestType": "WADO", **uids, **query}
    asked = {name: value for name, value in asked.items() if value is not None}
    return origin.get(origin.choices.wado_uri, accept, **asked)


def there(origin, made, **query):
    """The answer, where the server has WADO-URI at all."""
    if "wado" not in origin.known:
        origin.known["wado"] = wado(origin, made, contentType=DICOM).status
    if origin.known["wado"] in (404, 405, 501):
        raise NotApplicable(f"there is no WADO-URI at {origin.url}{origin.choices.wado_uri}: {origin.known['wado']}")
    return wado(origin, made, **query)


@row("W45")
def an_object_as_dicom(origin):
    made = origin.kept(dataset.ct)
    for accept in ("*/*", DICOM, related(OCTETS, '"*"')):
        answer = there(origin, made, contentType=DICOM, accept=accept).expect(200).expect_type(DICOM)
        found = pydicom.dcmread(BytesIO(answer.body))
        equal(
            "instance and pixels",
            (found.SOPInstanceUID, found.PixelData == made.PixelData),
            (made.SOPInstanceUID, True),
        )


@row("W45")
def its_parameters_are_mandatory(origin):
    made = origin.kept(dataset.ct)
    for missing in ("requestType", "studyUID", "seriesUID", "objectUID"):
        there(origin, made, contentType=DICOM, **{missing: None}).expect(400)
    there(origin, made, contentType=DICOM, requestType="OTHER").expect(400)
    there(origin, made, contentType=DICOM, objectUID="not-a-uid").expect(400)


@row("W45")
def what_is_unknown_is_404(origin):
    made = origin.kept(dataset.ct)
    for name in ("studyUID", "seriesUID", "objectUID"):
        there(origin, made, contentType=DICOM, **{name: dataset.uid()}).expect(404)


@row("W45")
def the_transfer_syntax_is_a_query_parameter(origin):
    made = origin.kept(syntaxes.in_syntax, RLELossless)
    syntax = lambda **query: (
        pydicom.dcmread(BytesIO(there(origin, made, **query).expect(200).body)).file_meta.TransferSyntaxUID
    )
    equal("by default", syntax(contentType=DICOM), ExplicitVRLittleEndian)
    for asked, sent in (
        (RLELossless, RLELossless),
        (ExplicitVRLittleEndian, ExplicitVRLittleEndian),
        ("*", RLELossless),
    ):
        equal(f"transferSyntax={asked}", syntax(contentType=DICOM, transferSyntax=asked), sent)
    answer = there(origin, made, contentType=f"{DICOM}; transfer-syntax={RLELossless}").expect(200, 400, 406)
    if answer.status == 200:
        equal(
            "by the media type",
            pydicom.dcmread(BytesIO(answer.body)).file_meta.TransferSyntaxUID,
            ExplicitVRLittleEndian,
        )


@row("W45")
def unknown_parameters_are_ignored(origin):
    there(origin, origin.kept(dataset.ct), contentType=DICOM, nonsense="1").expect(200).expect_type(DICOM)


@row("W45")
def an_image_is_jpeg_by_default_and_png_when_asked_for(origin):
    made = origin.kept(identity)
    there(origin, made).expect(200).expect_type("image/jpeg")
    answer = there(origin, made, contentType="image/png").expect(200).expect_type("image/png")
    near("PNG", numpy.asarray(Image.open(BytesIO(answer.body)).convert("L")).astype(int), shades(made))


@row("W45")
def frames_windows_and_sizes_are_as_asked(origin):
    made = origin.kept(dataset.multi_frame, WindowCenter=128, WindowWidth=256)
    shown = lambda **query: Image.open(
        BytesIO(there(origin, made, contentType="image/png", **query).expect(200).body)
    ).convert("L")
    near("frame 3", numpy.asarray(shown(frameNumber=3)).astype(int), shades(made, 2))
    equal("size", shown(rows=24, columns=32).size, (32, 24))
    white = numpy.asarray(shown(frameNumber=1, windowCenter=-50, windowWidth=10))
    equal("a window below all shades", (white == 255).all(), True)
    for wrong in ({"windowCenter": "40"}, {"frameNumber": "0"}, {"rows": "x"}, {"imageQuality": "0"}):
        there(origin, made, contentType="image/jpeg", **wrong).expect(400)


@row("W45")
def documents_are_pdf_and_html(origin):
    answer = (
        there(origin, origin.kept(documents.pdf), contentType="application/pdf")
        .expect(200)
        .expect_type("application/pdf")
    )
    equal("document", answer.body.rstrip(b"\0"), documents.PDF.rstrip(b"\0"))
    report = origin.kept(documents.structured_report)
    answer = there(origin, report, contentType="text/html").expect(200).expect_type("text/html")
    contains("HTML", answer.text(), ["Findings"])
    there(origin, report, contentType="image/jpeg").expect(406)
