"""Retrieve: instances, frames, bulk data, zip, deletion. PS3.18 10.4."""

import zipfile
from io import BytesIO

import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

import dataset
import documents
import syntaxes
from dataset import JPEG_XL, path
from origin import DICOM, JSON, OCTETS, related
from report import NotApplicable, equal, row
from syntaxes import FRAME_TYPES

ZIP = "application/zip"


@row("W4")
def one_instance_without_parts(origin):
    made = origin.kept(dataset.ct)
    for accept in (DICOM, f"{DICOM}; transfer-syntax=*", f'{DICOM}; transfer-syntax="{ExplicitVRLittleEndian}"'):
        answer = origin.get(path(made), accept).expect(200).expect_type(DICOM)
        found = pydicom.dcmread(BytesIO(answer.body))
        equal("instance and pixels", (found.SOPInstanceUID, found.PixelData), (made.SOPInstanceUID, made.PixelData))


@row("W7")
def what_is_unknown_is_404(origin):
    made, unknown = origin.kept(dataset.ct), documents.unknown_study()
    series = f"{path(made, 'study')}/series/{dataset.uid()}"
    for target in (
        unknown,
        unknown + "/series/1.2",
        series,
        f"{path(made, 'series')}/instances/{dataset.uid()}",
        unknown + "/rendered",
    ):
        for accept in ("*/*", related(DICOM)) if not target.endswith("rendered") else ("image/jpeg",):
            origin.get(target, accept).expect(404)


@row("W8")
def metadata_of_what_is_unknown_is_404(origin):
    made, unknown = origin.kept(dataset.ct), documents.unknown_study()
    for target in (
        unknown,
        f"{path(made, 'study')}/series/{dataset.uid()}",
        f"{path(made, 'series')}/instances/{dataset.uid()}",
    ):
        origin.get(target + "/metadata", JSON).expect(404)


@row("W9")
def a_frame_is_octets_in_little_endian(origin):
    for made in (origin.kept(dataset.ct), *(origin.kept(syntaxes.in_syntax, s) for s in syntaxes.NATIVE_SYNTAXES)):
        [part] = origin.get(path(made) + "/frames/1", related(OCTETS)).expect(200).parts()
        equal("media type", part.media_type.essence, OCTETS)
        equal(f"{getattr(made, 'syntax', '')} frame", part.body == dataset.ramp(), True)


@row("W9")
def a_compressed_frame_is_decoded_to_octets(origin):
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        made = origin.kept(syntaxes.in_syntax, syntax)
        [part] = origin.get(path(made) + "/frames/2", related(OCTETS, ExplicitVRLittleEndian)).expect(200).parts()
        equal(f"{syntax.name} frame", part.body == dataset.shades(frame=2), True)


@row("W9")
def an_odd_frame_is_itself(origin):
    made = origin.kept(dataset.odd)
    body = origin.get(path(made) + "/frames/1", OCTETS).expect(200).body
    assert body in (dataset.shades(7, 5), dataset.shades(7, 5) + b"\0"), f"{len(body)} bytes"


@row("W11")
def frames_come_in_the_order_asked_for(origin):
    made = origin.kept(dataset.multi_frame)
    for asked in ([1, 3], [3, 1], [2, 2], [4, 1, 4, 2]):
        answer = origin.get(f"{path(made)}/frames/{','.join(map(str, asked))}", related(OCTETS)).expect(200)
        equal(
            f"frames {asked}",
            [part.body == dataset.shades(frame=number) for part, number in zip(answer.parts(), asked, strict=True)],
            [True] * len(asked),
        )


@row("W12")
def a_frame_that_is_not_there_is_404(origin):
    made = origin.kept(dataset.multi_frame)
    for asked in ("5", "1,5", "4294967295"):
        origin.get(f"{path(made)}/frames/{asked}", related(OCTETS)).expect(404)
    origin.get(path(origin.kept(documents.pdf)) + "/frames/1", related(OCTETS)).expect(404, 406)


@row("W13")
def a_frame_list_that_is_none_is_400(origin):
    made = origin.kept(dataset.multi_frame)
    for asked in ("0", "a", "1,0", "-1", "1,,2", "1.5", "1-3", "99999999999999999999"):
        origin.get(f"{path(made)}/frames/{asked}", related(OCTETS)).expect(400)


@row("W14")
def one_frame_without_parts(origin):
    made = origin.kept(dataset.multi_frame)
    answer = origin.get(path(made) + "/frames/2", OCTETS).expect(200).expect_type(OCTETS)
    equal("frame", answer.body == dataset.shades(frame=2), True)
    jpeg = origin.kept(syntaxes.in_syntax, JPEGBaseline8Bit)
    answer = (
        origin.get(path(jpeg) + "/frames/2", f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}")
        .expect(200)
        .expect_type("image/jpeg")
    )
    equal("codestream", answer.body.rstrip(b"\0"), jpeg.codestreams[1].rstrip(b"\0"))


