"""The index in PostgreSQL: the tests of the code and the suites of the archive again, on the other engine; a
database that is killed and comes back; and what was acknowledged is there.
"""

import importlib
import os
import re
import subprocess
import threading
import time

from pydicom.uid import generate_uid

from . import dicomweb, server
from .database import Postgres, programs
from .part10 import data_set, digest, image, uid_of
from .server import WITHOUT_ANALYSIS, Server
from .tally import Tally, equal

# Rooms whose tests stand on the index.
ROOMS = ["analysis::", "audit::", "auth::", "db::", "dimse::", "export::", "http::", "ingest::", "jobs::",
         "reporting::", "uploads::"]
SUITES = ["authentication", "audit", "query", "retrieve", "deletion", "commitment", "idor", "drafts", "results",
          "reporting", "crash", "one_study_at_once"]
RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;", re.MULTILINE)
RESTARTS = 3
SIDE = 64


def run(context, tally):
    if not programs():
        tally.miss("the index in PostgreSQL", "postgresql")
        return
    # What a crash of the database costs is asked of one that syncs; the others need not wait for the disk.
    with Postgres(context.folder("postgres") / "quick", "-c fsync=off").running() as quick:
        unit_tests(quick, tally)
        with every_server_in(quick):
            for name in SUITES:
                judged_by(name, context, tally)
    with Postgres(context.folder("postgres") / "durable").running() as durable:
        restarts(context, durable, tally)


def unit_tests(postgres, tally):
    environment = os.environ | {"RADIANT_TEST_POSTGRES": postgres.address()}
    command = ["cargo", "test", "--locked", "--features", "jpeg-ls", "--lib", "--", *ROOMS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600)
    found = RESULT.findall(done.stdout)
    with tally.check("the tests of the code pass on PostgreSQL"):
        assert found and done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    tally.passed += sum(int(passed) for passed, _ in found)


class every_server_in:
    """Servers of other suites get a database of their own there."""

    def __init__(self, postgres):
        self.postgres = postgres

    def __enter__(self):
        server.DATABASE = self.postgres.database_for

    def __exit__(self, *_):
        server.DATABASE = None


def judged_by(name, context, tally):
    own = Tally()
    print(f"on PostgreSQL: {name}", flush=True)
    importlib.import_module(f"peers.{name}").run(context.within("postgres"), own)
    tally.add(own)


class Sender(threading.Thread):
    """Stores one object after the other until it is told to stop; remembers what was acknowledged."""

    def __init__(self, server):
        super().__init__()
        self.server, self.study, self.acknowledged = server, generate_uid(), {}
        self.ended, self.refused = threading.Event(), 0

    def run(self):
        number = 0
        while not self.ended.is_set():
            number += 1
            file = image(self.study, number, SIDE, seed=number)
            try:
                kept, _ = dicomweb.store(self.server, [file])
            except Exception:
                kept = []
            if uid_of(file) in kept:
                self.acknowledged[uid_of(file)] = digest(data_set(file))
            else:
                self.refused += 1


def restarts(context, postgres, tally):
    folder = context.folder("postgres") / "restarts"
    keys = WITHOUT_ANALYSIS | {"database.url": postgres.address(), "database.patience_s": "5"}
    with Server(context.binary, folder, keys) as radiant:
        senders = [Sender(radiant) for _ in range(3)]
        [sender.start() for sender in senders]
        for number in range(1, RESTARTS + 1):
            with tally.check(f"the database is killed and comes back, time {number}"):
                time.sleep(2)
                postgres.stop("immediate")
                time.sleep(2 if number == 1 else 8)
                postgres.start()
                moved(senders)
        for sender in senders:
            sender.ended.set()
            sender.join()
        for number, sender in enumerate(senders, 1):
            with tally.check(f"what sender {number} was told is kept is there, once"):
                verify(radiant, sender)


def moved(senders):
    """Each sender gets further within a minute."""
    before = [len(sender.acknowledged) for sender in senders]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if all(len(sender.acknowledged) > count for sender, count in zip(senders, before)):
            return
        time.sleep(0.2)
    raise AssertionError(f"nothing was stored any more: {before}, {[sender.refused for sender in senders]} refused")


def verify(radiant, sender):
    assert sender.acknowledged, "nothing was stored"
    listed = [uids for uids in dicomweb.instances(radiant) if uids[0] == sender.study]
    where = {uids[2]: uids for uids in listed}
    equal("listed twice", len(listed), len(where))
    equal("acknowledged and not listed", sorted(set(sender.acknowledged) - set(where)), [])
    for uid, expected in list(sender.acknowledged.items())[:20]:
        equal(f"the bytes of {uid}", digest(data_set(dicomweb.retrieve(radiant, where[uid]))), expected)
