"""What happens, as Server-Sent Events: in order, resumed across a kill, and analyses that are stopped and tried again."""

import json
import threading
import time
from io import BytesIO

import requests
from pydicom import dcmread
from pydicom.uid import generate_uid

from . import dicomweb, part10, phantoms
from .server import WITH_DEMO_MODEL, Server
from .tally import equal

KEYS = {**WITH_DEMO_MODEL, "events.heartbeat_s": "1", "events.streams_max": "3"}
SEED, PATIENCE_S = 940_000, 180
LIFE = ["analysis-queued", "analysis-loading", "analysis-tokens", "analysis-parsing", "analysis-done"]


def run(context, tally):
    [chest, other] = phantoms.draw(context, "events", 2, SEED)
    with Server(context.binary, context.folder("events") / "data", KEYS) as server:
        with tally.check("events: a study is told from its first object to its report"):
            seen = check_life(server, chest)
        with tally.check("events: who comes back with Last-Event-ID misses nothing, across a kill -9"):
            server.kill()
            server.start()
            check_resumed(server, seen)
        with tally.check("events: filters, the stream of one analysis, heartbeats, the limit of streams"):
            check_streams(server, seen)
        with tally.check("events: an analysis that is cancelled stops at once, leaves nothing, and can be tried again"):
            check_cancel(server, other)
        with tally.check("events: no attribute of a patient is in an event"):
            events = read(server, "after=0", lambda events: False, timeout_s=3)
            assert events and not any("Phantom" in json.dumps(event) or "^" in json.dumps(event) for event in events)
    server.keys = {**KEYS, "events.retention_h": "0"}
    with server:
        with tally.check("events: what was let go of is told as a gap"):
            check_gap(server, seen)


def read(server, query, holds, path="events", last=None, timeout_s=PATIENCE_S):
    """Events of a stream until `holds` says enough."""
    headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last-Event-ID": str(last)})
    events, event = [], {}
    deadline = time.monotonic() + timeout_s
    with requests.get(f"{server.base}/api/v1/{path}?{query}", headers=headers, stream=True, timeout=60) as answer:
        equal("status", answer.status_code, 200)
        equal("type", answer.headers["Content-Type"], "text/event-stream")
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            if line:
                name, _, value = line.partition(":")
                event[name] = value.strip()
            else:
                if "data" in event:
                    events.append({**event, "data": json.loads(event["data"])})
                event = {}
            if holds(events) or time.monotonic() > deadline:
                return events
    return events


def kinds(events):
    return [event["event"] for event in events]


def check_life(server, phantom):
    found = []
    ready = threading.Event()

    def watch():
        ready.set()
        found.extend(read(server, "after=0", lambda events: "analysis-done" in kinds(events)))

    watching = threading.Thread(target=watch)
    watching.start()
    ready.wait()
    dicomweb.store(server, phantom.files())
    watching.join(PATIENCE_S)
    told = kinds(found)
    equal("first", told[0], "study-received")
    assert "study-complete" in told, told
    firsts = [told.index(kind) for kind in LIFE]
    equal("in order", firsts, sorted(firsts))
    ids = [int(event["id"]) for event in found]
    equal("ascending", ids, sorted(set(ids)))
    equal("one study", {event["data"]["study_uid"] for event in found}, {phantom.study})
    tokens = [event["data"]["detail"]["tokens"] for event in found if event["event"] == "analysis-tokens"]
    assert tokens and tokens == sorted(tokens), tokens
    return found


def check_resumed(server, seen):
    middle = len(seen) // 2
    rest = read(server, "", lambda events: len(events) >= len(seen) - middle - 1, last=seen[middle]["id"])
    equal("the rest", [event["id"] for event in rest][: len(seen) - middle - 1], [event["id"] for event in seen[middle + 1 :]])


def check_streams(server, seen):
    analysis = next(event["data"]["subject"] for event in seen if event["event"] == "analysis-done")
    own = read(server, "", lambda events: "analysis-done" in kinds(events), path=f"analyses/{analysis}/events")
    equal("of the analysis", kinds(own)[0], "analysis-queued")
    done = read(server, "after=0&kind=analysis-done,analysis-failed", lambda events: len(events) >= 1)
    equal("filtered", kinds(done), ["analysis-done"])
    url = f"{server.base}/api/v1/events"
    open_streams = [requests.get(url, stream=True, timeout=60) for _ in range(3)]
    equal("one more", requests.get(url, stream=True, timeout=60).status_code, 429)
    lines = open_streams[0].iter_lines(chunk_size=1, decode_unicode=True)
    assert any(line.startswith(":") for line in (next(lines) for _ in range(12))), "no heartbeat"
    for stream in open_streams:
        stream.close()
    for query in ("kind=nothing", "study=x", "after=-1"):
        equal(query, requests.get(f"{url}?{query}", timeout=60).status_code, 400)


def check_cancel(server, phantom):
    begun = []

    def watch():
        begun.extend(read(server, f"after=0&study={phantom.study}", lambda events: "analysis-tokens" in kinds(events)))

    watching = threading.Thread(target=watch)
    watching.start()
    dicomweb.store(server, phantom.files())
    watching.join(PATIENCE_S)
    analysis = begun[-1]["data"]["subject"]
    url = f"{server.base}/api/v1/analyses/{analysis}"
    cancelled = requests.post(f"{url}/cancel", timeout=60)
    equal("cancelled", (cancelled.status_code, cancelled.json()["state"]), (200, "cancelled"))
    equal("twice", requests.post(f"{url}/cancel", timeout=60).status_code, 200)
    time.sleep(2)
    equal("state", server.rest(f"analyses/{analysis}")["state"], "cancelled")
    equal("no results", {uids[1] for uids in dicomweb.instances(server) if uids[0] == phantom.study}, series_of(phantom))
    equal("retried", requests.post(f"{url}/retry", timeout=60).json()["state"], "queued")
    [again] = server.wait_for_analyses([phantom.study], PATIENCE_S)[phantom.study]
    equal("done", again["state"], "done")
    equal("no more", requests.post(f"{url}/retry", timeout=60).status_code, 409)


def series_of(phantom):
    return {str(dcmread(BytesIO(file), stop_before_pixels=True).SeriesInstanceUID) for file in phantom.files()}


def check_gap(server, seen):
    dicomweb.store(server, [part10.image(generate_uid(), 1, side=16)])
    found = read(server, "", lambda events: "gap" in kinds(events), last=seen[0]["id"], timeout_s=30)
    equal("gap", kinds(found)[0], "gap")
    assert found[0]["data"]["first"] > int(seen[0]["id"]) + 1, found
