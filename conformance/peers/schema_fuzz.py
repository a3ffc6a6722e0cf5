"""The REST API against its own description, by schemathesis: what it generates from `openapi.json`, right and
wrong, is answered as the document says, and never by a 5xx.

A bounded run as a suite; a long one by `python conformance/peers/schema_fuzz.py --binary PATH --seconds 1200`.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from peers import dicomweb, part10  # noqa: E402
from peers.server import WITHOUT_ANALYSIS, Server  # noqa: E402

SECONDS = 90
EXAMPLES = 12
STUDIES = [f"2.25.77{number:020}" for number in range(3)]
# Who calls often is slowed down on purpose, and everybody here has the same address.
KEYS = WITHOUT_ANALYSIS | {"deletion.enabled": "true", "http.rate_limits.exempt": '["127.0.0.0/8"]'}
# What is there to be found: most generated ids name nothing.
CONFIG = """
hooks = "fuzz_hooks.py"

[parameters]
study = "{study}"

[checks]
# A request may be right in form and wrong in what it names or when it comes: a cursor that nobody was given,
# an order that only another list knows.
positive_data_acceptance.expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 410, 412, 415, 422, 428, 429, 502, 503]
negative_data_rejection.expected-statuses = ["4xx"]
# Who may do what is asked by a test of its own, of every endpoint with every role; here access control is off.
ignored_auth.enabled = false
# A condition that is missing has a status of its own.
missing_required_header.expected-statuses = [400, 401, 403, 404, 406, 409, 410, 412, 415, 422, 428]
"""


# What tus sends is bytes, by a media type of its own.
HOOKS = """import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
"""


def program():
    beside = Path(sys.executable).parent / "schemathesis"
    return beside if beside.exists() else shutil.which("schemathesis")


def fill(server):
    dicomweb.store(server, [part10.image(study, number + 1, 8) for number, study in enumerate(STUDIES)])


def fuzz(server, scratch, seconds, examples):
    """What schemathesis says, and whether it found anything."""
    config = scratch / "schemathesis.toml"
    config.write_text(CONFIG.format(study=STUDIES[0]))
    (scratch / "fuzz_hooks.py").write_text(HOOKS)
    command = [str(program()), "--config-file", str(config), "run", f"{server.base}/api/v1/openapi.json"]
    command += ["--url", f"{server.base}/api/v1", "--max-time", str(seconds), "--max-examples", str(examples)]
    command += ["--continue-on-failure", "--no-color", "--warnings", "off", "--workers", "2", "--seed", "7"]
    command += ["--suppress-health-check", "all", "--request-timeout", "60"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=scratch, timeout=seconds * 2 + 600)
    return done.returncode, done.stdout + done.stderr


def run(context, tally, seconds=SECONDS, examples=EXAMPLES):
    if not program():
        tally.miss("the REST API against its description", "schemathesis")
        return
    scratch = context.folder("schema-fuzz")
    with Server(context.binary, scratch / "radiant", KEYS) as server:
        fill(server)
        with tally.check("the REST API keeps to its description"):
            status, said = fuzz(server, scratch, seconds, examples)
            (scratch / "said.txt").write_text(said)
            assert status == 0, said[-6000:]
            assert "a handler panicked" not in server.log()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=1200)
    parser.add_argument("--examples", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, Server(arguments.binary, Path(made) / "radiant", KEYS) as server:
        fill(server)
        status, said = fuzz(server, Path(made), arguments.seconds, arguments.examples)
        print(said)
        return status


if __name__ == "__main__":
    sys.exit(main())