def check_compressed_frames(origin, syntax):
    made, essence = origin.kept(syntaxes.in_syntax, syntax), FRAME_TYPES[syntax]
    for accept in (related(essence, syntax), related(essence, "*")):
        numbers = range(1, len(made.codestreams) + 1)
        answer = origin.get(f"{path(made)}/frames/{','.join(map(str, numbers))}", accept).expect(200)
        streams = [part.body.rstrip(b"\0") for part in answer.parts()]
        equal(f"{accept}: codestreams", streams == [stream.rstrip(b"\0") for stream in made.codestreams], True)
        types = {(part.media_type.essence, part.media_type.parameter("transfer-syntax")) for part in answer.parts()}
        equal("types of the parts", types, {(essence, syntax)})


@row("W14b")
def jpeg_frames_are_their_codestreams(origin):
    check_compressed_frames(origin, JPEGBaseline8Bit)
    check_compressed_frames(origin, JPEGLosslessSV1)


@row("W14b")
def jpeg_ls_frames_are_their_codestreams(origin):
    check_compressed_frames(origin, JPEGLSLossless)


@row("W14b")
def jpeg_2000_frames_are_their_codestreams(origin):
    check_compressed_frames(origin, JPEG2000Lossless)


@row("W14b")
def high_throughput_jpeg_2000_frames_are_their_codestreams(origin):
    check_compressed_frames(origin, HTJ2KLossless)


@row("W14b")
def rle_frames_are_their_segments(origin):
    check_compressed_frames(origin, RLELossless)


@row("W14b")
def jpeg_xl_frames_are_their_codestreams(origin):
    check_compressed_frames(origin, JPEG_XL)


@row("W17")
def ranges_of_bulk_data(origin):
    made = origin.kept(dataset.with_bulk_at_depth)
    uri = origin.bulk_uri(made, "00282000")
    whole, size = dataset.BULK, len(dataset.BULK)
    for asked, start, end in (
        ("0-99", 0, 99),
        ("100-199", 100, 199),
        (f"{size - 10}-", size - 10, size - 1),
        ("-16", size - 16, size - 1),
        ("5-999999", 5, size - 1),
    ):
        answer = origin.get(uri, OCTETS, [("Range", f"bytes={asked}")]).expect(206)
        equal(f"bytes {asked}", answer.body == whole[start : end + 1], True)
        equal("Content-Range", answer.header("Content-Range"), f"bytes {start}-{end}/{size}")
    answer = origin.get(uri, OCTETS).expect(200)
    equal("Accept-Ranges", answer.header("Accept-Ranges"), "bytes")


@row("W17")
def a_range_outside_is_416(origin):
    made = origin.kept(dataset.with_bulk_at_depth)
    uri, size = origin.bulk_uri(made, "00282000"), len(dataset.BULK)
    for asked in (f"{size}-", f"{size + 5}-{size + 9}", "-0"):
        answer = origin.get(uri, OCTETS, [("Range", f"bytes={asked}")]).expect(416)
        equal("Content-Range", answer.header("Content-Range"), f"bytes */{size}")
    for asked in ("bytes=9-2", "bytes=a-b", "lines=1-2"):
        answer = origin.get(uri, OCTETS, [("Range", asked)]).expect(200, 400, 416)
        answer.check(answer.status != 200 or answer.body == dataset.BULK, "a part is sent as the whole")


@row("W36")
def a_study_series_and_instance_as_zip(origin):
    first, second = dataset.in_one_study(dataset.ct(), dataset.grey())
    origin.store(first, second)
    expected = {
        "study": {first.SOPInstanceUID, second.SOPInstanceUID},
        "series": {first.SOPInstanceUID},
        "instance": {first.SOPInstanceUID},
    }
    for level, uids in expected.items():
        answer = origin.get(path(first, level), ZIP)
        if answer.status == 406 and level == "study":
            raise NotApplicable("the server makes no zip")
        answer.expect(200).expect_type(ZIP)
        with zipfile.ZipFile(BytesIO(answer.body)) as archive:
            equal("damage", archive.testzip(), None)
            found = [
                pydicom.dcmread(BytesIO(archive.read(name)))
                for name in archive.namelist()
                if name.upper() != "DICOMDIR"
            ]
        equal(f"objects of the {level}", sorted(one.SOPInstanceUID for one in found), sorted(uids))


