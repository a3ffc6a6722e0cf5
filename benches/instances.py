#!/usr/bin/env python3
"""One instance beside three behind HAProxy, with one PostgreSQL and one S3 server; and the index in
SQLite beside that in PostgreSQL.

    conformance/run.sh --list            # sets the environment up
    cargo build --release
    python benches/instances.py --binary PATH/release/radiant

Both of a pair are loaded in turn, so that a noisy machine hits both. All run on this machine: three
instances can only be as much faster as one leaves processors, and the database and the store, idle.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
from crowd import INSTANCES_OF_STUDY, InTurn, searches, send  # noqa: E402
from load import Wrk  # noqa: E402
from peers.database import Postgres  # noqa: E402
from peers.fleet import Balancer  # noqa: E402
from peers.server import WITHOUT_ANALYSIS, Server, in_database  # noqa: E402
from peers.stores import SeaweedFs  # noqa: E402

KEYS = WITHOUT_ANALYSIS | {"http.rate_limits.exempt": '["127.0.0.0/8"]', "log.filter": "warn"}


class Pair:
    """Two that are measured in turn, with the crowd that both hold."""

    def __init__(self, arguments, scratch, names, servers):
        self.arguments, self.names, self.servers = arguments, names, servers
        self.turns = InTurn(Wrk(scratch / f"wrk-{names[0]}"), servers, arguments.rounds)

    def measure(self):
        arguments = self.arguments
        for server in self.servers:
            send(server, range(arguments.studies), arguments.clients)
        print(f"\n{'':34}{self.names[0]:>16}{self.names[1]:>16}{'ratio':>8}", flush=True)
        batch = arguments.batch // INSTANCES_OF_STUDY
        held = arguments.studies
        self.show("ingest, instances per s", self.turns.send((held, held), batch, arguments.clients))
        for name, paths in searches(held).items():
            rates = self.turns.search([paths, paths], arguments.clients, arguments.seconds, lambda run: run.rate)
            self.show(f"{name}, requests per s", rates)

    def show(self, what, values):
        print(f"{what:34}{values[0]:>16.1f}{values[1]:>16.1f}{values[1] / values[0]:>8.2f}", flush=True)


def engines(arguments, scratch, postgres):
    urls = {"SQLite": {}, "PostgreSQL": in_database(postgres.database_for(scratch / "PostgreSQL"))}
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(arguments.binary, scratch / name, KEYS | url)) for name, url in urls.items()]
        Pair(arguments, scratch, list(urls), servers).measure()


def fleets(arguments, scratch, postgres):
    with ExitStack() as stack:
        store = stack.enter_context(SeaweedFs(scratch / "store"))
        balancers = []
        for count in (1, 3):
            place = scratch / f"fleet-{count}"
            place.mkdir()
            keys = KEYS | store.keys(f"fleet-{count}") | {"database.url": postgres.database_for(place)}
            servers = [stack.enter_context(Server(arguments.binary, place / f"radiant{n}", keys)) for n in range(count)]
            balancers.append(stack.enter_context(Balancer(place, servers).running()))
        Pair(arguments, scratch, ["one instance", "three"], balancers).measure()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=500, help="of 20 instances, there before anything is measured")
    parser.add_argument("--batch", type=int, default=2000, help="instances of one turn of ingest")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=2, help="of one turn of a search")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="radiant-bench-") as made:
        scratch = Path(made)
        with Postgres(scratch / "postgres").running() as postgres:
            engines(arguments, scratch, postgres)
            fleets(arguments, scratch, postgres)


if __name__ == "__main__":
    main()
