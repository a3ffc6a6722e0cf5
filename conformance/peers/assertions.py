"""The rows of `dicomweb/rows.toml` against servers of our own: at the defaults, and with switches turned."""

import subprocess
import sys
from pathlib import Path

from .server import WITHOUT_ANALYSIS, Server

SCRIPT = Path(__file__).parent.parent / "dicomweb" / "check_assertions.py"
DECLARED = SCRIPT.parent / "declared"
STRICT = {
    "http.accept_required": "true",
    "http.search_empty_204": "true",
    "http.search_scan_max": "1",
    "http.trusted_proxies": '["127.0.0.1"]',
    "ingest.instance_bytes_max": "1000000",
    "ingest.on_duplicate": "keep-first",
}
# What is declared, what is configured, and the rows that this matters for; none are all.
SERVERS = [
    ("radiant", {"deletion.enabled": "true"}, []),
    ("radiant-strict", STRICT, ["G4", "S9d", "S19", "S21", "Q1", "Q36", "Q45"]),
    ("radiant-replace", {"ingest.on_duplicate": "replace"}, ["S21"]),
]


def run(context, tally):
    for declared, keys, rows in SERVERS:
        with Server(
            context.binary, context.folder(f"assertions-{declared}") / "data", WITHOUT_ANALYSIS | keys
        ) as server:
            judge(tally, server, declared, rows)


def judge(tally, server, declared, rows):
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
