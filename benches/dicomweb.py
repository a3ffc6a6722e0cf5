#!/usr/bin/env python3
"""DICOMweb side by side with Debian's Orthanc and, for bytes, with nginx serving the same bytes.

    conformance/run.sh --list            # sets the environment up
    cargo build --release
    python benches/dicomweb.py --binary PATH/release/radiant

wrk makes the load. Every round asks each server in turn, so that what else the machine does hits
all of them; the table has medians. A row is measured only after every server has answered it with
200 and, for searches, with the same number of matches. The crowd that searches look through is
loaded once; with --scratch it stays for the next run.
"""

import argparse
import http.client
import math
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
import measured  # noqa: E402
import requests  # noqa: E402
import yardsticks  # noqa: E402
from load import Wrk  # noqa: E402
from peers.server import WITHOUT_ANALYSIS, Server  # noqa: E402
from store import send  # noqa: E402

JSON = "application/dicom+json"
DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"'
JPEG_FRAME = 'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50'
SLOW_S = 300
SLOW_RUN_S = 20
SETTLE_S = 5
BLOCK = 1 << 20


@dataclass
class Row:
    """What is asked for, and what the figure has to be."""

    name: str
    paths: list
    accept: str = JSON
    # Times Orthanc's rate, and a part of nginx's.
    bar: float = 0
    nginx_bar: float = 0
    # Paths that say the same to Orthanc.
    orthanc_paths: list = field(default_factory=list)

    @property
    def is_search(self):
        return self.name.startswith("QIDO")


