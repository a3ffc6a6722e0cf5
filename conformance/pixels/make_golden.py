#!/usr/bin/env python3
"""Writes tests/it/golden/pixels.json: what pydicom decodes its test files and pydicom-data's to.

usage: make_golden.py    (needs pydicom 3, pydicom-data, numpy, pylibjpeg with its plugins, pyjpegls)

Every frame is brought to the form that radiant decodes to: grey as little-endian 32-bit integers,
colour as RGB of 8 bits (or 32, for deep colour). A lossless frame is kept as its SHA-256; a lossy
one, where decoders may round differently, as values at evenly spread places.
"""

import hashlib
import importlib.util
import json
import pathlib
import sys
import warnings

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, pixel_array

PROBES = 257
LOSSY = {
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.91",
}
# pydicom reads these; a reader that takes the transfer syntax at its word cannot.
LEFT_OUT = {
    "SC_rgb_jpeg.dcm": "Pixel Data is written in implicit VR, the file says explicit VR",
}


def decoded(dataset, index):
    frame = pixel_array(dataset, index=index, raw=False)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colors = apply_color_lut(frame, dataset)
        deep = colors.dtype == np.uint16 and colors.max() > 255
        return "rgb", (colors >> 8 if deep else colors).astype("u1")
    if frame.ndim == 3:
        return ("rgb", frame) if frame.dtype == np.uint8 else ("deep_rgb", frame.astype("<u4"))
    if frame.dtype.kind == "u" and frame.dtype.itemsize == 4:
        return "wide_gray", frame.astype("<u4")
    return "gray", frame.astype("<i4")


def golden(path):
    dataset = pydicom.dcmread(path)
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    arrays = [decoded(dataset, index) for index in range(frames)]
    kind, first = arrays[0]
    entry = {"frames": frames, "kind": kind, "rows": first.shape[0], "columns": first.shape[1]}
    if dataset.file_meta.TransferSyntaxUID in LOSSY:
        flat = arrays[0][1].reshape(-1)
        places = np.linspace(0, flat.size - 1, PROBES).astype(int)
        return entry | {"probes": flat[places].tolist()}
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for _, array in arrays))
    return entry | {"sha256": digest.hexdigest()}


def folders():
    """The files in pydicom itself, and those of the package pydicom-data."""
    own = pathlib.Path(pydicom.__file__).parent / "data" / "test_files"
    more = pathlib.Path(importlib.util.find_spec("data_store").origin).parent / "data"
    return [own, more]


def main():
    warnings.simplefilter("ignore")
    entries, undecoded = {}, dict(LEFT_OUT)
    for path in sorted(path for folder in folders() for path in folder.glob("*.dcm")):
        try:
            if path.name not in LEFT_OUT and "PixelData" in pydicom.dcmread(path):
                entries[path.name] = golden(path)
        except Exception as error:  # pydicom's plugins raise whatever they like
            undecoded[path.name] = str(error).splitlines()[0][:100]
    target = pathlib.Path(__file__).parents[2] / "tests" / "it" / "golden" / "pixels.json"
    lines = [f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items()]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(entries)} files written, {len(undecoded)} left out", file=sys.stderr)
    for name, reason in undecoded.items():
        print(f"  {name}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
