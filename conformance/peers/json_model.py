"""Metadata of the test files beside pydicom's JSON and DCMTK's XML, value by value.

Rows W15 to W25: what each element says in DICOM JSON is what pydicom reads in the file; a
BulkDataURI gives the bytes of the value, at the root and in items; the XML says the same, and says
it as DCMTK's dcm2xml does.
"""

import base64
import io
import math
import re
import shutil
import struct
import subprocess
from decimal import Decimal, InvalidOperation
from xml.etree import ElementTree

import pydicom
import requests
from pydicom.uid import ExplicitVRBigEndian, generate_uid

from . import dicomweb, part10
from .character_sets import element, file_of, item, stored_metadata
from .server import Server
from .tally import equal

XML = "application/dicom+xml"
NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
NUMBER_TEXT = ("IS", "DS")
FLOATS = ("FL", "FD")
BINARY = ("OB", "OW", "OF", "OD", "OL", "OV", "UN")
# Bytes of one number in a big-endian file.
WIDTHS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
PIXEL_DATA = 0x7FE00010
DEPTH_MAX = 40
DCMTK_READS_MAX = 4_000_000


def run(context, tally):
    folder = context.folder("json-model")
    with Server(context.binary, folder / "data") as server:
        check_made(server, tally)
        compared = 0
        for path in files():
            file = prepared(path)
            if file is None:
                continue
            kept, failed = dicomweb.store(server, [file])
            if not kept:
                print(f"not kept {path.name}: {failed}")
                continue
            compared += 1
            with tally.check(f"{path.name}: JSON, W15 W16 W18 W20 W23 W24"):
                Compared(server, file).check()
            if shutil.which("dcm2xml") and len(file) < DCMTK_READS_MAX:
                with tally.check(f"{path.name}: XML as dcm2xml writes it"):
                    check_xml(server, file, folder)
        with tally.check("most of the test files were compared"):
            assert compared > 60, f"{compared} files"
    if not shutil.which("dcm2xml"):
        tally.miss("XML beside dcm2xml", "dcm2xml")


def check_made(server, tally):
    """What the test files do not have."""
    for name, (vr, raw, expected) in VALUES.items():
        with tally.check(name):
            file, uids = file_of("ISO_IR 192", [(TAG_OF[vr], vr, raw)])
            equal("element", stored_metadata(server, file, uids)[f"{TAG_OF[vr]:08X}"], expected)
    with tally.check("attributes that came as UN are known by the dictionary, private ones stay bytes, W24b"):
        check_unknown(server)
    with tally.check("bulk data in items is given by its URI, W16 W24b"):
        check_nested_bulk(server)
    with tally.check("group lengths stay out and the stored syntax is told, W24 W25"):
        check_left_out(server)
    with tally.check(f"{DEPTH_MAX} sequences deep is kept and one more refused, W23"):
        check_depth(server)


TAG_OF = {"DS": 0x00280030, "IS": 0x00201209, "FD": 0x00409225, "FL": 0x00189073, "PN": 0x00081070,
          "CS": 0x00080008, "SQ": 0x00400275, "US": 0x00280010, "AT": 0x00280009}
