#!/usr/bin/env python3
"""Drives a running server with the Python DICOMweb client.

usage: check_clients.py URL [FOLDER ...]

URL is the DICOMweb root, as in http://127.0.0.1:8080/dicom-web. Without folders the test files
that the pydicom package carries are used. Every file is stored as it lies on the disk; what the
server acknowledges must come back bit by bit and be found, described, rendered and read frame by
frame. Then the whole public API of that client is used, and the requests of the OHIF viewer are sent
as a browser sends them. Prints "N passed, N failed, N skipped" and exits 1 when a check failed, 2 when the client
is not installed.
"""

import sys
from collections import Counter
from io import BytesIO
from pathlib import Path

try:
    import pydicom
    import requests
    from dicomweb_client.api import DICOMwebClient
    from pydicom.tag import Tag

    import client_api
    import viewer_requests
except ImportError as missing:
    print(f"0 passed, 0 failed, 1 skipped: {missing}")
    sys.exit(2)

NATIVE = "1.2.840.10008.1.2.1"
# PS3.18 8.7.3: Implicit VR Little Endian and Explicit VR Big Endian.
NEVER_SENT = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
BINARY = ("OB", "OW", "OF", "OD", "OL", "OV", "UN", "SQ")
MEDIA_TYPES = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
}


class Checks:
    """Counts outcomes by the name of the check."""

    def __init__(self):
        self.passed, self.failed, self.skipped = Counter(), Counter(), Counter()

    def run(self, name, subject, check):
        try:
            outcome = check()
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        if outcome is None or outcome is True:
            self.passed[name] += 1
        else:
            self.failed[name] += 1
            print(f"FAILED {name} {subject}: {str(outcome)[:300]}")

    def skip(self, name, subject, reason):
        self.skipped[name] += 1
        print(f"skipped {name} {subject}: {reason}")

    def summary(self):
        for name in sorted({*self.passed, *self.failed}):
            print(f"  {name}: {self.passed[name]}/{self.passed[name] + self.failed[name]}")
        totals = [sum(counter.values()) for counter in (self.passed, self.failed, self.skipped)]
        print("{} passed, {} failed, {} skipped".format(*totals))
        return 1 if totals[1] else 0


def data_set(file):
    """What follows the file meta information (PS3.10 7.1)."""
    return file[144 + int.from_bytes(file[140:144], "little") :]


def decodes(dataset):
    try:
        return dataset.pixel_array is not None
    except Exception:
        return False


def frame_count(dataset):
    try:
        return max(int(dataset.get("NumberOfFrames", 1) or 1), 1)
    except ValueError:
        return 1


def test_files(folders):
    if not folders:
        folders = [Path(pydicom.__file__).parent / "data"]
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and path.read_bytes()[128:132] == b"DICM":
                yield path


def acknowledged(response):
    """Whether the one object of a STOW request was stored."""
    return response.status_code == 200 and Tag("ReferencedSOPSequence") in pydicom.Dataset.from_json(response.text)


def store(url, data):
    body = b"\r\n--gate\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--gate--"
    headers = {
        "Content-Type": 'multipart/related; type="application/dicom"; boundary="gate"',
        "Accept": "*/*",
        "Host": requests.utils.urlparse(url).hostname,
    }
    return requests.post(f"{url}/studies", data=body, headers=headers, timeout=60)