@row("W37")
def a_syntax_that_cannot_be_made_is_406(origin):
    ct, report = origin.kept(dataset.ct), origin.kept(documents.structured_report)
    for made in (ct, report):
        for syntax in ("1.2.840.10008.1.2.4.102", "1.2.3.4.5.6", ImplicitVRLittleEndian, ExplicitVRBigEndian):
            for accept in (f"{DICOM}; transfer-syntax={syntax}", related(DICOM, syntax)):
                origin.get(path(made), accept).expect(406)
    origin.get(path(ct) + "/frames/1", related("video/mp4", "1.2.840.10008.1.2.4.102")).expect(406)


@row("W37")
def no_syntax_is_an_error_of_the_server(origin):
    made = [
        origin.kept(syntaxes.in_syntax, syntax)
        for syntax in (HTJ2KLossless, JPEG_XL, JPEGLosslessSV1, JPEGBaseline8Bit)
    ]
    for one in [*made, origin.kept(dataset.colour), origin.kept(documents.pdf)]:
        for syntax in (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, *FRAME_TYPES):
            origin.get(path(one), f"{DICOM}; transfer-syntax={syntax}").expect(200, 406)


@row("W37")
def what_can_be_made_is_right(origin):
    made = origin.kept(dataset.ct)
    for syntax in (
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ):
        answer = origin.get(path(made), f"{DICOM}; transfer-syntax={syntax}").expect(200, 406)
        if answer.status == 200:
            found = pydicom.dcmread(BytesIO(answer.body))
            equal("syntax", found.file_meta.TransferSyntaxUID, syntax)
            equal(f"{syntax.name} pixels", found.pixel_array.astype("<u2").tobytes() == dataset.ramp(), True)


def delete(origin, target):
    answer = origin.send("DELETE", target, [("Accept", "*/*")])
    if answer.status in (403, 405, 501):
        raise NotApplicable(f"the server does not delete: {answer.status}")
    return answer


@row("W41")
def instance_series_and_study_are_deleted(origin):
    first, second = dataset.in_one_series(dataset.ct(1), dataset.ct(2))
    third = dataset.in_one_study(first, dataset.grey())[1]
    origin.store(first, second, third)
    for level, one, left in (
        ("instance", first, [False, True, True]),
        ("series", first, [False, False, True]),
        ("study", first, [False] * 3),
    ):
        delete(origin, path(one, level)).expect(200, 204)
        equal(f"left after the {level}", [origin.has(made) for made in (first, second, third)], left)
        delete(origin, path(one, level)).expect(404, 410)
    equal("found", origin.search("/studies", StudyInstanceUID=first.StudyInstanceUID), [])


@row("W41")
def what_is_unknown_is_not_deleted(origin):
    delete(origin, documents.unknown_study()).expect(404)
    delete(origin, "/studies/not-a-uid").expect(400, 404)


@row("W42")
def other_methods_on_studies_are_405(origin):
    made = origin.kept(dataset.ct)
    for method, target in (
        ("PUT", "/studies"),
        ("DELETE", "/studies"),
        ("PATCH", path(made)),
        ("POST", path(made) + "/frames/1"),
        ("DELETE", path(made) + "/metadata"),
    ):
        answer = origin.send(method, target, [("Accept", "*/*")], b"").expect(405)
        answer.check("GET" in (answer.header("Allow") or ""), f"Allow: {answer.header('Allow')}")


@row("W44")
def an_unreadable_instance_does_not_shorten_a_study(origin):
    good, broken = dataset.in_one_study(dataset.ct(), syntaxes.compressed(RLELossless, dataset.multi_frame(frames=2)))
    start = broken.PixelData.index(broken.codestreams[0])
    # The segment offsets of the first frame lead nowhere.
    broken.PixelData = broken.PixelData[:start] + b"\xff" * 64 + broken.PixelData[start + 64 :]
    broken["PixelData"].is_undefined_length = True
    origin.store(good, broken)
    answer = origin.get(path(good, "study"), related(DICOM, ExplicitVRLittleEndian))
    answer.check(answer.status != 206, "206 without Range")
    if answer.status == 200 and answer.complete and not answer.trailers:
        found = [pydicom.dcmread(BytesIO(part.body)).SOPInstanceUID for part in answer.parts()]
        equal("instances", sorted(found), sorted([good.SOPInstanceUID, broken.SOPInstanceUID]))


@row("W44")
def the_others_of_such_a_study_are_there(origin):
    good, other = dataset.in_one_study(dataset.ct(), dataset.grey())
    origin.store(good, other)
    answer = origin.get(path(good, "study"), related(DICOM)).expect(200)
    equal(
        "instances",
        sorted(pydicom.dcmread(BytesIO(part.body)).SOPInstanceUID for part in answer.parts()),
        sorted([good.SOPInstanceUID, other.SOPInstanceUID]),
    )
