"""A crowd of small studies that is sent to a server by STOW-RS, and what is searched in it."""

import math
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
import measured  # noqa: E402
import requests  # noqa: E402
from peers import dicomweb  # noqa: E402

JSON = "application/dicom+json"
# One request of a sender: 200 instances of one kilobyte.
STUDIES_OF_REQUEST = 10
INSTANCES_OF_STUDY = measured.SERIES_OF_STUDY * measured.INSTANCES_OF_SERIES
# Of each kind of search.
PATHS = 200
WARM_S = 1
# Of a turn, however slow they are.
ANSWERS_MIN = 40


def send(server, numbers, clients):
    """The studies of these numbers, from so many senders at a time; instances per second."""
    numbers = list(numbers)
    pieces = iter([numbers[at : at + STUDIES_OF_REQUEST] for at in range(0, len(numbers), STUDIES_OF_REQUEST)])
    lock, failures = threading.Lock(), []

    def sender():
        while not failures:
            with lock:
                piece = next(pieces, None)
            if piece is None:
                return
            try:
                stored(server, piece)
            except Exception as error:
                failures.append(error)

    start = time.monotonic()
    senders = [threading.Thread(target=sender) for _ in range(clients)]
    [one.start() for one in senders]
    [one.join() for one in senders]
    if failures:
        raise failures[0]
    return len(numbers) * INSTANCES_OF_STUDY / (time.monotonic() - start)


def stored(server, numbers):
    kept, refused = dicomweb.store(server, [data for _, data in measured.small_files(numbers)])
    if refused or len(kept) != len(numbers) * INSTANCES_OF_STUDY:
        raise RuntimeError(f"{len(kept)} were kept, refused: {list(refused.items())[:3]}")


def searches(studies):
    """Paths by the name of a search. Each path asks for something else, and all find the same number of
    entities however many studies there are, 100 at least."""
    some = [measured.Small(number) for number in range(0, studies, max(1, studies // PATHS))]
    whole = [measured.Small(one.number // 25 * 25) for one in some if one.number // 25 * 25 + 25 <= studies]
    by_date = [f"/studies?StudyDate={one.date[:6]}01-{one.date[:6]}28&ModalitiesInStudy=CT&limit=10" for one in some]
    return {
        "exact PatientID": [f"/studies?PatientID={one.patient_id}" for one in some],
        "name wildcard": [f"/studies?PatientName={one.family}*" for one in whole],
        "date range + modality": by_date,
        "first page": [f"/studies?limit=10&offset={n}" for n in range(5)],
        "deep page": [f"/studies?limit=10&offset={studies * 9 // 10 - n}" for n in range(5)],
        "deep page of instances": [f"/instances?limit=10&offset={studies * INSTANCES_OF_STUDY * 4 // 5 + n}" for n in range(5)],
        "series of a study": [f"/studies/{one.study}/series" for one in some],
        "instances of a series": [f"/studies/{one.study}/series/{one.series(0)}/instances" for one in some],
    }


def found(server, path):
    """Entities that a search finds."""
    answer = requests.get(f"{server.web}{path}", headers={"Accept": JSON}, timeout=dicomweb.TIMEOUT_S)
    answer.raise_for_status()
    return len(answer.json())


def answer_s(url):
    start = time.monotonic()
    requests.get(url, headers={"Accept": JSON}, timeout=dicomweb.TIMEOUT_S).raise_for_status()
    return time.monotonic() - start


class InTurn:
    """Two servers that are asked the same in turn, so that what else the machine does hits both."""

    def __init__(self, wrk, servers, rounds):
        self.wrk, self.servers, self.rounds = wrk, servers, rounds

    def search(self, paths, clients, seconds, figure):
        """Medians of a figure of the runs, of each server; `paths` are its own."""
        runs = [[] for _ in self.servers]
        places = [[f"/dicom-web{path}" for path in own] for own in paths]
        lasting = []
        for server, own in zip(self.servers, places):
            self.wrk.get(server.base, own, JSON, clients, WARM_S)
            lasting.append(max(seconds, math.ceil(ANSWERS_MIN * answer_s(server.base + own[-1]) / clients)))
        for number in range(self.rounds):
            for at in self.order(number):
                runs[at].append(self.wrk.get(self.servers[at].base, places[at], JSON, clients, lasting[at]))
                if runs[at][-1].failed or not runs[at][-1].requests:
                    raise RuntimeError(f"searches failed: {runs[at][-1]}")
        return [statistics.median(map(figure, own)) for own in runs]

    def send(self, begins, studies, clients):
        """Medians of instances per second, of each server, which gets its own studies from a number on."""
        runs = [[] for _ in self.servers]
        for number in range(self.rounds):
            for at in self.order(number):
                first = begins[at] + number * studies
                runs[at].append(send(self.servers[at], range(first, first + studies), clients))
        return [statistics.median(own) for own in runs]

    def order(self, number):
        """The one that begins changes."""
        order = list(range(len(self.servers)))
        return order if number % 2 == 0 else order[::-1]
