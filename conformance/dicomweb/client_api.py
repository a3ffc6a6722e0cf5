"""Every public method of the Python DICOMweb client, on objects made for the run."""

from inspect import getmembers, isfunction
from io import BytesIO

import pydicom
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from requests import HTTPError

import dataset
import documents
import syntaxes
from pictures import IDENTITY

CHECKS = []
PUBLIC = {name for name, _ in getmembers(DICOMwebClient, isfunction) if not name.startswith("_")}


def check(function):
    CHECKS.append(function)
    return function


class Recorder:
    """The client, with the names of what was called."""

    def __init__(self, client):
        self.client, self.called = client, set()

    def __getattr__(self, name):
        self.called.add(name)
        return getattr(self.client, name)


class Study:
    """Two series, one of them with two images, a colour JPEG of two frames, and a document."""

    def __init__(self):
        first, second = dataset.two_images()
        made = dataset.in_one_study(first, second, dataset.multi_frame(3, **IDENTITY), documents.pdf())
        self.first, self.second, self.frames, self.pdf = made
        self.all = made
        self.jpeg = dataset.of_the_study_of(first, syntaxes.jpeg(dataset.multi_frame(2)))
        self.uid, self.series = first.StudyInstanceUID, first.SeriesInstanceUID


def uids(one):
    return one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID


def file_of(made):
    return pydicom.dcmread(BytesIO(dataset.file_of(made)))


def same(what, actual, expected):
    assert actual == expected, f"{what}: {str(actual)[:200]} in place of {str(expected)[:200]}"


def instances(found):
    return sorted(one.SOPInstanceUID for one in found)


def refused(call, *arguments):
    try:
        call(*arguments)
    except HTTPError as error:
        return error.response.status_code
    return None


@check
def store_instances(client, study):
    stored = client.store_instances([file_of(made) for made in study.all])
    same("stored", sorted(item.ReferencedSOPInstanceUID for item in stored.ReferencedSOPSequence), instances(study.all))
    assert "FailedSOPSequence" not in stored, "something failed"
    into_its_study = client.store_instances([file_of(study.jpeg)], study_instance_uid=study.uid)
    same("stored into its study", len(into_its_study.ReferencedSOPSequence), 1)


@check
def store_instances_of_another_study(client, study):
    same("status", refused(client.store_instances, [file_of(dataset.ct())], study.uid), 409)


@check
def search_for_studies(client, study):
    [found] = client.search_for_studies(
        search_filters={"PatientID": study.first.PatientID}, fields=["StudyDescription"]
    )
    same("study", found["0020000D"]["Value"], [study.uid])
    same("by a pattern", len(client.search_for_studies(search_filters={"PatientID": f"*{dataset.TOKEN}*"}, limit=1)), 1)
    client.search_for_studies(fuzzymatching=True, limit=5, offset=2, search_filters={"PatientName": "Rows*^C"})


@check
def search_for_series(client, study):
    found = client.search_for_series(study.uid, fields=["00080021"])
    same("series", len(found), 4)
    [series] = client.search_for_series(search_filters={"SeriesInstanceUID": study.series, "Modality": "CT"})
    same("instances of the series", series["00201209"]["Value"], [2])


@check
def search_for_instances(client, study):
    same("of the series", len(client.search_for_instances(study.uid, study.series)), 2)
    same("of the study", len(client.search_for_instances(study.uid)), 5)
    one = client.search_for_instances(search_filters={"SOPInstanceUID": study.pdf.SOPInstanceUID})
    same("of the archive", one[0]["00080018"]["Value"], [study.pdf.SOPInstanceUID])


@check
def search_for_the_remaining(client, study):
    every = client.search_for_instances(study.uid, limit=2, get_remaining=True)
    same(
        "instances by pages of two",
        sorted(one["00080018"]["Value"][0] for one in every),
        instances([*study.all, study.jpeg]),
    )


@check
def retrieve_study(client, study):
    same("instances", instances(client.retrieve_study(study.uid)), instances([*study.all, study.jpeg]))
    same("one by one", instances(client.iter_study(study.uid)), instances([*study.all, study.jpeg]))


@check
def retrieve_series(client, study):
    found = client.retrieve_series(study.uid, study.series, media_types=(("application/dicom", "*"),))
    same("instances", instances(found), instances([study.first, study.second]))
    same("one by one", instances(client.iter_series(study.uid, study.series)), instances([study.first, study.second]))


@check
def retrieve_instance(client, study):
    same("pixels", client.retrieve_instance(*uids(study.first)).PixelData, study.first.PixelData)
    jpeg = client.retrieve_instance(*uids(study.jpeg), media_types=(("application/dicom", "*"),))
    same("syntax", jpeg.file_meta.TransferSyntaxUID, study.jpeg.syntax)


