"""Volumes as NIfTI, read by nibabel and held against what pydicom says; and slices on any plane."""

import gzip
import io
import threading

import nibabel
import numpy
import requests
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from . import dicomweb, part10
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

SIDE, SLICES = 48, 12
AXIAL = ([1, 0, 0, 0, 1, 0], [0, 0, 2.5])
# Orientation, and the way from one slice to the next.
ORIENTATIONS = {
    "axial, towards the head": AXIAL,
    "axial, towards the feet": ([1, 0, 0, 0, 1, 0], [0, 0, -2.5]),
    "coronal": ([1, 0, 0, 0, 0, -1], [0, 3.0, 0]),
    "sagittal": ([0, 1, 0, 0, 0, -1], [1.5, 0, 0]),
    "prone": ([-1, 0, 0, 0, -1, 0], [0, 0, 2.0]),
    "oblique": ([0.8, 0.6, 0, 0, 0, -1], [-1.2, 1.6, 0]),
    "twice oblique": ([0.8, 0.48, -0.36, 0, 0.6, 0.8], [1.2, -1.28, 0.96]),
    "a tilted gantry": ([1, 0, 0, 0, 1, 0], [0, 0.5, 2.5]),
}


def run(context, tally):
    keys = {**WITHOUT_ANALYSIS, "volumes.plane_pixels_max": "100000", "analysis.volume_bytes_max": str(4 << 20)}
    with Server(context.binary, context.folder("volumes") / "data", keys) as server:
        for name, (orientation, step) in ORIENTATIONS.items():
            with tally.check(f"volumes: affine and values of a series that is {name}"):
                check_nifti(server, *series(orientation, step))
        with tally.check("volumes: values that are no whole numbers are floats"):
            check_nifti(server, *series(*AXIAL, slope="0.25"), numpy.float32)
        with tally.check("volumes: an Enhanced CT in one object"):
            check_nifti(server, *enhanced(*AXIAL))
        with tally.check("volumes: missing slices are told, refused as NIfTI and bridged in slices"):
            check_gap(server)
        with tally.check("volumes: an axial slice of an axial series is that slice; others are interpolated"):
            check_slices(server)
        with tally.check("volumes: entity tags, limits and refusals"):
            check_limits(server)
        with tally.check("volumes: many who ask at once get the same, or are told to come back"):
            check_many(server)


def slice_of(study, series_uid, number, orientation, position, slope="1"):
    """A slice whose stored values tell number, row and column."""
    made = dcmread(io.BytesIO(part10.image(study, number, side=SIDE)))
    made.SeriesInstanceUID = series_uid
    made.ImageOrientationPatient, made.ImagePositionPatient = orientation, [round(float(x), 6) for x in position]
    made.PixelSpacing, made.RescaleSlope, made.SliceThickness = ["0.7", "0.9"], slope, "2"
    made.WindowCenter, made.WindowWidth = "0", "2000"
    made.PixelData = numpy.random.default_rng(number).integers(0, 4096, (SIDE, SIDE), dtype=numpy.uint16).tobytes()
    return made


def series(orientation, step, slope="1", leave_out=()):
    """Stored in any order; the datasets in the order of their positions along `step`."""
    study, uid = generate_uid(), generate_uid()
    origin, step = numpy.array([-20.5, 13.25, 40.0]), numpy.array(step, float)
    made = [slice_of(study, uid, number + 1, orientation, origin + number * step, slope)
            for number in range(SLICES) if number not in leave_out]
    return study, uid, made, [part10.encoded(one) for one in sorted(made, key=lambda one: one.SOPInstanceUID)]


