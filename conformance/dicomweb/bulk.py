"""Store of metadata with bulk data: PS3.18 10.5.1.4 and 10.5.2, annex I."""

import json
from io import BytesIO
from xml.sax.saxutils import escape, quoteattr

import pydicom
from pydicom.pixels import apply_color_lut
from pydicom.uid import ExplicitVRLittleEndian

import dataset
import documents
import syntaxes
import video
from origin import JSON, REFERENCED_SOP, WARNING_REASON, XML, items, multipart, related
from report import NotApplicable, equal, row


def without_bulk(made, tag, location):
    """DICOM JSON with a URI in place of one element."""
    described = made.to_json_dict()
    described[tag] = {"vr": described[tag]["vr"], "BulkDataURI": location}
    return described


def described_picture(**elements):
    """Metadata for a picture, without what the picture itself tells."""
    made = dataset.grey(
        **{
            name: None
            for name in (
                "Rows",
                "Columns",
                "SamplesPerPixel",
                "PhotometricInterpretation",
                "BitsAllocated",
                "BitsStored",
                "HighBit",
                "PixelRepresentation",
            )
        }
    )
    return dataset.changed(made, **elements)


def store_with_bulk(origin, made, bulk, media_type, tag="7FE00010", metadata=None):
    location = "bulk/1"
    head = metadata or (JSON, json.dumps([without_bulk(made, tag, location)]).encode())
    parts = [
        ([("Content-Type", head[0])], head[1]),
        ([("Content-Type", media_type), ("Content-Location", location)], bulk),
    ]
    return origin.post(multipart(parts), f'{related(head[0])}; boundary="rows-and-checks"')


