#!/usr/bin/env python3
"""C-STORE side by side with other receivers on the same files, and the way from the last C-STORE
to the SR.

    conformance/run.sh --list            # sets the environment up
    cargo install dicom-storescp         # optional
    cargo build --release
    python benches/store.py --binary PATH/release/radiant

The sender is DCMTK's storescu, one process per association, so that no interpreter is measured.
radiant syncs objects and index, and Orthanc objects, before they acknowledge. dicom-storescp (of
dicom-rs) and storescp write files without any sync; with --ignore storescp writes nothing, and is
what this sender can do at most. All receivers take every round in turn, each into an empty folder;
the table has medians.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
import yardsticks  # noqa: E402
from peers import dicomweb, dimse, phantoms  # noqa: E402
from peers.part10 import image  # noqa: E402
from peers.server import WITH_DEMO_MODEL, Server, free_port  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

SIDE = 512
# The largest that DCMTK takes; 16384 is its default, and costs storescp.
PDU_BYTES = "131072"
# Without it DCMTK waits about 40 ms for an acknowledgement in each direction (Nagle).
ENVIRONMENT = os.environ | {"TCP_NODELAY": "1"}
SR_TIMEOUT_S = 300


@dataclass
class Measured:
    """Of one round: instances per second, server CPU per instance in milliseconds, peak memory in MB."""

    rate: float
    cpu_ms: float
    peak_mb: float


class Program:
    """A receiver that is one command."""

    host = "127.0.0.1"

    def __init__(self, folder, aet, command):
        self.folder, self.aet, self.dimse_port = folder, aet, free_port()
        self.command = [part.format(port=self.dimse_port, folder=folder) for part in command]

    def __enter__(self):
        self.folder.mkdir(parents=True)
        self.process = subprocess.Popen(self.command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.dimse_port)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def wait_for_port(port):
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex((Program.host, port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def receivers(binary):
    """Those that are installed; each makes itself in a folder."""
    storescp = ["storescp", "--fork", "--max-pdu", PDU_BYTES]
    keeping = [*storescp, "--bit-preserving", "-od", "{folder}", "{port}"]
    rust = [shutil.which("dicom-storescp"), "--non-blocking", "--promiscuous", "-m", PDU_BYTES, "-o", "{folder}", "-p", "{port}"]
    makers = {"radiant": lambda folder: Server(binary, folder)}
    if shutil.which("Orthanc"):
        makers["Orthanc"] = yardsticks.Orthanc
    if rust[0]:
        makers["dicom-storescp"] = lambda folder: Program(folder, "STORE-SCP", rust)
    makers["storescp"] = lambda folder: Program(folder, "STORESCP", keeping)
    makers["storescp --ignore"] = lambda folder: Program(folder, "STORESCP", [*storescp, "--ignore", "{port}"])
    return makers


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
    print(f"{'receiver':<18}{'associations':>13}{'instances/s':>12}{'MB/s':>7}{'radiant is':>12}{'CPU ms':>8}{'peak MB':>9}", flush=True)
    makers = receivers(arguments.binary)
    for associations in arguments.associations:
        folders = write_series(scratch / "files", arguments.files, associations)
        rounds = {name: [] for name in makers}
        for _ in range(arguments.rounds):
            for name, make in makers.items():
                rounds[name].append(one_round(make, scratch / "receiver", folders))
        show(associations, mean_bytes(folders), {name: medians(runs) for name, runs in rounds.items()})
        shutil.rmtree(scratch / "files")


def one_round(make, place, folders):
    count = sum(1 for folder in folders for _ in folder.iterdir())
    with make(place / "data") as receiver:
        before = yardsticks.cpu_s(receiver.process)
        seconds = send(receiver, folders)
        cpu_ms = (yardsticks.cpu_s(receiver.process) - before) * 1e3 / count
        peak_mb = yardsticks.memory_kb(receiver.process, "VmHWM") / 1024
        if isinstance(receiver, Server) and len(dicomweb.instances(receiver)) != count:
            sys.exit(f"{count} instances are not in the index")
    shutil.rmtree(place)
    return Measured(count / seconds, cpu_ms, peak_mb)


def medians(runs):
    return Measured(*(statistics.median(values) for values in zip(*map(astuple, runs), strict=True)))


def mean_bytes(folders):
    return statistics.mean(path.stat().st_size for folder in folders for path in folder.iterdir())


def show(associations, size, results):
    for name, one in results.items():
        ratio = f"{results['radiant'].rate / one.rate:.2f} of it" if name != "radiant" else ""
        print(f"{name:<18}{associations:>13}{one.rate:>12.1f}{one.rate * size / 1e6:>7.0f}{ratio:>12}"
              f"{one.cpu_ms:>8.2f}{one.peak_mb:>9.0f}", flush=True)


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
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not (shutil.which("storescu") and shutil.which("storescp")):
        sys.exit("DCMTK is not installed")
    with tempfile.TemporaryDirectory(prefix="radiant-bench-") as scratch:
        compare(arguments, Path(scratch))
        time_to_sr(arguments, Path(scratch))


if __name__ == "__main__":
    main()
