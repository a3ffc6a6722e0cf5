"""The requests that the OHIF viewer and the cornerstone image loader send, byte for byte as a browser does."""

from io import BytesIO

import pydicom
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit, JPEGLSLossless, RLELossless

import dataset
import documents
import syntaxes
from dataset import TOKEN, path
from origin import DICOM, JSON, OCTETS, Origin, first, multipart, values
from pictures import identity

CHECKS = []
WORKLIST = "limit=101&offset=0&fuzzymatching={fuzzy}&includefield=00081030%2C00080060%2C00080090%2C00100030"
BROWSER = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("Accept-Language", "en-US"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
]
PLAIN = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")]
IMAGE_TAG = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
ANY_SYNTAX = (
    'multipart/related; type="application/octet-stream"; transfer-syntax="*"',
    "multipart/related; type=application/octet-stream; transfer-syntax=*",
)
DICTIONARY = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


def check(function):
    CHECKS.append(function)
    return function


def asked(origin, target, accept):
    return origin.get(target, accept, PLAIN).expect(200)


def listed():
    return dataset.ct(
        PatientName=f"Held{TOKEN}^Out",
        PatientID=f"HO{TOKEN}",
        AccessionNumber=f"ACC{TOKEN}",
        StudyDescription=f"held-out {TOKEN}",
        StudyDate="20260301",
        SeriesDescription="axial",
    )


def one_study(origin, query):
    made = origin.kept(listed)
    found = asked(origin, f"/studies?{query}", JSON).json()
    return made, [study for study in found if first(study, "0020000D") == made.StudyInstanceUID]


@check
def the_worklist_is_filled(origin):
    for fuzzy in ("true", "false"):
        made, found = one_study(origin, f"00100020={listed_id()}&" + WORKLIST.format(fuzzy=fuzzy))
        assert len(found) == 1, f"{len(found)} studies"
        for tag, expected in (("00081030", made.StudyDescription), ("00080061", "CT"), ("00100030", "19700101")):
            assert first(found[0], tag) == expected, f"{tag} is {found[0].get(tag)}"


def listed_id():
    return f"HO{TOKEN}"


@check
def no_study_of_the_worklist_has_modalities_without_values(origin):
    origin.kept(listed)
    for study in asked(origin, "/studies?" + WORKLIST.format(fuzzy="false"), JSON).json():
        assert "00080061" not in study or values(study, "00080061"), "(0008,0061) without values stops the worklist"


@check
def its_filters_match_inside_text(origin):
    for fuzzy in ("true", "false"):
        tail = WORKLIST.format(fuzzy=fuzzy)
        for query in (
            f"PatientName=*Held{TOKEN}*",
            f"AccessionNumber=*CC{TOKEN}*",
            f"StudyDescription=*-out%20{TOKEN}*",
            f"PatientName=*Held{TOKEN}*&00100020=*O{TOKEN}*&AccessionNumber=*ACC*&StudyDescription=*held*&ModalitiesInStudy=CT"
            "&StudyDate=20260101-20261231",
        ):
            made, found = one_study(origin, f"{query}&{tail}")
            assert len(found) == 1, f"{query}: {len(found)} studies"
            made, found = one_study(origin, f"{query.replace(TOKEN, 'NOSUCH')}&{tail}")
            assert not found or "00100020" in query, f"{query} filters nothing"


@check
def a_study_is_opened(origin):
    made = origin.kept(listed)
    _, found = one_study(origin, WORKLIST.format(fuzzy="true") + f"&StudyInstanceUID={made.StudyInstanceUID}")
    assert len(found) == 1, f"{len(found)} studies"
    _, found = one_study(origin, WORKLIST.format(fuzzy="true") + f"&StudyInstanceUID={made.StudyInstanceUID}%5C1.2.3")
    assert len(found) == 1, f"{len(found)} studies by two UIDs"
    for fields in ("0008103E%2C00080021", "00080021%2C00080031%2C0008103E%2C00200011"):
        [series] = asked(origin, f"{path(made, 'study')}/series?includefield={fields}", JSON).json()
        assert first(series, "0008103E") == "axial", f"{fields}: {series.get('0008103E')}"


@check
def metadata_of_series_and_study_is_read(origin):
    made = origin.kept(listed)
    for level in ("series", "study"):
        [found] = asked(origin, path(made, level) + "/metadata", JSON).json()
        assert first(found, "00280010") == dataset.ROWS and first(found, "00080018") == made.SOPInstanceUID


@check
def a_packed_answer_is_that_of_the_plain_one(origin):
    made = origin.kept(listed)
    answer = origin.get(path(made, "series") + "/metadata", JSON, BROWSER).expect(200)
    assert answer.header("Content-Encoding") in (None, "gzip", "br", "zstd", "deflate"), answer.header(
        "Content-Encoding"
    )
    assert answer.header("Content-Encoding") is None or "Accept-Encoding" in (answer.header("Vary") or "").title()


@check
def frames_are_loaded_in_any_syntax(origin):
    for syntax in (None, JPEGBaseline8Bit, JPEGLSLossless, RLELossless):
        made = origin.kept(syntaxes.in_syntax, syntax) if syntax else origin.kept(dataset.ct)
        for accept in ANY_SYNTAX:
            [part] = asked(origin, path(made) + "/frames/1", accept).parts()
            sent = part.media_type
            decoded = sent.parameter("transfer-syntax") in ("", "1.2.840.10008.1.2.1")
            if decoded:
                pixels = dataset.ramp() if syntax is None else dataset.shades(frame=1)
                assert sent.essence == OCTETS and (part.body == pixels or syntax == JPEGBaseline8Bit), (
                    f"{sent.text}: other pixels"
                )
            else:
                assert sent.essence in (DICTIONARY[syntax], OCTETS) and part.body.rstrip(b"\0") == made.codestreams[
                    0
                ].rstrip(b"\0"), sent.text


