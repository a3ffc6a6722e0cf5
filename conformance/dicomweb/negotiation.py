"""Which representation is sent: PS3.18 8.3.3.1, 8.7 and 8.6.1.2."""

from io import BytesIO

import pydicom
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

import dataset
import syntaxes
from dataset import path
from origin import DICOM, JSON, OCTETS, XML, multipart, related
from report import equal, row


@row("G3")
def the_accept_parameter_chooses_the_representation(origin):
    image = path(origin.kept(dataset.ct))
    origin.get(image + "/rendered", "*/*", accept="image/png").expect(200).expect_type("image/png")
    origin.get(image + "/rendered", "image/*", accept="image/png").expect(200).expect_type("image/png")
    equal(
        "type",
        origin.get(image + "/metadata", "*/*", accept=related(XML)).expect(200).media_type.parameter("type"),
        XML,
    )
    origin.get(image + "/metadata", "*/*", accept="text/none").expect(406)


@row("G3")
def the_accept_parameter_has_no_wildcards(origin):
    image = path(origin.kept(dataset.ct))
    for value in ("*/*", "image/*"):
        origin.get(image + "/rendered", "image/jpeg", accept=value).expect(400)


@row("G3")
def the_header_does_not_overrule_the_accept_parameter(origin):
    image = path(origin.kept(dataset.ct))
    answer = origin.get(image + "/rendered", "image/jpeg", accept="image/png").expect(200, 400, 406)
    answer.check(answer.status != 200 or answer.media_type.essence == "image/png", "the header won")


@row("G4")
def no_accept_header(origin):
    required = origin.choices.accept_required
    target = path(origin.kept(dataset.ct)) + "/metadata"
    answer = origin.send("GET", target).expect(*{True: (406,), False: (200,), None: (200, 406)}[required])
    if answer.status == 200:
        answer.expect_type(JSON).json()


@row("G5")
def dicom_and_rendered_types_do_not_mix(origin):
    image = path(origin.kept(dataset.ct))
    for accept in (
        "application/dicom, image/jpeg",
        "image/png;q=0.5, application/dicom",
        f"{related(DICOM)}, image/jpeg",
    ):
        for target in (image, image + "/rendered"):
            origin.get(target, accept).expect(400)


@row("G6")
def nothing_acceptable_is_406_with_what_there_is(origin):
    image = path(origin.kept(dataset.ct))
    for target, available in (
        (image, DICOM),
        (image + "/metadata", JSON),
        (image + "/frames/1", OCTETS),
        (image + "/rendered", "image/jpeg"),
        ("/studies", JSON),
    ):
        answer = origin.get(target, "text/none").expect(406)
        answer.check(available in answer.text(), f"{available} is not in the list")


@row("G7")
def weights_are_honoured(origin):
    target = path(origin.kept(dataset.ct)) + "/metadata"
    xml_first = origin.get(target, f"{JSON};q=0.1, {related(XML)};q=0.9").expect(200)
    equal("type", xml_first.media_type.parameter("type"), XML)
    origin.get(target, f"{JSON};q=0.9, {related(XML)};q=0.1").expect(200).expect_type(JSON)
    origin.get(target, f"{JSON};q=0").expect(406)
    xml_alone = origin.get(target, f"{JSON};q=0, */*;q=0.1").expect(200, 406)
    xml_alone.check(xml_alone.media_type.essence != JSON, "a type of weight 0 was sent")


@row("G7")
def any_type_gives_the_default(origin):
    image = path(origin.kept(dataset.ct))
    for target, default in (
        (image + "/metadata", JSON),
        ("/studies?limit=1", JSON),
        (image + "/rendered", "image/jpeg"),
    ):
        origin.get(target, "*/*").expect(200).expect_type(default)
    for target, default in (
        (image, DICOM),
        (path(origin.kept(dataset.ct), "study"), DICOM),
        (image + "/frames/1", OCTETS),
    ):
        equal("type", origin.get(target, "*/*").expect(200).media_type.parameter("type"), default)


@row("G8")
def quotes_make_no_difference(origin):
    target = path(origin.kept(dataset.ct)) + "/frames/1"
    accepts = [
        f"multipart/related; type={quote}{OCTETS}{quote}; transfer-syntax={quote}{ExplicitVRLittleEndian}{quote}"
        for quote in ('"', "")
    ]
    frames = [
        origin.get(target, accept).expect(200).parts()[0].body for accept in [*accepts, accepts[0].replace("; ", ";")]
    ]
    equal("frames", set(frames), {dataset.ramp()})


@row("G8")
def a_multipart_type_is_answered_in_quotes(origin):
    image = path(origin.kept(dataset.ct))
    for target, essence in ((image, DICOM), (image + "/frames/1", OCTETS), (image + "/metadata", XML)):
        answer = origin.get(target, f"multipart/related; type={essence}").expect(200)
        equal("type parameter", answer.media_type.raw.get("type"), f'"{essence}"')


def single(origin, made, accept):
    return origin.get(path(made), accept).expect(200).expect_type(DICOM).body


@row("G9")
def a_transfer_syntax_is_asked_for(origin):
    image = origin.kept(syntaxes.in_syntax, RLELossless)
    for asked, sent in (
        ("*", RLELossless),
        (RLELossless, RLELossless),
        (f'"{ExplicitVRLittleEndian}"', ExplicitVRLittleEndian),
    ):
        file = single(origin, image, f"{DICOM}; transfer-syntax={asked}")
        equal("transfer syntax", pydicom.dcmread(BytesIO(file)).file_meta.TransferSyntaxUID, sent)


