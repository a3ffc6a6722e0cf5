"""What a rendered picture shows, and what it should."""

from io import BytesIO
from math import exp

import numpy
from PIL import Image
from pydicom.uid import SecondaryCaptureImageStorage

import dataset
import documents
import syntaxes
from dataset import COLUMNS, ROWS, path
from report import equal

JPEG = "image/jpeg"
PNG = "image/png"
GIF = "image/gif"
# Linear, and every shade of 8 bits is itself.
IDENTITY = {"WindowCenter": 128, "WindowWidth": 256}


def picture(answer):
    return Image.open(BytesIO(answer.body))


def pixels(origin, made, tail="/rendered", accept=PNG, **query):
    """The shades of a rendered picture; grey ones of one plane."""
    answer = origin.get(path(made) + tail, accept, **query).expect(200).expect_type(accept)
    shown = numpy.asarray(picture(answer).convert("RGB")).astype(int)
    grey = (shown[..., 0] == shown[..., 1]).all() and (shown[..., 0] == shown[..., 2]).all()
    return shown[..., 0] if grey else shown


def near(what, actual, expected, tolerance=1):
    equal(f"shape of {what}", actual.shape, expected.shape)
    distance = numpy.abs(actual - expected).max()
    assert distance <= tolerance, f"{what}: a shade is {distance} off"


def square(side=256, **elements):
    made = dataset.with_pixels(
        dataset.header(SecondaryCaptureImageStorage, "OT"), dataset.shades(side, side), rows=side, columns=side, bits=8
    )
    return dataset.changed(made, **IDENTITY, **elements)


def identity():
    return dataset.grey(**IDENTITY)


def shades(made, frame=0):
    return syntaxes.array_of(made, frame).astype(int)


def linear(x, c, w):
    return (
        0.0
        if x <= c - 0.5 - (w - 1) / 2
        else 255.0
        if x > c - 0.5 + (w - 1) / 2
        else ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    )


def linear_exact(x, c, w):
    return 0.0 if x <= c - w / 2 else 255.0 if x > c + w / 2 else ((x - c) / w + 0.5) * 255


def sigmoid(x, c, w):
    return 255 / (1 + exp(-4 * (x - c) / w))


def windowed(function, centre, width, slope=1, intercept=-1024, frame=1):
    """PS3.3 C.11.2.1.2 and C.11.2.1.3 on the ramp of a CT."""
    stored = numpy.frombuffer(dataset.ramp(frame=frame), "<u2").reshape(ROWS, COLUMNS)
    return numpy.vectorize(lambda x: round(function(x * slope + intercept, centre, width)))(
        stored.astype(float)
    ).astype(int)


def image_and_state():
    image = identity()
    return image, documents.presentation_state(image, 64, 100)


def followed(origin, target, **query):
    """A thumbnail may be elsewhere."""
    answer = origin.get(target, JPEG, **query).expect(200, 301, 302, 303, 307, 308)
    if answer.status != 200:
        answer = origin.get(origin.absolute(answer.header("Location")), JPEG).expect(200)
    return answer.expect_type(JPEG)
