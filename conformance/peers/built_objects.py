"""Objects that the server puts together from metadata and bulk data, read by others.

Every object goes in as DICOM JSON (one also as XML) with its bulk data in its own media type, and
is judged by pydicom, by Pillow and by dciodvfy.
"""

import io
import json
import shutil
import struct
import sys
from pathlib import Path

import numpy
import pydicom
import requests
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import (
    EncapsulatedPDFStorage,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    VideoPhotographicImageStorage,
    generate_uid,
)

from .part10 import corpus
from .server import Server

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from check_report import said  # noqa: E402

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
LOCATION = "bulk/1"
COERCED = 0xB000
MEDIA_TYPES = {
    f"1.2.840.10008.1.2.4.{syntax}": media_type
    for media_type, syntaxes in {
        "image/jpeg": (50, 51, 57, 70),
        "image/jls": (80, 81),
        "image/jp2": (90, 91),
        "image/jphc": (201, 202, 203),
        "image/jxl": (110, 111, 112),
    }.items()
    for syntax in syntaxes
}
SYNTAXES_LEAST = 7
# One file has a codestream of another size than its attributes say.
DAMAGED_MOST = 1


def run(context, tally):
    folder = context.folder("built-objects")
    with Server(context.binary, folder / "data") as server:
        for name, check in CHECKS.items():
            with tally.check(name):
                check(server, folder)
    shutil.rmtree(folder)


