"""Objects to send, made anew for each run: no UID and no patient is ever used twice."""

import uuid
from copy import deepcopy
from itertools import count

from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage

# In numbers of patients, so that a query meets the objects of this run only.
TOKEN = uuid.uuid4().hex[:8].upper()
SERIAL = count(1)
SIDE = 8


def uid():
    return UID(f"2.25.{uuid.uuid4().int}")


def ct(study=None, series=None, **changes):
    """A small CT image, in a study of its own unless one is named."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = study or uid(), series or uid()
    made.PatientID, made.PatientName = f"D{TOKEN}-{next(SERIAL)}", f"Rows{TOKEN}^Case"
    made.PatientBirthDate, made.PatientSex = "19700101", "O"
    made.StudyDate, made.StudyTime, made.StudyID = "20240210", "101500", "1"
    made.AccessionNumber, made.ReferringPhysicianName = "", ""
    made.Modality, made.SeriesNumber, made.InstanceNumber = "CT", 1, next(SERIAL)
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    made.FrameOfReferenceUID, made.PixelSpacing, made.SliceThickness = uid(), [1, 1], 1
    made.Rows = made.Columns = SIDE
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.RescaleIntercept, made.RescaleSlope = -1024, 1
    made.PixelData = bytes(range(SIDE * SIDE * 2))
    made["PixelData"].VR = "OW"
    return changed(made, **changes)


def changed(data_set, **elements):
    """A copy with other elements, by keyword; None takes one away."""
    made = deepcopy(data_set)
    for keyword, value in elements.items():
        if value is None:
            del made[keyword]
        else:
            setattr(made, keyword, value)
    return made


def identifier(level, **keys):
    """Of a query or retrieval; a keyword without a value is asked for."""
    made = Dataset()
    if level is not None:
        made.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(made, keyword, value)
    return made
