"""A running DIMSE server as users of DCMTK see it."""

import re
import subprocess
import tempfile
from pathlib import Path

import wire
from cases import expect
from message import Association
from objects import changed, ct
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, VideoEndoscopicImageStorage
from sendable import CONFLICT

TOOL_TIMEOUT_S = 180
JPEG = "1.2.840.10008.1.2.4."
# What storescu proposes by these options, beside the uncompressed syntaxes.
COMPRESSED = {
    "-xs": JPEG + "70", "-xy": JPEG + "50", "-xx": JPEG + "51", "-xv": JPEG + "90", "-xw": JPEG + "91", "-xt": JPEG + "80",
    "-xu": JPEG + "81", "-xr": "1.2.840.10008.1.2.5",
}  # fmt: skip
VIDEO = {
    "-xm": JPEG + "100", "-xh": JPEG + "101", "-xn": JPEG + "102", "-xl": JPEG + "103", "-x2": JPEG + "104", "-x3": JPEG + "105",
    "-xo": JPEG + "106", "-x4": JPEG + "107", "-x5": JPEG + "108",
}  # fmt: skip
# Each of these sends an uncompressed object as it proposes it.
NATIVE = ("-x=", "-xe", "-xb", "-xi", "-xd")


def echoscu(run):
    done = dcmtk(run, ["echoscu", "--repeat", "5"])
    expect(done.returncode == 0, done.stderr)


def storescu(run):
    """Uncompressed objects in one association."""
    native = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}
    files = [file.path for file in run.files if file.well_formed and file.transfer_syntax in native]
    answers = store_responses(dcmtk(run, ["storescu", "-v", "-nh", "-R"], files))
    expect(len(answers) == len(files), f"{len(answers)} answers to {len(files)} files")
    kinds = set(answers) - {"Success", f"Unknown Status: 0x{CONFLICT:x}"}
    expect("Success" in answers and not any("Error" in kind for kind in kinds), answers)


def storescu_invents(run):
    """The same data under new UIDs: nothing but success will do."""
    files = [run.file(name).path for name in ("CT_small.dcm", "MR_small.dcm")]
    answers = store_responses(dcmtk(run, ["storescu", "-v", "-R", "+II", "--repeat", "20"], files))
    expect(answers == ["Success"] * 20 * len(files), answers)


def dcmsend(run):
    """Proposes each file's own transfer syntax beside others, and reports each status."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.txt"
        options = ["dcmsend", "-nh", "-nuc", "-dn", "--create-report-file", str(report)]
        done = dcmtk(run, options, [file.path for file in run.files])
        expect(report.exists(), done.stderr[-500:])
        statuses = report_statuses(report.read_text(errors="replace"))
    answers = [(file, statuses[str(file.path)]) for file in run.files if str(file.path) in statuses]
    run.check_answers(answers, least=0.8)


def dcmtk(run, command, files=()):
    server = ["-aec", run.aet, run.host, str(run.port)]
    command = [*command, *server, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TOOL_TIMEOUT_S)


def store_responses(done):
    return re.findall(r"Received Store Response \((.*)\)", done.stdout + done.stderr)


def report_statuses(report):
    statuses, path = {}, None
    for line in report.splitlines():
        name, _, value = line.partition(" : ")
        if name.strip() == "Filename":
            path = value
        elif name.strip() == "DIMSE Status" and value.startswith("0x"):
            statuses[path] = int(value.split()[0], 16)
    return statuses


def storescu_syntaxes(run):
    """An object for each option, in the syntax that it proposes; also with all of DCMTK's classes proposed at once."""
    with tempfile.TemporaryDirectory() as folder:
        for option, syntax in (COMPRESSED | VIDEO | dict.fromkeys(NATIVE)).items():
            path = Path(folder) / "object.dcm"
            file_of(syntax, video=option in VIDEO).save_as(path, enforce_file_format=True)
            for required in (["-R"], []) if option not in VIDEO else (["-R"],):
                answers = store_responses(dcmtk(run, ["storescu", "-v", option, *required], [path]))
                expect(answers == ["Success"], f"{option} {required}: {answers}")


