"""What the server says about itself, before promtool: names and help of its metrics, alert rules with their tests, and whether each metric of dashboard and rules is there once the server has done something."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import requests

from . import phantoms
from .by_hand import wait_for
from .receivers import Receiver
from .server import QUICK, WITH_DEMO_MODEL, Server, free_port
from .tally import equal

OPS = Path(__file__).parent.parent.parent / "docs/ops"
RULES = OPS / "prometheus/alerts.yml"
DASHBOARD = OPS / "grafana/radiant.json"
SEED, COUNT = 970_000, 2
# What a query may name beside metrics.
METRIC = re.compile(r"(?<![\w$\"{])([a-z_]+(?:_total|_seconds(?:_bucket|_sum|_count)?|_bytes|_info|_fds|_threads|_rows)|jobs|export_\w+|model_\w+|dimse_\w+|http_\w+)(?=[\s{)\[]|$)")
NODES = '[{{ ae_title = "TAKEN", host = "127.0.0.1", port = {taken} }}, {{ ae_title = "AWAY", host = "127.0.0.1", port = {away} }}]'
EXPORTS = '[{ name = "all", what = "studies", destinations = ["TAKEN", "AWAY"] }]'


def run(context, tally):
    if not shutil.which("promtool"):
        tally.miss("observability", "promtool")
        return
    for name, command in {
        "alert rules": ["check", "rules", RULES],
        "tests of the alert rules": ["test", "rules", RULES.with_name("alerts.test.yml")],
        "scrape configuration": ["check", "config", "--syntax-only", OPS / "prometheus/prometheus.yml"],
    }.items():
        with tally.check(f"promtool: {name}"):
            promtool(*command)
    seen = set()
    drawn = phantoms.draw(context, "observability", COUNT, SEED)
    with Receiver("TAKEN") as taken:
        nodes = NODES.format(taken=taken.port, away=free_port())
        keys = WITH_DEMO_MODEL | {"dimse.nodes": nodes, "export.rules": EXPORTS, "telemetry.measure_every_s": "1"}
        server = Server(context.binary, context.folder("observability") / "data", keys)
        seen |= driven(server, drawn, tally)
    remote = QUICK | {"model.engine": "remote", "model.remote.url": f"http://127.0.0.1:{free_port()}/v1"}
    with Server(context.binary, context.folder("observability") / "remote", remote) as server:
        seen |= looked_at(server, tally, "with a model elsewhere")
    for path in (RULES, DASHBOARD):
        with tally.check(f"every metric of {path.name} exists"):
            named = set(METRIC.findall(queries(path)))
            assert len(named) > 8, f"{len(named)} metrics are named"
            equal("metrics that nobody tells", sorted(named - seen - {"up"}), [])


def driven(server, drawn, tally):
    with server:
        work(server, drawn)
        wait_for(lambda: 'exports_total{destination="TAKEN",outcome="sent"}' in scraped(server), "nothing is exported")
        seen = looked_at(server, tally, "with its own model")
        with tally.check("every limit is there before it is hit"):
            told = {line.split('"')[1] for line in scraped(server).splitlines() if line.startswith("limit_hits_total{")}
            assert {"http.connections_max", "dimse.associations_max", "model.queue_max"} <= told, told
        with tally.check("a limit that is hit is counted under its key"):
            requests.get(f"{server.base}/dicom-web/studies?" + "x" * 20_000, timeout=60)
            assert 'limit_hits_total{limit="http.uri_bytes_max"} 1' in scraped(server).splitlines()
    return seen


def promtool(*arguments, given=None):
    done = subprocess.run(["promtool", *map(str, arguments)], input=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"exit status {done.returncode}: {(done.stdout + done.stderr)[-1500:]}"


def work(server, drawn):
    """Studies come in, are analysed and wait for a destination; some requests are answered, one is refused."""
    phantoms.analysed(server, [phantom.path.read_bytes() for phantom in drawn])
    for path, status in (("dicom-web/studies", 200), ("api/v1/studies", 200), ("nothing", 404)):
        equal(path, requests.get(f"{server.base}/{path}", timeout=60).status_code, status)
    refused = requests.post(f"{server.base}/dicom-web/studies", data=b"no object", timeout=60,
                            headers={"Content-Type": "application/dicom"})
    assert refused.status_code in (400, 409), refused.status_code
    requests.post(f"{server.base}/api/v1/auth/login", json={"name": "x", "password": "y"}, timeout=60)


def scraped(server):
    answer = requests.get(f"{server.base}/metrics", timeout=60)
    answer.raise_for_status()
    return answer.text


def looked_at(server, tally, which):
    """Names of the series of a server, which promtool has nothing against."""
    text = scraped(server)
    with tally.check(f"promtool: metrics of a server {which}"):
        promtool("check", "metrics", given=text)
    with tally.check(f"every metric of a server {which} says what it is"):
        helped, typed = (set(re.findall(rf"^# {word} (\S+)", text, re.MULTILINE)) for word in ("HELP", "TYPE"))
        equal("without HELP", sorted(typed - helped), [])
    return {re.match(r"[a-zA-Z_:][\w:]*", line).group() for line in text.splitlines() if line and not line.startswith("#")}


def queries(path):
    if path.suffix == ".json":
        board = json.loads(path.read_text())
        targets = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        notes = [note["expr"] for note in board["annotations"]["list"]]
        return "\n".join(targets + notes)
    return "\n".join(re.findall(r"expr: (?:\|\n)?((?:.+\n)+?)\s+(?:for|labels):", path.read_text()))