@check
def frames_are_loaded_in_a_fixed_syntax(origin):
    for syntax in (JPEGBaseline8Bit, JPEGLSLossless, RLELossless):
        made = origin.kept(syntaxes.in_syntax, syntax)
        accept = f'multipart/related; type="{DICTIONARY[syntax]}"; transfer-syntax="{syntax}"'
        [part] = asked(origin, path(made) + "/frames/1", accept).parts()
        assert part.body.rstrip(b"\0") == made.codestreams[0].rstrip(b"\0"), "another codestream"


@check
def an_image_is_loaded_by_wado_uri(origin):
    made = origin.kept(listed)
    query = (
        f"?requestType=WADO&studyUID={made.StudyInstanceUID}&seriesUID={made.SeriesInstanceUID}&objectUID={made.SOPInstanceUID}"
        "&contentType=application/dicom&transferSyntax=*"
    )
    for accept in ANY_SYNTAX:
        found = pydicom.dcmread(BytesIO(asked(origin, query, accept).body))
        assert found.PixelData == made.PixelData


@check
def a_segmentation_is_loaded_whole(origin):
    made = origin.kept(dataset.multi_frame)
    [part] = asked(origin, path(made), 'multipart/related; type="application/dicom"').parts()
    assert pydicom.dcmread(BytesIO(part.body)).SOPInstanceUID == made.SOPInstanceUID


def large_pdf():
    return documents.pdf(documents.PDF + b"%" * 5000)


@check
def a_document_is_loaded_as_bulk_data(origin):
    made = origin.kept(large_pdf)
    uri = origin.bulk_uri(made, "00420011")
    both = 'multipart/related; type="application/pdf", multipart/related; type="application/octet-stream"'
    [part] = asked(origin, uri, both).parts()
    assert part.body == made.EncapsulatedDocument and part.media_type.essence in ("application/pdf", OCTETS), (
        part.media_type.text
    )
    whole = asked(origin, uri, "*/*")
    body = whole.parts()[0].body if whole.media_type.essence == "multipart/related" else whole.body
    assert body == made.EncapsulatedDocument, "another document"


def with_long_palette():
    made = dataset.grey(PhotometricInterpretation="PALETTE COLOR")
    for number in range(3):
        made.add_new(0x00281101 + number, "US", [4096, 0, 16])
        made.add_new(0x00281201 + number, "OW", bytes([number, 1]) * 4096)
    return made


@check
def palettes_and_waveforms_are_loaded_as_octets(origin):
    made = origin.kept(with_long_palette)
    uri = origin.bulk_uri(made, "00281202")
    [part] = asked(origin, uri, 'multipart/related; type="application/octet-stream"').parts()
    assert part.body == bytes([1, 1]) * 4096
    waveform = asked(origin, uri, OCTETS).expect_type(OCTETS)
    assert waveform.body == bytes([1, 1]) * 4096


@check
def thumbnails_are_shown_in_each_way(origin):
    target = path(origin.kept(identity))
    [found] = asked(
        origin, path(origin.kept(identity), "series") + "/instances?limit=1&includefield=00080018", JSON
    ).json()
    assert first(found, "00080018") == origin.kept(identity).SOPInstanceUID
    for query, accept in (
        ("/thumbnail?viewport=256,256", "image/jpeg"),
        ("/thumbnail?accept=image/jpeg", IMAGE_TAG),
        ("/thumbnail?accept=image%2Fjpeg", IMAGE_TAG),
        ("/rendered?accept=image/jpeg", 'multipart/related; type="application/octet-stream"'),
    ):
        answer = asked(origin, target + query, accept).expect_type("image/jpeg")
        assert Image.open(BytesIO(answer.body)).format == "JPEG"


@check
def a_file_is_uploaded(origin):
    made = dataset.ct()
    body = multipart([([("Content-Type", DICOM)], dataset.file_of(made))], "----dcmjs")
    origin.post(
        body, 'multipart/related; type="application/dicom"; boundary="----dcmjs"', accept="*/*", headers=BROWSER
    ).expect(200)
    assert origin.has(made)


@check
def a_page_of_elsewhere_may_ask(origin):
    target = path(origin.kept(listed)) + "/frames/1"
    page = [
        ("Origin", "http://viewer.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "accept,authorization"),
    ]
    answer = origin.send("OPTIONS", target, [("Accept", "*/*"), *page])
    if not answer.header("Access-Control-Allow-Origin"):
        raise NotApplicable("the server lets no page of elsewhere ask")
    answer.expect(200, 204)
    assert "accept" in (answer.header("Access-Control-Allow-Headers") or "").lower(), answer.headers
    assert answer.header("Access-Control-Max-Age"), "each frame is asked about anew"


def run(checks, url):
    origin = Origin(url)
    for function in CHECKS:
        try:
            function(origin)
        except NotApplicable as reason:
            checks.skip("viewer", function.__name__, str(reason))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            seen = origin.last and "\n".join(
                [origin.last.request.decode(errors="replace"), str(origin.last.status), str(origin.last.body[:200])]
            )
            checks.run("viewer", function.__name__, lambda text=text, seen=seen: f"{text}\n{seen}")
        else:
            checks.run("viewer", function.__name__, lambda: True)
