#!/usr/bin/env python3
"""Writes the codestreams of tests/it/golden that no encoder of this repository makes.

usage: make_streams.py           (needs numpy and imagecodecs)

All hold the ramp of the tests: 33 rows, 64 columns, 60 more per column and 5 per row, or its 8-bit
relative with three channels.
"""

import pathlib

import imagecodecs
import numpy as np

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "it" / "golden"


def ramp(first, dtype):
    rows, columns = np.mgrid[0:33, 0:64]
    return (first + 60 * columns + 5 * rows).astype(dtype)


def colors():
    rows, columns = np.mgrid[0:33, 0:64]
    return np.stack([3 * columns, 255 - 3 * columns, 7 * rows], axis=-1).astype("u1")


def main():
    jpeg = imagecodecs.jpeg8_encode(colors(), level=95, subsampling="444")
    streams = {
        "ramp-htj2k.jhc": imagecodecs.htj2k_encode(ramp(0, "u2"), reversible=True),
        "ramp-htj2k-signed.jhc": imagecodecs.htj2k_encode(ramp(-1960, "i2"), reversible=True),
        "ramp-htj2k-lossy.jhc": imagecodecs.htj2k_encode(ramp(0, "u2"), level=0.001, reversible=False),
        "colors-htj2k.jhc": imagecodecs.htj2k_encode(colors(), rgb=True, reversible=True),
        "colors-jpeg.jpg": jpeg,
        "colors-jpeg-recompressed.jxl": imagecodecs.jpegxl_encode_jpeg(jpeg, usecontainer=False),
        "colors-lossy.jxl": imagecodecs.jpegxl_encode(colors(), distance=0.5, lossless=False),
        "ramp-lossy.jxl": imagecodecs.jpegxl_encode(ramp(0, "u2"), distance=0.5, lossless=False),
    }
    for name, stream in streams.items():
        (GOLDEN / name).write_bytes(stream)
        print(f"{name}: {len(stream)} bytes")


if __name__ == "__main__":
    main()