def search_rows(studies):
    """Each path asks for something else, so that nothing is answered from what was just asked."""
    some = [measured.Small(number) for number in range(0, studies, max(1, studies // 200))]
    deep = studies * 9 // 10
    instances = studies * measured.SERIES_OF_STUDY * measured.INSTANCES_OF_SERIES
    by_date = [f"/studies?StudyDate={one.date}-{one.date[:6]}28&ModalitiesInStudy=CT&limit=100" for one in some]
    pages = [f"/studies?limit=50&offset={n}" for n in range(5)]
    return [
        Row("QIDO exact PatientID", [f"/studies?PatientID={one.patient_id}" for one in some], bar=100),
        Row("QIDO name wildcard", [f"/studies?PatientName={one.family}*&limit=100" for one in some], bar=100),
        Row("QIDO date range + modality", by_date, bar=100),
        Row("QIDO first page", pages, bar=100),
        Row("QIDO deep page", [f"/studies?limit=50&offset={deep + n}" for n in range(5)], bar=100),
        Row("QIDO deep page of instances", [f"/instances?limit=50&offset={instances * 4 // 5 + n}" for n in range(5)], bar=30),
        Row("QIDO series of a study", [f"/studies/{one.study}/series" for one in some], bar=30),
        Row("QIDO instances of a series", [f"/studies/{one.study}/series/{one.series(0)}/instances" for one in some], bar=30),
    ]


def retrieve_rows(stack, few, many):
    series = f"/studies/{stack.study}/series/{stack.series}"
    slices = stack.paths
    return [
        Row("WADO instance, CT", slices, DICOM, 25, 0.5),
        Row("WADO frame, CT", [f"{one}/frames/1" for one in slices], OCTETS, 25, 0.5),
        Row(f"WADO frame, 1 of {measured.FEW_FRAMES} JPEG", frames(few), JPEG_FRAME, 15),
        Row("WADO frame, 1 of many JPEG", frames(many), JPEG_FRAME, 15),
        Row(f"WADO metadata, {len(slices)} slices", [f"{series}/metadata"], JSON, 100),
        Row("WADO study", [f"/studies/{stack.study}"], DICOM, 1, 0.5),
        Row("WADO rendered, CT", [f"{one}/rendered" for one in slices], "image/jpeg", 8),
        # This Orthanc has no thumbnails; a small picture is the same work.
        Row("WADO thumbnail, CT", [f"{one}/thumbnail?viewport=128,128" for one in slices], "image/jpeg", 8,
            orthanc_paths=[f"{one}/rendered?viewport=128,128" for one in slices]),
    ]


def frames(large):
    return [f"{large.paths[0]}/frames/{number + 1}" for number in range(measured.FEW_FRAMES)]


@dataclass
class Target:
    base: str
    paths: list
    # What the first answer took.
    answer_s: float = 0

    def seconds(self, least, clients):
        """Long enough for some answers of a server that gives one after the other."""
        return max(least, min(SLOW_RUN_S, math.ceil(2 * clients * self.answer_s)))


class Bench:
    def __init__(self, arguments, scratch):
        self.arguments, self.scratch, self.wrk = arguments, scratch, Wrk(scratch / "wrk")
        self.failures = []

    def run(self):
        stack, few, many = measured.stack(self.arguments.slices), measured.multiframe(1), measured.multiframe(2)
        loaded = self.scratch / "loaded"
        if not loaded.exists():
            self.write_files(stack, few, many)
            self.import_files()
        with ExitStack() as servers:
            self.ours = servers.enter_context(Server(self.arguments.binary, self.scratch / "radiant", WITHOUT_ANALYSIS))
            self.orthanc = servers.enter_context(yardsticks.Orthanc(self.scratch / "orthanc"))
            self.nginx = servers.enter_context(yardsticks.Nginx(self.scratch / "nginx"))
            if not loaded.exists():
                self.load_orthanc()
                loaded.touch()
            # What the servers do after their start is no part of what they are asked.
            time.sleep(SETTLE_S)
            self.reads(stack, few, many)
        self.stores()

    def write_files(self, stack, few, many):
        files = self.scratch / "files"
        measured.write_small(files, self.arguments.studies)
        measured.write_stack(files / "stack", stack)
        measured.write_multiframe(files / "few.dcm", few, measured.FEW_FRAMES)
        measured.write_multiframe(files / "many.dcm", many, self.arguments.frames)

    def import_files(self):
        start = time.monotonic()
        command = [str(self.arguments.binary), "import", "--data-dir", str(self.scratch / "radiant"), str(self.scratch / "files")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(f"import: {time.monotonic() - start:.1f} s", flush=True)

    def load_orthanc(self):
        start = time.monotonic()
        self.orthanc.load(sorted((self.scratch / "files").rglob("*.dcm")))
        print(f"load into Orthanc: {time.monotonic() - start:.1f} s", flush=True)

    def reads(self, stack, few, many):
        self.heading()
        for row in search_rows(self.arguments.studies) + retrieve_rows(stack, few, many):
            if self.wanted(row.name):
                self.compare(row)
        if self.wanted("WADO metadata"):
            self.first_byte(stack)
        if self.wanted("WADO study"):
            self.memory_of_a_study(stack)

    def wanted(self, name):
        return re.search(self.arguments.rows, name) is not None

    def heading(self):
        print(f"{'':<32}{'clients':>8}{'radiant/s':>11}{'p99 ms':>9}{'orthanc/s':>11}{'ratio':>8}{'bar':>5}"
              f"{'nginx/s':>9}{'ratio':>7}{'bar':>5}", flush=True)

    def compare(self, row):
        targets = self.targets(row)
        for clients in self.arguments.clients:
            results = {name: [] for name in targets}
            for _ in range(self.arguments.rounds):
                for name, target in targets.items():
                    seconds = target.seconds(self.arguments.seconds, clients)
                    results[name].append(self.wrk.get(target.base, target.paths, row.accept, clients, seconds))
            self.show(row, clients, results)

    def targets(self, row):
        """Where each server has it; each has answered it once."""
        asked = {"radiant": (self.ours, row.paths), "orthanc": (self.orthanc, row.orthanc_paths or row.paths)}
        targets, found = {}, {}
        for name, (server, paths) in asked.items():
            start = time.monotonic()
            answer = self.probe(server.web + paths[0], row)
            root = server.web.removeprefix(server.base)
            targets[name] = Target(server.base, [root + path for path in paths], time.monotonic() - start)
            found[name] = len(answer.json()) if row.is_search else 1
        if len(set(found.values())) > 1 or 0 in found.values():
            self.failures.append(f"{row.name}: matches {found}")
        if row.nginx_bar:
            bodies = [self.probe(self.ours.web + path, row).content for path in row.paths[:50]]
            name = re.sub(r"\W+", "-", row.name)
            targets["nginx"] = Target(self.nginx.base, self.nginx.serve(name, bodies))
        return targets

    def probe(self, url, row):
        answer = requests.get(url, headers={"Accept": row.accept, "Accept-Encoding": "identity"}, timeout=SLOW_S)
        if answer.status_code != 200:
            self.failures.append(f"{row.name}: {answer.status_code} for {url}: {answer.text[:200]}")
        return answer

    def show(self, row, clients, results):
        rate = {name: statistics.median(one.rate for one in runs) for name, runs in results.items()}
        p99 = statistics.median(one.p99 for one in results["radiant"])
        line = f"{row.name:<32}{clients:>8}{rate['radiant']:>11.1f}{p99:>9.2f}{rate['orthanc']:>11.1f}"
        line += f"{ratio(rate, 'orthanc'):>8}{row.bar:>5}"
        if "nginx" in rate:
            line += f"{rate['nginx']:>9.1f}{ratio(rate, 'nginx'):>7}{row.nginx_bar:>5}"
        failed = {name: sum(one.failed for one in runs) for name, runs in results.items()}
        if failed["radiant"] or any(one.broken_off for one in results["radiant"]):
            self.failures.append(f"{row.name}: requests failed")
        print(line + (f"  failed: {failed}" if any(failed.values()) else ""), flush=True)

    def first_byte(self, stack):
        path = f"/dicom-web/studies/{stack.study}/series/{stack.series}/metadata"
        for name, server in (("radiant", self.ours), ("orthanc", self.orthanc)):
            times = [first_byte_ms(server, path) for _ in range(7)]
            print(f"metadata, time to the first byte, {name}: {statistics.median(times):.2f} ms", flush=True)

    def memory_of_a_study(self, stack):
        for name, server in (("radiant", self.ours), ("orthanc", self.orthanc)):
            with yardsticks.PeakMemory(server.process) as peak:
                path = f"/dicom-web/studies/{stack.study}"
                self.wrk.get(server.base, [path], DICOM, max(self.arguments.clients), self.arguments.seconds)
            print(f"whole study, {max(self.arguments.clients)} clients, {name} grew by {peak.grew_mb:.1f} MB", flush=True)

    def stores(self):
        """Ways in, each round into empty stores."""
        if self.wanted("STOW"):
            for clients in self.arguments.clients:
                rounds = [self.store_round(clients, n) for n in range(self.arguments.rounds)]
                rate = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
                line = f"{'STOW CT':<32}{clients:>8}{rate['radiant']:>11.1f}{'':>9}{rate['orthanc']:>11.1f}"
                line += f"{ratio(rate, 'orthanc'):>8}{3:>5}"
                print(f"{line}   C-STORE {rate['c-store']:.1f}/s, STOW is {ratio(rate, 'c-store')} of it", flush=True)
        if self.wanted("1 GB"):
            self.large_stores()

    def store_round(self, clients, number):
        encoded = part10_template()
        pieces = pieces_of(encoded)
        folders = self.store_files(clients)
        place = self.scratch / "stores"
        seconds = self.arguments.seconds
        with Server(self.arguments.binary, place / f"radiant-{clients}-{number}", WITHOUT_ANALYSIS) as ours:
            stow = self.checked(self.wrk.stow(ours, pieces, clients, seconds), "radiant")
        with yardsticks.Orthanc(place / f"orthanc-{clients}-{number}") as orthanc:
            reference = self.checked(self.wrk.stow(orthanc, pieces, clients, seconds), "orthanc")
        with Server(self.arguments.binary, place / f"dimse-{clients}-{number}", WITHOUT_ANALYSIS) as ours:
            sent = sum(len(list(folder.iterdir())) for folder in folders)
            c_store = sent / send(ours, folders)
        subprocess.run(["rm", "-r", str(place)], check=True)
        return {"radiant": stow.rate, "orthanc": reference.rate, "c-store": c_store}

    def checked(self, result, name):
        if result.failed:
            self.failures.append(f"STOW to {name}: {result.failed} requests failed")
        return result

    def store_files(self, clients):
        """Folders for C-STORE, one per association."""
        encoded, folders = part10_template(), []
        for client in range(clients):
            folder = self.scratch / "to-send" / str(client)
            folders.append(folder)
            if folder.exists():
                continue
            folder.mkdir(parents=True)
            for n in range(self.arguments.files):
                changes = {measured.STUDY: measured.uid(4, 100 + client), measured.SERIES: measured.uid(5, 100 + client),
                           measured.INSTANCE: measured.uid(6, (100 + client) * 10000 + n), "XX": "CT"}
                (folder / f"{n}.dcm").write_bytes(measured.replaced(encoded, changes))
        return folders

    def large_stores(self):
        """So many objects of 1 GB at once; what the server grows by at its peak."""
        size, clients = self.arguments.large_mb << 20, max(self.arguments.clients)
        with Server(self.arguments.binary, self.scratch / "large", WITHOUT_ANALYSIS) as ours:
            with yardsticks.PeakMemory(ours.process) as peak:
                threads = [threading.Thread(target=self.store_large, args=(ours, n, size)) for n in range(clients)]
                start = time.monotonic()
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
                seconds = time.monotonic() - start
            print(f"{clients} STOWs of {self.arguments.large_mb} MB at once: {seconds:.0f} s, grew by {peak.grew_mb:.1f} MB",
                  flush=True)
        subprocess.run(["rm", "-r", str(self.scratch / "large")], check=True)

    def store_large(self, server, number, size):
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b', "Accept": JSON}
        answer = requests.post(f"{server.web}/studies", data=large_body(number, size), headers=headers, timeout=3600)
        if answer.status_code != 200:
            self.failures.append(f"1 GB by STOW: {answer.status_code} {answer.text[:200]}")


def ratio(rate, other):
    return f"{rate['radiant'] / rate[other]:.2f}" if rate[other] else "-"


def part10_template():
    return measured.part10.encoded(measured.template(measured.SIDE))


def pieces_of(encoded):
    """The body of a STOW, with the names of the UIDs where those stand."""
    names = {measured.STUDY: "study", measured.SERIES: "series", measured.INSTANCE: "instance"}
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + encoded.replace(b"XX", b"CT") + b"\r\n--b--\r\n"
    found = re.split(b"(" + b"|".join(token.encode() for token in names) + b")", body)
    return [names.get(piece.decode("latin-1"), piece) if len(piece) < 64 else piece for piece in found if piece]


def large_body(number, size):
    """A multi-frame object of so many bytes, in blocks."""
    dataset = measured.template(2)
    side = 1024
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = measured.uid(6, 900000 + number)
    dataset.Rows = dataset.Columns = side
    dataset.NumberOfFrames = size // (2 * side * side)
    dataset.Modality = "OT"
    del dataset.PixelData
    yield b"--b\r\nContent-Type: application/dicom\r\n\r\n" + measured.part10.encoded(dataset)
    yield b"\xe0\x7f\x10\x00OW\x00\x00" + size.to_bytes(4, "little")
    block = measured.np.random.default_rng(number).bytes(BLOCK)
    for _ in range(size // BLOCK):
        yield block
    yield b"\r\n--b--\r\n"


def first_byte_ms(server, path):
    connection = http.client.HTTPConnection(server.host, server.http_port)
    connection.connect()
    start = time.perf_counter()
    connection.request("GET", path, headers={"Accept": JSON})
    answer = connection.getresponse()
    answer.read(1)
    elapsed = time.perf_counter() - start
    answer.read()
    connection.close()
    return elapsed * 1e3


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, help="kept, so that the next run finds everything loaded")
    parser.add_argument("--rows", default="", help="only rows whose name has this pattern")
    parser.add_argument("--studies", type=int, default=2500, help="of 20 small instances, to search in")
    parser.add_argument("--slices", type=int, default=250)
    parser.add_argument("--frames", type=int, default=100_000, help="of the large multi-frame object")
    parser.add_argument("--files", type=int, default=200, help="for each association of the C-STORE beside STOW")
    parser.add_argument("--large-mb", type=int, default=1024)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of one run")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if absent := yardsticks.missing():
        sys.exit(f"not installed: {', '.join(absent)}")
    with tempfile.TemporaryDirectory(prefix="radiant-bench-") as scratch:
        bench = Bench(arguments, arguments.scratch or Path(scratch))
        bench.run()
    if bench.failures:
        sys.exit("\n".join(bench.failures))


if __name__ == "__main__":
    main()
