#!/usr/bin/env python3
"""What an archive that has grown costs: the rate of ingest beside that of a fresh archive, and the
99th percentile of searches beside that of a small one.

    conformance/run.sh --list            # sets the environment up
    cargo build --release
    python benches/growth.py --binary PATH/release/radiant --engine sqlite

At each point batches go to the grown archive and to a fresh one in turn, and searches to the grown
and to a small one, of the first point, in turn: a noisy machine hits both. Objects are small and
without pixels. The first point is stored; from there on the rows of the index are copied (copies.py),
or stored as well with --store, which takes hours. With --scratch what was loaded stays, and the next
run goes on from there.
"""

import argparse
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
import copies  # noqa: E402
from crowd import INSTANCES_OF_STUDY, InTurn, found, searches, send  # noqa: E402
from load import Wrk  # noqa: E402
from peers.database import Postgres  # noqa: E402
from peers.server import WITHOUT_ANALYSIS, Server, in_database  # noqa: E402

INGEST_RATIO_MIN, P99_RATIO_MAX = 0.9, 2.0
# The log of each request would be a part of what is measured.
KEYS = WITHOUT_ANALYSIS | {"http.rate_limits.exempt": '["127.0.0.0/8"]', "log.filter": "warn", "http.parts_max": "1000"}
# Between two looks at how far the loading is.
STEP = 2500


class Growth:
    def __init__(self, arguments, scratch, database):
        self.arguments, self.scratch, self.database = arguments, scratch, database
        self.wrk, self.missed = Wrk(scratch / "wrk"), []

    def run(self):
        print(f"{'instances':>9}  {'':34}{'small':>9}{'grown':>9}{'ratio':>7}", flush=True)
        points = [point // INSTANCES_OF_STUDY for point in self.arguments.points]
        with self.server("small") as small, self.server("grown") as grown:
            self.load(small, points[0])
            for point in points:
                self.grow(grown, point)
                self.ingest(grown)
                self.searches(small, grown)

    def server(self, name):
        folder = self.scratch / f"{self.arguments.engine}-{name}"
        url = in_database(self.database.database_for(folder)) if self.database else {}
        return Server(self.arguments.binary, folder, KEYS | url)

    def load(self, server, studies):
        """Up to so many studies; what is there already is not sent again."""
        begun, start = self.held(server), time.monotonic()
        for first in range(begun, studies, STEP):
            upto = min(first + STEP, studies)
            send(server, range(first, upto), self.arguments.clients)
            self.note(server, upto)
        if studies > begun:
            rate = (studies - begun) * INSTANCES_OF_STUDY / (time.monotonic() - start)
            print(f"{studies * INSTANCES_OF_STUDY:>9}  loaded, {rate:.0f} instances per s", flush=True)

    def grow(self, server, studies):
        if self.arguments.store or self.held(server) == 0:
            return self.load(server, studies)
        if self.held(server) >= studies:
            return
        server.stop()
        start = time.monotonic()
        self.note(server, copies.grow(self.index(server), self.held(server), studies))
        server.start()
        print(f"{self.held(server) * INSTANCES_OF_STUDY:>9}  copied in {time.monotonic() - start:.0f} s", flush=True)

    def index(self, server):
        if self.database:
            return copies.Postgresql(self.database, self.database.name_for(server.data_dir))
        return copies.Sqlite(server.data_dir / "index.sqlite")

    def held(self, server):
        noted = self.noted(server)
        return int(noted.read_text()) if noted.exists() else 0

    def note(self, server, studies):
        self.noted(server).write_text(str(studies))

    @staticmethod
    def noted(server):
        return server.data_dir.with_suffix(".studies")

    def ingest(self, grown):
        """What is sent stays in the grown archive; the fresh one goes."""
        held, batch = self.held(grown), self.arguments.batch // INSTANCES_OF_STUDY
        self.note(grown, held + batch * self.arguments.rounds)
        with self.server(f"fresh-{time.time_ns()}") as fresh:
            rates = self.turns(fresh, grown).send((0, held), batch, self.arguments.clients)
        shutil.rmtree(fresh.data_dir)
        ratio = rates[1] / rates[0]
        self.judge(grown, "ingest, instances per s", rates, ratio, ratio >= INGEST_RATIO_MIN)

    def searches(self, small, grown):
        own, others = searches(self.held(small)), searches(self.held(grown))
        for name, paths in own.items():
            counts = [found(small, paths[0]), found(grown, others[name][0])]
            if counts[0] != counts[1] or not counts[0]:
                raise RuntimeError(f"{name}: {counts} are found")
            turns = self.turns(small, grown)
            both = [paths, others[name]]
            before, after = turns.search(both, self.arguments.clients, self.arguments.seconds, lambda run: run.p99)
            self.judge(grown, f"{name}, p99 in ms", (before, after), after / before, after / before <= P99_RATIO_MAX)

    def turns(self, *servers):
        return InTurn(self.wrk, servers, self.arguments.rounds)

    def judge(self, grown, what, values, ratio, kept):
        line = f"{self.held(grown) * INSTANCES_OF_STUDY:>9}  {what:34}{values[0]:>9.1f}{values[1]:>9.1f}{ratio:>7.2f}"
        print(line if kept else f"{line}  missed", flush=True)
        if not kept:
            self.missed.append(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--engine", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--points", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="instances")
    parser.add_argument("--batch", type=int, default=2000, help="instances of one turn of ingest")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=2, help="of one turn of a search")
    parser.add_argument("--scratch", type=Path, help="keeps what was loaded")
    parser.add_argument("--store", action="store_true", help="everything by STOW-RS")
    parser.add_argument("--unjudged", action="store_true", help="figures alone, whatever they are")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="radiant-bench-") as made, ExitStack() as stack:
        scratch = arguments.scratch or Path(made)
        database = stack.enter_context(Postgres(scratch / "postgres").running()) if arguments.engine == "postgres" else None
        growth = Growth(arguments, scratch, database)
        growth.run()
    return 1 if growth.missed and not arguments.unjudged else 0


if __name__ == "__main__":
    sys.exit(main())
