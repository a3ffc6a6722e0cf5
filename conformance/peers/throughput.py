"""The benchmark of `benches/`, once and small: that it runs, not how fast."""

import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "benches" / "store.py"


def run(context, tally):
    if not (shutil.which("storescu") and shutil.which("storescp")):
        tally.miss("benches/store.py", "DCMTK")
        return
    with tally.check("benches/store.py runs"):
        command = [sys.executable, str(SCRIPT), "--binary", str(context.binary), "--files", "24"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        print(done.stdout, end="")
        assert done.returncode == 0, done.stderr[-800:]