@check
def retrieve_metadata(client, study):
    same("of the study", len(client.retrieve_study_metadata(study.uid)), 5)
    same("of the series", len(client.retrieve_series_metadata(study.uid, study.series)), 2)
    found = pydicom.Dataset.from_json(client.retrieve_instance_metadata(*uids(study.first)), lambda *_: b"")
    same("position", found.ImagePositionPatient, study.first.ImagePositionPatient)


@check
def retrieve_instance_frames(client, study):
    expected = [dataset.shades(frame=frame) for frame in (3, 1)]
    native = (("application/octet-stream", "1.2.840.10008.1.2.1"),)
    same("any type", client.retrieve_instance_frames(*uids(study.frames), [3, 1]) == expected, True)
    same("octets", client.retrieve_instance_frames(*uids(study.frames), [3, 1], media_types=native) == expected, True)
    same("one by one", list(client.iter_instance_frames(*uids(study.frames), [3, 1])) == expected, True)
    jpegs = client.retrieve_instance_frames(*uids(study.jpeg), [1, 2], media_types=(("image/jpeg", study.jpeg.syntax),))
    same("codestreams", [one.rstrip(b"\0") for one in jpegs], [one.rstrip(b"\0") for one in study.jpeg.codestreams])
    same("a frame that is not there", refused(client.retrieve_instance_frames, *uids(study.frames), [4]), 404)


@check
def retrieve_bulkdata(client, study):
    document = client.retrieve_instance_metadata(*uids(study.first))["7FE00010"]["BulkDataURI"]
    same("whole", client.retrieve_bulkdata(document)[0] == study.first.PixelData, True)
    same("one by one", b"".join(client.iter_bulkdata(document)) == study.first.PixelData, True)
    octets = ("application/octet-stream",)
    part = client.retrieve_bulkdata(document, media_types=octets, byte_range=(0, 99))
    # The client asks for a range of a multipart body: a server may send it whole (RFC 9110 14.2).
    assert part[0] in (study.first.PixelData[:100], study.first.PixelData), "a range has other bytes"


def picture(data):
    with Image.open(BytesIO(data)) as shown:
        return shown.format, shown.size


@check
def retrieve_rendered(client, study):
    whole = (dataset.COLUMNS, dataset.ROWS)
    for media_types, format in ((None, "JPEG"), (("image/jpeg",), "JPEG"), (("image/png",), "PNG")):
        same(
            "instance",
            picture(client.retrieve_instance_rendered(*uids(study.first), media_types=media_types)),
            (format, whole),
        )
        frame = client.retrieve_instance_frames_rendered(*uids(study.frames), [2], media_types=media_types)
        same("frame", picture(frame), (format, whole))
    small = client.retrieve_instance_rendered(
        *uids(study.first), params={"quality": 90, "viewport": "32,32"}, media_types=("image/jpeg",)
    )
    same("with parameters", picture(small), ("JPEG", (32, 24)))
    pdf = client.retrieve_instance_rendered(*uids(study.pdf), media_types=("application/pdf",))
    same("document", pdf.rstrip(b"\0"), documents.PDF.rstrip(b"\0"))


@check
def retrieve_series_rendered(client, study):
    found = client.retrieve_series_rendered(study.uid, study.series, media_types=("image/jpeg",))
    same("a picture is in it", b"\xff\xd8\xff" in found, True)


@check
def lookups_and_settings(client, study):
    same("tag", client.lookup_tag("PatientID"), "00100020")
    same("keyword", client.lookup_keyword("00100020"), "PatientID")
    client.set_chunk_size(1000)
    same("in small chunks", len(client.retrieve_series(study.uid, study.series)), 2)


@check
def delete(client, study):
    client.delete_instance(*uids(study.first))
    same("left in the series", len(client.search_for_instances(study.uid, study.series)), 1)
    client.delete_series(study.uid, study.series)
    same("left in the study", len(client.search_for_series(study.uid)), 3)
    client.delete_study(study.uid)
    same("left", client.search_for_studies(search_filters={"StudyInstanceUID": study.uid}), [])


def run(checks, url):
    client, study = Recorder(DICOMwebClient(url)), Study()
    client.set_http_retry_params(retry=False)
    for function in CHECKS:
        checks.run("api", function.__name__, lambda function=function: function(client, study))
    checks.run(
        "api", "every public method was called", lambda: not PUBLIC - client.called or f"not {PUBLIC - client.called}"
    )
