"""What the server says about itself: metrics, rules and dashboard before promtool, spans before a scripted collector, log lines as JSON; and what it never says: a name."""

import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydicom import dcmread

from . import phantoms
from .by_hand import wait_for
from .part10 import encoded
from .receivers import Receiver
from .server import QUICK, WITH_DEMO_MODEL, Server, free_port
from .tally import equal

OPS = Path(__file__).parent.parent.parent / "docs/ops"
RULES = OPS / "prometheus/alerts.yml"
DASHBOARD = OPS / "grafana/radiant.json"
SEED, COUNT = 970_000, 2
SECRET, SENTINEL, SENTINEL_ID = "hush-of-the-collector", "XYLOPHONOWSKI", "PID-7Q9Z4K"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
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
    traced(context, tally, drawn)
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


def traced(context, tally, drawn):
    """The same way once more, for a collector that is there, and for one that is away."""
    with Receiver("TAKEN") as taken, Collector() as collector:
        exports = '[{ name = "results", what = "results", destinations = ["TAKEN"] }]'
        keys = WITH_DEMO_MODEL | {
            "dimse.nodes": f'[{{ ae_title = "TAKEN", host = "127.0.0.1", port = {taken.port} }}]', "export.rules": exports,
            "log.format": "json", "telemetry.traces.endpoint": collector.url, "telemetry.traces.bearer": SECRET,
            "telemetry.traces.batch_every_ms": "100", "http.trusted_proxies": '["127.0.0.1"]'}
        server = Server(context.binary, context.folder("observability") / "traced", keys)
        with server:
            phantoms.analysed(server, [named(drawn[0])])
            wait_for(lambda: len(taken.instances) >= 2, "SR and PDF are not exported")
            requests.get(f"{server.base}/dicom-web/studies", headers={"traceparent": PARENT}, timeout=60)
            metrics = scraped(server)
        spans = collector.spans
        with tally.check("one trace leads from the association to the SR and its export"):
            check_trace(spans)
        with tally.check("a request of a trusted proxy goes on with its trace"):
            found = [span for span in spans if span.trace_id.hex() == PARENT.split("-")[1]]
            assert found and found[0].parent_span_id.hex() == PARENT.split("-")[2], [span.name for span in found]
        with tally.check("the collector is shown the credentials"):
            equal("Authorization", set(collector.credentials), {f"Bearer {SECRET}"})
        with tally.check("log lines are JSON and have the ids of request, association, job and trace"):
            check_lines(server.log(), {span.trace_id.hex() for span in spans})
        with tally.check("no name and no identifier of the patient is in a span, a line or a metric"):
            told = "".join(str(span) for span in spans) + server.log() + metrics
            equal("sentinels", [word for word in (SENTINEL, SENTINEL_ID) if word in told], [])
    away = WITH_DEMO_MODEL | {"telemetry.traces.endpoint": f"http://127.0.0.1:{free_port()}/v1/traces",
                              "telemetry.traces.batch_every_ms": "50", "telemetry.traces.queue_max": "4"}
    with Server(context.binary, context.folder("observability") / "away", away) as server:
        with tally.check("a collector that is away changes nothing, and what it misses is counted"):
            phantoms.analysed(server, [drawn[1].path.read_bytes()])
            wait_for(lambda: 'trace_spans_dropped_total{why="collector"}' in scraped(server), "nothing is counted")
            equal("readiness", requests.get(f"{server.base}/readyz", timeout=60).json()["ready"], True)


def named(phantom):
    dataset = dcmread(phantom.path)
    dataset.PatientName, dataset.PatientID = f"{SENTINEL}^ANNA", SENTINEL_ID
    return encoded(dataset)


def check_trace(spans):
    stores = [span for span in spans if span.name == "store"]
    sources = {attribute(span, "source"): span for span in stores}
    trace = sources["dimse"].trace_id
    members = {span.span_id: span for span in spans if span.trace_id == trace}
    names = [span.name for span in members.values()]
    for wanted in ("association", "store", "job", "gather", "ask", "publish", "export"):
        assert wanted in names, f"{wanted} is not in the trace: {sorted(names)}"
    kinds = {attribute(span, "kind") for span in members.values() if span.name == "job"}
    assert {"complete-study", "analyse-study"} <= kinds, kinds
    equal("the result is in the trace", sources["analysis"].trace_id, trace)
    roots = [span.name for span in members.values() if span.parent_span_id not in members]
    equal("where the trace begins", roots, ["association"])


def attribute(span, key):
    found = [item.value for item in span.attributes if item.key == key]
    return found[0].string_value if found else None


def check_lines(log, traces):
    lines = [json.loads(line) for line in log.splitlines()]
    within = [span for line in lines for span in line.get("spans", [])]
    by_name = {name: [span for span in within if span["name"] == name] for name in ("request", "association", "job")}
    assert all("request_id" in span for span in by_name["request"]) and by_name["request"], "no request id"
    assert any("id" in span for span in by_name["association"]), "no id of the association"
    assert all("id" in span for span in by_name["job"]) and by_name["job"], "no id of the job"
    said = {span["trace_id"] for span in within if "trace_id" in span}
    assert said and said & traces, f"{len(said)} traces are named, none that the collector has"


class Collector:
    """Takes OTLP over HTTP as a collector does, and keeps the spans."""

    def __enter__(self):
        self.spans, self.credentials = [], []
        keeper = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = ExportTraceServiceRequest()
                request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
                keeper.credentials.append(self.headers.get("Authorization"))
                keeper.spans += [span for r in request.resource_spans for s in r.scope_spans for span in s.spans]
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


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
