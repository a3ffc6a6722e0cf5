"""What no instance of a fleet keeps to itself: resumable uploads, downloads, events, limits of requests, work."""

import base64
import io
import itertools
import signal
import socket
import threading
import time
import zipfile
from contextlib import ExitStack

import requests
from pydicom.uid import generate_uid

from . import crash, dicomweb, events, part10
from .by_hand import wait_for
from .one_study_at_once import check_study, fresh_study
from .senders import ByDimse, ByStow, Sender, Senders, endless
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal
from .tus import OCTETS, RESUMABLE

PIECES = 7
SLICES = 5
LEASE_S = 5
ANALYSES_TIMEOUT_S = 300
READERS, RESTART_TIMEOUT_S, NOTICED_S = 4, 60, 2
BURST, REQUESTS = 64, 400
LIMITED = {"http.rate_limits.exempt": "[]", "http.rate_limits.address_burst": str(BURST),
           "http.rate_limits.address_per_s": "1"}


def rest(server, path):
    return f"{server.base}/api/v1/{path}"


def judge_passed_on(tally, balancer, servers):
    """With all instances running."""
    with tally.check("a resumable upload whose pieces go round robin becomes an object"):
        check_upload(balancer, servers)
    with tally.check("what a killed instance acknowledged of an upload is gone on with at another"):
        check_upload_over_a_kill(servers)
    with tally.check("of two who go on with an upload at two instances one is told so"):
        check_two_writers(servers)
    with tally.check("a download that one instance was asked for is fetched at every other, in ranges"):
        check_download(servers)
    with tally.check("a reader of events goes on at another instance by Last-Event-ID, and hears what a third one does"):
        check_events(servers)


def judge_rolling(tally, balancer, servers):
    """Behind a balancer that lets a server that leaves end what it has begun."""
    with tally.check("a rolling restart fails no request and no association, and loses nothing"):
        check_rolling(balancer, servers)


class Reader(threading.Thread):
    """Asks for the same things in turn, on a connection that is kept open."""

    def __init__(self, balancer, wanted):
        super().__init__(daemon=True)
        self.balancer, self.wanted, self.ended = balancer, wanted, threading.Event()
        self.answers, self.failures = 0, []

    def run(self):
        with requests.Session() as session:
            for path, accept in itertools.cycle(self.wanted):
                if self.ended.is_set():
                    return
                try:
                    answer = session.get(f"{self.balancer.base}{path}", headers={"Accept": accept}, timeout=60)
                    if answer.status_code != 200:
                        self.failures.append(f"{path}: {answer.status_code} {answer.text[:200]}")
                except requests.RequestException as error:
                    self.failures.append(f"{path}: {error}")
                self.answers += 1


def check_rolling(balancer, servers):
    study = generate_uid()
    kept, _ = dicomweb.store(balancer, [part10.image(study, number, side=64) for number in range(1, SLICES + 1)])
    equal("stored", len(kept), SLICES)
    wanted = [("/dicom-web/studies?limit=5", dicomweb.JSON), ("/api/v1/studies?limit=5", "application/json"),
              (f"/dicom-web/studies/{study}", 'multipart/related; type="application/dicom"')]
    readers = [Reader(balancer, wanted) for _ in range(READERS)]
    senders = Senders(Sender(ByStow(balancer), endless(64)), Sender(ByDimse(balancer, 1), endless(64)))
    senders.start()
    for reader in readers:
        reader.start()
    for server in servers:
        senders.further(5, RESTART_TIMEOUT_S)
        server.stop()
        server.start()
        # The balancer has to hear of it before the next one goes.
        time.sleep(NOTICED_S)
    senders.further(5, RESTART_TIMEOUT_S)
    senders.stop()
    for reader in readers:
        reader.ended.set()
        reader.join()
    equal("what failed", [one for reader in readers for one in reader.failures] + senders.refusals, [])
    print(f"     {sum(reader.answers for reader in readers)} answers, {len(senders.acknowledged)} objects")
    for server in servers:
        crash.walk(server, senders.acknowledged)


def begin(server, length, name="a.dcm"):
    metadata = f"filename {base64.b64encode(name.encode()).decode()}"
    headers = {**RESUMABLE, "Upload-Length": str(length), "Upload-Metadata": metadata}
    answer = requests.post(rest(server, "uploads/tus"), headers=headers, timeout=60)
    equal("created", answer.status_code, 201)
    return answer.headers["Location"].rsplit("/", 1)[-1]