def described(sop_class, pixels=True):
    """What a sender of pictures knows: everything but the Image Pixel Description."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = sop_class, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.PatientName, made.PatientID = "Conformance^Bjørn", "B-1"
    made.PatientBirthDate = made.PatientSex = made.ReferringPhysicianName = made.AccessionNumber = ""
    made.StudyDate, made.StudyTime, made.StudyID = "20260102", "101500", "1"
    made.Modality, made.ConversionType = "OT", "WSD"
    made.SeriesNumber, made.InstanceNumber, made.Laterality = 1, 1, ""
    made.PatientOrientation = ""
    document = json.loads(made.to_json())
    if pixels:
        document["7FE00010"] = {"vr": "OB", "BulkDataURI": LOCATION}
    return document


def send(server, document, *parts, kind="application/dicom+json", metadata=None):
    """`parts` are pairs of media type and content, all at one location."""
    body = metadata or json.dumps([document]).encode()
    message = [f"--x\r\nContent-Type: {kind}\r\n\r\n".encode() + body]
    for media_type, content in parts:
        head = f"--x\r\nContent-Type: {media_type}\r\nContent-Location: {LOCATION}\r\n\r\n"
        message.append(head.encode() + content)
    headers = {"Content-Type": f'multipart/related; type="{kind}"; boundary=x'}
    url = f"{server.web}/studies"
    return requests.post(url, data=b"\r\n".join(message) + b"\r\n--x--", headers=headers, timeout=60)


def stored(server, folder, document, *parts, status=202, **how):
    """Sends an object that must be stored and reads it back."""
    answer = send(server, document, *parts, **how)
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    reference = answer.json()["00081199"]["Value"][0]
    warning = reference.get("00081196", {}).get("Value", [None])[0]
    assert warning == (COERCED if status == 202 else None), warning
    again = send(server, document, *parts, **how)
    assert again.status_code == status, f"the same again: {again.status_code} {again.text}"
    url = reference["00081190"]["Value"][0]
    read = requests.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=60)
    assert read.status_code == 200, f"{url}: {read.status_code}"
    path = Path(folder) / "built.dcm"
    path.write_bytes(read.content)
    made = pydicom.dcmread(path)
    assert made.PatientName == "Conformance^Bjørn", made.PatientName
    if status == 202:
        changed = made.OriginalAttributesSequence[-1]
        assert changed.ReasonForTheAttributeModification == "COERCE"
        assert len(changed.ModifiedAttributesSequence[0]) > 0
    return made, path


def errors_of(path):
    _, out, err = said("dciodvfy", path)
    return [line for line in (out + err).splitlines() if line.startswith("Error")]


def pixels(side=32, channels=3, dtype=numpy.uint8):
    values = numpy.arange(side * side * channels, dtype=numpy.uint32) * 7
    return values.astype(dtype).reshape((side, side, channels)).squeeze()


def encoded(array, form, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **options)
    return file.getvalue()


def document_is_encapsulated(server, folder):
    document = described(EncapsulatedPDFStorage, pixels=False)
    document["00420011"] = {"vr": "OB", "BulkDataURI": LOCATION}
    made, _ = stored(server, folder, document, ("application/pdf", PDF))
    assert made.EncapsulatedDocument[: made.EncapsulatedDocumentLength] == PDF
    assert made.MIMETypeOfEncapsulatedDocument == "application/pdf"


def jpeg_is_kept(server, folder):
    picture = encoded(pixels(), "JPEG", quality=90)
    made, path = stored(server, folder, described(SecondaryCaptureImageStorage), ("image/jpeg", picture))
    assert made.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    fragments = list(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1))
    assert fragments[0].rstrip(b"\0") == picture.rstrip(b"\0"), "the codestream differs"
    assert (made.Rows, made.Columns, made.SamplesPerPixel, made.BitsStored) == (32, 32, 3, 8)
    assert made.LossyImageCompression == "01"
    assert made.pixel_array.shape == (32, 32, 3)
    assert errors_of(path) == [], errors_of(path)


def jpeg_2000_is_kept_without_its_boxes(server, folder):
    array = pixels(channels=1, dtype=numpy.uint16)
    picture = encoded(array, "JPEG2000", irreversible=False)
    made, _ = stored(server, folder, described(SecondaryCaptureImageStorage), ("image/jp2", picture))
    assert made.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert numpy.array_equal(made.pixel_array, array), "the pixels differ"


def frames_of_one_location_are_one_object(server, folder):
    pictures = [encoded(pixels(side), "JPEG") for side in (32, 32, 32)]
    parts = [("image/jpeg", picture) for picture in pictures]
    made, _ = stored(server, folder, described(MultiFrameTrueColorSecondaryCaptureImageStorage), *parts)
    assert made.NumberOfFrames == 3 and made.pixel_array.shape == (3, 32, 32, 3)


def png_becomes_native(server, folder):
    for array in (pixels(), pixels(channels=1), pixels(channels=1, dtype=numpy.uint16)):
        picture = encoded(array, "PNG")
        made, _ = stored(server, folder, described(SecondaryCaptureImageStorage), ("image/png", picture))
        assert not made.file_meta.TransferSyntaxUID.is_compressed
        assert numpy.array_equal(made.pixel_array, array), "the pixels differ"


def gif_becomes_native_frames(server, folder):
    frames = [Image.fromarray(pixels(channels=1) // shade) for shade in (1, 2, 4)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=40, disposal=1)
    document = described(MultiFrameTrueColorSecondaryCaptureImageStorage)
    made, _ = stored(server, folder, document, ("image/gif", file.getvalue()))
    read = Image.open(file)
    assert made.NumberOfFrames == 3 and made.FrameTime == 40
    for index in range(3):
        read.seek(index)
        assert numpy.array_equal(made.pixel_array[index], numpy.array(read.convert("RGB"))), index


def raw_pixels_are_kept(server, folder):
    document = described(SecondaryCaptureImageStorage)
    macro = {"00280002": 1, "00280010": 32, "00280011": 32, "00280100": 16, "00280101": 16, "00280102": 15, "00280103": 0}
    document |= {tag: {"vr": "US", "Value": [value]} for tag, value in macro.items()}
    document["00280004"] = {"vr": "CS", "Value": ["MONOCHROME2"]}
    document["7FE00010"]["vr"] = "OW"
    array = pixels(channels=1, dtype=numpy.uint16)
    octets = ("application/octet-stream", array.tobytes())
    made, path = stored(server, folder, document, octets, status=200)
    assert numpy.array_equal(made.pixel_array, array) and "OriginalAttributesSequence" not in made
    assert errors_of(path) == [], errors_of(path)
    document["00280010"]["Value"] = [31]
    document["00080018"]["Value"] = [generate_uid()]
    refused = send(server, document, octets)
    assert refused.status_code == 409, refused.status_code
    assert refused.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]


def boxed(kind, *content):
    content = b"".join(content)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def video():
    """As much of an MP4 as says what it is: High Profile, level 4.1, 64x48, five frames."""
    config = boxed(b"avcC", bytes([1, 100, 0, 41, 255, 224, 0]))
    entry = boxed(b"avc1", bytes(24), struct.pack(">HH", 64, 48), bytes(50), config)
    table = boxed(b"stbl", boxed(b"stsd", struct.pack(">II", 0, 1), entry), boxed(b"stsz", struct.pack(">III", 0, 9, 5)))
    movie = boxed(b"moov", boxed(b"trak", boxed(b"mdia", boxed(b"minf", table))))
    return boxed(b"ftyp", b"isom", bytes(4)) + boxed(b"mdat", bytes(range(45))) + movie


def video_is_kept(server, folder):
    made, _ = stored(server, folder, described(VideoPhotographicImageStorage), ("video/mp4", video()))
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.102"
    assert (made.Columns, made.Rows, made.NumberOfFrames) == (64, 48, 5)
    assert video() in made.PixelData, "the stream differs"


def xml_says_the_same_as_json(server, folder):
    document = described(SecondaryCaptureImageStorage)
    url = f"{server.web}/studies"
    picture = ("image/png", encoded(pixels(), "PNG"))
    assert send(server, document, picture).status_code == 202
    study = document["0020000D"]["Value"][0]
    accept = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    answer = requests.get(f"{url}/{study}/metadata", headers=accept, timeout=60)
    if answer.status_code == 406:
        metadata = xml_of(document)
    else:
        metadata = answer.content[answer.content.index(b"<?xml") : answer.content.rindex(b"</NativeDicomModel>") + 19]
    answer = send(server, None, picture, kind="application/dicom+xml", metadata=xml_of(document))
    assert answer.status_code == 202, f"{answer.status_code} {answer.text} {len(metadata)}"


def xml_of(document):
    attributes = []
    for tag, element in document.items():
        values = element.get("Value", [])
        inner = "".join(value_xml(element["vr"], number, value) for number, value in enumerate(values, 1))
        if "BulkDataURI" in element:
            inner = f'<BulkData uri="{element["BulkDataURI"]}"/>'
        attributes.append(f'<DicomAttribute tag="{tag}" vr="{element["vr"]}">{inner}</DicomAttribute>')
    return f'<?xml version="1.0"?><NativeDicomModel>{"".join(attributes)}</NativeDicomModel>'.encode()


def value_xml(vr, number, value):
    if vr == "PN":
        family, given = value["Alphabetic"].split("^")
        name = f"<Alphabetic><FamilyName>{family}</FamilyName><GivenName>{given}</GivenName></Alphabetic>"
        return f'<PersonName number="{number}">{name}</PersonName>'
    return f'<Value number="{number}">{value}</Value>'


def codestreams_of_the_corpus_are_recognised(server, folder):
    """Each compressed test file: its first frame alone becomes an object of the same syntax and size."""
    seen, wrong = set(), []
    for path in sorted(path for each in corpus() for path in each.glob("*.dcm")):
        found = compressed(path)
        if found is None or not isinstance(found.get("Rows"), int):
            continue
        syntax = found.file_meta.TransferSyntaxUID
        media_type = MEDIA_TYPES[syntax]
        frame = next(pydicom.encaps.generate_frames(found.PixelData, number_of_frames=found.get("NumberOfFrames", 1)))
        answer = send(server, described(SecondaryCaptureImageStorage), (f"{media_type}; transfer-syntax={syntax}", frame))
        if answer.status_code not in (200, 202):
            wrong.append((path.name, answer.status_code, answer.text[-60:]))
            continue
        url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
        read = requests.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=60)
        made = pydicom.dcmread(io.BytesIO(read.content))
        facts = [(each.file_meta.TransferSyntaxUID.name, each.Rows, each.Columns, each.SamplesPerPixel) for each in (found, made)]
        seen.add(found.file_meta.TransferSyntaxUID)
        if facts[0] != facts[1]:
            wrong.append((path.name, *facts))
    print(f"     {len(seen)} transfer syntaxes seen; not taken or other: {wrong}")
    assert len(seen) >= SYNTAXES_LEAST and len(wrong) <= DAMAGED_MOST, wrong


def compressed(path):
    try:
        found = pydicom.dcmread(path)
        return found if found.file_meta.TransferSyntaxUID in MEDIA_TYPES and "PixelData" in found else None
    except Exception:
        return None


def what_does_not_fit_is_refused(server, _):
    document = described(SecondaryCaptureImageStorage)
    assert send(server, document).status_code == 409, "no bulk data"
    answer = send(server, document, ("image/jpeg", b"no picture"))
    assert answer.status_code in (400, 409), "no picture"
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xC000]
    answer = send(server, document, ("image/tiff", b"II*"))
    assert answer.status_code in (400, 409, 415), "no such media type"
    assert requests.get(f"{server.web}/studies/{document['0020000D']['Value'][0]}", timeout=60).status_code == 404


CHECKS = {
    "PDF (S15)": document_is_encapsulated,
    "JPEG (S16)": jpeg_is_kept,
    "JPEG 2000 (S16)": jpeg_2000_is_kept_without_its_boxes,
    "several JPEG frames (S16)": frames_of_one_location_are_one_object,
    "PNG (S16)": png_becomes_native,
    "GIF (S16)": gif_becomes_native_frames,
    "raw pixels (S15)": raw_pixels_are_kept,
    "MP4 (S16)": video_is_kept,
    "codestreams (S16)": codestreams_of_the_corpus_are_recognised,
    "XML (S15)": xml_says_the_same_as_json,
    "refusals (S7, S9b)": what_does_not_fit_is_refused,
}
