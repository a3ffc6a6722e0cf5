#!/usr/bin/env python3
"""C-STORE side by side with DCMTK's storescp on the same files, and the way from the last
C-STORE to the SR.

    conformance/run.sh --list            # sets the environment up
    cargo build --release
    python benches/store.py --binary PATH/release/radiant --files 400

The sender is DCMTK's storescu, one process per association, so that no interpreter is measured.
storescp writes files; radiant syncs them, indexes them and acknowledges then. Both receivers take
every round in turn; the table has medians.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
from peers import dicomweb, dimse, phantoms  # noqa: E402
from peers.part10 import image  # noqa: E402
from peers.server import WITH_DEMO_MODEL, Server, free_port  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

SIDE = 512
# The largest that DCMTK takes; 16384 is its default, and costs storescp.
PDU_BYTES = "131072"
ASSOCIATIONS = (1, 4)
ROUNDS = 3
# Without it DCMTK waits about 40 ms for an acknowledgement in each direction (Nagle).
ENVIRONMENT = os.environ | {"TCP_NODELAY": "1"}
SR_TIMEOUT_S = 300


class Storescp:
    """DCMTK's receiver: a process per association, data sets as they come."""

    host, aet = "127.0.0.1", "STORESCP"

    def __init__(self, folder):
        self.folder, self.dimse_port = folder, free_port()

    def __enter__(self):
        self.folder.mkdir(parents=True)
        command = ["storescp", "--fork", "--bit-preserving", "--max-pdu", PDU_BYTES, "-od", str(self.folder), str(self.dimse_port)]
        self.process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def write_series(folder, count, associations):
    """One folder of files per association, a study each."""
    folders = []
    for number in range(associations):
        study, part = generate_uid(), folder / str(number)
        part.mkdir(parents=True)
        for n in range(count // associations):
            (part / f"{n}.dcm").write_bytes(image(study, n, SIDE, seed=number))
        folders.append(part)
    return folders


def send(receiver, folders):
    """Seconds until every association has sent its folder and was acknowledged."""
    start = time.monotonic()
    target = ["-aec", receiver.aet, receiver.host, str(receiver.dimse_port)]
    command = ["storescu", "-R", "--max-pdu", PDU_BYTES, "+sd", *target]
    senders = [subprocess.Popen([*command, str(folder)], env=ENVIRONMENT, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True) for folder in folders]
    for sender in senders:
        _, complaints = sender.communicate()
        if sender.returncode != 0:
            sys.exit(f"storescu: {complaints[-500:]}")
    return time.monotonic() - start


def compare(arguments, scratch):
    print(f"{'receiver':<12}{'associations':>14}{'instances/s':>14}{'MB/s':>8}")
    for associations in ASSOCIATIONS:
        rounds = [one_round(arguments, scratch / f"{associations}-{n}", associations) for n in range(ROUNDS)]
        sizes = rounds[0][0]
        for receiver, place in (("storescp", 1), ("radiant", 2)):
            show(receiver, associations, sizes, statistics.median(result[place] for result in rounds))


def one_round(arguments, scratch, associations):
    """Sizes of the files, and the seconds that storescp and radiant took for them."""
    folders = write_series(scratch / "files", arguments.files, associations)
    sizes = [path.stat().st_size for folder in folders for path in folder.iterdir()]
    with Storescp(scratch / "storescp") as storescp:
        reference = send(storescp, folders)
    with Server(arguments.binary, scratch / "radiant") as radiant:
        seconds = send(radiant, folders)
        stored = len(dicomweb.instances(radiant))
    if stored != len(sizes):
        sys.exit(f"{stored} of {len(sizes)} instances are in the index")
    shutil.rmtree(scratch)
    return sizes, reference, seconds


def show(receiver, associations, sizes, seconds):
    print(f"{receiver:<12}{associations:>14}{len(sizes) / seconds:>14.1f}{sum(sizes) / 1e6 / seconds:>8.1f}")


def time_to_sr(arguments, scratch):
    """The delay after the release of the association is part of it, as it is for everybody."""
    command = [str(arguments.binary), "phantom", str(scratch / "phantoms"), "--count", "3", "--seed", "930000", "--kind", "chest"]
    subprocess.run(command, check=True)
    seconds = []
    with Server(arguments.binary, scratch / "radiant-sr", WITH_DEMO_MODEL) as server:
        for path in sorted((scratch / "phantoms").glob("*/001.dcm")):
            file, study = phantoms.changed(path)
            kind = phantoms.dcmread(path, stop_before_pixels=True)
            dimse.send_bytes(server, [file], [(kind.SOPClassUID, kind.file_meta.TransferSyntaxUID)])
            seconds.append(wait_for_sr(server, study))
    delay = WITH_DEMO_MODEL["analysis.release_delay_s"]
    print(f"last C-STORE to SR: {statistics.median(seconds):.1f} s (median of {len(seconds)}, "
          f"of which {delay} s are waited after the release)")


def wait_for_sr(server, study):
    start = time.monotonic()
    while time.monotonic() - start < SR_TIMEOUT_S:
        found = dicomweb.search(server, f"studies/{study}/instances", SOPClassUID=phantoms.COMPREHENSIVE_3D_SR)
        if found:
            return time.monotonic() - start
        time.sleep(0.05)
    sys.exit(f"no SR after {SR_TIMEOUT_S} s: {server.analyses(study)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--files", type=int, default=400, help="512 x 512 CT images of 0.5 MB")
    arguments = parser.parse_args()
    if not (shutil.which("storescu") and shutil.which("storescp")):
        sys.exit("DCMTK is not installed")
    with tempfile.TemporaryDirectory(prefix="radiant-bench-") as scratch:
        compare(arguments, Path(scratch))
        time_to_sr(arguments, Path(scratch))


if __name__ == "__main__":
    main()
