"""What the server measures on a region, against numpy on the pixels as pydicom decodes them.

A person draws a region on an image; sizes and values come back by REST, and once the report is
signed in an SR that highdicom reads. What a spacing is called follows PS3.3 10.7.1 and C.8.5.5.
"""

from dataclasses import dataclass, field
from io import BytesIO

import highdicom
import numpy
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (CTImageStorage, DigitalXRayImageStorageForPresentation, EnhancedCTImageStorage,
                         SecondaryCaptureImageStorage, UltrasoundImageStorage, generate_uid)

from . import dicomweb
from .part10 import encoded, image
from .reporting import begun
from .server import QUICK, Server
from .tally import equal

ROWS, COLUMNS = 60, 80
REGION = {"left": 12.4, "top": 7.0, "right": 50.6, "bottom": 31.25}
SIGNED = QUICK | {"report.signer": "Ana Ruiz", "report.organization": "Hospital of the Suite"}
PADDING, PADDED = -2000, (slice(10, 20), slice(20, 40))
NAMES = {"height": "121207", "width": "103355008", "long_axis": "103339001", "short_axis": "103340004",
         "area": "42798000"}
DERIVATIONS = {"attenuation_mean": "373098007", "attenuation_standard_deviation": "386136009",
               "attenuation_minimum": "255605001", "attenuation_maximum": "56851009"}
ATTENUATION = "112031"
ROUNDING = 0.0051


@dataclass
class Case:
    """An image, and what its pixels are the size of, in mm: between rows, then between columns."""

    name: str
    sop_class: str
    modality: str
    attributes: dict = field(default_factory=dict)
    basis: str | None = None
    spacing: tuple | None = None
    method: str | None = None
    frame: int | None = None


def ultrasound_region(**changes):
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 0, 0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = COLUMNS - 1, ROWS - 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = 0.02, 0.03
    for name, value in changes.items():
        setattr(item, name, value)
    return item


DX = DigitalXRayImageStorageForPresentation
IMAGER = {"ImagerPixelSpacing": [0.2, 0.25]}
CALIBRATED = IMAGER | {"PixelSpacing": [0.18, 0.22]}
CASES = [
    Case("CT", CTImageStorage, "CT", {"PixelSpacing": [0.7, 0.9]}, "pixel-spacing", (0.7, 0.9), "RGNPIXSPACING"),
    Case("a frame of an enhanced CT", EnhancedCTImageStorage, "CT", {}, "pixel-spacing", (0.5, 0.6), "RGNPIXSPACING", 2),
    Case("DX at the detector", DX, "DX", IMAGER, "imager-pixel-spacing", (0.2, 0.25), "RGNIMAGER"),
    Case("DX that repeats the detector", DX, "DX", IMAGER | {"PixelSpacing": [0.2, 0.25]}, "imager-pixel-spacing",
         (0.2, 0.25), "RGNIMAGER"),
    Case("DX by geometry", DX, "DX", CALIBRATED | {"PixelSpacingCalibrationType": "GEOMETRY"}, "geometry-calibration",
         (0.18, 0.22), "RGNGEOMETRY"),
    Case("DX by a fiducial", DX, "DX", CALIBRATED | {"PixelSpacingCalibrationType": "FIDUCIAL"}, "fiducial-calibration",
         (0.18, 0.22), "RGNFIDUCIAL"),
    Case("DX that does not say how", DX, "DX", CALIBRATED, "unstated-calibration", (0.18, 0.22), "RGNUNSTATED"),
    Case("DX without spacing", DX, "DX"),
    Case("a scanned film", SecondaryCaptureImageStorage, "OT", {"NominalScannedPixelSpacing": [0.1, 0.1]},
         "nominal-scanned-pixel-spacing", (0.1, 0.1), "RGNSCANNED"),
    Case("ultrasound in its region", UltrasoundImageStorage, "US",
         {"SequenceOfUltrasoundRegions": [ultrasound_region()]}, "ultrasound-region", (0.3, 0.2), "RGNULTRASOUND"),
    Case("ultrasound beside its region", UltrasoundImageStorage, "US",
         {"SequenceOfUltrasoundRegions": [ultrasound_region(RegionLocationMinX0=60)]}),
    Case("a spectrum", UltrasoundImageStorage, "US",
         {"SequenceOfUltrasoundRegions": [ultrasound_region(RegionSpatialFormat=3)]}),
]


def run(context, tally):
    with Server(context.binary, context.folder("measurements") / "data", SIGNED) as server:
        for number, case in enumerate(CASES, 1):
            with tally.check(f"measured: {case.name}"):
                check(server, case, made(case, number))