VALUES = {
    "IS and DS are numbers, W18": ("DS", b"1.50\\ 2 \\+1E2", {"vr": "DS", "Value": [1.5, 2, 100]}),
    "DS keeps its digits, W18": ("DS", b"0.10000000000000001", {"vr": "DS", "Value": ["0.10000000000000001"]}),
    "IS that is no number stays text, W18": ("IS", b"1A", {"vr": "IS", "Value": ["1A"]}),
    "NaN and infinity are text, W19": ("FD", struct.pack("<3d", math.nan, -math.inf, 0.1),
                                       {"vr": "FD", "Value": ["NaN", "-inf", 0.1]}),
    "FL has the digits of single precision, W19": ("FL", struct.pack("<f", 0.1), {"vr": "FL", "Value": [0.1]}),
    "empty values are null, W20": ("CS", b"A\\\\B\\", {"vr": "CS", "Value": ["A", None, "B", None]}),
    "an empty element has its vr alone, W20": ("PN", b"", {"vr": "PN"}),
    "empty groups of a name stay out, W20": ("PN", b"=\xe5\xb1\xb1=", {"vr": "PN", "Value": [{"Ideographic": "山"}]}),
    "an empty name is null, W20": ("PN", b"A\\==", {"vr": "PN", "Value": [{"Alphabetic": "A"}, None]}),
    "an empty item is an object, W20": ("SQ", item(b""), {"vr": "SQ", "Value": [{}]}),
    "an empty sequence has its vr alone, W20": ("SQ", b"", {"vr": "SQ"}),
    "tags are eight digits": ("AT", struct.pack("<HH", 0x0018, 0x106A), {"vr": "AT", "Value": ["0018106A"]}),
}


def check_unknown(server):
    file, uids = file_of("ISO_IR 144", [
        (0x00100010, "UN", "Иван".encode("iso8859-5")), (0x00280010, "UN", struct.pack("<H", 513)),
        (0x00090010, "LO", b"ACME"), (0x00091001, "UN", b"\x01\x02\x03\x04"),
    ])
    found = stored_metadata(server, file, uids)
    equal("name", found["00100010"], {"vr": "PN", "Value": [{"Alphabetic": "Иван"}]})
    equal("rows", found["00280010"], {"vr": "US", "Value": [513]})
    equal("private", found["00091001"], {"vr": "UN", "InlineBinary": "AQIDBA=="})


def check_nested_bulk(server):
    large, small = bytes(range(256)) * 20, b"\x01\x02"
    nested = item(element(0x00420011, "OB", small)) + item(element(0x00420011, "OB", large))
    file, uids = file_of("", [(0x00400275, "SQ", item(element(0x00081032, "SQ", nested)))])
    found = stored_metadata(server, file, uids)
    first, second = found["00400275"]["Value"][0]["00081032"]["Value"]
    equal("inline", first["00420011"], {"vr": "OB", "InlineBinary": "AQI="})
    uri = second["00420011"]["BulkDataURI"]
    answer = requests.get(uri, headers={"Accept": "application/octet-stream"}, timeout=dicomweb.TIMEOUT_S)
    equal("bulk data", answer.content, large)


def check_left_out(server):
    length = struct.pack("<I", 10)
    file, uids = file_of("", [(0x00080000, "UL", length), (0x00100000, "UL", length), (0x00100020, "LO", b"A")])
    found = stored_metadata(server, file, uids)
    equal("group lengths", [tag for tag in found if tag.endswith("0000")], [])
    equal("file meta", [tag for tag in found if tag.startswith("0002")], [])
    equal("syntax", found["00083002"], {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]})
    equal("order", list(found), sorted(found))


def check_depth(server):
    content = element(0x00400009, "SH", b"deep")
    for _ in range(DEPTH_MAX - 1):
        content = element(0x00400275, "SQ", item(content))
    file, uids = file_of("", [(0x00400275, "SQ", item(content))])
    found = stored_metadata(server, file, uids)
    for _ in range(DEPTH_MAX):
        found = found["00400275"]["Value"][0]
    equal("the deepest", found["00400009"]["Value"], ["deep"])
    deeper = element(0x00400275, "SQ", item(content))
    kept, failed = dicomweb.store(server, [file_of("", [(0x00400275, "SQ", item(deeper))])[0]])
    assert not kept and failed, f"kept {kept}, failed {failed}"


def files():
    return sorted(path for folder in part10.corpus() for path in folder.rglob("*.dcm") if path.stat().st_size < 8 << 20)


