"""Files that a C-STORE SCU can send as they are, and what an answer to each is worth."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.uid import UID, MediaStorageDirectoryStorage

SUCCESS, CONFLICT = 0x0000, 0x0111
UNDEFINED_LENGTH = 0xFFFFFFFF


@dataclass
class Sendable:
    path: Path
    sop_class: UID
    sop_instance: UID
    transfer_syntax: UID
    # A server has no reason to refuse it.
    well_formed: bool


def sendable_files(folder):
    found = (sendable(path) for path in sorted(folder.rglob("*.dcm")))
    return [file for file in found if file]


def sendable(path):
    """None where no C-STORE command can be made of the file meta information."""
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
        sop_class, sop_instance = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        transfer_syntax = meta.TransferSyntaxUID
    except Exception:
        return None
    if sop_class == MediaStorageDirectoryStorage:
        return None
    return Sendable(path, sop_class, sop_instance, transfer_syntax, is_well_formed(path, sop_class, sop_instance))


def is_well_formed(path, sop_class, sop_instance):
    try:
        with warnings.catch_warnings():
            # The data set is not in its transfer syntax.
            warnings.filterwarnings("error", message="Expected (ex|im)plicit VR")
            dataset = pydicom.dcmread(path)
        if any(is_cut_off(dataset.get_item(tag)) for tag in dataset.keys()):
            return False
        if dataset.get_item("SOPClassUID").VR not in (None, "UI"):
            return False
        dataset.walk(lambda *_: None)
        uids = [dataset.StudyInstanceUID, dataset.SeriesInstanceUID, sop_instance, sop_class]
        named_alike = (dataset.SOPInstanceUID, dataset.SOPClassUID) == (sop_instance, sop_class)
        return named_alike and all(uid.is_valid for uid in uids)
    except Exception:
        return False


def is_cut_off(element):
    raw = isinstance(element, RawDataElement) and element.value is not None
    return raw and element.length not in (UNDEFINED_LENGTH, len(element.value))


def complaint(file, status, acknowledged):
    """Why this status is wrong for this file, or None; remembers what was kept."""
    if status == SUCCESS:
        acknowledged.setdefault(file.sop_instance, str(file.path))
        return None
    if not file.well_formed or (status == CONFLICT and file.sop_instance in acknowledged):
        return None
    return f"{file.path.name}: {status:#06x}"
