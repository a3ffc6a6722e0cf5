"""SIGKILL while several senders deliver: what was acknowledged is there, and nothing else is left."""

import random
import time

from . import dicomweb
from .part10 import data_set, digest
from .senders import ByDimse, ByStow, Sender, Senders, endless
from .server import Server
from .tally import equal

ROUNDS = 20
DIMSE_SENDERS, STOW_SENDERS = 3, 2
# Small ones make many commits, large ones are cut within their bytes.
SIDES = (32, 64, 512)
SWEEP_TIMEOUT_S = 60


def mixed(server):
    """Several ways at once."""
    by_dimse = [Sender(ByDimse(server), endless(*SIDES)) for _ in range(DIMSE_SENDERS)]
    by_stow = [Sender(ByStow(server), endless(*SIDES, batch=3)) for _ in range(STOW_SENDERS)]
    return Senders(*by_dimse, *by_stow)


def run(context, tally):
    moments = random.Random(context.seed)
    print(f"seed {context.seed}")
    server = Server(context.binary, context.folder("crash"))
    server.start()
    everything = {}
    try:
        for number in range(1, ROUNDS + 1):
            with tally.check(f"kill -9 during ingest, moment {number}"):
                acknowledged = killed_round(server, moments.uniform(0.2, 2.0))
                everything |= acknowledged
                kept(server, acknowledged)
        with tally.check("no row without bytes, every acknowledged instance after 20 kills"):
            walk(server, everything)
        with tally.check("no stray file after the sweep"):
            nothing_stray(server)
    finally:
        server.stop()


def killed_round(server, delay_s):
    senders = mixed(server)
    senders.start()
    deadline = time.monotonic() + 60
    while not senders.acknowledged and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(delay_s)
    server.kill()
    senders.stop()
    server.start()
    print(f"     killed after {delay_s:.2f} s: {len(senders.acknowledged)} acknowledged")
    assert senders.acknowledged, "nothing was acknowledged before the kill"
    return senders.acknowledged


def kept(server, acknowledged):
    where = dicomweb.locations(server)
    lost = [uid for uid in acknowledged if uid not in where]
    assert not lost, f"{len(lost)} acknowledged instances are lost: {lost[:3]}"
    changed = [uid for uid, expected in acknowledged.items()
               if digest(data_set(dicomweb.retrieve(server, where[uid]))) != expected]
    assert not changed, f"other bytes came back of {changed[:3]}"


def walk(server, everything):
    """Each row of the index has its bytes, acknowledged or not, and is there once."""
    listed = dicomweb.instances(server)
    where = {uids[2]: uids for uids in listed}
    equal("rows listed twice", len(listed) - len(where), 0)
    for uid, place in where.items():
        found = digest(data_set(dicomweb.retrieve(server, place)))
        assert everything.get(uid, found) == found, f"other bytes came back of {uid}"
    missing = [uid for uid in everything if uid not in where]
    equal("acknowledged and lost", missing, [])
    print(f"     {len(where)} instances, {len(everything)} of them acknowledged")


def nothing_stray(server):
    """Objects that never got their row go with the sweep after a start."""
    server.stop()
    server.start()
    rows = len(dicomweb.instances(server))
    deadline = time.monotonic() + SWEEP_TIMEOUT_S
    while len(dicomweb.stored_files(server.data_dir)) != rows and time.monotonic() < deadline:
        time.sleep(0.5)
    equal("files for the rows of the index", len(dicomweb.stored_files(server.data_dir)), rows)
