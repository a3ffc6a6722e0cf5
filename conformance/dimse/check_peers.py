#!/usr/bin/env python3
"""Drives a running DIMSE server with DCMTK and pynetdicom, as their users would.

Knows the server by host, port and AE title only. Each case prints a line; the last line counts
them. Exits with 1 when a case failed, with 2 when a peer that should have taken part is not
installed. What was acknowledged is listed by --acknowledged, so that another check can fetch it
back and compare.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import dcmtk_cases
import pydicom
import pynetdicom_cases
from cases import Run
from sendable import sendable_files


def run_all(run):
    # First what sends a file's own bytes: DCMTK encodes anew, and the first to come is kept.
    for name, check in {**pynetdicom_cases.CASES, **dcmtk_cases.CASES}.items():
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
