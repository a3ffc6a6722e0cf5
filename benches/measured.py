"""The objects that the benchmark of DICOMweb stores and asks for, made from templates.

A template is one encoded object in which every UID and value that differs between copies has the
length of its token, so that a copy costs a replacement and no encoder.
"""

import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
from peers import part10  # noqa: E402
from pydicom import dcmread  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import JPEGBaseline8Bit, MultiFrameTrueColorSecondaryCaptureImageStorage  # noqa: E402

SIDE = 512
STUDY, SERIES, INSTANCE = (f"2.25.1{digit * 29}" for digit in "123")
INSTANCES_OF_SERIES = 10
SERIES_OF_STUDY = 2
FRAME_SIDE = 64
FEW_FRAMES = 10


def uid(kind, number):
    """As long as the tokens."""
    return f"2.25.2{kind}{number:028}"


@dataclass
class Small:
    """One study of the crowd that searches look through."""

    number: int

    @property
    def study(self):
        return uid(1, self.number)

    def series(self, index):
        return uid(2, self.number * SERIES_OF_STUDY + index)

    @property
    def patient_id(self):
        return f"P{self.number:07}"

    @property
    def family(self):
        return f"Family{self.number // 25:04}"

    @property
    def name(self):
        return f"{self.family}^Given{self.number % 25:02}"

    @property
    def date(self):
        year, day = divmod(self.number % 1008, 336)
        return f"{2020 + year}{day // 28 + 1:02}{day % 28 + 1:02}"

    def modality(self, index):
        return ("CT", "MR", "US")[(self.number + index) % 3]


def template(side):
    """A CT image with tokens for its UIDs."""
    made = dcmread(BytesIO(part10.image(STUDY, 1, side)))
    made.SeriesInstanceUID = SERIES
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = INSTANCE
    made.PatientID, made.PatientName = "P1111111", "Family1111^Given11"
    made.StudyDate, made.Modality, made.InstanceNumber = "19991231", "XX", 8765
    made.PixelData = disc(side)
    return made


def small_files(numbers):
    """Bytes of each instance of the studies of these numbers, with a number that names the file."""
    made = template(4)
    # Searches do not look at pixels; without them the crowd loads in a minute.
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(made, keyword)
    encoded = part10.encoded(made)
    for study in map(Small, numbers):
        of_study = replaced(encoded, {
            STUDY: study.study, "P1111111": study.patient_id, "Family1111^Given11": study.name, "19991231": study.date,
        })
        for index in range(SERIES_OF_STUDY):
            of_series = replaced(of_study, {SERIES: study.series(index), "XX": study.modality(index)})
            for at in range(INSTANCES_OF_SERIES):
                number = (study.number * SERIES_OF_STUDY + index) * INSTANCES_OF_SERIES + at + 1
                yield number, replaced(of_series, {"8765": f"{at + 1:04}", INSTANCE: uid(3, number)})


def replaced(data, changes):
    for token, value in changes.items():
        assert len(token) == len(value), (token, value)
        data = data.replace(token.encode(), value.encode())
    return data


def write_small(folder, studies):
    for number, data in small_files(range(studies)):
        place = folder / f"{number // 1000:03}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.dcm").write_bytes(data)


@dataclass
class Large:
    """A series that retrievals ask for."""

    study: str
    series: str
    instances: list

    @property
    def paths(self):
        return [f"/studies/{self.study}/series/{self.series}/instances/{instance}" for instance in self.instances]


def stack(slices):
    """One CT series; 250 slices are 131 MB."""
    return Large(uid(4, 1), uid(5, 1), [uid(6, n) for n in range(slices)])


def multiframe(number):
    return Large(uid(7, number), uid(8, number), [uid(9, number)])


def write_stack(folder, made):
    folder.mkdir(parents=True)
    encoded = part10.encoded(template(SIDE))
    for n, instance in enumerate(made.instances):
        changes = {"XX": "CT", "19991231": "20260102", "8765": f"{n + 1:04}"}
        changes |= {STUDY: made.study, SERIES: made.series, INSTANCE: instance}
        (folder / f"{n}.dcm").write_bytes(replaced(encoded, changes))


def disc(side):
    """Values of a round body with the noise of a scanner, 12 bits stored in 16."""
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    radius = np.hypot(rows, columns)
    body = np.where(radius < 0.8, 1000 + 200 * np.cos(9 * radius), 20)
    return (body + np.random.default_rng(7).normal(0, 15, body.shape)).clip(0, 4095).astype("<u2").tobytes()


def write_multiframe(path, made, frames):
    """A colour JPEG object; every frame is the same picture of a few kilobytes."""
    dataset = template(2)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = made.study, made.series
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = made.instances[0]
    dataset.Modality, dataset.Rows, dataset.Columns, dataset.NumberOfFrames = "OT", FRAME_SIDE, FRAME_SIDE, frames
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PhotometricInterpretation = 3, 0, "YBR_FULL_422"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([jpeg()] * frames)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    path.write_bytes(part10.encoded(dataset))


def jpeg():
    noise, out = np.random.default_rng(7).bytes(FRAME_SIDE * FRAME_SIDE * 3), BytesIO()
    Image.frombytes("RGB", (FRAME_SIDE, FRAME_SIDE), noise).save(out, "JPEG", quality=60)
    return out.getvalue()
