"""Rendered images are right: PS3.18 8.7.4, PS3.3 C.7.6.3 and C.11."""

from io import BytesIO

import numpy
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

import dataset
import documents
import syntaxes
from dataset import COLUMNS, ROWS, path
from pictures import (
    IDENTITY,
    JPEG,
    PNG,
    identity,
    image_and_state,
    linear,
    near,
    picture,
    pixels,
    shades,
    sigmoid,
    windowed,
)
from report import equal, row


@row("W34c")
def a_rendered_jpeg_is_baseline(origin):
    for made, samples in ((origin.kept(dataset.ct), 1), (origin.kept(dataset.colour), 3)):
        body = origin.get(path(made) + "/rendered", JPEG).expect(200).body
        at = 2
        while body[at + 1] not in (0xC0, 0xC1, 0xC2, 0xC3):
            at += 2 + int.from_bytes(body[at + 2 : at + 4], "big")
        equal("process, precision", (body[at + 1], body[at + 4]), (0xC0, 8))
        assert body[at + 9] in (samples, 3), f"{body[at + 9]} components"
        equal(
            "PNG bits",
            picture(origin.get(path(made) + "/rendered", PNG).expect(200)).mode in ("L", "RGB", "P", "RGBA", "LA"),
            True,
        )


@row("W34c")
def monochrome1_is_inverted(origin):
    made = origin.kept(dataset.grey, PhotometricInterpretation="MONOCHROME1", **IDENTITY)
    near("MONOCHROME1", pixels(origin, made), 255 - shades(made))


@row("W34c")
def the_stored_window_is_used(origin):
    near("window of the object", pixels(origin, origin.kept(dataset.ct)), windowed(linear, 1000, 3000))
    sharp = origin.kept(
        dataset.ct,
        WindowCenter=[200, 900],
        WindowWidth=[500, 100],
        VOILUTFunction="SIGMOID",
        RescaleSlope=2,
        RescaleIntercept=-500,
    )
    near("first window, sigmoid, rescaled", pixels(origin, sharp), windowed(sigmoid, 200, 500, slope=2, intercept=-500))


@row("W34c")
def a_modality_and_a_voi_look_up_table_are_used(origin):
    made = dataset.grey()
    voi = {"LUTDescriptor": [256, 0, 8], "LUTData": bytes((value * 3) % 256 for value in range(256))}
    made.VOILUTSequence = dataset.items({})
    made.VOILUTSequence[0].add_new(0x00283002, "US", voi["LUTDescriptor"])
    made.VOILUTSequence[0].add_new(0x00283006, "OW", b"".join(bytes([value, 0]) for value in voi["LUTData"]))
    near("VOI LUT", pixels(origin, origin.store(made)), shades(made) * 3 % 256)
    other = identity()
    other.ModalityLUTSequence = dataset.items({"ModalityLUTType": "US"})
    other.ModalityLUTSequence[0].add_new(0x00283002, "US", [256, 0, 8])
    other.ModalityLUTSequence[0].add_new(0x00283006, "OW", b"".join(bytes([255 - value, 0]) for value in range(256)))
    near("modality LUT", pixels(origin, origin.store(other)), 255 - shades(other))


@row("W34c")
def a_presentation_state_shows_its_image(origin):
    image, state = origin.kept(image_and_state)
    expected = numpy.vectorize(lambda x: round(linear(x, 64, 100)))(shades(image)).astype(int)
    near("presentation state", pixels(origin, state), expected)


@row("W34c")
def a_presentation_state_turns_and_inverts(origin):
    image = identity()
    state = documents.presentation_state(
        image, 128, 256, ImageRotation=90, ImageHorizontalFlip="N", PresentationLUTShape="INVERSE"
    )
    # The corners are those of the turned image, in the coordinates of the stored one (C.10.4).
    area = state.DisplayedAreaSelectionSequence[0]
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [1, ROWS], [COLUMNS, 1]
    origin.store(image, state)
    near("turned and inverted", pixels(origin, state), 255 - numpy.rot90(shades(image), -1))


@row("W34c")
def a_palette_gives_its_colours(origin):
    made = dataset.grey(PhotometricInterpretation="PALETTE COLOR")
    tables = [[(value * factor) % 256 for value in range(256)] for factor in (1, 3, 5)]
    for number, table in enumerate(tables):
        made.add_new(0x00281101 + number, "US", [256, 0, 16])
        made.add_new(0x00281201 + number, "OW", b"".join(bytes([value, value]) for value in table))
    expected = numpy.stack([numpy.array(table)[shades(made)] for table in tables], axis=-1)
    near("palette", pixels(origin, origin.store(made)), expected)


@row("W34c")
def rgb_and_ybr_are_right(origin):
    made = origin.kept(dataset.colour)
    rgb = shades(made)
    near("RGB", pixels(origin, made), rgb)
    planes = origin.kept(
        dataset.colour, PlanarConfiguration=1, PixelData=numpy.moveaxis(rgb.astype("u1"), 2, 0).tobytes()
    )
    near("RGB by planes", pixels(origin, planes), rgb)
    ybr = Image.fromarray(rgb.astype("u1")).convert("YCbCr")
    full = origin.kept(dataset.colour, PhotometricInterpretation="YBR_FULL", PixelData=ybr.tobytes())
    near("YBR_FULL", pixels(origin, full), numpy.asarray(ybr.convert("RGB")).astype(int), 2)


@row("W34c")
def compressed_images_are_right(origin):
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        made = origin.store(syntaxes.compressed(syntax, identity()))
        near(syntax.name, pixels(origin, made), shades(identity()))
    lossy = origin.store(syntaxes.jpeg(identity()))
    near("JPEG", pixels(origin, lossy), shades(identity()), 4)
    colour = origin.store(syntaxes.jpeg(dataset.colour()))
    near(
        "colour JPEG",
        pixels(origin, colour),
        numpy.asarray(Image.open(BytesIO(colour.codestreams[0])).convert("RGB")).astype(int),
        4,
    )
    borrowed = origin.kept(syntaxes.in_syntax, JPEGLosslessSV1)
    equal("lossless JPEG", pixels(origin, borrowed).shape[:2], (borrowed.Rows, borrowed.Columns))