@row("G9")
def a_transfer_syntax_is_one_value(origin):
    target = path(origin.kept(dataset.ct))
    origin.get(target, f'{DICOM}; transfer-syntax="{ExplicitVRLittleEndian},{RLELossless}"').expect(400, 406)
    origin.get(target, f"{DICOM}; transfer-syntax={ExplicitVRLittleEndian}; transfer-syntax={RLELossless}").expect(
        400, 406
    )


@row("G9")
def alternatives_are_tried_by_weight(origin):
    image = origin.kept(syntaxes.in_syntax, RLELossless)
    one = lambda syntax, weight: f"{DICOM}; transfer-syntax={syntax}; q={weight}"
    for accept, sent in (
        ([one("1.2.3.4", 1), one(ExplicitVRLittleEndian, 0.5)], ExplicitVRLittleEndian),
        ([one(ExplicitVRLittleEndian, 0.2), one(RLELossless, 0.9)], RLELossless),
    ):
        file = single(origin, image, ", ".join(accept))
        equal("transfer syntax", pydicom.dcmread(BytesIO(file)).file_meta.TransferSyntaxUID, sent)


@row("G10")
def implicit_and_big_endian_objects_come_back_explicit(origin):
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        image = origin.kept(syntaxes.in_syntax, syntax)
        for asked in (None, "*"):
            found = pydicom.dcmread(BytesIO(origin.retrieve(image, asked)))
            equal("transfer syntax", found.file_meta.TransferSyntaxUID, ExplicitVRLittleEndian)
            equal("pixels", found.PixelData, dataset.ramp())
            equal("position", [float(value) for value in found.ImagePositionPatient], [0, 0, 1])


@row("G10")
def implicit_and_big_endian_are_not_to_be_had(origin):
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        for made in (origin.kept(dataset.ct), origin.kept(syntaxes.in_syntax, syntax)):
            origin.get(path(made), f"{DICOM}; transfer-syntax={syntax}").expect(406)


@row("G11")
def without_a_transfer_syntax_asked_for_it_is_explicit_little_endian(origin):
    made = origin.kept(syntaxes.in_syntax, RLELossless)
    for accept in (DICOM, related(DICOM)):
        answer = origin.get(path(made), accept).expect(200)
        body = answer.body if accept == DICOM else answer.parts()[0].body
        found = pydicom.dcmread(BytesIO(body))
        equal("transfer syntax", found.file_meta.TransferSyntaxUID, ExplicitVRLittleEndian)
        equal("pixels", found.PixelData, dataset.multi_frame(frames=2).PixelData)


@row("G11")
def only_lossy_is_sent_as_it_is_or_decoded(origin):
    made = origin.kept(syntaxes.in_syntax, JPEGBaseline8Bit)
    found = pydicom.dcmread(BytesIO(origin.retrieve(made, None)))
    syntax = found.file_meta.TransferSyntaxUID
    assert syntax in (JPEGBaseline8Bit, ExplicitVRLittleEndian), f"transfer syntax {syntax}"
    equal("lossy", found.LossyImageCompression, "01")
    equal("frames", found.pixel_array.shape, (4, dataset.ROWS, dataset.COLUMNS))


@row("G12")
def content_type_names_the_syntax_of_the_object(origin):
    made = origin.kept(syntaxes.in_syntax, RLELossless)
    for asked in ("*", ExplicitVRLittleEndian):
        for accept in (f"{DICOM}; transfer-syntax={asked}", related(DICOM, asked)):
            answer = origin.get(path(made), accept).expect(200)
            sent = answer if answer.media_type.essence == DICOM else answer.parts()[0]
            real = pydicom.dcmread(BytesIO(sent.body)).file_meta.TransferSyntaxUID
            equal("transfer-syntax parameter", sent.media_type.parameter("transfer-syntax"), real)


@row("G12")
def content_type_names_the_syntax_of_compressed_frames(origin):
    made = origin.kept(syntaxes.in_syntax, RLELossless)
    [part] = origin.get(path(made) + "/frames/1", related("image/dicom-rle", RLELossless)).expect(200).parts()
    equal("media type", part.media_type.essence, "image/dicom-rle")
    equal("transfer-syntax parameter", part.media_type.parameter("transfer-syntax"), RLELossless)


@row("G12")
def file_meta_information_wins_over_the_type_of_a_part(origin):
    made = dataset.ct()
    part = [("Content-Type", f"{DICOM}; transfer-syntax={JPEGBaseline8Bit}")], dataset.file_of(made)
    origin.post(multipart([part]), f'{related(DICOM)}; boundary="rows-and-checks"').expect(200)
    equal("pixels", pydicom.dcmread(BytesIO(origin.retrieve(made))).PixelData, made.PixelData)


@row("G13")
def every_part_says_what_and_where_it_is(origin):
    first_image, _ = origin.kept(dataset.two_images)
    series, image = path(first_image, "series"), path(first_image)
    for target, accept in (
        (series, related(DICOM)),
        (image + "/frames/1", related(OCTETS)),
        (series + "/metadata", related(XML)),
        (image + "/pixeldata", related(OCTETS)),
        (f"/instances?SOPInstanceUID={first_image.SOPInstanceUID}", related(XML)),
    ):
        answer = origin.get(target, accept).expect(200)
        for part in answer.parts():
            answer.check(part.header("Content-Type") and part.header("Content-Location"), f"{target}: {part.headers}")
            length = part.header("Content-Length")
            answer.check(length or part.header("Content-Encoding"), f"{target}: a part has no length: {part.headers}")
            answer.check(
                length is None or int(length) == len(part.body),
                f"{target}: Content-Length {length} of {len(part.body)}",
            )