def enhanced(orientation, step):
    study, uid, made, _ = series(orientation, step)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    whole = FileDataset(None, Dataset(), file_meta=meta, preamble=bytes(128))
    for element in made[0]:
        if element.keyword not in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "PixelData",
                                   "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"):
            whole.add(element)
    whole.SOPClassUID, whole.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    whole.NumberOfFrames = len(made)
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([items(made[0], "PixelSpacing", "SliceThickness")])
    shared.PlaneOrientationSequence = Sequence([items(made[0], "ImageOrientationPatient")])
    transform = items(made[0], "RescaleSlope", "RescaleIntercept")
    transform.RescaleType = "HU"
    shared.PixelValueTransformationSequence = Sequence([transform])
    whole.SharedFunctionalGroupsSequence = Sequence([shared])
    # The frames are in no order.
    frames = [made[index] for index in numpy.random.default_rng(1).permutation(len(made))]
    groups = []
    for frame in frames:
        group = Dataset()
        group.PlanePositionSequence = Sequence([items(frame, "ImagePositionPatient")])
        groups.append(group)
    whole.PerFrameFunctionalGroupsSequence = Sequence(groups)
    whole.PixelData = b"".join(frame.PixelData for frame in frames)
    return study, uid, made, [part10.encoded(whole)]


def items(source, *keywords):
    item = Dataset()
    for keyword in keywords:
        item.add(source[keyword])
    return item


def url_of(server, study, uid):
    return f"{server.base}/api/v1/studies/{study}/series/{uid}/volume"


def nifti(server, study, uid):
    answer = requests.get(f"{url_of(server, study, uid)}.nii.gz", timeout=120)
    equal("status", (answer.status_code, answer.headers.get("Content-Type")), (200, "application/gzip"))
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))


def expected(made):
    """In the order of the positions: affine to RAS+ (PS3.3 C.7.6.2.1.1) and values by column, row, slice."""
    row, column = (numpy.array(made[0].ImageOrientationPatient[at : at + 3], float) for at in (0, 3))
    first, last = (numpy.array(made[at].ImagePositionPatient, float) for at in (0, -1))
    between_rows, between_columns = map(float, made[0].PixelSpacing)
    affine = numpy.eye(4)
    affine[:3, 0], affine[:3, 1] = row * between_columns, column * between_rows
    affine[:3, 2], affine[:3, 3] = (last - first) / (len(made) - 1), first
    affine[:2] *= -1
    values = [one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in made]
    return affine, numpy.stack([value.T for value in values], axis=-1)


def check_nifti(server, study, uid, made, files, kind=numpy.int16):
    dicomweb.store(server, files)
    image = nifti(server, study, uid)
    affine, values = expected(made)
    found = numpy.asanyarray(image.dataobj)
    # Readers go from head to feet: the slices may come in the other order, with another origin.
    if numpy.dot(image.affine[:3, 2], affine[:3, 2]) < 0:
        affine, values = expected(made[::-1])
    equal("type", image.get_data_dtype(), numpy.dtype(kind))
    assert numpy.allclose(image.affine, affine, atol=1e-3), f"\n{image.affine}\n{affine}"
    assert numpy.array_equal(found, values.astype(kind)), "values"
    equal("units", image.header.get_xyzt_units()[0], "mm")
    qform, code = image.get_qform(coded=True)
    if code:
        assert numpy.allclose(qform, affine, atol=5e-3), f"qform\n{qform}\n{affine}"
    equal("sform", int(image.header["sform_code"]), 1)


def check_gap(server):
    study, uid, _, files = series(*AXIAL, leave_out=(5, 6))
    dicomweb.store(server, files)
    described = requests.get(url_of(server, study, uid), timeout=60).json()
    gaps = [issue for issue in described["issues"] if issue["kind"] == "gap"]
    equal("missing", [gap["missing"] for gap in gaps], [2])
    refused = requests.get(f"{url_of(server, study, uid)}.nii.gz", timeout=60)
    equal("refused", refused.status_code, 409)
    assert "missing" in refused.json()["detail"], refused.text
    equal("planes", described["planes"]["axial"], SLICES)
    picture(server, study, uid, plane="axial", index=5)


def picture(server, study, uid, status=200, **query):
    answer = requests.get(f"{url_of(server, study, uid)}/slice", params=query, timeout=120)
    equal(f"slice {query}", answer.status_code, status)
    return numpy.asarray(Image.open(io.BytesIO(answer.content))) if status == 200 else answer


