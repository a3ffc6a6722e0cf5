"""Senders that deliver while something is killed under them, and remember what was acknowledged."""

import threading
import time
from contextlib import ExitStack
from io import BytesIO
from itertools import count

from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from . import dicomweb, dimse
from .part10 import data_set, digest, image, uid_of

CONTEXTS = [(CTImageStorage, ExplicitVRLittleEndian)]
# pynetdicom may wait for the answer of a server that has just been killed.
GONE_TIMEOUT_S = 15
# Of one study, where a sender makes one after the other.
MANY = 1_000_000
REFUSED_PAUSE_S = 0.5


class ByStow:
    def __init__(self, server):
        self.server = server

    def keep(self, files):
        """UIDs of those that were acknowledged."""
        kept, _ = dicomweb.store(self.server, files)
        return kept

    def close(self):
        pass


class ByDimse:
    """One association for so many objects, then another one; what broke is not used again."""

    def __init__(self, server, objects=MANY):
        self.server, self.objects, self.left, self.held = server, objects, 0, ExitStack()

    def keep(self, files):
        return [uid_of(file) for file in files if self.is_kept(file)]

    def is_kept(self, file):
        if self.left == 0:
            self.close()
            self.made = self.held.enter_context(dimse.association(self.server, CONTEXTS, timeout_s=GONE_TIMEOUT_S))
            self.left = self.objects
        self.left -= 1
        status = dimse.store(self.made, dcmread(BytesIO(file)))
        if status is None:
            self.left = 0
        return status == dimse.SUCCESS

    def close(self):
        self.held.close()


class Sender(threading.Thread):
    """Delivers one batch of files after the other, each until all of it is acknowledged."""

    def __init__(self, way, batches, pause_s=0):
        super().__init__(daemon=True)
        self.way, self.batches, self.pause_s = way, batches, pause_s
        # Digests of data sets by the UID; moments of attempts that did not keep everything, and why.
        self.acknowledged, self.refusals, self.ended = {}, [], threading.Event()

    def run(self):
        for batch in self.batches:
            self.deliver({uid_of(file): file for file in batch})
            if self.ended.wait(self.pause_s):
                break
        self.way.close()

    def deliver(self, waiting):
        while waiting and not self.ended.is_set():
            kept, why = self.tried(list(waiting.values()))
            for uid in kept:
                self.acknowledged[uid] = digest(data_set(waiting.pop(uid)))
            if waiting:
                self.refusals.append((time.monotonic(), f"{type(self.way).__name__}: {why}"))
                self.ended.wait(REFUSED_PAUSE_S)

    def tried(self, files):
        try:
            return self.way.keep(files), "refused"
        except Exception as error:
            # What it was connected to is gone; nothing was acknowledged.
            return [], str(error)[:200]


class Senders:
    """Several at the same time."""

    def __init__(self, *senders):
        self.senders = senders

    @property
    def acknowledged(self):
        return {uid: found for sender in self.senders for uid, found in dict(sender.acknowledged).items()}

    @property
    def refusals(self):
        return sorted(one for sender in self.senders for one in list(sender.refusals))

    def start(self):
        for sender in self.senders:
            sender.start()

    def stop(self):
        for sender in self.senders:
            sender.ended.set()
        for sender in self.senders:
            sender.join()

    def further(self, objects, timeout_s):
        """Until every one of them has had so many more acknowledged; in seconds."""
        start, before = time.monotonic(), self.counts()
        while time.monotonic() < start + timeout_s:
            if all(now >= had + objects for now, had in zip(self.counts(), before)):
                return time.monotonic() - start
            time.sleep(0.1)
        raise AssertionError(f"after {timeout_s} s: {before}, now {self.counts()}; {len(self.refusals)} were refused")

    def counts(self):
        return [len(sender.acknowledged) for sender in self.senders]


def endless(*sides, batch=1, of_study=MANY):
    """Batches of images of these sides in turn; a new study after so many batches."""
    for number in count():
        study = generate_uid() if number % of_study == 0 else study
        at = range(number * batch, (number + 1) * batch)
        yield [image(study, n + 1, sides[n % len(sides)], seed=study) for n in at]