def append(server, upload, offset, body):
    headers = {**OCTETS, "Upload-Offset": str(offset)}
    return requests.patch(rest(server, f"uploads/tus/{upload}"), headers=headers, data=body, timeout=60)


def offset_of(server, upload):
    answer = requests.head(rest(server, f"uploads/tus/{upload}"), headers=RESUMABLE, timeout=60)
    return answer.status_code, int(answer.headers.get("Upload-Offset", -1))


def check_stored(servers, upload, study, objects):
    standing = lambda server: requests.get(rest(server, f"uploads/{upload}"), timeout=60).json()
    wait_for(lambda: standing(servers[0])["state"] in ("done", "failed"), "the upload was not stored")
    for server in servers:
        told = standing(server)
        equal("state and objects", (told["state"], told["counts"]["stored"]), ("done", objects))
        equal("instances", len(dicomweb.search(server, f"studies/{study}/instances")), objects)


def pieces(content, count):
    step = -(-len(content) // count)
    return [(at, content[at : at + step]) for at in range(0, len(content), step)]


def zipped(study, count):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(1, count + 1):
            archive.writestr(f"{number}.dcm", part10.image(study, number, side=64))
    return packed.getvalue()


def check_upload(balancer, servers):
    study = generate_uid()
    content = zipped(study, SLICES)
    upload = begin(balancer, len(content), "a.zip")
    for at, piece in pieces(content, PIECES):
        equal("what is kept", offset_of(balancer, upload), (200, at))
        equal("piece", append(balancer, upload, at, piece).status_code, 204)
    check_stored(servers, upload, study, SLICES)


def check_upload_over_a_kill(servers):
    study = generate_uid()
    content = part10.image(study, 1, side=256)
    upload = begin(servers[0], len(content))
    equal("piece", append(servers[0], upload, 0, content[:50_000]).status_code, 204)
    servers[0].kill()
    try:
        equal("what is kept", offset_of(servers[1], upload), (200, 50_000))
        equal("rest", append(servers[2], upload, 50_000, content[50_000:]).status_code, 204)
        check_stored(servers[1:], upload, study, 1)
    finally:
        servers[0].start()


def check_two_writers(servers):
    study = generate_uid()
    content = part10.image(study, 1, side=512)
    upload = begin(servers[0], len(content))
    answers = []
    both = threading.Barrier(2)

    def write(server):
        both.wait()
        answers.append(append(server, upload, 0, content).status_code)

    writers = [threading.Thread(target=write, args=(server,)) for server in servers[:2]]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    equal("answers", sorted(answers), [204, 409])
    check_stored(servers, upload, study, 1)


def check_download(servers):
    study = generate_uid()
    kept, _ = dicomweb.store(servers[0], [part10.image(study, number, side=64) for number in range(1, SLICES + 1)])
    equal("stored", len(kept), SLICES)
    asked = requests.post(rest(servers[0], "downloads"), json={"form": "dicom-zip", "studies": [study]}, timeout=60)
    equal("asked", asked.status_code, 202)
    download = asked.headers["Location"].rsplit("/", 1)[-1]
    standing = lambda: requests.get(rest(servers[1], f"downloads/{download}"), timeout=60).json()
    wait_for(lambda: standing()["state"] == "done", "the download was not made")
    whole = {requests.get(rest(server, f"downloads/{download}/content"), timeout=60).content for server in servers}
    equal("contents", len(whole), 1)
    content = whole.pop()
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    equal("files and the DICOMDIR", len(names), SLICES + 1)
    for server, start in zip(itertools.cycle(servers), range(0, len(content), len(content) // 5)):
        end = min(start + 999, len(content) - 1)
        part = requests.get(rest(server, f"downloads/{download}/content"), headers={"Range": f"bytes={start}-{end}"}, timeout=60)
        equal("range", (part.status_code, part.content), (206, content[start : end + 1]))
    equal("deleted", requests.delete(rest(servers[2], f"downloads/{download}"), timeout=60).status_code, 204)
    gone = [requests.get(rest(server, f"downloads/{download}/content"), timeout=60).status_code for server in servers]
    equal("gone", gone, [410] * len(servers))


def check_events(servers):
    one, two, three = servers
    first, second = generate_uid(), generate_uid()
    dicomweb.store(one, [part10.image(first, 1, side=16)])
    of = lambda study: lambda seen: any(event["data"].get("study_uid") == study for event in seen)
    seen = events.read(one, f"after=0&study={first}", of(first))
    found = []
    watching = threading.Thread(target=lambda: found.extend(events.read(two, "", of(second), last=seen[-1]["id"])))
    watching.start()
    dicomweb.store(three, [part10.image(second, 1, side=16)])
    watching.join(60)
    assert of(second)(found), f"nothing of it in {found}"
    numbers = [int(event["id"]) for event in found]
    assert numbers == sorted(set(numbers)) and numbers[0] > int(seen[-1]["id"]), numbers


def judge_limits(context, tally, folder, keys):
    with ExitStack() as stack:
        named = lambda number: folder / f"limited{number}"
        servers = [stack.enter_context(Server(context.binary, named(n), WITHOUT_ANALYSIS | keys | LIMITED)) for n in range(3)]
        with tally.check("who sprays over three instances gets one burst and little more"):
            check_spray(servers)


def check_spray(servers):
    begun = time.monotonic()
    answers = [requests.get(rest(server, "studies"), timeout=60) for server, _ in zip(itertools.cycle(servers), range(REQUESTS))]
    through = sum(answer.status_code == 200 for answer in answers)
    most = BURST + (time.monotonic() - begun) + 3 * BURST / 32
    print(f"     {through} of {REQUESTS} requests let through; {most:.0f} at the most")
    assert BURST <= through <= most, f"{through} let through, {most} at the most"
    refused = [answer for answer in answers if answer.status_code != 200]
    assert all(answer.status_code == 429 and int(answer.headers["Retry-After"]) >= 1 for answer in refused)


def judge_roles(context, tally, folder, keys, template):
    """One instance serves, workers work: the index has nothing else in it."""
    keys = keys | {"analysis.lease_s": str(LEASE_S)}
    serving = Server(context.binary, folder / "serving", keys | {"server.role": "serve"})
    workers = [Server(context.binary, folder / f"worker{n}", keys | {"server.role": "worker"}) for n in range(2)]
    with serving:
        study, files = fresh_study(template)
        with tally.check("an instance that serves takes a study, and analyses nothing"):
            check_serving(serving, study, files)
        with tally.check("a worker answers probes alone, and no association"):
            workers[0].start()
            check_worker(workers[0])
        with tally.check("a worker that dies in the middle leaves its analysis to another, which is made once"):
            check_taken_over(serving, workers, study)
    for worker in workers:
        if worker.process is not None:
            worker.stop()


def check_serving(serving, study, files):
    kept, _ = dicomweb.store(serving, files)
    equal("stored", len(kept), len(files))
    ready = requests.get(f"{serving.base}/readyz", timeout=60).json()
    equal("role and model", (ready["role"], "model" in ready["parts"]), ("serve", False))
    time.sleep(4)
    equal("analyses", serving.analyses(study), [])
    assert "analyses are left to workers" in serving.log(), "the log does not say it"


def check_worker(worker):
    equal("role", requests.get(f"{worker.base}/readyz", timeout=60).json()["role"], "worker")
    metrics = requests.get(f"{worker.base}/metrics", timeout=60).text
    assert 'radiant_role_info{role="worker"} 1' in metrics, "metrics do not say the role"
    for path in ("", "dicom-web/studies", "api/v1/studies", "api/docs"):
        equal(path, requests.get(f"{worker.base}/{path}", timeout=60).status_code, 404)
    with socket.socket() as probe:
        assert probe.connect_ex((worker.host, worker.dimse_port)), "the worker takes associations"


def check_taken_over(serving, workers, study):
    first, second = workers
    states = lambda: [analysis["state"] for analysis in serving.analyses(study)]
    deadline = time.monotonic() + ANALYSES_TIMEOUT_S
    while states() != ["running"]:
        assert time.monotonic() < deadline, f"nothing is analysed: {states()}"
        time.sleep(0.02)
    first.process.send_signal(signal.SIGSTOP)
    equal("in the middle", states(), ["running"])
    second.start()
    ended = serving.wait_for_analyses([study], ANALYSES_TIMEOUT_S)
    # What the first one has in hand is worth nothing any more; it dies without a word.
    first.kill()
    check_study(serving, study, ended.get(study))
