"""Rendered images against pydicom's pipeline and DCMTK's pictures, for pydicom's own test files."""

import importlib.util
import io
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pydicom
import requests
from PIL import Image
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

from . import dicomweb
from .server import WITHOUT_ANALYSIS, Server

TIMEOUT_S = 120
# Levels of 255: rounding of each stage, and for lossy streams how a decoder enlarges chroma.
FARTHEST = 1
FARTHEST_LOSSY = 5
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.91"}
# Values where pydicom and DCMTK themselves part: their rounding at the edges of a window.
FARTHEST_DCMTK = 2


def files():
    folders = [Path(pydicom.__file__).parent / "data" / "test_files",
               Path(importlib.util.find_spec("data_store").origin).parent / "data"]
    return sorted(path for folder in folders for path in folder.glob("*.dcm"))


def expected(dataset):
    """The picture of the first frame, by pydicom alone."""
    frame = pixel_array(dataset, index=0, raw=False)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colors = apply_color_lut(frame, dataset)
        deep = colors.dtype == np.uint16 and colors.max() > 255
        return (colors >> 8 if deep else colors).astype("u1")
    if frame.ndim == 3:
        return (frame >> (8 * (frame.dtype.itemsize - 1))).astype("u1")
    return inverted(dataset, grey(dataset, frame))


def grey(dataset, frame):
    values = apply_modality_lut(frame, dataset).astype("f8")
    if "WindowWidth" in dataset or "VOILUTSequence" in dataset:
        low, high = voi_range(dataset, values)
        values = apply_voi_lut(values if "WindowWidth" in dataset else frame, dataset, prefer_lut=False)
    else:
        kept = values[frame != dataset.PixelPaddingValue] if "PixelPaddingValue" in dataset else values
        low, high = (kept.min(), kept.max()) if kept.size else (0, 0)
    if high <= low:
        return np.zeros(frame.shape, "u1")
    return np.floor(np.clip((values - low) / (high - low), 0, 1) * 255 + 0.5).astype("u1")


def voi_range(dataset, values):
    """What pydicom scales its output to: the range of what the modality transformation may give."""
    if "WindowWidth" not in dataset:
        return 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    probes = np.array([-1e9, 1e9])
    return tuple(apply_voi_lut(probes, dataset, prefer_lut=False))


def inverted(dataset, picture):
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"
    return 255 - picture if inverse else picture


def is_plain(dataset):
    """Whether pydicom draws all there is: neither overlays nor a shutter, square pixels, no profile."""
    overlays = any(0x6000 <= element.tag.group <= 0x601E for element in dataset)
    square = [dataset.get(name) for name in ("PixelAspectRatio", "PixelSpacing", "NominalScannedPixelSpacing")]
    is_square = all(pair is None or len(pair) != 2 or abs(float(pair[0]) / float(pair[1]) - 1) < 0.01
                    for pair in square)
    functional_groups = "SharedFunctionalGroupsSequence" in dataset
    return is_square and not overlays and "ShutterShape" not in dataset and not functional_groups \
        and "ICCProfile" not in dataset


def rendered(server, uids, media_type="image/png", **query):
    study, series, instance = uids
    url = f"{server.web}/studies/{study}/series/{series}/instances/{instance}/frames/1/rendered"
    answer = requests.get(url, params=query, headers={"Accept": media_type}, timeout=TIMEOUT_S)
    assert answer.status_code == 200, f"{answer.status_code}: {answer.text[:200]}"
    assert answer.headers["Content-Type"] == media_type, answer.headers["Content-Type"]
    return Image.open(io.BytesIO(answer.content))


def compare(picture, wanted, farthest):
    found = np.asarray(picture)
    assert found.shape == wanted.shape, f"{found.shape} where {wanted.shape} is expected"
    difference = np.abs(found.astype(int) - wanted.astype(int)).max()
    assert difference <= farthest, f"differs by up to {difference} levels"


def store(server, path):
    """The UIDs of the object, or None for one that is no part 10 file with them."""
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    except (pydicom.errors.InvalidDicomError, AttributeError):
        return None
    answer = requests.post(f"{server.web}/studies", data=path.read_bytes(),
                           headers={"Content-Type": "application/dicom", "Accept": dicomweb.JSON}, timeout=TIMEOUT_S)
    return uids if answer.status_code == 200 else None


def against_peers(server, path, tally):
    uids = store(server, path)
    if uids is None:
        return
    try:
        dataset = pydicom.dcmread(path)
        wanted = expected(dataset) if is_plain(dataset) else None
    except Exception:  # pydicom's plugins raise whatever they like
        return
    if wanted is not None:
        lossy = dataset.file_meta.TransferSyntaxUID in LOSSY
        with tally.check(f"{path.name} looks as in pydicom (W34c)"):
            compare(rendered(server, uids), wanted, FARTHEST_LOSSY if lossy else FARTHEST)
    if dataset.file_meta.TransferSyntaxUID.is_compressed or wanted is None:
        return
    against_dcmtk(server, path, uids, dataset, tally)


def against_dcmtk(server, path, uids, dataset, tally):
    """Only what has a window, which DCMTK is told to use, or is in colour."""
    if dataset.SamplesPerPixel == 1 and "WindowWidth" not in dataset:
        return
    window = ["+Wi", "1"] if dataset.SamplesPerPixel == 1 else []
    drawn = subprocess.run(["dcmj2pnm", "+on", *window, "+F", "1", str(path)], capture_output=True, check=False)
    if drawn.returncode == 0 and drawn.stdout:
        with tally.check(f"{path.name} looks as in DCMTK (W34c)"):
            wanted = np.asarray(Image.open(io.BytesIO(drawn.stdout)))
            compare(rendered(server, uids), wanted, FARTHEST_DCMTK)


def run(context, tally):
    warnings.simplefilter("ignore")
    if not shutil.which("dcmj2pnm"):
        tally.miss("pictures", "DCMTK")
        return
    # The same image in several transfer syntaxes has one UID.
    keys = WITHOUT_ANALYSIS | {"ingest.on_duplicate": "replace"}
    with Server(context.binary, context.folder("pictures"), keys) as server:
        for path in files():
            against_peers(server, path, tally)
