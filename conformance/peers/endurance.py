"""A fleet that works while everything around it fails, again and again: three instances behind HAProxy with one
PostgreSQL and one S3 server, senders, readers and analyses the whole time. In the end everything that was
acknowledged is there once, with its bytes, by every instance.
"""

import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import requests

from . import dicomweb
from .circumstances import CUTS, Disk, Network, WallClock
from .database import Postgres, programs
from .fleet import KEYS as FLEET_KEYS
from .fleet import Balancer
from .one_study_at_once import check_study, fresh_study
from .part10 import data_set, digest
from .phantoms import draw
from .senders import ByDimse, ByStow, Sender, Senders, endless
from .server import Server, environment
from .stores import SeaweedFs
from .tally import equal

SIDE, OF_STUDY = 64, 40
DISK_MB = 192
KEYS = FLEET_KEYS | {
    # The small disk holds what is cached and what is on its way.
    "storage.cache.bytes_max": str(64 << 20), "model.features_bytes_max": str(8 << 20),
    "disk.warn_below_mb": "64", "disk.refuse_below_mb": "32", "disk.accept_above_mb": "48",
    "audit.head_every_s": "10", "http.rate_limits.exempt": '["127.0.0.0/8"]',
}
RECOVERY_S, ANALYSES_TIMEOUT_S, READER_TIMEOUT_S = 180, 300, 60
# Answers that were under way when everything was well again may still tell of what was.
SLACK_S = 5
# A process is settled after this time, and judged when it has lived twice as long.
SETTLED_S = 60
DESCRIPTORS_MORE_MAX, MEMORY_MORE_MB_MAX = 64, 96
RETRIEVALS = 4


@dataclass
class Pace:
    """Seconds: of the whole disturbed time, between two, of one, of each sender and between studies to analyse.
    Disturbances whose name has the word are left out."""

    whole: float
    quiet: tuple
    away: tuple
    sender: float
    study: float
    without: str = ""


SMALL = Pace(0, (0.5, 1.5), (2, 3), 0.3, 8)


def real(minutes, without=""):
    return Pace(minutes * 60, (4, 20), (3, 15), 0.5, 30, without)


@dataclass
class Disturbance:
    kind: str
    begin: object
    end: object
    at: float = 0
    back: float = 0
    over: float = 0
    further_s: float | None = None
    answer_s: float | None = None

    def holds(self, moment):
        return self.at <= moment <= self.over + SLACK_S


class Reader(threading.Thread):
    """Searches, and retrieves what it found, as long as it goes; remembers how that was answered."""

    def __init__(self, balancer, senders, seed):
        super().__init__(daemon=True)
        self.balancer, self.senders, self.choice = balancer, senders, random.Random(seed)
        self.good, self.refused, self.wrong, self.ended = [], [], [], threading.Event()

    def run(self):
        while not self.ended.wait(0.3):
            try:
                self.look()
                self.good.append(time.monotonic())
            except (requests.RequestException, Refused) as error:
                self.refused.append((time.monotonic(), str(error)[:200]))
            except AssertionError as error:
                self.wrong.append(str(error))

    def look(self):
        count = len(self.senders.acknowledged)
        page = self.asked(f"instances?limit=5&offset={self.choice.randrange(max(1, count))}", dicomweb.JSON).json()
        for item in page[:1]:
            study, series, uid = (dicomweb.value(item, tag) for tag in ("0020000D", "0020000E", "00080018"))
            answer = self.asked(f"studies/{study}/series/{series}/instances/{uid}", dicomweb.AS_STORED)
            [file] = dicomweb.multipart(answer.headers["Content-Type"], answer.content)
            equal(f"bytes of {uid}", digest(data_set(file)), self.senders.acknowledged.get(uid, digest(data_set(file))))

    def asked(self, path, accept):
        answer = requests.get(f"{self.balancer.web}/{path}", headers={"Accept": accept}, timeout=READER_TIMEOUT_S)
        if answer.status_code >= 500:
            raise Refused(f"{answer.status_code} {answer.text[:150]!r}")
        assert answer.status_code == 200, f"{answer.status_code} for {path}"
        return answer


class Refused(Exception):
    """A 5xx."""


class Follower(threading.Thread):
    """Reads the change feed as it grows."""

    def __init__(self, balancer):
        super().__init__(daemon=True)
        self.balancer, self.seen, self.ended = balancer, [], threading.Event()

    def run(self):
        while not self.ended.wait(0.5):
            try:
                self.seen += changes(self.balancer, self.seen[-1]["sequence"] if self.seen else 0)
            except requests.RequestException:
                continue


