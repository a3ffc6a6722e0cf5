"""The rows of `dimse/rows.toml` against a server of our own that knows two nodes."""

import subprocess
import sys
from pathlib import Path

from .server import WITHOUT_ANALYSIS, Server, free_port

SCRIPT = Path(__file__).parent.parent / "dimse" / "check_assertions.py"
DECLARED = SCRIPT.parent / "declared" / "radiant.toml"


def nodes(destination):
    """ROWS may do everything and calls; DESTINATION is moved to."""
    return f"""[{{ ae_title = "ROWS", may = ["store", "query", "retrieve"] }},
 {{ ae_title = "DESTINATION", host = "127.0.0.1", port = {destination} }}]"""


def keys(destination):
    return WITHOUT_ANALYSIS | {
        "dimse.nodes": nodes(destination),
        "dimse.unknown_callers_may": "[]",
        "dimse.associations_max": "12",
        "dimse.artim_timeout_s": "3",
        "dimse.idle_timeout_s": "4",
    }


def run(context, tally):
    """What fails lies beside the server's log, with its exchanges."""
    destination = free_port()
    with Server(context.binary, context.folder("dimse-assertions") / "data", keys(destination)) as server:
        report = server.data_dir.parent / "dimse.json"
        command = [sys.executable, str(SCRIPT), server.host, str(server.dimse_port), server.aet]
        command += ["--declare", str(DECLARED), "--move-port", str(destination), "--report", str(report)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            lines = []
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        tally.add_closing_line("rows of DIMSE", "".join(lines), process.returncode)
        with tally.check("rows of DIMSE: nothing panicked"):
            assert "panicked" not in server.log(), "see the log"