def file_of(syntax, video):
    """A small object of its own; in a compressed syntax with a fragment that only looks like one of it."""
    made = ct(SOPClassUID=VideoEndoscopicImageStorage) if video else ct()
    if syntax:
        made = changed(made, PixelData=encapsulate([b"\xff\xd8" + bytes(62)]))
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    return FileDataset(None, made, preamble=bytes(128), file_meta=meta)


def storescu_sizes(run):
    """PDUs as small and as large as DCMTK makes them."""
    path = run.file("CT_small.dcm").path
    for options in (["-pdu", "4096"], ["-pdu", "131072"], ["--max-send-pdu", "4096"], ["--max-send-pdu", "131072"]):
        answers = store_responses(dcmtk(run, ["storescu", "-v", "-R", "+II", *options], [path]))
        expect(answers == ["Success"], f"{options}: {answers}")


def storescu_identity(run):
    """A user name that nobody asks for costs nothing."""
    for options in (["-usr", "somebody"], ["-usr", "somebody", "-pwd", "secret"], ["-usr", "somebody", "-epw"]):
        done = dcmtk(run, ["storescu", "-v", "-R", "+II", *options], [run.file("CT_small.dcm").path])
        expect(store_responses(done) == ["Success"], f"{options}: {done.stderr[-300:]}")


def storescu_aborts(run):
    """The object before the abort is kept."""
    made = file_of(None, video=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "object.dcm"
        made.save_as(path, enforce_file_format=True)
        for _ in range(2):
            done = dcmtk(run, ["storescu", "-v", "-R", "--abort"], [path])
            expect(store_responses(done) == ["Success"], done.stderr[-300:])
    with Association(run, wire.Request(run.aet, contexts=[(1, str(made.SOPClassUID), [wire.IMPLICIT])])) as association:
        status = association.store(changed(ct(), SOPInstanceUID=made.SOPInstanceUID)).status
        expect(status == CONFLICT, f"another object of that UID: {status:#06x}")
        association.release()


def storescu_many(run):
    """New patients, studies and series as it goes."""
    options = ["storescu", "-q", "-R", "+IP", "5", "+IS", "5", "+IR", "5", "--repeat", "250"]
    done = dcmtk(run, options, [run.file("CT_small.dcm").path])
    expect((done.returncode, done.stderr) == (0, ""), done.stderr[-300:])


def echoscu_proposals(run):
    """Every syntax that it knows, on every context that there can be."""
    for options in (["-pts", "38"], ["-ppc", "128"], ["-pts", "38", "-ppc", "128"], ["-pdu", "4096"], ["--abort"]):
        done = dcmtk(run, ["echoscu", *options])
        expect(done.returncode == 0, f"{options}: {done.stderr}")


def dcmsend_in_parts(run):
    """An association of its own for each object, and one for all."""
    for option in ("+ma", "-ma"):
        done = dcmtk(run, ["dcmsend", "-v", "-nuc", option], [run.file(name).path for name in ("CT_small.dcm", "MR_small.dcm")])
        expect(done.returncode == 0, f"{option}: {done.stderr[-300:]}")


CASES = {
    "echoscu: C-ECHO": echoscu,
    "echoscu: proposals of every size": echoscu_proposals,
    "storescu: uncompressed files": storescu,
    "storescu: new instances": storescu_invents,
    "storescu: every syntax it can propose": storescu_syntaxes,
    "storescu: PDUs of every size": storescu_sizes,
    "storescu: a user identity": storescu_identity,
    "storescu: an abort in place of a release": storescu_aborts,
    "storescu: 250 objects of many studies": storescu_many,
    "dcmsend: every file": dcmsend,
    "dcmsend: associations in parts": dcmsend_in_parts,
}