def as_xml(described):
    """The Native DICOM Model of a flat data set (PS3.19 A.1)."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
    ]
    for tag, element in described.items():
        lines.append(f'<DicomAttribute tag="{tag}" vr="{element["vr"]}">')
        if "BulkDataURI" in element:
            lines.append(f"<BulkData uri={quoteattr(element['BulkDataURI'])}/>")
        for number, value in enumerate(element.get("Value", []), 1):
            lines.append(
                person_name(number, value)
                if element["vr"] == "PN"
                else f'<Value number="{number}">{escape(str(value))}</Value>'
            )
        lines.append("</DicomAttribute>")
    return "".join([*lines, "</NativeDicomModel>"]).encode()


def person_name(number, value):
    family, _, given = value["Alphabetic"].partition("^")
    given = f"<GivenName>{given}</GivenName>" if given else ""
    return (
        f'<PersonName number="{number}"><Alphabetic><FamilyName>{family}</FamilyName>{given}</Alphabetic></PersonName>'
    )


@row("S15")
def metadata_with_pixels_is_stored(origin):
    for media_type in (
        "application/octet-stream",
        f'application/octet-stream; transfer-syntax="{ExplicitVRLittleEndian}"',
    ):
        made = dataset.ct()
        store_with_bulk(origin, made, made.PixelData, media_type).expect(200)
        found = pydicom.dcmread(BytesIO(origin.retrieve(made)))
        equal("pixels", found.PixelData, made.PixelData)
        lost = [element.keyword for element in made if found.get(element.tag) != element]
        equal("elements that are lost or others", lost, [])


@row("S15")
def metadata_with_a_pdf_is_stored(origin):
    made = documents.pdf()
    store_with_bulk(origin, made, documents.PDF, "application/pdf", "00420011").expect(200)
    found = pydicom.dcmread(BytesIO(origin.retrieve(made)))
    equal("document", found.EncapsulatedDocument[: len(documents.PDF)], documents.PDF)
    equal("type", found.MIMETypeOfEncapsulatedDocument, "application/pdf")


@row("S15")
def metadata_in_xml_is_stored(origin):
    made = dataset.grey(StudyDescription="Größe <1> & more")
    metadata = XML, as_xml(without_bulk(made, "7FE00010", "bulk/1"))
    store_with_bulk(origin, made, made.PixelData, "application/octet-stream", metadata=metadata).expect(200)
    found = pydicom.dcmread(BytesIO(origin.retrieve(made)))
    equal("pixels and description", (found.PixelData, found.StudyDescription), (made.PixelData, made.StudyDescription))


@row("S15")
def metadata_without_its_bulk_data_fails(origin):
    made = dataset.ct()
    described = without_bulk(made, "7FE00010", "bulk/elsewhere")
    parts = [([("Content-Type", JSON)], json.dumps([described]).encode())]
    origin.post(multipart(parts), f'{related(JSON)}; boundary="rows-and-checks"').expect(400, 409)
    equal("it is there", origin.has(made), False)


def check_picture(origin, bulk, media_type, syntaxes_allowed, array):
    """Kept unchanged, and its pixels described by what it is."""
    made = described_picture()
    store_with_bulk(origin, made, bulk, media_type).expect(200, 202)
    found = pydicom.dcmread(BytesIO(origin.retrieve(made)))
    assert found.file_meta.TransferSyntaxUID in syntaxes_allowed, found.file_meta.TransferSyntaxUID.name
    frame = b"".join(pydicom.encaps.generate_fragments(found.PixelData))
    frame = frame[frame.index(bulk[:8]) :]
    equal("the codestream is as it was", frame[: len(bulk)] == bulk and not frame[len(bulk) :].strip(b"\0"), True)
    samples = array.shape[2] if array.ndim == 3 else 1
    equal(
        "pixel macro",
        (found.Rows, found.Columns, found.SamplesPerPixel, found.BitsAllocated, found.BitsStored, found.HighBit),
        (*array.shape[:2], samples, 8, 8, 7),
    )
    return found


@row("S15", "S16")
def a_jpeg_is_kept_as_it_is(origin):
    for image, photometric in ((dataset.grey(), {"MONOCHROME2"}), (dataset.colour(), {"YBR_FULL_422"})):
        array = syntaxes.array_of(image)
        found = check_picture(origin, syntaxes.picture(array, "JPEG"), "image/jpeg", {"1.2.840.10008.1.2.4.50"}, array)
        assert found.PhotometricInterpretation in photometric, found.PhotometricInterpretation


@row("S16")
def a_jpeg_2000_is_kept_as_it_is(origin):
    array = syntaxes.array_of(dataset.grey())
    bulk = syntaxes.picture(array, "JPEG2000", irreversible=False, no_jp2=True)
    check_picture(origin, bulk, "image/jp2", {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}, array)


@row("S16")
def a_png_and_a_gif_lose_nothing(origin):
    for image, format in ((dataset.grey(), "PNG"), (dataset.colour(), "PNG"), (dataset.grey(), "GIF")):
        array, made = syntaxes.array_of(image), described_picture()
        bulk = syntaxes.picture(array, format)
        store_with_bulk(origin, made, bulk, f"image/{format.lower()}").expect(200, 202)
        found = pydicom.dcmread(BytesIO(origin.retrieve(made, ExplicitVRLittleEndian)))
        equal("size", (found.Rows, found.Columns), array.shape[:2])
        equal(f"{format} pixels", values_shown(found).tolist(), array.tolist())


def values_shown(found):
    shown = found.pixel_array
    if found.PhotometricInterpretation == "PALETTE COLOR":
        shown = apply_color_lut(shown, found)
        shown = (shown >> (8 if shown.dtype.itemsize == 2 else 0)).astype("u1")
    if shown.ndim == 3 and (shown[..., 0] == shown[..., 1]).all() and (shown[..., 0] == shown[..., 2]).all():
        return shown[..., 0]
    return shown


@row("S16")
def a_video_is_kept_as_it_is(origin):
    made = dataset.header("1.2.840.10008.5.1.4.1.1.77.1.4.1", "ES")
    made.add_new("PixelData", "OB", b"")
    made.LossyImageCompression = "01"
    bulk = video.film()
    store_with_bulk(origin, made, bulk, "video/mp4").expect(200, 202)
    found = pydicom.dcmread(BytesIO(origin.retrieve(made)))
    assert found.file_meta.TransferSyntaxUID.startswith("1.2.840.10008.1.2.4.10"), found.file_meta.TransferSyntaxUID
    stream = b"".join(pydicom.encaps.generate_fragments(found.PixelData))
    equal("the stream is as it was", bulk in stream, True)


def coerced(origin):
    """Pictures without a description and with a wrong one, as far as the server makes up for it: answer and object."""
    if "coerced" not in origin.known:
        png = syntaxes.picture(syntaxes.array_of(dataset.grey()), "PNG")
        made = [described_picture(), described_picture(Rows=11, Columns=13)]
        origin.known["coerced"] = [(store_with_bulk(origin, one, png, "image/png"), one) for one in made]
    told = [(answer, one) for answer, one in origin.known["coerced"] if answer.status == 202]
    if not told:
        raise NotApplicable(f"nothing is stored with a warning: {[a.status for a, _ in origin.known['coerced']]}")
    return told


@row("S17")
def what_was_coerced_is_in_the_object(origin):
    for _, made in coerced(origin):
        found = pydicom.dcmread(BytesIO(origin.retrieve(made)))
        equal("rows and columns", (found.Rows, found.Columns), (dataset.ROWS, dataset.COLUMNS))
        original = found.OriginalAttributesSequence[0]
        assert original.ModifyingSystem and original.AttributeModificationDateTime, "nobody changed it"
        before = original.ModifiedAttributesSequence[0]
        equal("what it said", (before.get("Rows"), before.get("Columns")), (made.get("Rows"), made.get("Columns")))


@row("S9d")
def what_is_stored_with_a_warning_says_which(origin):
    for answer, made in coerced(origin):
        [item] = items(answer.json(), REFERENCED_SOP)
        [reason] = item[WARNING_REASON]["Value"]
        assert reason in (0xB000, 0xB006, 0xB007), f"warning {reason!r}"
        equal("what is there", origin.has(made), True)


@row("S9d", "S17")
def a_contradiction_is_told_or_refused(origin):
    made = described_picture(Rows=11, Columns=13)
    answer = store_with_bulk(origin, made, syntaxes.picture(syntaxes.array_of(dataset.grey()), "PNG"), "image/png")
    answer.check(
        answer.status in (202, 400, 409), f"status {answer.status}: the rows and columns are not those of the picture"
    )
    equal("it is there", origin.has(made), answer.status == 202)
