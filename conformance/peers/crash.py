"""SIGKILL while several senders deliver: what was acknowledged is there, and nothing else is left."""

import random
import threading
import time
from itertools import count

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from . import dicomweb, dimse
from .part10 import data_set, digest, image, uid_of
from .server import Server
from .tally import equal

ROUNDS = 20
DIMSE_SENDERS, STOW_SENDERS = 3, 2
# Small ones make many commits, large ones are cut within their bytes.
SIDES = (32, 64, 512)
CONTEXTS = [(CTImageStorage, ExplicitVRLittleEndian)]
SWEEP_TIMEOUT_S = 60
# pynetdicom may wait for the answer of a server that has just been killed.
GONE_TIMEOUT_S = 15


class Senders:
    """Deliver until the server is gone, remembering what it acknowledged."""

    def __init__(self, server, seed):
        self.server, self.seed = server, seed
        self.acknowledged, self.offered = {}, 0
        self.lock, self.stop = threading.Lock(), threading.Event()
        targets = [self.by_dimse] * DIMSE_SENDERS + [self.by_stow] * STOW_SENDERS
        self.threads = [threading.Thread(target=self.until_gone, args=(target, n)) for n, target in enumerate(targets)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def join(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def until_gone(self, send, number):
        study = generate_uid()
        files = (image(study, n, SIDES[n % 3], seed=f"{self.seed}/{number}") for n in count(1))
        try:
            send(files)
        except Exception:
            # The server died under the sender: that is the case being tested.
            return

    def by_dimse(self, files):
        with dimse.association(self.server, CONTEXTS, timeout_s=GONE_TIMEOUT_S) as made:
            for file in files:
                if self.stop.is_set():
                    return
                self.note([file], [uid_of(file)] if send_one(made, file) == dimse.SUCCESS else [])

    def by_stow(self, files):
        while not self.stop.is_set():
            batch = [next(files) for _ in range(3)]
            kept, _ = dicomweb.store(self.server, batch)
            self.note(batch, kept)

    def note(self, files, kept):
        with self.lock:
            self.offered += len(files)
            self.acknowledged |= {uid_of(file): digest(data_set(file)) for file in files if uid_of(file) in kept}


def send_one(made, file):
    from io import BytesIO

    from pydicom import dcmread

    status = dimse.store(made, dcmread(BytesIO(file)))
    assert status is not None, "the server is gone"
    return status


def run(context, tally):
    moments = random.Random(context.seed)
    print(f"seed {context.seed}")
    server = Server(context.binary, context.folder("crash"))
    server.start()
    everything = {}
    try:
        for number in range(1, ROUNDS + 1):
            with tally.check(f"kill -9 during ingest, moment {number}"):
                acknowledged = killed_round(server, moments.uniform(0.2, 2.0), f"{context.seed}/{number}")
                everything |= acknowledged
                kept(server, acknowledged)
        with tally.check("no row without bytes, every acknowledged instance after 20 kills"):
            walk(server, everything)
        with tally.check("no stray file after the sweep"):
            nothing_stray(server)
    finally:
        server.stop()


def killed_round(server, delay_s, seed):
    senders = Senders(server, seed)
    senders.start()
    deadline = time.monotonic() + 60
    while not senders.acknowledged and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(delay_s)
    server.kill()
    senders.join()
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
    """Each row of the index has its bytes, acknowledged or not."""
    where = dicomweb.locations(server)
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
