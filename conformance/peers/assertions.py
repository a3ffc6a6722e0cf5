"""The rows of `dicomweb/rows.toml` against a server of our own, at its defaults and with every switch turned."""

import subprocess
import sys
from pathlib import Path

from .server import WITHOUT_ANALYSIS, Server

SCRIPT = Path(__file__).parent.parent / "dicomweb" / "check_assertions.py"
DECLARED = SCRIPT.parent / "declared"


def run(context, tally):
    with Server(context.binary, context.folder("assertions") / "data", WITHOUT_ANALYSIS) as server:
        judge(tally, server, "radiant")


def judge(tally, server, declared, *rows):
    """What fails lies beside the server's log, with its exchanges."""
    report = server.data_dir.parent / f"{declared}.json"
    command = [sys.executable, str(SCRIPT), server.web, "--declare", str(DECLARED / f"{declared}.toml")]
    command += ["--report", str(report), "--pid", str(server.process.pid)]
    command += ["--only", *rows] if rows else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    tally.add_closing_line(f"rows of {declared}", "".join(lines), process.returncode)
