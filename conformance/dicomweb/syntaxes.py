"""The same images in every transfer syntax that can be made here."""

from io import BytesIO
from pathlib import Path

import numpy
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

import dataset
from dataset import JPEG_XL

# Transfer syntax to the media type of its frames (Table 8.7.3-5).
FRAME_TYPES = {
    RLELossless: "image/dicom-rle",
    JPEGBaseline8Bit: "image/jpeg",
    JPEGLosslessSV1: "image/jpeg",
    JPEGLSLossless: "image/jls",
    JPEG2000Lossless: "image/jp2",
    HTJ2KLossless: "image/jphc",
    JPEG_XL: "image/jxl",
}


def picture(array, format, **options):
    """An encoded picture of 8 bit values."""
    out = BytesIO()
    Image.fromarray(array).save(out, format, **options)
    return out.getvalue()


def array_of(made, frame=0):
    samples = made.SamplesPerPixel
    shape = (made.Rows, made.Columns) + ((samples,) if samples > 1 else ())
    size = made.Rows * made.Columns * samples
    return numpy.frombuffer(made.PixelData, "u1")[frame * size : (frame + 1) * size].reshape(shape)


def encapsulated(made, codestreams, syntax, **elements):
    made.PixelData = encapsulate(codestreams)
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.syntax = syntax
    return dataset.changed(made, **elements)


def jpeg(made=None, **elements):
    """Baseline; one codestream for each frame."""
    made = made or dataset.grey()
    frames = range(int(made.get("NumberOfFrames", 1)))
    streams = [picture(array_of(made, frame), "JPEG", quality=95) for frame in frames]
    photometric = "YBR_FULL_422" if made.SamplesPerPixel == 3 else made.PhotometricInterpretation
    lossy = {
        "LossyImageCompression": "01",
        "LossyImageCompressionMethod": "ISO_10918_1",
        "LossyImageCompressionRatio": 8,
    }
    made = encapsulated(made, streams, JPEGBaseline8Bit, PhotometricInterpretation=photometric, **lossy, **elements)
    made.codestreams = streams
    return made


def compressed(syntax, made=None):
    """By pydicom's encoders (RLE, JPEG-LS, JPEG 2000)."""
    made = made or dataset.ct()
    whole = pydicom.dcmread(BytesIO(dataset.file_of(made)))
    whole.compress(syntax, generate_instance_uid=False)
    del whole.file_meta
    whole.syntax = syntax
    whole.codestreams = list(
        pydicom.encaps.generate_frames(whole.PixelData, number_of_frames=int(made.get("NumberOfFrames", 1)))
    )
    return whole


def borrowed(name):
    """A test file of pydicom under UIDs of this run."""
    [found] = (Path(pydicom.__file__).parent / "data" / "test_files").glob(name)
    whole = pydicom.dcmread(found)
    syntax = whole.file_meta.TransferSyntaxUID
    del whole.file_meta
    made = dataset.changed(
        whole,
        StudyInstanceUID=dataset.uid(),
        SeriesInstanceUID=dataset.uid(),
        SOPInstanceUID=dataset.uid(),
        PatientID=f"B{dataset.TOKEN}-{next(dataset.SERIAL)}",
    )
    made.syntax = syntax
    made.codestreams = list(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1))
    return made


def opaque(syntax, head):
    """Frames in a syntax that nothing here encodes: a server hands out what it was given."""
    streams = [head + bytes([frame]) * 60 for frame in (1, 2)]
    made = encapsulated(dataset.multi_frame(frames=2), streams, syntax)
    made.codestreams = streams
    return made


def in_syntax(syntax):
    """An object of that syntax, with its codestreams where it has any."""
    makers = {
        JPEGBaseline8Bit: lambda: jpeg(dataset.multi_frame()),
        JPEGLosslessSV1: lambda: borrowed("SC_rgb_jpeg_gdcm.dcm"),
        HTJ2KLossless: lambda: opaque(syntax, b"\xff\x4f\xff\x51"),
        JPEG_XL: lambda: opaque(syntax, b"\xff\x0a"),
    }
    if syntax in makers:
        return makers[syntax]()
    if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        return compressed(syntax, dataset.multi_frame(frames=2))
    made = dataset.ct()
    made.syntax = syntax
    if syntax == ExplicitVRBigEndian:
        # pydicom writes the bytes of OW as they are given.
        made.PixelData = turned(made.PixelData, 2)
    return made


def turned(data, width):
    """The other order of bytes."""
    return b"".join(data[at : at + width][::-1] for at in range(0, len(data), width))


NATIVE_SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
