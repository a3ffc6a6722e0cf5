"""The index in PostgreSQL: the tests of the code and the suites of the archive again, on the other engine; a
database that is killed and comes back; and what was acknowledged is there.
"""

import importlib
import os
import re
import subprocess
import time

from . import crash, server
from .database import Postgres, programs
from .senders import ByStow, Sender, Senders, endless
from .server import WITHOUT_ANALYSIS, Server, in_database
from .tally import Tally

# Rooms whose tests stand on the index.
ROOMS = ["analysis::", "audit::", "auth::", "db::", "dimse::", "export::", "http::", "ingest::", "jobs::",
         "reporting::", "uploads::"]
SUITES = ["authentication", "audit", "query", "retrieve", "deletion", "commitment", "idor", "drafts", "results",
          "reporting", "crash", "one_study_at_once"]
RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;", re.MULTILINE)
RESTARTS = 3
RECOVERY_S = 60
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


def restarts(context, postgres, tally):
    folder = context.folder("postgres") / "restarts"
    keys = WITHOUT_ANALYSIS | in_database(postgres.address()) | {"database.patience_s": "5"}
    with Server(context.binary, folder, keys) as radiant:
        senders = Senders(*(Sender(ByStow(radiant), endless(SIDE)) for _ in range(3)))
        senders.start()
        for number in range(1, RESTARTS + 1):
            with tally.check(f"the database is killed and comes back, time {number}"):
                time.sleep(2)
                postgres.stop("immediate")
                time.sleep(2 if number == 1 else 8)
                postgres.start()
                senders.further(1, RECOVERY_S)
        senders.stop()
        with tally.check("what the senders were told is kept is there, once, with its bytes"):
            crash.walk(radiant, senders.acknowledged)
