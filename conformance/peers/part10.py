"""DICOM files as bytes, and files to send: those of pydicom and made ones."""

import hashlib
import random
import struct
from functools import cache
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

PREAMBLE = 132
LONG_VRS = (b"OB", b"OW", b"UN", b"UT", b"SQ", b"OD", b"OF", b"OL", b"OV", b"UC", b"UR", b"SV", b"UV")


def data_set(file):
    """What follows the file meta information (PS3.10 7.1), which is Explicit VR Little Endian."""
    at = PREAMBLE
    while file[at : at + 2] == b"\x02\x00":
        if file[at + 4 : at + 6] in LONG_VRS:
            at += 12 + struct.unpack_from("<I", file, at + 8)[0]
        else:
            at += 8 + struct.unpack_from("<H", file, at + 6)[0]
    return file[at:]


def keeps_file_meta(file):
    """Whether the file meta information may stay: present, and of the object that follows."""
    read = pydicom.dcmread(BytesIO(file), force=True, stop_before_pixels=True)
    named = [read.file_meta.get(f"MediaStorage{uid}", read.get(uid)) for uid in ("SOPClassUID", "SOPInstanceUID")]
    return "TransferSyntaxUID" in read.file_meta and named == [read.get("SOPClassUID"), read.get("SOPInstanceUID")]


def digest(data):
    return hashlib.sha256(data).hexdigest()


@cache
def corpus():
    """Folders of test files that are installed: pydicom's and, where present, pydicom-data's."""
    folders = [Path(pydicom.__file__).parent / "data" / "test_files"]
    try:
        import data_store
    except ImportError:
        return folders
    return folders + [Path(data_store.__file__).parent / "data"]


def image(study, number, side, seed=0):
    """A CT image of 16 bits with random pixels, as bytes of a file; unlike every other one."""
    sop_class, series = CTImageStorage, generate_uid(entropy_srcs=[study, "series"])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(None, Dataset(), file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = study, series
    made.PatientID, made.PatientName = f"C-{study[-8:]}", "Conformance^Case"
    made.StudyDate, made.StudyTime, made.AccessionNumber, made.StudyID = "20260102", "101500", "", "1"
    made.Modality, made.SeriesNumber, made.InstanceNumber = "CT", 1, number
    made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    made.FrameOfReferenceUID = generate_uid(entropy_srcs=[study, "frame of reference"])
    made.PixelSpacing, made.SliceThickness = [0.7, 0.7], 1
    made.Rows = made.Columns = side
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.RescaleIntercept, made.RescaleSlope = -1024, 1
    made.PixelData = random.Random(f"{seed}/{number}").randbytes(side * side * 2)
    return encoded(made)


def encoded(dataset):
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def uid_of(file):
    return pydicom.dcmread(BytesIO(file), stop_before_pixels=True).SOPInstanceUID
