#!/usr/bin/env python3
"""Runs every test: unit and integration by cargo, then the suites against the built program.

`run.sh` prepares what this needs. The last line counts the checks; with CI=true a missing peer
fails the run.
"""

import argparse
import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from peers.server import WITHOUT_ANALYSIS, Server
from peers.tally import Tally

ROOT = Path(__file__).parent.parent
# Everything that can be turned on is tested.
FEATURES = ["--features", "jpeg-ls"]
HERE = Path(__file__).parent
CARGO_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;", re.MULTILINE)

IGNORED = re.compile(r"^test (\S+) \.\.\. ignored", re.MULTILINE)
RUN_BY_A_SUITE = {"pixels::decoded_pixels_are_those_of_pydicom", "report::samples::sample_objects_for_the_judges"}


@dataclass
class Context:
    binary: Path
    scratch: Path
    seed: int

    def folder(self, name):
        """An empty place that lives as long as the run."""
        made = self.scratch / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    def within(self, name):
        """For a suite that runs a second time, in other circumstances."""
        return Context(self.binary, self.folder(name), self.seed)


def cargo(context, tally):
    """Unit and integration tests; those that need a peer are suites of their own."""
    status, output = shown(["cargo", "test", "--locked", *FEATURES])
    for name in sorted(set(IGNORED.findall(output)) - RUN_BY_A_SUITE):
        tally.skip(name, "no suite runs this ignored test")
    for passed, failed in CARGO_RESULT.findall(output):
        tally.passed, tally.failed = tally.passed + int(passed), tally.failed + int(failed)
    if status != 0 and tally.failed == 0:
        tally.fail("cargo test", f"exit status {status}")


def program(*command):
    """A suite that is a program, judged by its closing line or its exit status."""

    def run(context, tally):
        status, output = shown([str(part) for part in command])
        tally.add_closing_line(" ".join(map(str, command)), output, status)

    return run


def against_server(script, *arguments):
    """A program that is pointed at a running server."""

    def run(context, tally):
        keys = WITHOUT_ANALYSIS | {"deletion.enabled": "true", "http.cors_origins": '["http://viewer.example"]'}
        with Server(context.binary, context.folder(script.parent.name), keys) as server:
            places = {"dimse": str(server.dimse_port), "web": server.web, "base": server.base}
            command = [sys.executable, str(script), *(part.format(**places) for part in arguments)]
            status, output = shown(command)
            tally.add_closing_line(str(script.relative_to(ROOT)), output, status)

    return run


def peer(name):
    """A suite of `peers/`, imported when it runs."""
    return lambda context, tally: importlib.import_module(f"peers.{name}").run(context, tally)


SUITES = {
    "format": program("cargo", "fmt", "--check"),
    "cargo": cargo,
    "pixels": program("bash", HERE / "pixels/run.sh", sys.executable),
    "pictures": peer("pictures"),
    "report": program("bash", HERE / "report/run"),
    "dimse": against_server(HERE / "dimse/check_peers.py", "--port", "{dimse}"),
    "dimse-assertions": peer("dimse_assertions"),
    "query": peer("query"),
    "retrieve": peer("retrieve"),
    "dicomweb": against_server(HERE / "dicomweb/check_clients.py", "{web}"),
    "transcoding": against_server(HERE / "dicomweb/check_transcoding.py", "{web}"),
    "assertions": peer("assertions"),
    "character-sets": peer("character_sets"),
    "json-model": peer("json_model"),
    "rendered-reports": peer("rendered_reports"),
    "bit-exact": peer("bit_exact"),
    "built-objects": peer("built_objects"),
    "crash": peer("crash"),
    "large-object": peer("large_object"),
    "zip64": peer("zip64"),
    "full-disk": peer("full_disk"),
    "objects": peer("objects"),
    "hostile-http": peer("hostile_http"),
    "attacks": peer("attacks"),
    "hostile-dimse": peer("hostile_dimse"),
    "authentication": peer("authentication"),
    "oidc": peer("oidc"),
    "oidc-lies": peer("oidc_lies"),
    "dimse-tls": peer("dimse_tls"),
    "dimse-identity": peer("dimse_identity"),
    "idor": peer("idor"),
    "drafts": peer("drafts"),
    "orthanc": peer("orthanc"),
    "associations": peer("associations"),
    "proxied": peer("proxied"),
    "audit": peer("audit"),
    "deletion": peer("deletion"),
    "upkeep": peer("upkeep"),
    "migrate": peer("migrate"),
    "commitment": peer("commitment"),
    "command-line": peer("command_line"),
    "model-fetch": peer("model_fetch"),
    "results": peer("results"),
    "reporting": peer("reporting"),
    "measurements": peer("measurements"),
    "fhir": peer("fhir"),
    "media": peer("media"),
    "deidentified": peer("deidentified"),
    "downloads": peer("downloads"),
    "export": peer("export"),
    "uploads": peer("uploads"),
    "tus": peer("tus"),
    "events": peer("events"),
    "volumes": peer("volumes"),
    "one-study-at-once": peer("one_study_at_once"),
    "model-parity": peer("model_parity"),
    "phantoms": peer("phantoms"),
    "remote-engine": peer("remote_engine"),
    "evaluation": peer("evaluation"),
    "vision": peer("vision_precision"),
    "postgres": peer("postgres"),
    "postgres-fleet": peer("postgres_fleet"),
    "fleet": peer("fleet"),
    "endurance": peer("endurance"),
    "schema-fuzz": peer("schema_fuzz"),
    "throughput": peer("throughput"),
    "observability": peer("observability"),
    "deployment": peer("deployment"),
    "ohif": peer("ohif"),
    "review-page": peer("review_page"),
}


def shown(command):
    """Runs a command in the project's root; its output is shown as it comes, and returned."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", env=os.environ | {"PYTHON": sys.executable}) as process:
        lines = []
        for line in process.stdout:
            sys.stdout.write(line)
            lines.append(line)
    return process.returncode, "".join(lines)


def built_binary():
    subprocess.run(["cargo", "build", "--locked", *FEATURES, "--bin", "radiant"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "radiant"


def run_suite(name, context):
    print(f"\n{name}", flush=True)
    tally, start = Tally(), time.monotonic()
    try:
        SUITES[name](context, tally)
    except Exception as error:
        tally.fail(name, f"{type(error).__name__}: {error}")
    print(f"{name}: {tally} ({time.monotonic() - start:.0f} s)", flush=True)
    return tally


def main():
    arguments = parse_arguments()
    if arguments.list:
        print("\n".join(SUITES))
        return 0
    unknown = [name for name in arguments.suites if name not in SUITES]
    if unknown:
        sys.exit(f"no suite is called {', '.join(unknown)}; there are {', '.join(SUITES)}")
    total = Tally()
    with tempfile.TemporaryDirectory(prefix="radiant-conformance-", dir=arguments.scratch) as scratch:
        context = Context(arguments.binary or built_binary(), Path(scratch), arguments.seed)
        for name in arguments.suites or SUITES:
            total.add(run_suite(name, context))
    print(f"\n{total}")
    strict = os.environ.get("CI") == "true"
    return 1 if total.failed or (strict and total.missing) else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", help="only these")
    parser.add_argument("--list", action="store_true", help="names of the suites")
    parser.add_argument("--binary", type=Path, help="a radiant that is built already")
    parser.add_argument("--scratch", type=Path, help="where data folders are made; /tmp may be too small")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments of the kills")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
