"""Objects to send, made anew for each run: no UID and no patient is ever used twice."""

import uuid
from copy import deepcopy
from io import BytesIO
from itertools import count

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

# In names and numbers of patients, so that a search meets the objects of this run only.
TOKEN = uuid.uuid4().hex[:8].upper()
IMPLEMENTATION = UID("2.25.118612316118642211")
CREATOR = "CONFORMANCE ROWS"
ROWS, COLUMNS = 48, 64
JPEG_XL = UID("1.2.840.10008.1.2.4.110")


SERIAL = count(1)


def uid():
    return UID(f"2.25.{uuid.uuid4().int}")


def path(dataset, level="instance"):
    """The resource of an object, or of the study or series that it is in."""
    study = f"/studies/{dataset.StudyInstanceUID}"
    series = f"{study}/series/{dataset.SeriesInstanceUID}"
    return {"study": study, "series": series, "instance": f"{series}/instances/{dataset.SOPInstanceUID}"}[level]


def header(sop_class, modality, number=1, **elements):
    """What every object has: patient, study, series, instance."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = sop_class, uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = uid(), uid()
    made.PatientID, made.PatientName = f"R{TOKEN}-{next(SERIAL)}", f"Rows{TOKEN}^Case"
    made.PatientBirthDate, made.PatientSex = "19700101", "O"
    made.StudyDate, made.StudyTime, made.StudyID = "20240210", "101500", "1"
    made.AccessionNumber, made.ReferringPhysicianName = "", ""
    made.Modality, made.SeriesNumber, made.InstanceNumber = modality, 1, number
    return changed(made, **elements)


def changed(dataset, **elements):
    """The same data set with other elements, by keyword; None takes one away."""
    for keyword, value in elements.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def file_of(dataset, syntax=None, preamble=bytes(128), **meta):
    """The bytes of a PS3.10 file."""
    syntax = syntax or getattr(dataset, "syntax", ExplicitVRLittleEndian)
    copy = deepcopy(dataset)
    copy.file_meta = FileMetaDataset()
    copy.file_meta.FileMetaInformationVersion = b"\0\1"
    copy.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    copy.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    copy.file_meta.TransferSyntaxUID = syntax
    copy.file_meta.ImplementationClassUID = IMPLEMENTATION
    changed(copy.file_meta, **meta)
    out = BytesIO()
    copy.preamble = preamble
    if syntax != JPEG_XL:
        copy.save_as(out, enforce_file_format=True)
        return out.getvalue()
    # pydicom does not know it: written under a UID of the same length.
    copy.file_meta.TransferSyntaxUID = HTJ2KLossless
    copy.save_as(out, enforce_file_format=True)
    return out.getvalue().replace(HTJ2KLossless.encode(), JPEG_XL.encode(), 1)


def data_set_of(dataset):
    """The bytes of the data set alone, Explicit VR Little Endian."""
    file = file_of(dataset)
    return file[file.index(b"\x02\x00\x00\x00UL") + 12 + int.from_bytes(file[140:144], "little") :]


# Images


def with_pixels(dataset, data, rows=ROWS, columns=COLUMNS, bits=16, samples=1, photometric="MONOCHROME2", **elements):
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = samples, photometric
    if samples > 1:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = 8 if bits <= 8 else 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
    dataset.add_new("PixelData", "OW" if bits > 8 else "OB", data + bytes(len(data) % 2))
    return changed(dataset, **elements)


def ramp(rows=ROWS, columns=COLUMNS, frame=1):
    """16 bit values that tell row, column and frame."""
    values = ((row * columns + column) * 5 + frame * 100 for row in range(rows) for column in range(columns))
    return b"".join((value % 4096).to_bytes(2, "little") for value in values)


def shades(rows=ROWS, columns=COLUMNS, samples=1, frame=1):
    """8 bit values without edges, so that lossy codecs keep them."""
    pixels = (
        ((row * 2 + column + frame * 7 + 40 * sample) % 256)
        for row in range(rows)
        for column in range(columns)
        for sample in range(samples)
    )
    return bytes(pixels)


def ct(number=1, **elements):
    made = header(CTImageStorage, "CT", number)
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    made.FrameOfReferenceUID, made.PixelSpacing, made.SliceThickness = uid(), [0.7, 0.7], "1.5"
    made.RescaleIntercept, made.RescaleSlope = -1024, 1
    made.WindowCenter, made.WindowWidth = 1000, 3000
    return changed(with_pixels(made, ramp(frame=number), bits=12), **elements)


def grey(**elements):
    """8 bit, without look-up tables: what is stored is what is shown."""
    return changed(
        with_pixels(header(SecondaryCaptureImageStorage, "OT"), shades(), bits=8), ConversionType="WSD", **elements
    )


def colour(**elements):
    made = with_pixels(
        header(SecondaryCaptureImageStorage, "OT"), shades(samples=3), bits=8, samples=3, photometric="RGB"
    )
    return changed(made, ConversionType="WSD", **elements)


def odd(**elements):
    """7 by 5 pixels of one byte: the value is padded."""
    made = with_pixels(header(SecondaryCaptureImageStorage, "OT"), shades(7, 5), rows=7, columns=5, bits=8)
    return changed(made, ConversionType="WSD", **elements)


def multi_frame(frames=4, **elements):
    made = header(MultiFrameGrayscaleByteSecondaryCaptureImageStorage, "OT")
    data = b"".join(shades(frame=frame) for frame in range(1, frames + 1))
    made.FrameTime, made.FrameIncrementPointer = "100", 0x00181063
    return changed(with_pixels(made, data, bits=8), NumberOfFrames=frames, ConversionType="WSD", **elements)


def in_one_study(*datasets):
    for dataset in datasets[1:]:
        of_the_study_of(datasets[0], dataset)
    return datasets


def of_the_study_of(first, dataset):
    return changed(
        dataset, StudyInstanceUID=first.StudyInstanceUID, PatientID=first.PatientID, PatientName=first.PatientName
    )


def in_one_series(*datasets):
    for dataset in in_one_study(*datasets):
        dataset.SeriesInstanceUID = datasets[0].SeriesInstanceUID
    return datasets


def two_images():
    return in_one_series(ct(1), ct(2))


# Elements of every kind


def items(*elements):
    return Sequence([changed(Dataset(), **one) for one in elements])


def code(value, scheme, meaning):
    return items({"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning})


def private(dataset, value="private value", group=0x0009):
    """A block with text, a sequence in a sequence, and bytes."""
    block = dataset.private_block(group, CREATOR, create=True)
    block.add_new(0x01, "LO", value)
    inner, outer = Dataset(), Dataset()
    inner.private_block(group, CREATOR, create=True).add_new(0x02, "SH", "inner")
    outer.private_block(group, CREATOR, create=True).add_new(0x03, "SQ", [inner])
    block.add_new(0x04, "SQ", [outer])
    block.add_new(0x05, "UN", b"\x01\x02\x03\x04")
    return dataset


def nested(depth, dataset=None):
    """Content items inside each other."""
    inner = Dataset()
    inner.TextValue = f"depth {depth}"
    for level in range(depth - 1, 0, -1):
        outer = Dataset()
        outer.TextValue, outer.ContentSequence = f"depth {level}", [inner]
        inner = outer
    dataset = dataset or grey()
    dataset.ContentSequence = [inner]
    return dataset


BULK = bytes(range(256)) * 40


def with_bulk_at_depth():
    """Long values in the data set, and in an item of an item."""
    made = grey(ICCProfile=BULK)
    inner = changed(
        Dataset(), EncapsulatedDocument=BULK[::-1], MIMETypeOfEncapsulatedDocument="application/octet-stream"
    )
    outer = changed(Dataset(), TextValue="outer", ContentSequence=[Dataset(), inner])
    made.ContentSequence = [outer]
    return made
