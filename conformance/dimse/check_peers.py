#!/usr/bin/env python3
"""Drives a running DIMSE server with DCMTK and pynetdicom, as their users would.

Knows the server by host, port and AE title only. Each case prints a line; the last line counts
them. Exits with 1 when a case failed, with 2 when a peer that should have taken part is not
installed. What was acknowledged is listed by --acknowledged, so that another check can fetch it
back and compare.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from sendable import CONFLICT, SUCCESS, Sendable, complaint, sendable_files

VERIFICATION_CONTEXT = ("1.2.840.10008.1.1", ["1.2.840.10008.1.2"])
MODALITY_WORKLIST = "1.2.840.10008.5.1.4.31"
CONTEXTS_MAX = 128
ASSOCIATIONS_AT_ONCE = 20
TOOL_TIMEOUT_S = 180


@dataclass
class Run:
    host: str
    port: int
    aet: str
    files: list[Sendable]
    passed: int = 0
    failed: int = 0
    missing: set[str] = field(default_factory=set)
    acknowledged: dict[str, str] = field(default_factory=dict)

    def case(self, name, check):
        try:
            check(self)
        except Exception as error:  # a case that does not come to its end has failed
            self.failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        else:
            self.passed += 1
            print(f"ok   {name}", flush=True)

    def file(self, name):
        return next(file for file in self.files if file.path.name == name)

    def check_answers(self, answers, least):
        """Pairs of file and status; at least this share of all files has to be among them."""
        complaints = [complaint(file, status, self.acknowledged) for file, status in answers]
        expect(len(answers) >= least * len(self.files), f"{len(answers)} of {len(self.files)} files were answered")
        expect(not any(complaints), "; ".join(filter(None, complaints)))


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def pynetdicom_echo(run):
    association = associate(run, [VERIFICATION_CONTEXT])
    expect(association.send_c_echo().Status == SUCCESS, "C-ECHO failed")
    association.release()
    expect(association.is_released, "the release was not confirmed")


def pynetdicom_store(run):
    """Sends the files' own bytes, in as many associations as their contexts need."""
    contexts = sorted({(file.sop_class, file.transfer_syntax) for file in run.files})
    answers = []
    for start in range(0, len(contexts), CONTEXTS_MAX):
        batch = contexts[start : start + CONTEXTS_MAX]
        association = associate(run, [(sop_class, [syntax]) for sop_class, syntax in batch])
        accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts}
        to_send = [file for file in run.files if (file.sop_class, file.transfer_syntax) in accepted.intersection(batch)]
        answers += [(file, store(association, file)) for file in to_send]
        association.release()
        expect(association.is_released, "the association did not last to its release")
    run.check_answers(answers, least=0.9)


def pynetdicom_refused_context(run):
    association = associate(run, [VERIFICATION_CONTEXT, (MODALITY_WORKLIST, ["1.2.840.10008.1.2"])])
    rejected = [(context.abstract_syntax, context.result) for context in association.rejected_contexts]
    association.release()
    expect(rejected in ([(MODALITY_WORKLIST, 3)], []), rejected)


def pynetdicom_parallel(run):
    """Associations that all stand before the first of them sends."""
    ct = run.file("CT_small.dcm")
    with ThreadPoolExecutor(ASSOCIATIONS_AT_ONCE) as pool:
        contexts = [(ct.sop_class, [ct.transfer_syntax])]
        associations = list(pool.map(lambda _: associate(run, contexts), range(ASSOCIATIONS_AT_ONCE)))
        statuses = set(pool.map(lambda association: store(association, ct), associations))
        list(pool.map(lambda association: association.release(), associations))
    expect(statuses == {SUCCESS}, statuses)


def associate(run, contexts, patience_s=60):
    from pynetdicom import AE, _config

    # A file's own bytes instead of its data set encoded anew.
    _config.STORE_SEND_CHUNKED_DATASET = True
    ae = AE(ae_title="PYNETDICOM")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = patience_s
    for abstract_syntax, transfer_syntaxes in contexts:
        ae.add_requested_context(abstract_syntax, transfer_syntaxes)
    association = ae.associate(run.host, run.port, ae_title=run.aet)
    expect(association.is_established, "the association was not accepted")
    return association


def store(association, file):
    answer = association.send_c_store(file.path)
    expect("Status" in answer, f"{file.path.name}: no answer")
    return answer.Status


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


PYNETDICOM_CASES = {
    "pynetdicom: C-ECHO": pynetdicom_echo,
    "pynetdicom: C-STORE of the files' own bytes": pynetdicom_store,
    "pynetdicom: a context that is not served": pynetdicom_refused_context,
    f"pynetdicom: {ASSOCIATIONS_AT_ONCE} associations at once": pynetdicom_parallel,
}
DCMTK_CASES = {
    "echoscu: C-ECHO": echoscu,
    "storescu: uncompressed files": storescu,
    "storescu: new instances": storescu_invents,
    "dcmsend: every file": dcmsend,
}
def run_all(run):
    # First what sends a file's own bytes: DCMTK encodes anew, and the first to come is kept.
    for name, check in {**PYNETDICOM_CASES, **DCMTK_CASES}.items():
        peer = name.split(":")[0]
        if is_installed(peer):
            run.case(name, check)
        else:
            run.missing.add(peer)


def is_installed(peer):
    if peer != "pynetdicom":
        return shutil.which(peer) is not None
    try:
        import pynetdicom  # noqa: F401
    except ImportError:
        return False
    return True


def main():
    arguments = parse_arguments()
    files = sendable_files(arguments.files or Path(pydicom.__file__).parent / "data" / "test_files")
    run = Run(arguments.host, arguments.port, arguments.aet, files)
    run_all(run)
    if arguments.acknowledged:
        arguments.acknowledged.write_text(json.dumps(run.acknowledged, indent=1))
    for peer in sorted(run.missing):
        print(f"MISSING {peer}")
    print(f"{run.passed} passed, {run.failed} failed, {len(run.missing)} peers missing")
    return 1 if run.failed else 2 if run.missing else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=11112)
    parser.add_argument("--aet", default="RADIANT")
    parser.add_argument("--files", type=Path, help="folder of .dcm files instead of pydicom's test files")
    parser.add_argument("--acknowledged", type=Path, help="writes SOP Instance UID to path of what was kept, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
