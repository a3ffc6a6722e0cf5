#!/usr/bin/env python3
"""Asks a running server for every test file in every transfer syntax it may make.

usage: check_transcoding.py URL [FOLDER ...]

URL is the DICOMweb root, as in http://127.0.0.1:8080/dicom-web. Without folders the test files
that the pydicom package carries are used. What comes back must be whole, in the syntax it says,
and decode (by pydicom and its plug-ins) to the pixels of the file that went in; frames are asked
for as well. A form that the server does not have is 406, never another error. Prints
"N passed, N failed, N skipped" and a table of which source became which target; exits 1 when a
check failed, 2 when the client is not installed.
"""

import io
import random
import sys
import warnings
from collections import Counter, defaultdict

try:
    import numpy
    import pydicom
    import requests
    from pydicom.pixels import pixel_array
except ImportError as missing:
    print(f"0 passed, 0 failed, 1 skipped: {missing}")
    sys.exit(2)

from check_clients import test_files

EXPLICIT = "1.2.840.10008.1.2.1"
NATIVE = {"1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}
LOSSY = {f"1.2.840.10008.1.2.4.{end}" for end in ("50", "51", "81", "91", "203")}
# Lossless targets; the media type of their frames.
TARGETS = {
    EXPLICIT: "application/octet-stream",
    "1.2.840.10008.1.2.1.99": None,
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.110": "image/jxl",
    "1.2.840.10008.1.2.8.1": "application/octet-stream",
}
JPEG_XL = "1.2.840.10008.1.2.4.110"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
BASELINE = "1.2.840.10008.1.2.4.50"


def store(url, data):
    body = b'\r\n--gate\r\nContent-Type: application/dicom\r\n\r\n' + data + b"\r\n--gate--"
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary="gate"'}
    return requests.post(f"{url}/studies", data=body, headers=headers, timeout=60)


def pixels(dataset):
    """Stored values, colours as RGB; None for what the judge cannot decode."""
    try:
        return pixel_array(dataset)
    except Exception:
        return None


def compare(found, expected, lossy):
    if found is None:
        return "cannot be decoded by the judge"
    if found.shape != expected.shape:
        return f"shape {found.shape} instead of {expected.shape}"
    if lossy:
        mean = numpy.abs(found.astype(float) - expected.astype(float)).mean()
        return None if mean <= 3 else f"differs by {mean:.2f} in the mean"
    if numpy.array_equal(found, expected):
        return None
    difference = numpy.abs(found.astype(numpy.int64) - expected.astype(numpy.int64))
    return f"{(difference > 0).sum()} of {difference.size} values differ, by {difference.max()} at most"


class Tally:
    def __init__(self):
        self.counts = Counter()
        self.table = defaultdict(Counter)

    def note(self, outcome, source, target, subject, reason=""):
        self.counts[outcome] += 1
        self.table[source, target][outcome] += 1
        if outcome == "failed":
            print(f"FAILED {subject} {source} -> {target}: {reason}")

    def summary(self):
        for (source, target), outcomes in sorted(self.table.items()):
            print(f"  {source} -> {target}: " + ", ".join(f"{n} {name}" for name, n in sorted(outcomes.items())))
        print("{passed} passed, {failed} failed, {skipped} skipped".format_map(defaultdict(int, self.counts)))
        return 1 if self.counts["failed"] else 0


def tolerance(source, dataset):
    """Colours of DCT-based JPEG are rounded differently by every decoder."""
    return source in LOSSY or str(dataset.get("PhotometricInterpretation", "")).startswith("YBR")


def check_object(tally, url, name, dataset, expected, source, target):
    accept = f"application/dicom; transfer-syntax={target}"
    response = requests.get(url, headers={"Accept": accept}, timeout=120)
    if response.status_code == 406:
        return tally.note("refused", source, target, name)
    if response.status_code != 200:
        return tally.note("failed", source, target, name, f"{response.status_code} {response.text[:200]}")
    if "Content-Length" in response.headers and int(response.headers["Content-Length"]) != len(response.content):
        return tally.note("failed", source, target, name, "Content-Length is wrong")
    made = pydicom.dcmread(io.BytesIO(response.content))
    if str(made.file_meta.TransferSyntaxUID) != target:
        return tally.note("failed", source, target, name, f"is {made.file_meta.TransferSyntaxUID}")
    if target == BASELINE != source and made.SOPInstanceUID == dataset.SOPInstanceUID:
        return tally.note("failed", source, target, name, "a lossy copy has the UID of its source")
    reason = differing_attribute(dataset, made)
    if reason is None and target not in (JPEG_XL, DEFLATED_FRAME):
        lossy = target == BASELINE or tolerance(source, dataset)
        reason = compare(pixels(made), expected, lossy)
    tally.note("failed" if reason else "passed", source, target, name, reason)


# What a codec may change.
PIXEL_ATTRIBUTES = {0x00280002, 0x00280004, 0x00280006, 0x00280100, 0x00280101, 0x00280102}
DERIVED = {0x00080008, 0x00080018, 0x00082111, 0x00082112, 0x00282110, 0x00282112, 0x00282114}


def differing_attribute(before, after):
    ignored = PIXEL_ATTRIBUTES | DERIVED | {0x7FE00010, 0x7FE00001, 0x7FE00002}
    for element in before:
        tag = int(element.tag)
        if element.tag.element == 0 or tag in ignored or element.VR == "UN":
            continue
        if element.tag not in after:
            return f"{element.tag} is gone"
        if after[element.tag].VR != "UN" and after[element.tag].value != element.value:
            return f"{element.tag} is {after[element.tag].value!r} instead of {element.value!r}"
    return None


def check_round_trip(tally, url, name, expected, source, target):
    """For syntaxes that the judge cannot decode: back through the server's own decoder, natively."""
    accept = f"application/dicom; transfer-syntax={target}"
    made = requests.get(url, headers={"Accept": accept}, timeout=120)
    if made.status_code != 200:
        return
    uid = url.rsplit("/", 1)[1]
    # Of the same length, so that it can be put in its place in a syntax that the judge cannot write.
    another = "2.25." + "".join(random.choices("123456789", k=len(uid) - 5))
    stored = store(url.split("/studies/")[0], made.content.replace(uid.encode(), another.encode()))
    if stored.status_code != 200:
        return tally.note("failed", target, EXPLICIT, name, f"cannot be stored: {stored.text[:200]}")
    path = f"{url.rsplit('/', 1)[0]}/{another}"
    native = requests.get(path, headers={"Accept": f"application/dicom; transfer-syntax={EXPLICIT}"}, timeout=120)
    found = pixels(pydicom.dcmread(io.BytesIO(native.content))) if native.status_code == 200 else None
    reason = compare(found, expected, False)
    tally.note("failed" if reason else "passed", target, EXPLICIT, name, reason)


def check_frame(tally, url, name, dataset, expected, source):
    """The first frame, native, is what the metadata of the object describe."""
    accept = f'multipart/related; type="application/octet-stream"; transfer-syntax={EXPLICIT}'
    response = requests.get(f"{url}/frames/1", headers={"Accept": accept}, timeout=120)
    if response.status_code == 406:
        return tally.note("refused", source, "frame", name)
    head, _, rest = response.content.partition(b"\r\n\r\n")
    frame = rest[: rest.rfind(b"\r\n--")]
    first = expected[0] if int(dataset.get("NumberOfFrames", 1) or 1) > 1 else expected
    if dataset.get("SamplesPerPixel", 1) != 1 or dataset.BitsAllocated == 1:
        return
    wanted = first.astype(first.dtype.newbyteorder("<")).tobytes()
    if source in (EXPLICIT, "1.2.840.10008.1.2"):
        # With whatever lies in the bits that are not stored.
        wanted = dataset.PixelData[: len(wanted)]
    reason = None if frame[: len(wanted)] == wanted else f"{len(frame)} bytes differ from {len(wanted)}"
    tally.note("failed" if reason else "passed", source, "frame", name, reason)


def main(url, folders):
    warnings.simplefilter("ignore")
    tally, url, seen = Tally(), url.rstrip("/"), set()
    for path in test_files(folders):
        data = path.read_bytes()
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        if "Rows" not in dataset or dataset.get("SOPInstanceUID") in seen or store(url, data).status_code != 200:
            continue
        seen.add(dataset.SOPInstanceUID)
        expected = pixels(dataset)
        source = str(dataset.file_meta.TransferSyntaxUID)
        if expected is None:
            tally.note("skipped", source, "-", path.name)
            continue
        uids = [str(dataset[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
        instance = "{}/studies/{}/series/{}/instances/{}".format(url, *uids)
        for target in [*TARGETS, BASELINE]:
            check_object(tally, instance, path.name, dataset, expected, source, target)
        if source not in LOSSY:
            for target in (JPEG_XL, DEFLATED_FRAME):
                check_round_trip(tally, instance, path.name, expected, source, target)
            check_frame(tally, instance, path.name, dataset, expected, source)
    return tally.summary()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
