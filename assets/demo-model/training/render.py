"""DICOM phantoms as the server shows them to a model: 8-bit, square, resized to 224 pixels."""
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image

SIDE = 224
CT_IMAGES = 4
# Hounsfield ranges shown in red, green and blue.
CT_WINDOWS = ((-1024, 1024), (-135, 215), (0, 80))


def study(folder: Path) -> np.ndarray:
    """The images of one study, `[images, channels, 224, 224]` uint8; grey images have one channel."""
    datasets = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    if datasets[0].Modality == "CT":
        return np.stack([ct_slice(dataset) for dataset in shown_slices(datasets)])
    return np.stack([radiograph(dataset)[None] for dataset in datasets])


def radiograph(dataset: pydicom.Dataset) -> np.ndarray:
    """First window (PS3.3 C.11.2.1.2.1), MONOCHROME1 inverted, padded with black."""
    center, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
    ramp = (dataset.pixel_array.astype(np.float64) - (center - 0.5)) / (width - 1) + 0.5
    grey = np.round(np.clip(ramp, 0, 1) * 255).astype(np.uint8)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return resized(padded(grey))


def shown_slices(datasets: list) -> list:
    """Four slices, evenly spaced from head to feet, by position and never by instance number."""
    ordered = sorted(datasets, key=lambda dataset: -float(dataset.ImagePositionPatient[2]))
    if len(ordered) == CT_IMAGES:
        return ordered
    last = len(ordered) - 1
    return [ordered[int(i / CT_IMAGES * last + 0.5)] for i in range(1, CT_IMAGES + 1)]


def ct_slice(dataset: pydicom.Dataset) -> np.ndarray:
    """Three windows as the three channels."""
    slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    hounsfield = dataset.pixel_array * slope + intercept
    return np.stack([resized(padded(ramp(hounsfield, *window))) for window in CT_WINDOWS])


def ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def padded(grey: np.ndarray) -> np.ndarray:
    rows, columns = grey.shape
    side = max(rows, columns)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - rows) // 2, (side - columns) // 2
    square[top : top + rows, left : left + columns] = grey
    return square


def resized(square: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