class Instance:
    """One acknowledged object and what is asked about it."""

    def __init__(self, client, path, data):
        self.client, self.path, self.data = client, path, data
        self.dataset = pydicom.dcmread(path, force=True)
        self.uids = tuple(
            str(self.dataset.get(name, "")).strip("\0 ")
            for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        )
        self.syntax = str(self.dataset.file_meta.TransferSyntaxUID)

    @property
    def url(self):
        study, series, instance = self.uids
        return f"{self.client.base_url}/studies/{study}/series/{series}/instances/{instance}"

    def bit_exact(self):
        accept = {"Accept": "application/dicom; transfer-syntax=*"}
        found = requests.get(self.url, headers=accept, timeout=60).content
        if self.syntax in NEVER_SENT:
            return self.same_elements(found)
        if self.has_own_meta():
            return found == self.data
        return data_set(found) == data_set(self.data) or "the data set is another"

    def has_own_meta(self):
        """Whether the file meta information names this object; otherwise a server writes its own."""
        meta = self.dataset.file_meta
        named = meta.get("MediaStorageSOPClassUID"), meta.get("MediaStorageSOPInstanceUID")
        return named == (self.dataset.get("SOPClassUID"), self.dataset.get("SOPInstanceUID"))

    def same_elements(self, file):
        """Of an object that is sent in another syntax than it came in."""
        found = pydicom.dcmread(BytesIO(file))
        if found.file_meta.TransferSyntaxUID in NEVER_SENT:
            return f"{found.file_meta.TransferSyntaxUID} was sent"
        text = [e.tag for e in self.dataset if e.VR not in BINARY and e.tag.element and not e.tag.is_private]
        others = [tag for tag in text if found.get(tag) != self.dataset[tag]]
        return not others or f"others: {others}"

    def parsed(self):
        media_types = (("application/dicom", "*"),)
        found = self.client.retrieve_instance(*self.uids, media_types=media_types)
        return found.SOPInstanceUID == self.uids[2]

    def metadata(self):
        found = self.client.retrieve_instance_metadata(*self.uids)
        tags = {f"{element.tag:08X}" for element in self.dataset if element.tag.element != 0}
        missing = tags - set(found[0] if isinstance(found, list) else found)
        return not missing or f"missing {sorted(missing)}"

    def searched(self):
        found = self.client.search_for_instances(search_filters={"SOPInstanceUID": self.uids[2]})
        return len(found) == 1 and found[0]["00080018"]["Value"] == [self.uids[2]]

    def bulkdata(self):
        metadata = self.client.retrieve_instance_metadata(*self.uids)
        metadata = metadata[0] if isinstance(metadata, list) else metadata
        for key, element in metadata.items():
            if "BulkDataURI" not in element or key == "7FE00010":
                continue
            wanted = self.dataset[Tag(int(key, 16))]
            found = self.client.retrieve_bulkdata(element["BulkDataURI"])[0]
            if isinstance(wanted.value, bytes) and found != wanted.value:
                return f"{key} differs"
        return None

    def frames(self):
        numbers = list(range(1, min(frame_count(self.dataset), 3) + 1))
        media_type = MEDIA_TYPES.get(self.syntax, "application/octet-stream")
        found = self.client.retrieve_instance_frames(*self.uids, numbers, media_types=((media_type, "*"),))
        if len(found) != len(numbers) or not all(found):
            return f"{len(found)} frames of {len(numbers)}"
        return None

    def decoded_frame(self):
        """The native frame is what pydicom decodes, for integer grayscale."""
        found = self.client.retrieve_instance_frames(
            *self.uids, [1], media_types=(("application/octet-stream", NATIVE),)
        )[0]
        expected = self.dataset.pixel_array
        expected = expected[0] if frame_count(self.dataset) > 1 else expected
        width = self.dataset.BitsAllocated // 8
        expected = expected.astype(expected.dtype.newbyteorder("<")).tobytes()
        return found[: len(expected)] == expected or f"{len(found)} bytes, {len(expected)} expected, {width} per value"

    def rendered(self):
        """A picture, or 406 for what pydicom cannot decode either; never another error."""
        response = requests.get(f"{self.url}/rendered", headers={"Accept": "image/jpeg"}, timeout=60)
        if response.status_code == 406 and not decodes(self.dataset):
            return True
        found = self.client.retrieve_instance_rendered(*self.uids, media_types=("image/jpeg",))
        return found[:2] == b"\xff\xd8"


def check_instance(checks, instance):
    name, dataset = instance.path.name, instance.dataset
    for check in ("bit_exact", "parsed", "metadata", "searched", "bulkdata"):
        checks.run(check, name, getattr(instance, check))
    if "PixelData" not in dataset or "Rows" not in dataset:
        return
    checks.run("frames", name, instance.frames)
    checks.run("rendered", name, instance.rendered)
    if dataset.get("SamplesPerPixel") == 1 and dataset.get("BitsAllocated", 0) in (8, 16):
        if not decodes(dataset):
            return checks.skip("decoded_frame", name, "pydicom cannot decode it")
        checks.run("decoded_frame", name, instance.decoded_frame)


def check_searches(checks, client, instances):
    for instance in instances:
        dataset, study = instance.dataset, instance.uids[0]

        def finds(filters):
            found = client.search_for_studies(search_filters=filters, limit=1000)
            return any(one["0020000D"]["Value"] == [study] for one in found) or f"{filters} found {len(found)}"

        name = str(dataset.get("PatientName", "")).strip()
        checks.run("study_by_uid", study, lambda: finds({"StudyInstanceUID": study}))
        if name and name.isascii() and not set(name) & set("*?="):
            checks.run("study_by_name", study, lambda: finds({"PatientName": f"{name[:3].lower()}*"}))
        patient = str(dataset.get("PatientID", "") or "").strip()
        if patient and not set(patient) & set("*?"):
            checks.run("study_by_patient", study, lambda: finds({"PatientID": patient}))
        date = str(dataset.get("StudyDate", "") or "")
        if len(date) == 8 and date.isdigit():
            checks.run("study_by_date", study, lambda: finds({"StudyDate": f"{date}-{date}"}))
        checks.run("study_metadata", study, lambda: bool(client.retrieve_study_metadata(study)))


def main(url, folders):
    checks, url = Checks(), url.rstrip("/")
    client = DICOMwebClient(url, permissive_uid=True)
    # A failure is a failure, and is not waited for.
    client.set_http_retry_params(retry=False)
    kept = {}
    for path in test_files(folders):
        data = path.read_bytes()
        try:
            response = store(url, data)
        except requests.RequestException as error:
            checks.run("answered", path.name, lambda: str(error))
            continue
        checks.run("answered", path.name, lambda: response.status_code in (200, 400, 409) or response.text)
        if not acknowledged(response):
            print(f"refused {path.name}: {response.text[:200]}")
            continue
        instance = Instance(client, path, data)
        kept.setdefault(instance.uids[2], instance)
    for instance in kept.values():
        check_instance(checks, instance)
    first_of_study = {instance.uids[0]: instance for instance in reversed(list(kept.values()))}
    check_searches(checks, client, first_of_study.values())
    client_api.run(checks, url)
    viewer_requests.run(checks, url)
    print(f"{len(kept)} instances in {len(first_of_study)} studies were acknowledged")
    return checks.summary()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