def check_slices(server):
    study, uid, made, files = series(*AXIAL)
    for one in made:
        one.PixelSpacing = ["0.5", "0.5"]
    dicomweb.store(server, [part10.encoded(one) for one in made])
    _, values = expected(made)
    top = SLICES - 1

    def shown(values, center=0, width=2000):
        return numpy.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255

    for index in (0, 4, top):
        found = picture(server, study, uid, plane="axial", index=index)
        close = numpy.abs(found - shown(values[:, :, top - index].T)) <= 1
        assert close.all(), f"axial {index}: {(~close).sum()} pixels"
    narrow = picture(server, study, uid, plane="axial", index=0, window="40,400")
    assert (numpy.abs(narrow - shown(values[:, :, top].T, 40, 400)) <= 1).all(), "window"
    coronal = picture(server, study, uid, plane="coronal", index=7)
    # 27.5 mm in steps of 0.5 mm; each fifth row is a slice.
    equal("coronal", coronal.shape, (56, SIDE))
    assert (numpy.abs(coronal[::5] - shown(values[:, 7, ::-1].T)) <= 1).all(), "coronal"
    sagittal = picture(server, study, uid, plane="sagittal", index=3)
    assert (numpy.abs(sagittal[::5] - shown(values[3, :, ::-1].T)) <= 1).all(), "sagittal"
    straight = picture(server, study, uid, plane="oblique", point="-20.5,13.25,67.5", normal="0,0,1")
    assert (numpy.abs(straight - shown(values[:, :, top].T)) <= 1).all(), "by point and normal"
    assert picture(server, study, uid, plane="oblique", point="-10,20,50", normal="1,1,1").any()
    jpeg = requests.get(f"{url_of(server, study, uid)}/slice?format=jpeg", timeout=60)
    equal("jpeg", (jpeg.headers["Content-Type"], jpeg.content[:2]), ("image/jpeg", b"\xff\xd8"))


def check_limits(server):
    study, uid, _, files = series(*AXIAL)
    dicomweb.store(server, files)
    url = url_of(server, study, uid)
    for path in ("", ".nii.gz", "/slice?index=1"):
        first = requests.get(url + path, timeout=60)
        again = requests.get(url + path, headers={"If-None-Match": first.headers["ETag"]}, timeout=60)
        equal(f"known {path}", again.status_code, 304)
    for query, status in (({"index": SLICES}, 400), ({"plane": "x"}, 400), ({"plane": "oblique"}, 400),
                          ({"plane": "oblique", "point": "0,0,0", "normal": "0,0,0"}, 400), ({"window": "1"}, 400)):
        picture(server, study, uid, status, **query)
    equal("no such series", requests.get(url_of(server, study, generate_uid()), timeout=60).status_code, 404)
    large = generate_uid()
    dicomweb.store(server, [part10.image(large, number, side=512) for number in (1, 2, 3, 4, 5)])
    [[_, series_uid, _], *_] = [uids for uids in dicomweb.instances(server) if uids[0] == large]
    refused = requests.get(f"{url_of(server, large, series_uid)}.nii.gz", timeout=60)
    equal("larger than volumes may be", refused.status_code, 409)
    listed = requests.get(f"{server.base}/api/v1/studies/{study}/volumes", timeout=60).json()
    equal("listed", ([item["series_uid"] for item in listed["items"]], listed["total"], listed["next"]), ([uid], 1, None))
    pages(server, study)


def pages(server, study):
    """Two series, one on each page."""
    other = [part10.image(study, number, side=16) for number in (1, 2, 3)]
    dicomweb.store(server, other)
    url, found, cursor = f"{server.base}/api/v1/studies/{study}/volumes", [], None
    for _ in range(2):
        query = {"limit": 1, "fields": "series_uid", "sort": "arrived_at"} | ({"cursor": cursor} if cursor else {})
        page = requests.get(url, params=query, timeout=60).json()
        equal("fields and total", (set(page["items"][0]), page["total"]), ({"series_uid"}, 2))
        found, cursor = [*found, page["items"][0]["series_uid"]], page["next"]
    equal("pages", (len(set(found)), cursor), (2, None))
    equal("an order that there is not", requests.get(url, params={"sort": "description"}, timeout=60).status_code, 400)


def check_many(server):
    study, uid, _, files = series(*AXIAL)
    dicomweb.store(server, files)
    answers = []

    def ask():
        answers.append(requests.get(f"{url_of(server, study, uid)}.nii.gz", timeout=120))

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {200, 503}, [answer.status_code for answer in answers]
    equal("the same", len({answer.content for answer in answers if answer.status_code == 200}), 1)