def prepared(path):
    """The file, with UIDs of its own where it has none or shares them; None when it is no data set."""
    try:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID
    except (pydicom.errors.InvalidDicomError, AttributeError, EOFError, ValueError):
        return None
    if "DirectoryRecordSequence" in dataset:
        return None
    dataset.StudyInstanceUID = dataset.get("StudyInstanceUID") or generate_uid()
    dataset.SeriesInstanceUID = dataset.get("SeriesInstanceUID") or generate_uid()
    dataset.SOPClassUID = dataset.get("SOPClassUID") or "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    try:
        return part10.encoded(dataset)
    except (AttributeError, EOFError, ValueError, TypeError, KeyError, NotImplementedError):
        return None


def metadata(server, dataset, accept):
    place = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    url = "{}/studies/{}/series/{}/instances/{}/metadata".format(server.web, *place)
    answer = requests.get(url, headers={"Accept": accept}, timeout=dicomweb.TIMEOUT_S)
    answer.raise_for_status()
    return answer


class Compared:
    """One file: what pydicom reads beside what the server says."""

    def __init__(self, server, file):
        self.dataset = pydicom.dcmread(io.BytesIO(file))
        self.syntax = self.dataset.file_meta.TransferSyntaxUID
        self.found = metadata(server, self.dataset, dicomweb.JSON).json()[0]

    def check(self):
        self.dataset.decode()
        self.data_set(self.dataset, self.found, "")

    def data_set(self, read, found, path):
        expected = {f"{tag:08X}" for tag in read.keys() if tag.element != 0}
        available = {"00083002"} if not path else set()
        equal(f"attributes{path}", set(found) - available, expected - available)
        equal(f"order{path}", list(found), sorted(found))
        for tag in read.keys():
            if tag.element != 0:
                self.element(read[tag], found[f"{tag:08X}"], f"{path} {tag:08X}")

    def element(self, read, found, path):
        # The VR of implicit private and ambiguous elements is pydicom's guess against ours.
        vr = found["vr"]
        assert vr == read.VR or vr in ("UN", "OB", "OW", "US", "SS"), f"{path}: {vr} in place of {read.VR}"
        if "BulkDataURI" in found:
            self.bulk(read, found, path)
        elif vr == "SQ":
            self.items(read, found, path)
        elif vr in BINARY:
            self.binary(read, found, path)
        else:
            self.values(vr, found.get("Value", []), expected_values(read), path)

    def items(self, read, found, path):
        items = found.get("Value", [])
        equal(f"items{path}", len(items), len(read.value))
        for at, item in enumerate(read.value):
            self.data_set(item, items[at], f"{path}/{at}")

    def binary(self, read, found, path):
        if read.VR in ("SQ", *BINARY) and isinstance(read.value, bytes):
            equal(f"bytes{path}", base64.b64decode(found.get("InlineBinary", "")), self.little_endian(read))

    def bulk(self, read, found, path):
        if read.tag == PIXEL_DATA and self.syntax.is_compressed or not isinstance(read.value, bytes):
            return
        answer = requests.get(found["BulkDataURI"], headers={"Accept": "application/octet-stream"},
                              timeout=dicomweb.TIMEOUT_S)
        equal(f"status{path}", answer.status_code, 200)
        assert answer.content == self.little_endian(read), f"{path}: other bytes behind the BulkDataURI"

    def little_endian(self, read):
        width = WIDTHS.get(read.VR, 1)
        if read.tag == PIXEL_DATA and read.VR == "OW":
            # Words of pixels are as wide as the pixels, as pydicom decodes them too.
            width = max(width, self.dataset.get("BitsAllocated", 16) // 8)
        if self.syntax != ExplicitVRBigEndian or width == 1:
            return read.value
        return b"".join(read.value[at : at + width][::-1] for at in range(0, len(read.value), width))

    def values(self, vr, actual, expected, path):
        if all(one in (None, "", {}) for one in expected):
            expected = []
        equal(f"number of values{path}", len(actual), len(expected))
        for one, other in zip(actual, expected):
            assert same(vr, one, other), f"{path} {vr}: {one!r} in place of {other!r}"


def expected_values(read):
    """What pydicom writes; the text itself where it takes no number from it."""
    try:
        return read.to_json_dict(None, None).get("Value", [])
    except ValueError:
        several = read.value if read.VM > 1 else [read.value]
        return [str(value) for value in several]


def same(vr, actual, expected):
    if expected in (None, "", {}) or actual is None:
        return actual is None and expected in (None, "", {})
    if vr in FLOATS and isinstance(actual, str):
        return not math.isfinite(float(actual)) and repr(float(actual)) == repr(float(expected))
    if vr in (*NUMBER_TEXT, *FLOATS):
        return same_number(actual, expected, single=vr == "FL")
    if vr == "PN":
        return actual == {group: text.rstrip() for group, text in expected.items() if text}
    if isinstance(expected, str):
        return actual.strip() == expected.strip() and not isinstance(actual, (int, float))
    return actual == expected


def same_number(actual, expected, single):
    if single:
        return math.isclose(actual, expected, rel_tol=1e-6)
    try:
        return Decimal(str(actual)) == Decimal(str(expected)) or float(actual) == float(expected)
    except (InvalidOperation, ValueError):
        return str(actual).strip() == str(expected).strip()


def is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def check_xml(server, file, folder):
    dataset = pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True)
    ours = ElementTree.fromstring(metadata(server, dataset, XML).content)
    equal("root", ours.tag, f"{NAMESPACE}NativeDicomModel")
    (folder / "file.dcm").write_bytes(file)
    command = ["dcm2xml", "--quiet", "--native-format", "--use-xml-namespace", "--convert-to-utf8", "--encode-base64", str(folder / "file.dcm")]
    done = subprocess.run(command, capture_output=True, timeout=60)
    if done.returncode != 0:
        print(f"dcm2xml: {done.stderr.decode(errors='replace').strip()[:200]}")
        return
    theirs = ElementTree.fromstring(re.sub(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", b"", done.stdout))
    compare_models(ours, theirs, "")


def compare_models(ours, theirs, path):
    """Elements that both have; pydicom has said already that none is missing."""
    own = {key_of(element): element for element in ours}
    for other in theirs:
        element = own.get(key_of(other))
        # Group lengths stay out; the character set is that of the source, which DCMTK replaces by its own.
        if element is None or other.get("tag").endswith(("0000", "00080005")):
            continue
        where = f"{path} {other.get('tag')}"
        if element.get("vr") == other.get("vr"):
            equal(f"keyword{where}", element.get("keyword"), other.get("keyword") or element.get("keyword"))
            compare_content(element, other, where)


def key_of(element):
    return element.get("tag"), (element.get("privateCreator") or "").strip()


def compare_content(ours, theirs, path):
    for own, other in zip(list(ours), list(theirs)):
        if "BulkData" in own.tag or "BulkData" in other.tag or "InlineBinary" in own.tag:
            continue
        equal(f"content{path}", own.tag, other.tag)
        equal(f"number{path}", own.get("number"), other.get("number"))
        if own.tag.endswith("Item"):
            compare_models(own, other, f"{path}/{own.get('number')}")
        elif own.tag.endswith("PersonName"):
            equal(f"name{path}", components(own), components(other))
        else:
            compare_value(ours.get("vr"), own.text or "", other.text or "", path)


def components(name):
    return {f"{group.tag} {part.tag}": part.text.strip() for group in name for part in group if (part.text or "").strip()}


def compare_value(vr, own, other, path):
    own, other = own.strip(), other.replace("\r\n", "\n").strip()
    if vr in (*NUMBER_TEXT, *FLOATS) and is_number(own) and is_number(other):
        assert math.isclose(float(own), float(other), rel_tol=1e-6), f"{path}: {own} in place of {other}"
    else:
        equal(f"value{path}", own.replace("\r\n", "\n"), other)
