"""The sample report whose findings all have a box, and an image that is bright where its findings are.

Where that is follows from the boxes of the sample's answer, here and by the file's own arithmetic: thousandths of
the square around the image, rows first, less the black beside the image.
"""

import os
import subprocess
from io import BytesIO
from pathlib import Path

import highdicom
import numpy
from pydicom import dcmread
from pydicom.uid import ComputedRadiographyImageStorage

from .part10 import encoded, image
from .tally import equal

ROOT = Path(__file__).parent.parent.parent
STUDY, SERIES, INSTANCE = "2.25.1000", "2.25.1001", "2.25.2001"
ROWS, COLUMNS = 2048, 1792
# y0, x0, y1, x1 of `report::samples`: an effusion on the right, a nodule on the left.
BOXES = ((610, 120, 880, 430), (260, 640, 320, 700))
DARK, BRIGHT = 600, 3600
# Of the coordinates of an SR, which are single precision.
ALMOST = 0.01
# On the screen: the line is two pixels wide, and the picture is scaled.
SCREEN_ALMOST = 2.5


def truth():
    """Left, top, right, bottom in pixels of the image, (0, 0) being the corner of the first one."""
    side = max(ROWS, COLUMNS)
    beside, above = (side - COLUMNS) / 2, (side - ROWS) / 2
    return [(x0 * side / 1000 - beside, y0 * side / 1000 - above, x1 * side / 1000 - beside, y1 * side / 1000 - above)
            for y0, x0, y1, x1 in BOXES]


def radiograph():
    """A pixel is bright if its centre is in a box."""
    dataset = dcmread(BytesIO(image(STUDY, 1, 16)))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = INSTANCE
    dataset.SeriesInstanceUID, dataset.Modality = SERIES, "RG"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "PixelSpacing",
                    "SliceThickness", "RescaleIntercept", "RescaleSlope"):
        delattr(dataset, keyword)
    dataset.ImagerPixelSpacing, dataset.PatientID, dataset.PatientName = [0.139, 0.139], "PH-0001", "Phantom^Overlay"
    dataset.SeriesDescription, dataset.WindowCenter, dataset.WindowWidth = "Overlay", 2048, 4096
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    pixels = numpy.full((ROWS, COLUMNS), DARK, "<u2")
    rows, columns = numpy.arange(ROWS) + 0.5, numpy.arange(COLUMNS) + 0.5
    for left, top, right, bottom in truth():
        inside = numpy.outer((rows >= top) & (rows < bottom), (columns >= left) & (columns < right))
        pixels[inside] = BRIGHT
    dataset.PixelData = pixels.tobytes()
    return encoded(dataset)


def report(folder):
    """The SR as the program writes it."""
    command = ["cargo", "test", "--features", "jpeg-ls", "--quiet", "--lib", "report::samples", "--", "--ignored"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"RADIANT_REPORT_SAMPLES": str(folder)}, check=True,
                   capture_output=True)
    return (folder / "outlined.sr.dcm").read_bytes()


def check_coordinates(sr):
    """PS3.3 C.18.6.1: columns before rows, from the corner of the first pixel to columns and rows; TID 1410."""
    groups = highdicom.sr.srread(BytesIO(sr)).content.get_planar_roi_measurement_groups()
    equal("planar groups", len(groups), len(BOXES))
    for group, (left, top, right, bottom) in zip(groups, truth(), strict=True):
        equal("type", group.roi.graphic_type.value, "POLYLINE")
        wanted = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        assert numpy.allclose(group.roi.value, wanted, atol=ALMOST), f"{group.roi.value} in place of {wanted}"
        [source] = group.roi.ContentSequence
        reference = source.ReferencedSOPSequence[0]
        equal("image", (reference.ReferencedSOPInstanceUID, "ReferencedFrameNumber" in reference), (INSTANCE, False))


# The corners of each outline on the page.
OUTLINES = """() => [...document.querySelectorAll('svg.svg-layer polyline, svg.svg-layer polygon')].map(line => {
  const frame = line.ownerSVGElement.getBoundingClientRect();
  const numbers = line.getAttribute('points').trim().split(/[\\s,]+/).map(Number);
  const corners = Array.from({ length: numbers.length / 2 }, (_, at) => numbers.slice(2 * at, 2 * at + 2));
  return corners.map(([x, y]) => [frame.x + x, frame.y + y]);
})"""


def check_screen(outlines, levels):
    """Each outline runs around a bright place of the picture, and each bright place has one."""
    # Lines that are drawn twice are one.
    edges = {tuple(numpy.round(extent(points), 1)) for points in outlines}
    equal("outlines", len(edges), len(BOXES))
    scales = []
    for (left, top, right, bottom), wanted in zip(sorted(edges), sorted(truth()), strict=True):
        seen = bright_around(levels, (left + right) / 2, (top + bottom) / 2)
        off = numpy.abs(numpy.array(seen) - (left, top, right, bottom)).max()
        assert off <= SCREEN_ALMOST, f"outline {(left, top, right, bottom)}, bright {seen}"
        print(f"     an outline is off by {off:.1f} pixels of the screen")
        scales += [(right - left) / (wanted[2] - wanted[0]), (bottom - top) / (wanted[3] - wanted[1])]
    assert max(scales) / min(scales) < 1.02, f"scales {scales}"


def extent(points):
    points = numpy.array(points)
    return [*points.min(axis=0), *points.max(axis=0)]


def bright_around(levels, x, y):
    """How far it is bright from a place on, to the left, up, right and down; edges, as those of an outline."""
    row, column = levels[int(y)], levels[:, int(x)]
    middle = (int(levels.max()) + int(numpy.median(levels))) / 2

    def until_dark(line, start, step):
        at = start
        while 0 <= at + step < len(line) and line[at + step] > middle:
            at += step
        return at

    return (until_dark(row, int(x), -1), until_dark(column, int(y), -1), until_dark(row, int(x), 1) + 1,
            until_dark(column, int(y), 1) + 1)
