"""The benchmarks of `benches/`, once and small: that they run and that what they compare agrees, not how fast."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from .database import programs
from .stores import SeaweedFs

BENCHES = Path(__file__).parent.parent.parent / "benches"
SMALL = "--studies 30 --slices 8 --frames 200 --files 8 --large-mb 8 --clients 2 --rounds 1 --seconds 1"
GROWTH = "--points 2000 6000 --batch 500 --rounds 2 --clients 2 --seconds 1 --unjudged"
FEW = "--studies 100 --batch 400 --rounds 1 --clients 2 --seconds 1"
ORTHANC_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def run(context, tally):
    benchmark(context, tally, "store.py", ["--files", "24"], ["storescu", "storescp"])
    benchmark(context, tally, "tokens.py", ["--seconds", "1", "--clients", "2"], ["wrk"])
    small = "--studies 300 --clients 2 --seconds 1 --unjudged".split()
    benchmark(context, tally, "rest.py", small, ["wrk"])
    for engine in ("sqlite", "postgres") if programs() else ("sqlite",):
        benchmark(context, tally, "growth.py", [*GROWTH.split(), "--engine", engine], ["wrk"])
    if programs() and SeaweedFs.program():
        benchmark(context, tally, "instances.py", FEW.split(), ["wrk", "haproxy"])
    else:
        tally.miss("benches/instances.py", "postgresql, weed")
    if importlib.util.find_spec("xllamacpp"):
        benchmark(context, tally, "vision.py", ["--demo", "--rounds", "1"], [])
    else:
        tally.miss("benches/vision.py", "xllamacpp")
    if not ORTHANC_PLUGIN.exists():
        tally.miss("benches/dicomweb.py", "Orthanc's DICOMweb plugin")
        return
    benchmark(context, tally, "dicomweb.py", SMALL.split(), ["wrk", "Orthanc", "nginx", "storescu"])


def benchmark(context, tally, name, arguments, needed):
    missing = [program for program in needed if not shutil.which(program)]
    if missing:
        tally.miss(f"benches/{name}", ", ".join(missing))
        return
    with tally.check(f"benches/{name} runs"):
        command = [sys.executable, str(BENCHES / name), "--binary", str(context.binary), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        print(done.stdout, end="")
        assert done.returncode == 0, done.stderr[-800:]