def made(case, number):
    """CT values with a patch of padding; slope, intercept and a signed representation are unusual on purpose."""
    dataset = dcmread(BytesIO(image(generate_uid(), number, 16)))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = case.sop_class
    dataset.Modality, dataset.Rows, dataset.Columns = case.modality, ROWS, COLUMNS
    frames = case.frame or 1
    stored = numpy.random.default_rng(number).integers(-400, 900, (frames, ROWS, COLUMNS)).astype("<i2")
    stored[(slice(None), *PADDED)] = PADDING
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
    dataset.add_new("PixelPaddingValue", "SS", PADDING)
    dataset.RescaleIntercept, dataset.RescaleSlope = -24, 0.5
    dataset.PixelData = stored.tobytes()
    del dataset.PixelSpacing, dataset.ImageOrientationPatient, dataset.ImagePositionPatient
    if case.modality == "CT":
        slices(dataset, frames)
    for keyword, value in case.attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def slices(dataset, frames):
    orientation, position = [1, 0, 0, 0, 1, 0], [0, 0, 1]
    if frames == 1:
        dataset.ImageOrientationPatient, dataset.ImagePositionPatient = orientation, position
        return
    dataset.NumberOfFrames = frames
    groups = {"PixelMeasuresSequence": {"PixelSpacing": [0.5, 0.6], "SliceThickness": 1},
              "PlaneOrientationSequence": {"ImageOrientationPatient": orientation}}
    dataset.SharedFunctionalGroupsSequence = [nested(groups)]
    del dataset.RescaleIntercept, dataset.RescaleSlope
    # Each frame has a rescale of its own: that of another would give other numbers.
    rescale = [{"RescaleIntercept": -24 * number, "RescaleSlope": 0.5 * number, "RescaleType": "HU"}
               for number in range(1, frames + 1)]
    dataset.PerFrameFunctionalGroupsSequence = [nested({"PixelValueTransformationSequence": one}) for one in rescale]


def nested(groups):
    whole = Dataset()
    for sequence, values in groups.items():
        item = Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        setattr(whole, sequence, [item])
    return whole


def check(server, case, dataset):
    file = encoded(dataset)
    dicomweb.store(server, [file])
    report = begun(server, str(dataset.StudyInstanceUID), {"title": "Measured"})
    words = {"finding": "pulmonary nodule", "location": "lung", "laterality": "left", "certainty": "definite",
             "image": {"sop_instance_uid": str(dataset.SOPInstanceUID), "frame": case.frame}, "region": REGION}
    report.send("POST", "findings", words)
    [finding] = report.report["content"]["findings"]
    expected = sizes(case, REGION) | values(case, dataset, REGION)
    same({one["name"]: one for one in finding["measured"]}, expected, case)
    moved = {"left": 0.0, "top": 0.0, "right": 9.0, "bottom": 6.0}
    report.send("PUT", f"findings/{finding['id']}", words | {"region": moved})
    [finding] = report.report["content"]["findings"]
    expected = sizes(case, moved) | values(case, dataset, moved)
    same({one["name"]: one for one in finding["measured"]}, expected, case)
    report.send("PATCH", "", {"sections": {"impression": "Nodule."}})
    report.send("POST", "sign", {})
    report.wait_until_published()
    in_sr(report.documents()[0], expected, case)


def sizes(case, region):
    if not case.spacing:
        return {}
    height = (region["bottom"] - region["top"]) * case.spacing[0]
    width = (region["right"] - region["left"]) * case.spacing[1]
    return {"height": height, "width": width, "long_axis": max(height, width), "short_axis": min(height, width)}


def values(case, dataset, region):
    """Of the pixels whose centres are in the region, in Hounsfield units."""
    if case.modality != "CT":
        return {}
    pixels = dcmread(BytesIO(encoded(dataset))).pixel_array.reshape(-1, ROWS, COLUMNS)[(case.frame or 1) - 1]
    rows, columns = numpy.arange(ROWS) + 0.5, numpy.arange(COLUMNS) + 0.5
    inside = numpy.outer((rows >= region["top"]) & (rows < region["bottom"]),
                         (columns >= region["left"]) & (columns < region["right"]))
    slope, intercept = (0.5 * (case.frame or 1), -24 * (case.frame or 1))
    found = pixels[inside & (pixels != PADDING)] * slope + intercept
    area = found.size * case.spacing[0] * case.spacing[1]
    return {"attenuation_mean": found.mean(), "attenuation_standard_deviation": found.std(),
            "attenuation_minimum": found.min(), "attenuation_maximum": found.max(), "area": area}


def same(found, expected, case):
    equal("what is measured", set(found), set(expected))
    for name, value in expected.items():
        one = found[name]
        assert abs(one["value"] - value) <= ROUNDING, f"{name}: {one['value']} in place of {value}"
        of_values = name in DERIVATIONS
        equal(f"{name}: unit", one["unit"], "[hnsf'U]" if of_values else "mm2" if name == "area" else "mm")
        equal(f"{name}: method", one["method"], "region-values" if of_values or name == "area" else "region-size")
        equal(f"{name}: spacing", one.get("spacing"), None if of_values else case.basis)


def in_sr(file, expected, case):
    [group] = highdicom.sr.srread(BytesIO(file)).content.get_planar_roi_measurement_groups()
    found = {}
    for measurement in group.get_measurements():
        derivation = measurement.derivation and measurement.derivation.value
        how = (measurement.method.value, measurement.method.scheme_designator)
        found[measurement.name.value, derivation] = (measurement.value, how)
    wanted = {(NAMES.get(name, ATTENUATION), DERIVATIONS.get(name)): (name, value) for name, value in expected.items()}
    equal("measurements of the SR", set(found), set(wanted))
    for key, (name, value) in wanted.items():
        assert abs(found[key][0] - value) <= ROUNDING, f"{name} in the SR: {found[key][0]} in place of {value}"
        equal(f"{name}: method in the SR", found[key][1], ("RGNVALUES" if name in DERIVATIONS else case.method, "99RADIANT"))
