"""Studies as file-sets: the DICOMDIR before DCMTK, pydicom and dciodvfy, and the files as they were."""

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import requests
from pydicom import dcmread
from pydicom.fileset import FileSet
from pydicom.uid import generate_uid

from . import dicomweb, downloads, part10
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from check_report import said  # noqa: E402

MANY = 1500
RECORDS = {
    "IMAGE",
    "SR DOCUMENT",
    "KEY OBJECT DOC",
    "PRESENTATION",
    "ENCAP DOC",
    "RT PLAN",
    "RT DOSE",
    "RT STRUCTURE SET",
    "WAVEFORM",
    "RAW DATA",
    "REGISTRATION",
}


def run(context, tally):
    folder = context.folder("media")
    with Server(context.binary, folder / "data", WITHOUT_ANALYSIS) as server:
        with tally.check("media: a study has its files unchanged, by names that media take"):
            check_names(server, folder)
        with tally.check("media: every object of the corpus, in one file-set of several patients"):
            path = corpus(server, folder)
        judges(tally, path)
        with tally.check("media: in Explicit VR Little Endian, where nothing is lost by it"):
            check_native(server, folder)
        with tally.check(f"media: {MANY} instances of a study"):
            check_many(server, folder)


def unpacked(content, path):
    shutil.rmtree(path, ignore_errors=True)
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    archive.extractall(path)
    return path


def zipped(server, study, path, **parameters):
    answer = requests.get(downloads.api(server, f"studies/{study}/zip"), params=parameters, timeout=600)
    equal(f"status: {answer.text[:200] if answer.status_code != 200 else ''}", answer.status_code, 200)
    return unpacked(answer.content, path)


def files_of(path):
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name != "DICOMDIR")


def check_names(server, folder):
    study = generate_uid()
    files = {part10.uid_of(file): file for file in (part10.image(study, n, side=16) for n in range(1, 6))}
    equal("stored", len(dicomweb.store(server, files.values())[0]), 5)
    path = zipped(server, study, folder / "names")
    for file in files_of(path):
        for part in file.relative_to(path).parts:
            assert len(part) <= 8 and part.isalnum() and part == part.upper(), file
        content = file.read_bytes()
        equal("file", content, files[part10.uid_of(content)])
    equal("files", len(files_of(path)), 5)


def corpus(server, folder):
    """What pydicom brings, as far as the server takes it; unpacked."""
    files = [path.read_bytes() for root in part10.corpus() for path in sorted(root.rglob("*.dcm"))]
    for file in files:
        dicomweb.store(server, [file])
    studies = sorted({uids[0] for uids in dicomweb.instances(server)})
    assert len(studies) > 20, f"{len(studies)} studies"
    done, content = downloads.make(server, form="dicom-zip", studies=studies)
    path = unpacked(content, folder / "corpus")
    equal("files", len(files_of(path)), len(dicomweb.instances(server)))
    equal("instances", done["instances_done"], len(files_of(path)))
    return path


def judges(tally, path):
    with tally.check("media: pydicom's FileSet finds every file by its record"):
        check_file_set(path)
    with tally.check("media: records lead to each other by right offsets"):
        check_offsets(path)
    for tool, judge in (("dcmdump", check_dcmdump), ("dciodvfy", check_dciodvfy), ("dcmmkdir", check_dcmmkdir)):
        if not shutil.which(tool) and tool != "dciodvfy":
            tally.miss(f"media: {tool}", tool)
            continue
        with tally.check(f"media: {tool} takes the directory"):
            judge(path)


def check_file_set(path):
    found = FileSet(path / "DICOMDIR")
    known = {str(instance.SOPInstanceUID): instance for instance in found}
    files = files_of(path)
    equal("instances in the directory", len(list(found)), len(files))
    for file in files:
        dataset = dcmread(file, stop_before_pixels=True, force=True)
        record = known[str(dataset.SOPInstanceUID)]
        equal("file of the record", path.joinpath(*record.ReferencedFileID).resolve(), file.resolve())
        equal("syntax", record.ReferencedTransferSyntaxUIDInFile, dataset.file_meta.TransferSyntaxUID)
        assert record.DirectoryRecordType in RECORDS, record.DirectoryRecordType


def check_offsets(path):
    """Every record is reached once from the first, by the offsets alone."""
    raw = (path / "DICOMDIR").read_bytes()
    read = dcmread(io.BytesIO(raw))
    records = {item.seq_item_tell: item for item in read.DirectoryRecordSequence}
    reached, last = set(), None
    pending = [read.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity]
    while pending:
        at = pending.pop()
        if at == 0:
            continue
        assert at in records and at not in reached, f"offset {at}"
        reached.add(at)
        pending += [records[at].OffsetOfTheNextDirectoryRecord, records[at].OffsetOfReferencedLowerLevelDirectoryEntity]
        if records[at].DirectoryRecordType == "PATIENT" and records[at].OffsetOfTheNextDirectoryRecord == 0:
            last = at
    equal("reached", len(reached), len(records))
    equal("the last of the root", read.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity, last)


def ran(*command, cwd=None):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr


def check_dcmdump(path):
    status, output = ran("dcmdump", path / "DICOMDIR")
    assert status == 0 and "E:" not in output, output[-500:]


def check_dciodvfy(path):
    _, out, err = said("dciodvfy", path / "DICOMDIR")
    errors = [line for line in (out + err).splitlines() if line.startswith("Error") and not is_of_the_objects(line)]
    assert not errors, "; ".join(errors[:5])


def is_of_the_objects(line):
    """Values that the objects of the corpus have wrong already."""
    return any(word in line for word in ("invalid data values for Value Representations", "Illegal", "Unrecognized", "Value invalid"))


def check_dcmmkdir(path):
    """It finds the same files to be what the directory says of them."""
    fresh = path.parent / "by-dcmtk"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(path, fresh)
    (fresh / "DICOMDIR").unlink()
    names = [str(file.relative_to(fresh)) for file in files_of(fresh)]
    status, output = ran("dcmmkdir", "-Nxc", "-Nec", "+I", "-W", *names, cwd=fresh)
    if not (fresh / "DICOMDIR").exists():
        raise AssertionError(f"dcmmkdir made none ({status}): {output[-400:]}")
    ours, theirs = (kinds(folder / "DICOMDIR") for folder in (path, fresh))
    differing = {uid: (ours.get(uid), kind) for uid, kind in theirs.items() if ours.get(uid) != kind}
    assert not differing, differing


def kinds(directory):
    records = dcmread(directory).DirectoryRecordSequence
    return {
        str(record.ReferencedSOPInstanceUIDInFile): record.DirectoryRecordType
        for record in records
        if "ReferencedSOPInstanceUIDInFile" in record
    }


def check_native(server, folder):
    by_study = {}
    for study, _, _ in dicomweb.instances(server):
        by_study[study] = by_study.get(study, 0) + 1
    native = explicit = 0
    for study in list(by_study)[:15]:
        path = zipped(server, study, folder / "native", native="true")
        for file in files_of(path):
            syntax = dcmread(file, stop_before_pixels=True).file_meta.TransferSyntaxUID
            native += 1
            explicit += syntax == "1.2.840.10008.1.2.1"
    assert explicit > native // 2, f"{explicit} of {native}"


def check_many(server, folder):
    study = generate_uid()
    for begin in range(0, MANY, 250):
        files = [part10.image(study, number, side=8) for number in range(begin + 1, begin + 251)]
        equal("stored", len(dicomweb.store(server, files)[0]), 250)
    path = zipped(server, study, folder / "many")
    equal("files", len(files_of(path)), MANY)
    check_offsets(path)