def changes(server, after):
    """Everything behind a sequence."""
    found, more = [], True
    while more:
        at = found[-1]["sequence"] if found else after
        answer = requests.get(f"{server.base}/api/v1/changefeed?after={at}&limit=1000", timeout=READER_TIMEOUT_S)
        answer.raise_for_status()
        told = answer.json()
        found, more = found + told["changes"], told["more"]
    return found


class Vitals(threading.Thread):
    """Descriptors and memory of every process, every few seconds."""

    def __init__(self, servers):
        super().__init__(daemon=True)
        self.servers, self.seen, self.ended = servers, {}, threading.Event()

    def run(self):
        while not self.ended.wait(3):
            for number, server in enumerate(self.servers, 1):
                pid = server.process.pid
                try:
                    now = (time.monotonic(), len(os.listdir(f"/proc/{pid}/fd")), server.status_kb("VmRSS") / 1024)
                except (OSError, AttributeError):
                    continue
                self.seen.setdefault((number, pid), []).append(now)

    def grown(self):
        """Of those that lived long: how much more descriptors and megabytes at the end than when settled."""
        for (number, pid), samples in self.seen.items():
            settled = [one for one in samples if one[0] > samples[0][0] + SETTLED_S]
            if samples[-1][0] - samples[0][0] < 2 * SETTLED_S:
                continue
            part = max(3, len(settled) // 5)
            first, last = settled[:part], settled[-part:]
            yield number, *(median(one[of] for one in last) - median(one[of] for one in first) for of in (1, 2))


@dataclass
class Fleet:
    folder: Path
    servers: list = field(default_factory=list)

    def set_up(self, context, stack):
        self.postgres = stack.enter_context(Postgres(self.folder / "postgres").running())
        self.store = stack.enter_context(SeaweedFs(self.folder / "store"))
        keys = KEYS | self.store.keys("fleet") | {"database.url": self.postgres.address()}
        self.servers = [Server(context.binary, self.folder / f"radiant{n}", keys) for n in range(3)]
        small, early, cut = self.servers
        self.disk = stack.enter_context(Disk(small.data_dir, DISK_MB).mounted())
        self.clock = WallClock(self.folder / "clock")
        self.clock.given_to(early)
        self.network = Network(self.folder, {"database": self.postgres.port, "store": self.store.ports["s3"]})
        stack.enter_context(self.network.around(cut))
        cut.keys = keys | {
            "database.url": f"postgres://radiant@{self.network.reached_at('database')}/postgres?sslmode=disable",
            "storage.endpoint": f"http://{self.network.reached_at('store')}", "storage.allow_http": "true",
        }
        for server in self.servers:
            stack.enter_context(server)
        self.balancer = stack.enter_context(Balancer(self.folder, self.servers).running())

    def disturbances(self, moments):
        """One of each kind, in an order of its own."""
        number = moments.randrange(len(self.servers))
        victim, network = self.servers[number], self.network
        made = [
            Disturbance(f"kill -9 of instance {number + 1}", victim.kill, victim.start),
            Disturbance("PostgreSQL stops at once", lambda: self.postgres.stop("immediate"), self.postgres.start),
            Disturbance("kill -9 of the object store", self.store.kill, self.store.start),
            Disturbance("full disk of instance 1", self.disk.fill, self.disk.clear),
            Disturbance("clock of instance 2 an hour ahead", lambda: self.clock.ahead(3600), lambda: self.clock.ahead(0)),
            Disturbance("clock of instance 2 ten minutes behind", lambda: self.clock.ahead(-600), lambda: self.clock.ahead(0)),
        ]
        made += [Disturbance(f"instance 3 cut off from the {what}", lambda what=what: network.cut(what),
                             lambda what=what: network.mend(what)) for what in CUTS]
        moments.shuffle(made)
        return made


class Run:
    def __init__(self, fleet, template, pace, seed):
        self.fleet, self.pace, self.moments = fleet, pace, random.Random(seed)
        self.studies, self.disturbances = [], []
        balancer = fleet.balancer
        # An association of its own for each object: the balancer chooses anew.
        ways = [ByStow(balancer), ByStow(balancer), ByDimse(balancer, 1), ByDimse(balancer, 1)]
        self.senders = Senders(*(Sender(way, endless(SIDE, of_study=OF_STUDY), pace.sender) for way in ways))
        phantoms = Sender(ByStow(balancer), self.phantoms(template), pace.study)
        self.everybody = Senders(*self.senders.senders, phantoms)
        self.readers = [Reader(balancer, self.senders, f"{seed}/{n}") for n in range(2)]
        self.follower, self.vitals = Follower(balancer), Vitals(fleet.servers)

    def phantoms(self, template):
        while True:
            study, files = fresh_study(template)
            self.studies.append(study)
            yield files

    def go(self, tally):
        others = [*self.readers, self.follower, self.vitals]
        self.everybody.start()
        for thread in others:
            thread.start()
        self.senders.further(3, RECOVERY_S)
        self.begun = time.monotonic()
        try:
            self.disturb(tally)
        finally:
            self.lasted = time.monotonic() - self.begun
            self.everybody.stop()
            for thread in others:
                thread.ended.set()
                thread.join()

    def disturb(self, tally):
        """Rounds of every kind, until the time is over; one at least."""
        while not self.disturbances or time.monotonic() < self.begun + self.pace.whole:
            for one in self.fleet.disturbances(self.moments):
                if self.pace.without and self.pace.without in one.kind:
                    continue
                if self.disturbances and 0 < self.pace.whole < time.monotonic() - self.begun:
                    return
                time.sleep(self.moments.uniform(*self.pace.quiet))
                with tally.check(f"{time.monotonic() - self.begun:5.0f} s: {one.kind}: it goes on"):
                    self.one(one)

    def one(self, one):
        self.disturbances.append(one)
        one.at, one.back, one.over = time.monotonic(), float("inf"), float("inf")
        one.begin()
        time.sleep(self.moments.uniform(*self.pace.away))
        one.end()
        one.back = time.monotonic()
        try:
            one.further_s = self.senders.further(2, RECOVERY_S)
        finally:
            one.over = time.monotonic()
        goods = [moment for reader in self.readers for moment in list(reader.good) if moment > one.back]
        one.answer_s = min(goods) - one.back if goods else None

    def table(self):
        print(f"\n{'at s':>7}  {'disturbance':<42}{'away s':>8}{'further s':>11}{'answer s':>10}{'refused':>9}")
        refused = [moment for moment, _ in self.refused()]
        for one in self.disturbances:
            count = sum(one.holds(moment) for moment in refused)
            figures = [f"{value:.1f}" if value is not None else "never" for value in (one.further_s, one.answer_s)]
            print(f"{one.at - self.begun:>7.0f}  {one.kind:<42}{one.back - one.at:>8.1f}{figures[0]:>11}{figures[1]:>10}{count:>9}")
        asked = sum(len(reader.good) for reader in self.readers)
        print(f"{self.lasted / 60:.1f} min, {len(self.disturbances)} disturbances, {len(self.everybody.acknowledged)} objects "
              f"acknowledged, {len(self.studies)} studies to analyse, {asked} searches with retrieval", flush=True)

    def judge(self, context, tally):
        everything, servers = self.everybody.acknowledged, self.fleet.servers
        ended = self.fleet.balancer.wait_for_analyses(self.studies_sent(), ANALYSES_TIMEOUT_S)
        with tally.check(f"each of {len(self.studies_sent())} studies is analysed exactly once"):
            self.analysed(ended)
        for number, server in enumerate(servers, 1):
            with tally.check(f"instance {number} has every one of {len(everything)} objects once, with its bytes"):
                held(server, everything)
        with tally.check("nothing is refused while nothing is disturbed"):
            self.undisturbed()
        with tally.check("no reader ever saw anything wrong"):
            equal("wrong", [one for reader in self.readers for one in reader.wrong][:5], [])
        with tally.check("the change feed has each object, and nothing appeared behind a reader"):
            self.feed(everything)
        with tally.check("the audit trail verifies"):
            verify(context, servers)
        with tally.check("descriptors and memory do not grow"):
            self.growth()

    def studies_sent(self):
        """Without the one that was on its way at the end."""
        whole = {value["study_uid"] for value in changes(self.fleet.balancer, 0) if value["kind"] == "instance-stored"}
        return [study for study in self.studies if study in whole]

    def analysed(self, ended):
        wrong = []
        for study in self.studies_sent():
            try:
                check_study(self.fleet.balancer, study, ended.get(study))
            except AssertionError as error:
                wrong.append(f"{study}: {error}")
        assert not wrong, f"{len(wrong)}: " + "; ".join(wrong[:4])

    def undisturbed(self):
        # What the balancer says itself, in HTML, is what it may say.
        beyond = [(round(moment - self.begun, 1), why) for moment, why in self.refused()
                  if not any(one.holds(moment) for one in self.disturbances) and "<html" not in why]
        assert not beyond, f"{len(beyond)}: {beyond[:5]}"

    def refused(self):
        """Moments and reasons, of senders and readers."""
        return self.everybody.refusals + [one for reader in self.readers for one in reader.refused]

    def feed(self, everything):
        listed = changes(self.fleet.balancer, 0)
        sequences = [change["sequence"] for change in listed]
        equal("in order, each once", sequences, sorted(set(sequences)))
        stored = Counter(change["sop_instance_uid"] for change in listed if change["kind"] == "instance-stored")
        equal("without a change", [uid for uid in everything if uid not in stored][:3], [])
        equal("stored twice", [uid for uid, times in stored.items() if times > 1][:3], [])
        seen = [change["sequence"] for change in self.follower.seen]
        equal("missed by who follows", sorted(set(sequences[: sequences.index(seen[-1]) + 1]) - set(seen))[:5], [])

    def growth(self):
        grown = list(self.vitals.grown())
        for number, descriptors, megabytes in grown:
            print(f"     instance {number}: {descriptors:+.0f} descriptors, {megabytes:+.0f} MB")
        more = [one for one in grown if one[1] > DESCRIPTORS_MORE_MAX or one[2] > MEMORY_MORE_MB_MAX]
        equal("grown", more, [])


def held(server, everything):
    """Study by study: listed once, with the bytes that were acknowledged."""
    listed = dicomweb.instances(server)
    where = {uids[2]: uids for uids in listed}
    equal("rows listed twice", len(listed) - len(where), 0)
    equal("acknowledged and not listed", [uid for uid in everything if uid not in where][:3], [])
    of_study = {}
    for study, _, uid in listed:
        of_study.setdefault(study, []).append(uid)
    with ThreadPoolExecutor(RETRIEVALS) as pool:
        list(pool.map(lambda study: study_held(server, study, of_study[study], everything), of_study))


def study_held(server, study, uids, everything):
    url = f"{server.web}/studies/{study}"
    answer = requests.get(url, headers={"Accept": dicomweb.AS_STORED}, timeout=dicomweb.TIMEOUT_S)
    equal(f"status of {study}", answer.status_code, 200)
    parts = dicomweb.multipart(answer.headers["Content-Type"], answer.content)
    equal(f"objects of {study}", len(parts), len(uids))
    found = {digest(data_set(part)) for part in parts}
    equal(f"other bytes in {study}", [uid for uid in uids if uid in everything and everything[uid] not in found][:3], [])


def verify(context, servers):
    heads = [path for server in servers for path in (server.data_dir / "audit-heads.jsonl",) if path.exists()]
    named = [part for path in heads for part in ("--heads", str(path))]
    # By one that neither network nor clock keeps apart.
    command = [str(context.binary), "audit", "verify", "--data-dir", str(servers[0].data_dir), *named]
    done = subprocess.run(command, env=environment(servers[0].keys), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-1000:]
    print("     " + done.stdout.strip().replace("\n", "; "))


def lacking():
    """What is not installed, or not allowed."""
    found = {"haproxy": shutil.which("haproxy"), "postgresql": programs(), "weed": SeaweedFs.program(),
             "libfaketime": WallClock.library(), "network namespaces": shutil.which("ip") and Network.is_possible()}
    return [name for name, there in found.items() if not there]


def endure(context, tally, pace):
    if absent := lacking():
        tally.miss("endurance", ", ".join(absent))
        return
    folder = context.folder("endurance")
    template = draw(context, "endurance", count=1, seed=990_000)[0].path
    print(f"seed {context.seed}")
    with ExitStack() as stack:
        fleet = Fleet(folder)
        fleet.set_up(context, stack)
        run = Run(fleet, template, pace, context.seed)
        run.go(tally)
        run.table()
        run.judge(context, tally)


def run(context, tally):
    """Every kind of disturbance once; `conformance/endurance.py` goes on for as long as is wanted."""
    endure(context, tally, SMALL)
